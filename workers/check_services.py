"""``python -m workers.check_services``: are the tables of FT_SERVICES right on this server? Starts and stops nothing.

For each service: its table, what it names (agent, unit, program), and what its controller says of it now; for an OCF
agent also ``validate-all``. Run it before the first start of the workers, on both servers, as their user.

    --table   read one table as JSON from standard input instead of the configuration, print JSON; for ``ft doctor``

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
from workers.adapters.services import ServiceError, build


def examine(table: Mapping[str, Any]) -> dict[str, str]:
    """{name, state, detail} of the service of one table; state "wrong": the table is refused. The order is not looked at."""
    name = str(table.get("name") or "") if isinstance(table, Mapping) else ""
    alone = {key: value for key, value in table.items() if key != "after"} if name else table
    try:
        service = build([alone])[0]
    except ServiceError as error:
        return {"name": name, "state": "wrong", "detail": str(error)}
    validate = getattr(service, "validate", None)
    if validate is not None and (refusal := validate()):
        return {"name": name, "state": "wrong", "detail": refusal}
    reading = service.status()
    return {"name": name, "state": str(reading.state), "detail": reading.detail}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints one line a service; the exit code is that of the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m workers.check_services", description="Check FT_SERVICES.")
    parser.add_argument("--table", action="store_true", help="one table as JSON on standard input; prints JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if options.table:
        found = examine(json.load(sys.stdin))
        print(json.dumps(found))
        return _code([found])
    try:
        config = NodeConfig.from_environment()
        order = [service.name for service in build(config.services, ask_outside=False)]
    except (ConfigError, ServiceError) as error:
        print(f"check_services: {error}", file=sys.stderr)
        return 2
    by_name = {str(table["name"]): table for table in config.services}
    results = [examine(by_name[name]) for name in order]
    for number, found in enumerate(results, start=1):
        print(f"{number}. {found['name']}: {found['state']}{': ' + found['detail'] if found['detail'] else ''}")
    if not results:
        print("FT_SERVICES is empty: a switch moves nothing but the role")
    return _code(results)


def _code(results: Sequence[Mapping[str, str]]) -> int:
    return 1 if any(found["state"] in ("wrong", ServiceState.UNKNOWN) for found in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
