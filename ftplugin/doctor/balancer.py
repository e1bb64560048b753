"""The balancer's view: whom the VIP reaches, and whether the URL that it should poll answers as the settings want."""

from __future__ import annotations

import ipaddress

from ftplugin import interfaces
from ftplugin.core.settings import parse_address
from ftplugin.core.terms import BalancerKind, Designation
from ftplugin.state import lease_left_s

from .finding import Answers, Finding, Place, Report, Subject
from .portal_http import FAILURES, Heard, fetch, hear, in_words

QUESTIONS = 2  # a VIP that is on both servers, or a balancer that spreads, shows at the second
POLL_TODO = "Let the balancer poll {} (docs/balancers.md), with the same T, t and N."


def ask_vip(where: Place) -> Heard | None:
    """One question to the VIP; None when there is none, or this host has it and would reach itself."""
    if not where.settings.vip_address:
        return None
    address = parse_address("vip_address", where.settings.vip_address)
    if ipaddress.ip_address(address.host) in interfaces.addresses():
        return None
    paths = (where.path("monitor"), where.path("node/state"))
    return hear(where.portal.config.secret_keys, where.me, None, address, paths, where.limit_s, where.portal.config.tls)


def vip(where: Place, answers: Answers) -> list[Finding]:
    """The VIP reaches one of the two servers, and that one is active."""
    report = Report(id="balancer.vip", subject=Subject.BALANCER)
    text = where.settings.vip_address
    if not text:
        return [report.ok(f"No VIP is set (balancer kind {where.settings.balancer_kind}); it is not looked at.")]
    if not answers.vip:
        todo = "Run the doctor on the other server: it is not tested from the server that holds the VIP."
        return [report.unknown(f"This host has the VIP {text} itself and always reaches itself.", todo)]
    states = [heard.state for heard in answers.vip if heard.state is not None]
    reached = {state.designation for state in states}
    if not states:
        heard = answers.vip[0]
        if heard.cause == "silent":
            todo = "Start the balancer, and look at its own list of servers: it may hold both for dead."
            return [report.wrong(f"Nobody answers at the VIP {text}: {heard.problem}.", todo)]
        todo = "Look at the balancer's list of servers, and let it pass the headers X-FT-Ask and X-FT-State."
        return [report.wrong(f"At the VIP {text} neither server answers with its signature: {heard.problem}.", todo)]
    if len(reached) == 2:
        todo = "Let the balancer send to one server only, and look whether both hosts have the VIP."
        return [report.wrong(f"The VIP {text} reaches both servers.", todo)]
    [place] = reached
    active = _active(where, answers)
    if active is None:
        return [
            report.unknown(f"The VIP {text} reaches {place}; which server is active is not known.", "See 'ft status'.")
        ]
    if place is active:
        return [report.ok(f"The VIP {text} reaches {place}, which is active.")]
    follows = (
        "With the VIP test the pair will follow it." if where.settings.vip_test else "Users reach the wrong server."
    )
    todo = f"{follows} {POLL_TODO.format(where.path('active'))}"
    return [report.wrong(f"The VIP {text} reaches {place}, but {active} is active.", todo)]


def _active(where: Place, answers: Answers) -> Designation | None:
    record, clock = answers.snapshot.role, where.portal.clock
    if record is not None and lease_left_s(record, clock.boot_id, clock.now_s(), clock.wall_s()) > 0:
        return where.me
    states = [answers.peer.state, *(heard.state for heard in answers.vip)]
    return where.me.other if any(s and s.designation is where.me.other and s.is_active for s in states) else None


def polled(where: Place) -> list[Finding]:
    """The URL that follows from the settings, asked of the own portal as a balancer does: no login, no redirect."""
    report = Report(id="balancer.url", subject=Subject.BALANCER)
    if where.settings.balancer_kind is BalancerKind.NONE:
        return [report.ok("There is no balancer (balancer kind none).")]
    mode, wanted = ("IPSWS", "IPSWS=OK") if where.settings.application_error else ("NONE", "OK")
    target = f"{where.path('monitor')}?mod={mode}"
    todo = POLL_TODO.format(f"{target}, or {where.path('active')} to follow the role")
    asked = [(target, wanted), (where.path("monitor") + "?mod=FT", "")]
    for path, begin in asked:
        try:
            page = fetch(where.address_of(where.me), path, where.limit_s, tls=where.portal.config.tls)
        except FAILURES as error:
            why = in_words(error, where.limit_s)
            return [report.wrong(f"The balancer's URL {path} on this server: {why}.", "Make the portal answer.")]
        word = page.body.splitlines()[0][:60] if page.body else "an empty body"
        good = page.status == 200 and (page.body.startswith(begin) if begin else page.body in ("ACTIVE", "STANDBY"))
        if not good and page.status == 200 and begin == "IPSWS=OK" and page.body.startswith("IPSWS=KO"):
            todo = "Cure the failed health check; until then the balancer takes this server out."
            return [report.wrong(f"{path} on this server says {', '.join(page.body.splitlines()[:3])}.", todo)]
        if not good:
            found = f"{path} on this server answers HTTP status {page.status}, {word!r}."
            return [
                report.wrong(found, "Let nothing of the portal, such as its login, answer before the monitor does.")
            ]
    setting = "on" if where.settings.application_error else "off"
    return [report.ok(f"With application error {setting}: {target} answers as it should. {todo}")]
