"""Controllers of services (spec 6) and their configuration: ``build`` makes them from the FT_SERVICES tables.

The standard library and ``redis``-free on purpose: the guard imports this package too.
"""

from __future__ import annotations

import pathlib
from typing import Any, Mapping, Sequence
from urllib.parse import quote

from ftplugin.config import STOP_LIMIT_S

from .command import CommandService
from .http import HttpService

START_LIMIT_S = 60.0
Service = HttpService | CommandService

_COMMON = ("name", "kind", "start_limit_s", "stop_limit_s")
_OWN = {"http": ("url", "token"), "command": ("start", "stop", "status")}
_REQUIRED = {"http": ("url",), "command": ("start", "stop", "status")}


class ServiceError(ValueError):
    """One FT_SERVICES table is wrong; the message names the service, the field, its value and the way out."""


def build(
    tables: Sequence[Mapping[str, Any]], instance_dir: pathlib.Path | None = None, prefix: str = ""
) -> list[Service]:
    """Controllers in the order of ``tables``, which is the order of promotion. Raises ServiceError.

    instance_dir: where command services keep what this node's processes must share, by ``prefix`` of the instance; with
    None each process knows only its own starts.
    """
    services: list[Service] = []
    for index, table in enumerate(tables, start=1):
        service = _build_one(f"FT_SERVICES[{index}]", table, instance_dir, prefix)
        if any(service.name == other.name for other in services):
            raise ServiceError(f"FT_SERVICES[{index}].name: {service.name!r} is taken: give each service its own name")
        services.append(service)
    return services


def _build_one(where: str, table: Mapping[str, Any], instance_dir: pathlib.Path | None, prefix: str) -> Service:
    if not isinstance(table, Mapping):
        raise ServiceError(f"{where}: must be a table with name and kind (got {table!r})")
    name, kind = table.get("name"), table.get("kind")
    if not isinstance(name, str) or not name.strip():
        raise ServiceError(f"{where}.name: must be a text that names the service (got {name!r})")
    if kind not in _OWN:
        raise ServiceError(f"{where}.kind: must be one of {', '.join(_OWN)} (got {kind!r}, service {name})")
    allowed = _COMMON + _OWN[kind]
    for key in table:
        if key not in allowed:
            raise ServiceError(f"{where}.{key}: is no key of a {kind} service; they are {', '.join(allowed)}")
    for key in _REQUIRED[kind]:
        if not table.get(key):
            needed = ", ".join(_REQUIRED[kind])
            raise ServiceError(f"{where}.{key}: is missing; a {kind} service needs {needed} (service {name})")
    limits = {
        "start_limit_s": _seconds(where, table, "start_limit_s", START_LIMIT_S),
        "stop_limit_s": _seconds(where, table, "stop_limit_s", STOP_LIMIT_S),
    }
    given: dict[str, Any] = {"name": name, **limits, **{key: table[key] for key in _OWN[kind] if key in table}}
    try:
        if kind == "http":
            return HttpService(**given)
        file_name = quote(f"command-{prefix}-{name}" if prefix else f"command-{name}", safe=" ")
        return CommandService(**given, start_file=instance_dir / f"{file_name}.start" if instance_dir else None)
    except ValueError as error:
        raise ServiceError(f"{where}.{error} (service {name})") from None


def _seconds(where: str, table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
        raise ServiceError(f"{where}.{key}: must be a number of seconds above 0, at most 3600 (got {value!r})")
    return float(value)
