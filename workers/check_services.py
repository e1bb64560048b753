"""``python -m workers.check_services``: are FT_SERVICES and FT_PORTAL right on this server? Starts and stops nothing.

For each service: its table, what it names (agent, unit, program), and what its controller says of it now; for an OCF
agent also ``validate-all``. Run it before the first start of the workers, on both servers, as their user.

    --table   read one table as JSON from standard input instead of the configuration, print JSON; for ``ft doctor``
    --portal  that table is FT_PORTAL
    --prefix  FT_PREFIX of the instance that this table belongs to

Exit code: 0 every service can be controlled, 1 one cannot, 2 the configuration is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import Any, Mapping, Sequence

from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.terms import ServiceState
from workers.adapters.services import ServiceError, build, build_portal


def examine(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{name, state, detail} of the service of one table; state "wrong": the table is refused. The order is not looked at.

    prefix: FT_PREFIX of the instance that it belongs to.
    """
    name = str(table.get("name") or "") if isinstance(table, Mapping) else ""
    alone = {key: value for key, value in table.items() if key != "after"} if name else table
    try:
        service = build([alone], prefix=prefix)[0]
    except ServiceError as error:
        return {"name": name, "state": "wrong", "detail": str(error)}
    validate = getattr(service, "validate", None)
    if validate is not None and (refusal := validate()):
        return {"name": name, "state": "wrong", "detail": refusal}
    reading = service.status()
    return {"name": name, "state": str(reading.state), "detail": reading.detail}


def examine_portal(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The same for FT_PORTAL, which must not be empty. One that does not run is wrong: the watchdog would start it."""
    try:
        portal = build_portal(table, prefix)
    except ServiceError as error:
        return {"name": "portal", "state": "wrong", "detail": str(error)}
    if portal is None:
        return {"name": "portal", "state": "wrong", "detail": "FT_PORTAL is empty"}
    reading = portal.status()
    return {"name": "portal", "state": str(reading.state), "detail": reading.detail}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line a service; the exit code is that of the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.check_services", description="Check FT_SERVICES and FT_PORTAL."
    )
    parser.add_argument("--table", action="store_true", help="one table as JSON on standard input; prints JSON")
    parser.add_argument("--portal", action="store_true", help="the table of --table is FT_PORTAL")
    parser.add_argument("--prefix", default="", help="FT_PREFIX of the instance, for --table")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if options.table:
        found = (examine_portal if options.portal else examine)(json.load(sys.stdin), options.prefix)
        print(json.dumps(found))
        return _code([found])
    try:
        config = NodeConfig.from_environment()
        order = [service.name for service in build(config.services, ask_outside=False)]
    except (ConfigError, ServiceError) as error:
        print(f"check_services: {error}", file=sys.stderr)
        return 2
    by_name = {str(table["name"]): table for table in config.services}
    results = [examine(by_name[name], config.prefix) for name in order]
    for number, found in enumerate(results, start=1):
        print(f"{number}. {found['name']}: {found['state']}{': ' + found['detail'] if found['detail'] else ''}")
    if not results:
        print("FT_SERVICES is empty: a switch moves nothing but the role")
    if config.portal:
        results.append(examine_portal(config.portal, config.prefix))
        print(f"portal: {results[-1]['state']}{': ' + results[-1]['detail'] if results[-1]['detail'] else ''}")
    else:
        print("FT_PORTAL is empty: a dead portal is not restarted, and the daily restart leaves it alone")
    return _code(results)


def _code(results: Sequence[Mapping[str, str]]) -> int:
    return 1 if any(found["state"] in ("wrong", ServiceState.UNKNOWN) for found in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
