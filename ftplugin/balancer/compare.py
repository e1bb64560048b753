"""Where a balancer's file differs from the settings, and what that does."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from ftplugin.core.settings import Settings

from . import keepalived
from .plan import Follow, Options, Plan, host_port
from .reading import Reading

ROLE_URLS = ("/active", "/monitor?mod=ft", "monitor.aspx?mod=ft")
LEGACY = "/ipscfg/admin/monitor.aspx"
EVERY_ADDRESS = ("*", "", str(ipaddress.IPv4Address(0)), str(ipaddress.IPv6Address(0)))
TIME_SHARE = 0.02  # what differs by less is rounding


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One line of the list. ``what`` names it; ``effect``: what it does, empty when that is plain."""

    what: str
    found: str
    wanted: str
    effect: str = ""

    def to_json(self) -> dict[str, str]:
        """As a plain dict."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The differences, and what could not be read."""

    follow: Follow
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(reading: Reading, settings: Settings, revision: int, options: Options = Options()) -> Comparison:
    """Differences of the file from what the settings ask for; who decides is taken from the file's URL, unless it is given.

    Raises SettingsError when the settings themselves cannot be given to a balancer.
    """
    if not options.follow and (reading.url or reading.leads):
        role = not reading.leads and reading.url.lower().endswith(ROLE_URLS)
        options = replace(options, follow=Follow.ROLE if role else Follow.LEAD)
    plan = Plan.of(settings, revision, options)
    if reading.kind == "keepalived":
        plan = keepalived.paced(plan)
    return Comparison(follow=plan.follow, differences=tuple(_differences(reading, plan)), notes=reading.notes)


def down_s(interval_s: float, timeout_s: float, fall: int) -> float:
    """Until a silent server is out, from the first question that it does not answer."""
    return (fall - 1) * max(interval_s, timeout_s) + timeout_s


def earlier_text(balancer_s: float, settings: Settings) -> str:
    """``It will switch 8 s before the pair.``; empty for less than one interval. Counted from the first bad answer."""
    pair_s = (settings.threshold - 1) * settings.interval_s + settings.timeout_s
    apart_s = pair_s - balancer_s
    if abs(apart_s) < settings.interval_s * 0.9:
        return ""
    return f"It will switch {abs(apart_s):.3g} s {'before' if apart_s > 0 else 'after'} the pair."


def _differences(reading: Reading, plan: Plan) -> Iterator[Difference]:
    wanted_servers = tuple(host_port(address) for address in plan.servers)
    if reading.servers and {_plain(s) for s in reading.servers} != {_plain(s) for s in wanted_servers}:
        yield Difference(what="servers", found=", ".join(reading.servers), wanted=", ".join(wanted_servers))
    elif reading.leads and _plain(reading.servers[0]) != _plain(wanted_servers[0]):
        yield Difference(what="first server", found=reading.servers[0], wanted=wanted_servers[0])
    if reading.vip and not _same_vip(reading, plan):
        yield Difference(what="VIP", found=reading.vip, wanted=host_port(plan.vip))
    yield from _question(reading, plan)
    yield from _times(reading, plan)


def _question(reading: Reading, plan: Plan) -> Iterator[Difference]:
    if reading.kind == "nginx" and not reading.url:
        return
    good = plan.begin or "200"
    other_body = plan.follow is Follow.ROLE and reading.url.lower().endswith(ROLE_URLS[1:])
    if not (reading.url == plan.path or other_body or _legacy(reading.url, plan)):
        effect = "" if reading.url else "It does not ask the portal at all."
        yield Difference(what="URL", found=reading.url or "none", wanted=plan.path, effect=effect)
    if other_body:
        good = "ACTIVE"
    if reading.good != good and (reading.url or reading.good):
        effect = "It believes answers that the pair takes for bad." if plan.begin or other_body else ""
        yield Difference(what="good answer", found=reading.good or "not looked at", wanted=good, effect=effect)


def _legacy(url: str, plan: Plan) -> bool:
    """The old address of the monitor asks the same (FT_LEGACY_URLS)."""
    path, _, query = url.partition("?")
    wanted = plan.path.partition("?")[2]
    return bool(wanted) and path.lower() == LEGACY and query.lower() == wanted.lower()


def _times(reading: Reading, plan: Plan) -> Iterator[Difference]:
    found_s, limit_s, fall = reading.interval_s, reading.timeout_s, reading.fall
    effect = ""
    if plan.follow is Follow.LEAD and None not in (found_s, fall):
        limit = plan.timeout_s if limit_s is None else limit_s
        effect = earlier_text(down_s(found_s or 0.0, limit, fall or 0), plan.settings)
    for what, found, wanted in (
        ("interval", found_s, plan.interval_s),
        ("time limit", limit_s, plan.timeout_s),
    ):
        if found is not None and abs(found - wanted) > TIME_SHARE * wanted:
            yield Difference(what=what, found=f"{found:g} s", wanted=f"{wanted:g} s", effect=effect)
            effect = ""
    for what, count, wanted_count in (
        ("failures until out", fall, plan.fall),
        ("successes until in", reading.rise, plan.rise),
    ):
        if count is not None and count != wanted_count:
            yield Difference(what=what, found=str(count), wanted=str(wanted_count), effect=effect)
            effect = ""
    if plan.follow is Follow.ROLE and reading.leads:
        yield Difference(what="preference", found="the first server before the others", wanted="none, the role decides")


def _plain(text: str) -> tuple[str, str]:
    """(address, port) in one spelling; 80 without a port."""
    found = re.fullmatch(r"\[?(.*?)\]?(?::(\d+))?", text if text.count(":") < 2 or "]" in text else f"[{text}]")
    host, port = (found[1], found[2] or "80") if found else (text, "80")
    try:
        return str(ipaddress.ip_address(host)), port
    except ValueError:
        return host.lower(), port


def _same_vip(reading: Reading, plan: Plan) -> bool:
    host, port = _plain(reading.vip)
    if reading.kind == "keepalived":  # an address without a port
        return host == plan.vip.host
    return port == str(plan.vip.port) and host in (plan.vip.host, *EVERY_ADDRESS)
