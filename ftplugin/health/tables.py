"""FT_HEALTH: the tables of the node's own checks, read and refused here; ``workers.adapters.checks`` makes them.

A mistake names the field, the value and the way out; the value of a password is never named. The standard library alone:
the guard reads the configuration too.
"""

from __future__ import annotations

import ipaddress
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .checks import TIMEOUT_S_DEFAULT, TIMEOUT_S_MAX, TIMEOUT_S_MIN

NAME = re.compile(r"\w[\w .-]{0,39}")
ENDPOINT = re.compile(r"(?:\[(?P<bare>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")
RESERVED = ("database", "disk")  # the agent's own, which are always there
SERVICE_PREFIX = "service "
SERVICE_MARGIN_S = 1.0  # over the limit of a service's own status
TEXT_CHARS_MAX = 500
FREE_MB_MIN_DEFAULT = 50
SILENT_S_DEFAULT = 30.0


class HealthTableError(ValueError):
    """A table is wrong; the message names the field, its value and the way out."""


@dataclass(frozen=True, kw_only=True)
class HealthTable:
    """One checked table. ``options``: what its kind adds, with its defaults; may hold a password, so it is never shown."""

    name: str
    kind: str
    timeout_s: float
    shared: bool
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class _Option:
    """``read``: gives the value to use, or raises ValueError saying what it must be."""

    read: Callable[[Any], Any]
    default: Any = None
    needed: bool = False
    secret: bool = False


@dataclass(frozen=True)
class _Kind:
    timeout_s: float
    shared: bool
    options: Mapping[str, _Option]


def name_problem(name: object) -> str:
    """Why a check may not be called so, or ""."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return "must be 1 to 40 letters, digits, blanks, dots, - or _, and begin with a letter or digit"
    if name in RESERVED or name.startswith(SERVICE_PREFIX):
        return "is a name of the agent's own checks; choose another"
    return ""


def service_timeout_s(status_limit_s: float) -> float:
    """Limit of the check of a service, seconds: one that answers within its own ``status_limit_s`` is not too late."""
    return max(TIMEOUT_S_DEFAULT, status_limit_s + SERVICE_MARGIN_S)


def timeout_of(value: object) -> float:
    """Seconds of a limit. Raises ValueError saying what it must be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not TIMEOUT_S_MIN <= value <= TIMEOUT_S_MAX:
        raise ValueError(f"must be {TIMEOUT_S_MIN:g} to {TIMEOUT_S_MAX:g} seconds")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_CHARS_MAX or not value.isprintable():
        raise ValueError(f"must be a text of 1 to {TEXT_CHARS_MAX} characters")
    return value


def _user(value: Any) -> str:
    if ":" in _text(value):
        raise ValueError("must have no colon, which basic authentication cannot carry")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _web(*schemes: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        wanted = f"must be an address such as {schemes[-1]}://10.0.0.5:8443/"
        try:
            parts = urlsplit(_text(value))
            port = parts.port
        except ValueError:
            raise ValueError(wanted) from None
        if parts.scheme not in schemes or not parts.hostname or port == 0 or " " in value or parts.fragment:
            raise ValueError(wanted)
        if parts.username is not None or parts.password is not None:
            raise ValueError("must not hold a user or password; give them as keys of their own")
        return str(value)

    return read


def _endpoint(value: Any) -> tuple[str, int]:
    """("10.0.0.5", 2748) of "10.0.0.5:2748" or "[2001:db8::5]:2748"."""
    match = ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match["port"]) <= 65_535:
        raise ValueError("each must be HOST:PORT, as 10.0.0.5:2748")
    return match["bare"] or match["host"], int(match["port"])


def _endpoints(value: Any) -> tuple[tuple[str, int], ...]:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= 16:
        raise ValueError('must be a list of 1 to 16 addresses, as ["10.0.0.5:2748", "10.0.0.5:2749"]')
    return tuple(_endpoint(one) for one in value)


def _addresses(value: Any) -> tuple[str, ...]:
    """Each as ``str(ip_address)`` writes it, so that two spellings are one."""
    wanted = 'must be a list of 1 to 16 IP addresses, as ["10.0.0.9", "10.0.0.10"]'
    if (
        not isinstance(value, (list, tuple))
        or not 0 < len(value) <= 16
        or not all(isinstance(one, str) for one in value)
    ):
        raise ValueError(wanted)
    try:
        return tuple(str(ipaddress.ip_address(one)) for one in value)
    except ValueError:
        raise ValueError(wanted) from None


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 2 <= value <= 3600:
        raise ValueError("must be 2 to 3600 seconds")  # a portal writes who asked once a second
    return float(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return str(value)

    return read


def _version(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,2}\.\d{1,2}", value):
        raise ValueError('must be the AXL version in quotes, as "12.5"')
    return value


def _file(value: Any) -> str:
    if value and not pathlib.PurePath(_text(value)).is_absolute():
        raise ValueError("must be the whole path of a file, beginning with /")
    return str(value)


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise ValueError("must be a status code from 200 to 599")
    return value


def _megabytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000_000:
        raise ValueError("must be a whole number of MiB, 1 to 10000000")
    return value


def _database(value: Any) -> str:
    wanted = "must be a URL as postgresql+psycopg://USER:PASSWORD@10.0.0.5/NAME, or mysql+pymysql://…"
    backend = str(value).partition(":")[0].partition("+")[0]
    if "://" not in _text(value) or backend not in ("postgresql", "mysql", "mariadb"):
        raise ValueError(wanted)
    place = value.partition("://")[2].partition("@")  # as SQLAlchemy reads it: the password ends at the first @
    host = (place[2] or place[0]).partition("/")[0]
    try:
        written = "@" not in host and urlsplit(f"//{host}").port != 0
    except ValueError:
        written = False
    if not written:
        raise ValueError(f"{wanted}, with @ : / % of a password as %40 %3A %2F %25")
    return str(value)


def _command(value: Any) -> tuple[str, ...]:
    words = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or words[0][:1] != "/":
        raise ValueError(
            'must be a list of texts, the first a whole path, as ["/usr/lib/nagios/plugins/check_ntp_time", "-H", …]'
        )
    return words


_TLS = {"ca_file": _Option(_file, ""), "verify": _Option(_flag, True)}
KINDS: Mapping[str, _Kind] = {
    "axl": _Kind(
        7.0,
        True,
        {
            "url": _Option(_web("https"), needed=True),  # not http: the password would travel in clear
            "user": _Option(_user, needed=True),
            "password": _Option(_text, needed=True, secret=True),
            "version": _Option(_version, "12.5"),
            **_TLS,
        },
    ),
    "tcp": _Kind(
        3.0,
        True,
        {"addresses": _Option(_endpoints, needed=True), "need": _Option(_one_of("all", "any"), "all")},
    ),
    "http": _Kind(
        5.0,
        True,
        {
            "url": _Option(_web("http", "https"), needed=True),
            "status": _Option(_status, 200),
            "text": _Option(_text, ""),
            **_TLS,
        },
    ),
    "disk": _Kind(
        3.0, False, {"path": _Option(_file, needed=True), "free_mb_min": _Option(_megabytes, FREE_MB_MIN_DEFAULT)}
    ),
    "database": _Kind(3.0, False, {"url": _Option(_database, needed=True, secret=True)}),
    "command": _Kind(5.0, False, {"command": _Option(_command, needed=True)}),
    "probers": _Kind(
        3.0, True, {"addresses": _Option(_addresses, needed=True), "silent_s": _Option(_seconds, SILENT_S_DEFAULT)}
    ),
}
COMMON = ("name", "kind", "timeout_s", "shared")


def read_tables(tables: Sequence[Any]) -> tuple[HealthTable, ...]:
    """The tables of FT_HEALTH, checked. Raises HealthTableError for the first mistake."""
    found: list[HealthTable] = []
    for index, table in enumerate(tables, start=1):
        read = _read(f"FT_HEALTH[{index}]", table)
        if any(read.name == other.name for other in found):
            raise HealthTableError(
                f"FT_HEALTH[{index}].name: {read.name!r} is taken: each check needs a name of its own"
            )
        found.append(read)
    return tuple(found)


def _read(where: str, table: Any) -> HealthTable:
    if not isinstance(table, Mapping):
        raise HealthTableError(f"{where}: must be a table with name and kind (got {type(table).__name__})")
    name, kind = table.get("name"), _kind(where, table)
    if problem := name_problem(name):
        raise HealthTableError(f"{where}.name: {problem} (got {name!r})")
    for key in table:
        if key not in COMMON and key not in kind.options:
            known = ", ".join((*COMMON, *kind.options))
            raise HealthTableError(f"{where}.{key}: kind {table['kind']!r} has no such key; it knows {known}")
    return HealthTable(
        name=str(name),
        kind=str(table["kind"]),
        timeout_s=_value(where, "timeout_s", _Option(timeout_of, kind.timeout_s), table),
        shared=_value(where, "shared", _Option(_flag, kind.shared), table),
        options={key: _value(where, key, option, table) for key, option in kind.options.items()},
    )


def _kind(where: str, table: Mapping[str, Any]) -> _Kind:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise HealthTableError(f"{where}.kind: must be one of {', '.join(KINDS)} (got {kind!r})")
    return KINDS[kind]


def _value(where: str, key: str, option: _Option, table: Mapping[str, Any]) -> Any:
    if key not in table:
        if option.needed:
            raise HealthTableError(f"{where}.{key}: is missing; kind {table['kind']!r} needs it")
        return option.default
    try:
        return option.read(table[key])
    except ValueError as error:
        hidden = option.secret or "@" in str(table[key])  # a URL may hold a password where none belongs
        got = "" if hidden else f" (got {table[key]!r})"
        raise HealthTableError(f"{where}.{key}: {error}{got}") from None
