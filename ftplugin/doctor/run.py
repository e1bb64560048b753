"""Runs the checks: what several need is asked once, everything side by side, under one limit.

Threads are daemons that are left behind when late: whatever is dead, the command ends. A check that raises becomes a
finding "unknown", and its traceback goes into FT_REPORT, never onto the screen.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftplugin.core.settings import Settings
from ftplugin.health import reading
from ftplugin.state import AGENT

from . import balancer, channel, lan, monitor_allow, node, own_redis, pair, place, service_checks
from .finding import Answers, Finding, Place, Report, Status, Subject, without_secrets, worst_first
from .portal_http import Heard

if TYPE_CHECKING:
    from ftplugin.extension import Portal

LIMIT_S = 2.0
GRACE_S = 0.3  # so that a question's own words about its limit come before "late"
SOURCE = "doctor"
DOCUMENTS = (AGENT, *reading.DOCUMENTS, "view", "pause", "drain")

Ask = Callable[[Place], list[Finding]]
Judge = Callable[[Place, Answers], list[Finding]]

# Asked beside the shared answers. The second list needs to know which server this is.
ASKS: tuple[tuple[str, Subject, Ask], ...] = (
    ("server.database", Subject.SERVER, node.database),
    ("server.disk", Subject.SERVER, node.disk),
    ("server.config", Subject.SERVER, place.keys),
    ("server.programs", Subject.SERVER, node.programs),
    ("clock.ntp", Subject.CLOCKS, pair.ntp),
    ("redis", Subject.REDIS, own_redis.check),
    ("services", Subject.SERVICES, service_checks.config),
    ("settings", Subject.SETTINGS, pair.rules),
)
PAIR_ASKS: tuple[tuple[str, Subject, Ask], ...] = (
    ("server.interface", Subject.SERVER, place.interface),
    ("server.commands", Subject.SERVER, place.own_commands),
    ("peer.commands", Subject.PEER, place.peer_commands),
    ("redis.address", Subject.REDIS, own_redis.at_its_address),
    ("channel.out", Subject.CHANNEL, channel.outwards),
    ("channel.in", Subject.CHANNEL, channel.inwards),
    ("channel.witness", Subject.CHANNEL, channel.witness),
    ("lan.references", Subject.LAN, lan.references),
    ("balancer.url", Subject.BALANCER, balancer.polled),
    ("balancer.allowed", Subject.BALANCER, monitor_allow.check),
)
JUDGES: tuple[tuple[str, Subject, Judge], ...] = (
    ("server.agent", Subject.SERVER, node.agent),
    ("server.mode", Subject.SERVER, node.modes),
)
PAIR_JUDGES: tuple[tuple[str, Subject, Judge], ...] = (
    ("server.portal", Subject.SERVER, place.portal),
    ("peer.portal", Subject.PEER, pair.portal),
    ("peer.hears", Subject.PEER, pair.hears_us),
    ("peer.agent", Subject.PEER, pair.agent),
    ("peer.key", Subject.PEER, pair.key),
    ("peer.version", Subject.PEER, pair.version),
    ("peer.settings", Subject.PEER, pair.same_settings),
    ("clock.skew", Subject.CLOCKS, pair.skew),
    ("lan.agent", Subject.LAN, lan.agent_view),
    ("balancer.vip", Subject.BALANCER, balancer.vip),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """Every finding, by subject and worst first. ``configured``: the pair is known and this server is one of it."""

    configured: bool
    findings: tuple[Finding, ...]

    def count(self, status: Status) -> int:
        return sum(finding.status is status for finding in self.findings)


@dataclass(slots=True)
class Outcome:
    """How one call ended; ``late`` until it has."""

    value: Any = None
    error: Exception | None = None
    late: bool = True


def side_by_side(calls: Sequence[Callable[[], Any]], limit_s: float) -> list[Outcome]:
    """Run all at once for at most ``limit_s`` seconds; late ones are left behind."""
    outcomes = [Outcome() for _ in calls]

    def run(call: Callable[[], Any], outcome: Outcome) -> None:
        try:
            outcome.value = call()
        except Exception as error:  # a check may fail in any way; ``_failed`` shows and logs it
            outcome.error = error
        outcome.late = False

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in zip(calls, outcomes, strict=True)]
    deadline_s = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    # a call that ends from now on writes into an outcome that nobody reads
    return [Outcome(value=o.value, error=o.error, late=o.late) for o in outcomes]


def examine(ft: Portal, limit_s: float = LIMIT_S) -> Examination:
    """Every check, in about two times ``limit_s`` seconds at most.

    limit_s: of each question, in seconds; reading the settings comes first, all the rest at once.
    """
    where = _place(ft, limit_s)
    in_pair = where.designation is not None
    asks = ASKS + (PAIR_ASKS if in_pair else ())
    asks += tuple(lan.one_by_one(where)) if in_pair else ()
    asks += tuple(service_checks.one_by_one(where))
    judges = JUDGES + (PAIR_JUDGES if in_pair else ())
    shared = _shared(where)
    calls = [*shared, *((lambda ask=ask: ask(where)) for _, _, ask in asks)]
    outcomes = side_by_side(calls, limit_s + GRACE_S)
    findings = [] if in_pair else [place.not_configured(where)]
    for (name, subject, _), outcome in zip(asks, outcomes[len(shared) :], strict=True):
        findings += _kept(ft, Report(id=name, subject=subject), outcome, limit_s)
    answers = _answers(ft, where, outcomes[: len(shared)])
    for name, subject, judge in judges:
        outcome = Outcome(late=False)
        try:
            outcome.value = judge(where, answers)
        except Exception as error:  # as in side_by_side
            outcome.error = error
        findings += _kept(ft, Report(id=name, subject=subject), outcome, limit_s)
    shown = without_secrets(worst_first(findings), ft.config)
    return Examination(configured=in_pair or bool(where.settings_error), findings=tuple(shown))


def _place(ft: Portal, limit_s: float) -> Place:
    [outcome] = side_by_side([ft.settings.current], limit_s + GRACE_S)
    revision, settings = (0, Settings()) if outcome.value is None else outcome.value
    late = f"the database did not answer within {limit_s:g} s" if outcome.late else ""
    return Place(
        portal=ft,
        revision=revision,
        settings=settings,
        designation=ft.designation(settings),
        limit_s=limit_s,
        settings_error=ft.settings.error or late,
    )


def _shared(where: Place) -> list[Callable[[], Any]]:
    snapshot = where.portal.runtime.snapshot
    calls: list[Callable[[], Any]] = [lambda: snapshot(DOCUMENTS)]
    if where.designation is not None:
        calls += [lambda: pair.ask(where), lambda: place.ask_own(where)]
        calls += [lambda: balancer.ask_vip(where)] * balancer.QUESTIONS
    return calls


def _answers(ft: Portal, where: Place, outcomes: Sequence[Outcome]) -> Answers:
    late = Heard(cause="silent", problem=f"no complete answer within {where.limit_s:g} s")
    heard: list[Heard | None] = []
    for outcome in outcomes[1:]:
        if outcome.error is not None:
            _log(ft, "a question", outcome.error)
            heard.append(Heard(cause="silent", problem=f"{type(outcome.error).__name__}: {outcome.error}"))
        else:
            heard.append(late if outcome.late else outcome.value)
    values: dict[str, Any] = {"snapshot": outcomes[0].value} if outcomes[0].value is not None else {}
    if heard:
        values |= {"peer": heard[0], "own": heard[1], "vip": tuple(h for h in heard[2:] if h is not None)}
    return Answers(**values)


def _kept(ft: Portal, report: Report, outcome: Outcome, limit_s: float) -> list[Finding]:
    if outcome.late:
        return [report.unknown(f"this check did not end within {limit_s:g} s", "Try again with a larger --limit.")]
    if outcome.error is not None:
        _log(ft, f"check {report.id}", outcome.error)
        text = f"this check failed: {type(outcome.error).__name__}: {outcome.error}"
        return [report.unknown(text[:300], "See the fault tolerance log ('ft log') and report it as a defect.")]
    return list(outcome.value)


def _log(ft: Portal, what: str, error: Exception) -> None:
    lines = traceback.format_exception(error)
    dummy = Finding(id="", subject=Subject.SERVER, status=Status.UNKNOWN, found="".join(lines[-4:]))
    [clean] = without_secrets([dummy], ft.config)
    ft.report.line(SOURCE, f"{what} failed: {clean.found}")
