"""The settings of the Hot Standby screen (spec 4), their defaults, and the rules between them.

Two kinds of rule, told apart by what an administrator may do about them: an *error* is a contradiction and is refused
with its field named; a *warning* is a rule that the guide's own examples break (20x3 against a portal that needs 60 s)
and may be overridden with a reason that is recorded.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Iterable, Mapping
from urllib.parse import urlsplit
from zlib import crc32

from .terms import BalancerKind, Designation

INTERVAL_S_MIN, INTERVAL_S_MAX = 0.2, 3600.0  # spec 4
LEASE_S_MIN = 0.3  # three renewals of 100 ms; below that scheduling jitter alone loses the lease
SLOWEST_CHECK_S = 7.0  # guide 3.1.2.4: AXL timeout
CHECK_MARGIN_S = 3.0  # guide 3.1.2.4: timeout = AXL timeout + 3 s


class SettingsError(ValueError):
    """One field is wrong. ``field`` names it, ``value`` is what was given, the message says the way out."""

    def __init__(self, field: str, message: str, value: object = None) -> None:
        super().__init__(f"{field}: {message}" + (f" (got {value!r})" if value is not None else ""))
        self.field, self.message, self.value = field, message, value


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One broken rule. ``severity`` is "error" (refused) or "warning" (may be overridden with a reason)."""

    field: str
    severity: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Replicated settings, equal on both nodes. Units are in the names; T, t, N are the spec's letters."""

    server1_address: str = ""
    server2_address: str = ""
    enabled: bool = False
    vip_address: str = ""
    balancer_kind: BalancerKind = BalancerKind.EXTERNAL
    vip_test: bool = False
    vip_urls: bool = False
    application_error: bool = False
    failback: bool = False
    failback_stable_s: float = 0.0
    failback_hours: str = ""
    timeout_s: float = 10.0  # t
    interval_s: float = 30.0  # T
    threshold: int = 5  # N
    suspect_interval_s: float = 0.0  # between probes after a bad one; 0: off
    portal_restart_s: float = 60.0
    release_delay_s: float = 60.0
    service_stop_s: float = 5.0
    cti_connect_s: float = 3.0
    cti_ports: int = 0
    cti_devices: int = 0
    lan_references: tuple[str, ...] = ()
    witness: str = ""
    rtt_ms: int = 1000
    agent_port: int = 2011
    flap_budget: int = 3
    flap_window_s: float = 3600.0
    daily_restart: str = ""

    def address_of(self, designation: Designation) -> str:
        return self.server1_address if designation is Designation.SERVER1 else self.server2_address

    @property
    def mark(self) -> str:
        """Eight characters that tell two sets of values apart: one revision number may have been given to both."""
        return f"{crc32(repr(self).encode()):08x}"

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values, keys as the field names."""
        return {
            f.name: (
                list(v)
                if isinstance(v := getattr(self, f.name), tuple)
                else str(v) if isinstance(v, BalancerKind) else v
            )
            for f in fields(self)
        }


NAMES = tuple(f.name for f in fields(Settings))
_DEFAULTS = Settings()
_TRUE, _FALSE = {"1", "true", "yes", "on", "y"}, {"0", "false", "no", "off", "n", ""}


def parse(values: Mapping[str, Any], base: Settings | None = None) -> Settings:
    """Settings from strings or JSON values, every other field from ``base`` (or the defaults).

    Raises SettingsError naming the field when a key is unknown or a value is not of its type.
    """
    changes: dict[str, Any] = {}
    for name, raw in values.items():
        if name not in NAMES:
            raise SettingsError(name, f"is no setting; the settings are {', '.join(NAMES)}")
        changes[name] = _convert(name, raw)
    return replace(base or _DEFAULTS, **changes)


def _convert(name: str, raw: Any) -> Any:
    default = getattr(_DEFAULTS, name)
    try:
        if isinstance(default, bool):
            return _to_bool(raw)
        if isinstance(default, BalancerKind):
            return BalancerKind(str(raw).strip())
        if isinstance(default, int):
            if isinstance(raw, bool) or (isinstance(raw, float) and not raw.is_integer()):
                raise ValueError
            return int(str(raw).strip()) if not isinstance(raw, float) else int(raw)
        if isinstance(default, float):
            number = float(raw)
            if isinstance(raw, bool) or number != number or number in (float("inf"), float("-inf")):
                raise ValueError
            return number
        if isinstance(default, tuple):
            parts: Iterable[Any] = re.split(r"[,\s]+", raw.strip()) if isinstance(raw, str) else raw
            return tuple(str(p).strip() for p in parts if str(p).strip())
        if not isinstance(raw, str):
            raise ValueError
        return raw.strip()
    except (ValueError, TypeError, AttributeError):
        wanted = {bool: "yes or no", int: "a whole number", float: "a number", tuple: "a list of hosts", str: "text"}
        kind = "one of " + ", ".join(BalancerKind) if isinstance(default, BalancerKind) else wanted[type(default)]
        raise SettingsError(name, f"must be {kind}", raw) from None


def _to_bool(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address with optional scheme and port, as the screen accepts it."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """``http://10.0.0.1:8080``; IPv6 in brackets; the scheme's own port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == default else f":{self.port}")


def ip_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address; its scope, as in fe80::1%eth0, must be the name of an interface. Raises ValueError."""
    if "%" in text and not re.fullmatch(r"[^%]+%[A-Za-z0-9_.-]{1,15}", text):
        raise ValueError(text)
    return ipaddress.ip_address(text)


def parse_address(field: str, text: str) -> Address:
    """``[http://|https://]IP[:port]`` to an Address. Raises SettingsError naming ``field``."""
    body = text.strip()
    if "://" not in body:
        try:  # a bare IPv6 address has colons but no port
            ipaddress.ip_address(body)
            body = f"[{body}]" if ":" in body else body
        except ValueError:
            pass
        body = "http://" + body
    try:
        parts = urlsplit(body)
        port, host = parts.port, parts.hostname or ""
        ip_of(host)
        if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError
        if port is not None and port < 1:
            raise ValueError
    except ValueError:
        raise SettingsError(
            field, "must be an IPv4 or IPv6 address, with an optional http:// or https:// and :port", text
        ) from None
    return Address(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))


@lru_cache(maxsize=64)
def designation_of(own_address: str, settings: Settings) -> Designation:
    """Which server this node is. Raises SettingsError("own_address") unless it equals #1 or #2 (spec 4)."""
    own = parse_address("own_address", own_address)
    for designation in Designation:
        text = settings.address_of(designation)
        if not text:
            continue
        candidate = parse_address(f"{designation}_address", text)
        if ipaddress.ip_address(candidate.host) == ipaddress.ip_address(own.host) and candidate.port == own.port:
            return designation
    raise SettingsError("own_address", "must equal server address #1 or #2", own_address)
