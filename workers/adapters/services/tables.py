"""FT_SERVICES: what each table may say, and in which order the services start.

A kind is a callable with two attributes, ``KEYS`` (what its table may have beside the common keys) and ``REQUIRED``.
It is called with ``Common`` and those keys, and raises ValueError("FIELD: what is wrong and the way out"). The product's
own are below; others come as entry points (foreign.py).
"""

from __future__ import annotations

import importlib
import pathlib
from typing import Any, Mapping, Sequence
from urllib.parse import quote

from ftplugin.config import STOP_LIMIT_S
from ftplugin.core import start

from .common import Common, Service, ServiceError

START_LIMIT_S, STATUS_LIMIT_S = 60.0, 2.0
LIMIT_S_MAX = 3600.0
LIMITS = ("start_limit_s", "stop_limit_s", "status_limit_s")
COMMON = ("name", "kind", "after", *LIMITS, *start.KEYS)
# The product's own; one is imported once a table names it: a process of the agent pays for no other
KINDS = {
    "http": "HttpService",
    "command": "CommandService",
    "systemd": "SystemdService",
    "supervisord": "SupervisordService",
    "ocf": "OcfService",
}


def own_kind(name: str) -> Any:
    """The class of one of ``KINDS``, from the module of that name."""
    return getattr(importlib.import_module(f"{__package__}.{name}"), KINDS[name])


def build(
    tables: Sequence[Mapping[str, Any]],
    instance_dir: pathlib.Path | None = None,
    prefix: str = "",
    *,
    ask_outside: bool = True,
) -> list[Service]:
    """Controllers in the order of promotion: that of ``tables``, each behind what it is to start after.

    instance_dir: where controllers keep what this node's processes must share; with None each process knows only its own
    starts. prefix, ask_outside: see ``Common``. Raises ServiceError.
    """
    names: list[str] = []
    for index, table in enumerate(tables, start=1):
        where = f"FT_SERVICES[{index}]"
        if not isinstance(table, Mapping):
            raise ServiceError(f"{where}: must be a table with name and kind (got {table!r})")
        name = table.get("name")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ServiceError(f"{where}.name: must be a line of text that names the service (got {name!r})")
        if name in names:
            raise ServiceError(f"{where}.name: {name!r} is taken: give each service its own name")
        names.append(name)
    order = _order(tables, names)
    made = [build_one(f"FT_SERVICES[{i}]", t, instance_dir, prefix, ask_outside) for i, t in enumerate(tables, start=1)]
    return [made[number] for number in order]


def _order(tables: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[int]:
    """Places in ``tables``, so that each comes after those it names, and else as they stand there."""
    before: list[set[int]] = []
    for index, table in enumerate(tables, start=1):
        after = table.get("after", [])
        where = f"FT_SERVICES[{index}].after"
        if not isinstance(after, (list, tuple)) or not all(isinstance(word, str) for word in after):
            raise ServiceError(f'{where}: must be a list of service names, as ["database"] (got {after!r})')
        for word in after:
            if word not in names:
                known = ", ".join(names)
                raise ServiceError(f"{where}: there is no service {word!r}; name one of: {known} (got {list(after)!r})")
        before.append({names.index(word) for word in after})
    order: list[int] = []
    while len(order) < len(names):
        free = [n for n in range(len(names)) if n not in order and before[n] <= set(order)]
        if not free:
            raise ServiceError(_circle(names, before, set(order)))
        order.append(free[0])
    return order


def _circle(names: Sequence[str], before: Sequence[set[int]], done: set[int]) -> str:
    """In words: follows the first missing service of each until one comes twice."""
    path = [next(n for n in range(len(names)) if n not in done)]
    while path.count(path[-1]) < 2:
        path.append(min(before[path[-1]] - done))
    circle = path[path.index(path[-1]) :]
    told = " after ".join(names[n] for n in circle)
    return f"FT_SERVICES[{circle[0] + 1}].after: nothing could start, {told}: take one of them out"


def build_one(
    where: str,
    table: Mapping[str, Any],
    instance_dir: pathlib.Path | None,
    prefix: str,
    ask_outside: bool,
    *,
    at_boot: bool = False,
) -> Service:
    """The controller of one table, which has a name; ``where`` names the table in messages. The others: as of ``build``
    and ``Common``. Raises ServiceError."""
    name, kind_name = str(table["name"]), table.get("kind")
    kind = _kind(where, name, kind_name)
    allowed = (*COMMON, *kind.KEYS)
    for key in table:
        if key not in allowed:
            known = ", ".join(allowed)
            raise ServiceError(f"{where}.{key}: is no key of a {kind_name} service; they are {known} (service {name})")
    for key in kind.REQUIRED:
        if table.get(key) in (None, "", [], {}):
            needed = ", ".join(kind.REQUIRED)
            raise ServiceError(f"{where}.{key}: is missing; a {kind_name} service needs {needed} (service {name})")
    file_name = quote(f"{kind_name}-{name}", safe=" ")
    common = Common(
        name=name,
        start_limit_s=_seconds(where, table, "start_limit_s", START_LIMIT_S),
        stop_limit_s=_seconds(where, table, "stop_limit_s", STOP_LIMIT_S),
        status_limit_s=_seconds(where, table, "status_limit_s", getattr(kind, "STATUS_LIMIT_S", STATUS_LIMIT_S)),
        start_file=instance_dir / f"{file_name}.start" if instance_dir else None,
        ask_outside=ask_outside,
        prefix=prefix,
        at_boot=at_boot,
    )
    _check_expected_start(where, table, common.start_limit_s)
    own = {key: table[key] for key in kind.KEYS if key in table}
    try:
        made: Service = kind(common, **own)
    except ValueError as error:
        raise ServiceError(f"{where}.{error} (service {name})") from None
    return made


def _kind(where: str, name: str, kind: Any) -> Any:
    if isinstance(kind, str) and kind in KINDS:
        return own_kind(kind)
    from . import foreign  # reads what is installed: 1 MiB that most nodes need not pay

    known = ", ".join([*KINDS, *sorted(foreign.names() - set(KINDS))])
    if not isinstance(kind, str) or kind not in foreign.names():
        raise ServiceError(f"{where}.kind: must be one of {known} (got {kind!r}, service {name})")
    try:
        return foreign.load(kind)
    except foreign.Broken as error:
        raise ServiceError(f"{where}.kind: {error} (service {name})") from None


def _check_expected_start(where: str, table: Mapping[str, Any], limit_s: float) -> None:
    """A start that is expected to outlast its limit would be given up every time."""
    try:
        expected_s = start.expected_start_s(table) or 0.0
    except ValueError as error:
        raise ServiceError(f"{where}.{error} (service {table['name']})") from None
    if expected_s >= limit_s:
        text = f"must be above the expected start of {expected_s:g} s (got {limit_s:g}, service {table['name']})"
        raise ServiceError(f"{where}.start_limit_s: {text}")


def _seconds(where: str, table: Mapping[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LIMIT_S_MAX:
        text = f"must be a number of seconds above 0, at most 3600 (got {value!r}, service {table['name']})"
        raise ServiceError(f"{where}.{key}: {text}")
    return float(value)
