"""The rules between settings (spec 4), checked where settings are saved.

Each rule is one small function that yields the problems it sees. An *error* is a contradiction: the set is refused and
its field named. A *warning* is a rule that the guide's own examples break; it may be passed with a recorded reason.
The rule of I-D is arithmetic: the lease, (N-1)*T - stop - margin, must stay long enough to be renewed three times.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator

from .daily import SPAN_S_MAX, Times, minutes_of, portal_away_s_max
from .settings import (
    CHECK_MARGIN_S,
    INTERVAL_S_MAX,
    INTERVAL_S_MIN,
    LEASE_S_MIN,
    SLOWEST_CHECK_S,
    Problem,
    Settings,
    SettingsError,
    ip_of,
    parse_address,
)
from .terms import BalancerKind
from .timing import Timing

DAY_S, MINUTES_OF_DAY = 86_400.0, 1440
SHOWN_CHARS_MAX = 60  # of a wrong value in the sentence that refuses it

# field: lowest and highest value, unit. Upper limits stop typing errors, such as milliseconds entered as seconds.
BOUNDS: dict[str, tuple[float, float, str]] = {
    "interval_s": (INTERVAL_S_MIN, INTERVAL_S_MAX, "s"),
    "timeout_s": (0.05, INTERVAL_S_MAX, "s"),
    "threshold": (2, 10_000, "ticks"),
    "portal_restart_s": (0, DAY_S, "s"),
    "release_delay_s": (0, DAY_S, "s"),
    "service_stop_s": (0, DAY_S, "s"),
    "cti_connect_s": (0, DAY_S, "s"),
    "cti_ports": (0, 100_000, "ports"),
    "cti_devices": (0, 100_000, "devices"),
    "failback_stable_s": (0, 30 * DAY_S, "s"),
    "rtt_ms": (0, 60_000, "ms"),
    "agent_port": (1, 65_535, ""),
    "flap_budget": (1, 1000, "switches"),
    "flap_window_s": (1, 30 * DAY_S, "s"),
}


def check(settings: Settings, slowest_check_s: float = SLOWEST_CHECK_S) -> list[Problem]:
    """Every broken rule, errors first. An empty list: the set is good. slowest_check_s: limit of the slowest health check.

    The rules between durations are asked only when each number is in its own bounds, since they would mislead else.
    """
    problems = list(_bounds(settings))
    rules: list[Callable[[Settings], Iterator[Problem]]] = [
        _addresses,
        _vip,
        _balancer,
        _hosts,
        _times_of_day,
        _suspect,
    ]
    if not problems:
        rules += [_timing, lambda s: _slowest_check(s, slowest_check_s), _daily_restart]
    for rule in rules:
        problems += rule(settings)
    return sorted(problems, key=lambda problem: problem.severity)


def smallest_threshold(settings: Settings) -> int:
    """The smallest N whose lease is long enough (I-D), for this T and this stop time."""
    needed_s = settings.service_stop_s + Timing.of(settings).margin_s + LEASE_S_MIN
    return max(2, math.ceil(round(needed_s / settings.interval_s, 9)) + 1)


def vouching_threshold(settings: Settings) -> int:
    """The smallest N whose lease outlasts T + t, so that the peer's word alone keeps an active server (I1)."""
    needed_s = settings.service_stop_s + Timing.of(settings).margin_s + settings.interval_s + settings.timeout_s
    return max(2, math.ceil(round(needed_s / settings.interval_s, 9)) + 1)


def in_hours(text: str, minutes_of_day: int) -> bool:
    """Whether a time of day (local minutes since midnight, 0 to 1439) is in hours such as "22-5" or "08:00-17:30".

    The first minute is inside, the last one not; hours may pass midnight; empty text or equal ends mean always.
    Raises SettingsError("failback_hours") for another form.
    """
    if not text:
        return True
    start, end = _hours(text)
    if start == end:
        return True
    return start <= minutes_of_day < end if start < end else minutes_of_day >= start or minutes_of_day < end


def _error(field: str, message: str) -> Problem:
    return Problem(field=field, severity="error", message=message)


def _warning(field: str, message: str) -> Problem:
    return Problem(field=field, severity="warning", message=message)


def _bounds(settings: Settings) -> Iterator[Problem]:
    for name, (low, high, unit) in BOUNDS.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            yield _error(name, f"must be {low:g} to {high:g} {unit}".rstrip() + f", not {value:g}")


def _timing(settings: Settings) -> Iterator[Problem]:
    s = settings
    if s.timeout_s > s.interval_s:
        yield _error("timeout_s", f"must not exceed the heartbeat interval of {s.interval_s:g} s")
    timing = Timing.of(s)
    if timing.lease_s < LEASE_S_MIN - 1e-9:
        yield _error(
            "threshold",
            f"leaves an active server no time to stop before the other may start: (N-1)*T = {timing.hold_s:g} s must "
            f"hold a stop time of {s.service_stop_s:g} s, {timing.margin_s:g} s of margin, {LEASE_S_MIN:g} s of lease; "
            f"use at least {smallest_threshold(s)} failures, or shorten service_stop_s",
        )
    if s.timeout_s * 1000 < 2 * s.rtt_ms:
        yield _warning("timeout_s", f"is shorter than a new connection takes (two round trips of {s.rtt_ms} ms)")
    vouched_s = s.interval_s + s.timeout_s  # so old may the peer's last word be that this server is connected
    if LEASE_S_MIN <= timing.lease_s < vouched_s and len(s.lan_references) < 2:
        yield _warning(
            "threshold",
            f"leaves a lease of {timing.lease_s:.3g} s, less than T + t = {vouched_s:g} s: when the only LAN reference host "
            f"reboots, the active server may demote although the other one hears it; use at least {vouching_threshold(s)} "
            "failures, or enter a second LAN reference host",
        )
    if timing.hold_s <= s.portal_restart_s:
        yield _warning(
            "threshold",
            f"(N-1)*T = {timing.hold_s:g} s should be longer than a portal restart ({s.portal_restart_s:g} s); "
            f"restarting the portal of the active server will cause a failover",
        )


def _slowest_check(settings: Settings, slowest_check_s: float) -> Iterator[Problem]:
    if settings.timeout_s < slowest_check_s + CHECK_MARGIN_S:
        axl = " for AXL" if slowest_check_s == SLOWEST_CHECK_S else ""
        yield _warning(
            "timeout_s",
            f"should be at least the slowest health check ({slowest_check_s:g} s{axl}) + {CHECK_MARGIN_S:g} s; "
            f"a slow answer of a healthy server counts as a failure",
        )


def _daily_restart(settings: Settings) -> Iterator[Problem]:
    """The portal of the active server is away for a while each day: neither F1 nor P1 may take that for its death."""
    if minutes_of(settings.daily_restart) is None:
        return
    timing, times = Timing.of(settings), Times.of(settings)
    if times.span_s > SPAN_S_MAX:
        yield _error(
            "daily_restart",
            f"with these durations takes {times.span_s / 3600:.1f} h for both servers, longer than 12 h: shorten the "
            "heartbeat interval, the portal restart time or the start of the services",
        )
        return
    away_s, bearable_s = settings.portal_restart_s + settings.timeout_s, portal_away_s_max(timing)
    if bearable_s <= away_s:
        yield _warning(
            "daily_restart",
            f"would cause a failover every night: an active server stops when its portal does not answer for about "
            f"{max(0.0, bearable_s):.3g} s, (N-1)*T less stop time, margin and renewals, and a restart takes up to portal "
            f"restart time + t = {away_s:.3g} s; use more failures, or empty the daily restart time",
        )


def _suspect(settings: Settings) -> Iterator[Problem]:
    """Suspect mode: off, or an interval that a heartbeat may have and that is no longer than T."""
    value_s, longest_s = settings.suspect_interval_s, settings.interval_s
    if value_s and not INTERVAL_S_MIN <= value_s <= longest_s:
        yield _error(
            "suspect_interval_s",
            f"must be {INTERVAL_S_MIN:g} s to the heartbeat interval of {longest_s:g} s, not {value_s:g}; 0 turns it off",
        )


def _addresses(settings: Settings) -> Iterator[Problem]:
    hosts = []
    for name in ("server1_address", "server2_address"):
        text = getattr(settings, name)
        if not text:
            if settings.enabled:
                yield _error(name, "is needed before Hot Standby mode can be enabled")
            continue
        try:
            host = ipaddress.ip_address(parse_address(name, text).host)
        except SettingsError as error:
            yield _error(name, error.message)
            continue
        if host.is_unspecified or host.is_multicast:
            yield _error(name, f"{host} is no address of one server")
        hosts.append(host)
    if len(hosts) == 2 and hosts[0] == hosts[1]:
        yield _error("server2_address", f"must differ from server address #1 ({hosts[0]})")


def _server_hosts(settings: Settings) -> set[object]:
    hosts: set[object] = set()
    for name in ("server1_address", "server2_address"):
        try:
            hosts.add(ipaddress.ip_address(parse_address(name, getattr(settings, name)).host))
        except SettingsError:
            continue  # reported by _addresses
    return hosts


def _vip(settings: Settings) -> Iterator[Problem]:
    if not settings.vip_address:
        labels = {"vip_test": "Test VIP address destination", "vip_urls": "Use VIP address to build URLs"}
        for name, label in labels.items():
            if getattr(settings, name):
                yield _error("vip_address", f"is required by '{label}'")
        if settings.balancer_kind is BalancerKind.FLOATING:
            yield _error("vip_address", "is required by the balancer kind 'own floating address'")
        return
    try:
        host = ipaddress.ip_address(parse_address("vip_address", settings.vip_address).host)
    except SettingsError as error:
        yield _error("vip_address", error.message)
        return
    if host in _server_hosts(settings):
        yield _error("vip_address", f"must differ from the addresses of the two servers ({host})")


def _balancer(settings: Settings) -> Iterator[Problem]:
    s, kind = settings, settings.balancer_kind
    if kind is BalancerKind.WINDOWS_NLB:
        if s.vip_address:
            yield _warning("vip_address", "should be empty with Windows NLB (guide 3.1.1)")
        if s.application_error:
            yield _warning(
                "application_error", "should be off with Windows NLB, which cannot look at the answer (guide 3.1.2.2)"
            )
    if kind is BalancerKind.FLOATING and s.vip_test:
        yield _warning("vip_test", "tells nothing with an own floating address: who has it always reaches itself")
    if kind is BalancerKind.NONE and (s.vip_test or s.vip_urls):
        yield _warning("balancer_kind", "is none, but a setting uses the VIP of a balancer")
    if kind is BalancerKind.EXTERNAL and s.vip_test and s.failback:
        yield _warning(
            "failback",
            "together with the VIP test never fails back when the balancer follows mod=FT: it waits for server #1 to "
            "be active, and server #1 waits for the VIP; let the balancer poll mod=NONE or mod=IPSWS",
        )


def _hosts(settings: Settings) -> Iterator[Problem]:
    servers = _server_hosts(settings)
    if settings.witness:
        host = _host_port(settings.witness)
        if host is None:
            yield _error("witness", "must be IP:port, as 10.0.0.9:6379 or [2001:db8::9]:6379")
        elif host in servers:
            yield _error("witness", "must be a third host, not one of the two servers")
    if settings.vip_address:
        try:
            servers.add(ipaddress.ip_address(parse_address("vip_address", settings.vip_address).host))
        except SettingsError:
            pass  # reported by _vip
    for text in settings.lan_references:
        host = _host_port(text.removeprefix("tcp:")) if text.startswith("tcp:") else _host(text)
        if host is None:
            shown = text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"
            yield _error("lan_references", f"{shown!r} must be an address, as 10.0.0.1, or tcp:10.0.0.1:80")
        elif host in servers:
            yield _error("lan_references", f"{text!r} must be neither of the two servers nor the VIP")


def _host(text: str) -> object | None:
    try:
        return ip_of(text)
    except ValueError:
        return None


def _host_port(text: str) -> object | None:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})", text)
    if match is None or not 1 <= int(match[3]) <= 65_535:
        return None
    return _host(match[1] or match[2])


def _times_of_day(settings: Settings) -> Iterator[Problem]:
    if settings.failback_hours:
        try:
            _hours(settings.failback_hours)
        except SettingsError as error:
            yield _error(error.field, error.message)
    if settings.daily_restart and minutes_of(settings.daily_restart) is None:
        yield _error("daily_restart", "must be a time of day as HH:MM, from 00:00 to 23:59; empty: no daily restart")


def _hours(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    ends = _minutes(start.strip()), _minutes(end.strip())
    if not dash or ends[0] is None or ends[1] is None:
        raise SettingsError("failback_hours", "must be hours as 22-5 or 08:00-17:30", text)
    return ends[0] % MINUTES_OF_DAY, ends[1] % MINUTES_OF_DAY


def _minutes(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,2})(?::(\d{2}))?", text)
    if match is None:
        return None
    hours, minutes = int(match[1]), int(match[2] or 0)
    if minutes > 59 or hours > (24 if minutes == 0 else 23):
        return None
    return 60 * hours + minutes
