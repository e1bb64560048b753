"""How what this node knows anyway becomes facts: its last tick, its documents, its switches. No detector of its own.

Every function gives the facts that hold now and the causes of which it can tell: where it cannot, as about the clocks of a
server that is not heard, an incident goes on as it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftplugin.core.diagnosis import Diagnosis
from ftplugin.core.futures import Now
from ftplugin.core.hysteresis import probe_is_good, switches_counted
from ftplugin.core.skew import SkewLevel, skew_level
from ftplugin.core.terms import Designation, Role, VipDestination
from ftplugin.history.story import KINDS as SWITCH_KINDS
from ftplugin.history.story import STARTS

from .causes import Cause, Fact, Severity

if TYPE_CHECKING:
    from ftplugin.balancer.probers import Drift

CLAIMS_SHOWN = 3
LICENCE_DAYS = 1  # the mark of yesterday may be the newest: it is written once a day
FAILED = ("failed", "aborted", "undone")
WITNESS = "witness"  # as a voter
SPLITS = (Diagnosis.SPLIT_LOSE, Diagnosis.SPLIT_STAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Facts that hold, and the causes whose absence means that they are over."""

    holds: tuple[Fact, ...] = ()
    known: frozenset[Cause] = frozenset()


class TickFacts:
    """Facts of a tick. Keeps since when this node is active: an answer of the peer from before says nothing of a split; and
    for how many ticks the witness has been silent."""

    def __init__(self) -> None:
        self._active_since_s: float | None = None
        self._witness_silent = 0

    def look(self, last: Now) -> Look:
        """What the tick ``last`` shows."""
        view, memory = last.view, last.decision.memory
        if view.role is not Role.ACTIVE:
            self._active_since_s = None
        elif self._active_since_s is None:
            self._active_since_s = view.now_s
        silent = any(vote.voter == WITNESS and vote.mark is None for vote in view.votes)
        self._witness_silent = self._witness_silent + 1 if silent else 0
        holds = [*self._split(last), *_given_up(last), *_skew(last), *_lost(last), *self._witness(last)]
        known = {Cause.GIVEN_UP, Cause.FREEZE}
        if memory.frozen:
            text = f"{switches_counted(view)} automatic switches within the window of the flap budget. {last.decision.sentence}"
            holds.append(Fact(cause=Cause.FREEZE, title="Automatic switching is frozen", text=text))
        if not silent:
            known.add(Cause.WITNESS_LOST)
        if view.peer_state is not None or view.role is not Role.ACTIVE:
            known.add(Cause.SPLIT_BRAIN)
        if view.peer is not None and view.peer.skew_s is not None:
            known.add(Cause.CLOCK_SKEW)
        if probe_is_good(view, last.timing):
            known.add(Cause.PEER_LOST)
        return Look(holds=tuple(holds), known=frozenset(known))

    def _split(self, last: Now) -> Iterable[Fact]:
        view, since_s = last.view, self._active_since_s
        fresh = view.peer is not None and since_s is not None and view.peer.started_s >= since_s
        if last.decision.diagnosis in SPLITS and fresh:
            text = f"Both answer as active under a valid lease. {last.decision.sentence}"
            yield _fact(last, Cause.SPLIT_BRAIN, "Both servers are active", text)
        elif view.vip.destination is VipDestination.BOTH:
            yield _fact(
                last, Cause.SPLIT_BRAIN, "Both servers answer at the VIP", "Look at the balancer, or for a second VIP."
            )

    def _witness(self, last: Now) -> Iterable[Fact]:
        count = self._witness_silent
        if last.settings.witness and count >= last.settings.threshold:
            text = (
                f"{count} heartbeats in a row without its answer. While it is silent, the loss of either server stops the "
                "services: two of three votes are needed. Look at its Redis and at the way there."
            )
            yield _fact(last, Cause.WITNESS_LOST, f"The witness {last.settings.witness} does not answer", text)


def speaks(last: Now | None) -> bool:
    """Whether this node tells what both see: the active one does; without one, or with two, server1, if it is heard."""
    if last is None:
        return False
    view = last.view
    peer = view.peer_state
    active, peer_active = view.role is Role.ACTIVE, peer is not None and peer.is_active
    if active != peer_active:
        return active
    return view.designation is Designation.SERVER1 or peer is None


def _fact(last: Now, cause: Cause, title: str, text: str, item: str = "") -> Fact:
    return Fact(cause=cause, title=title, text=text, item=item, rule=last.decision.rule, epoch=last.view.epoch)


def _lost(last: Now) -> Iterable[Fact]:
    view, settings, streak = last.view, last.settings, last.decision.memory.bad_streak
    if not settings.enabled or view.peer is None or streak < settings.threshold:
        return
    peer = view.designation.other
    detail = f" ({view.peer.detail})" if view.peer.detail else ""
    text = (
        f"{streak} bad probes in a row: {view.peer.cause}{detail}. This server is {view.role}. {last.decision.sentence}"
    )
    yield _fact(last, Cause.PEER_LOST, f"{peer} does not answer", text)


def _given_up(last: Now) -> Iterable[Fact]:
    view = last.view
    for name in view.given_up:
        text = f"It was restarted too often. This server is {view.role}. {last.decision.sentence}"
        yield _fact(last, Cause.GIVEN_UP, f"Service {name} was given up on {view.designation}", text, name)


def _skew(last: Now) -> Iterable[Fact]:
    view = last.view
    skew_s = view.peer.skew_s if view.peer is not None else None
    if skew_s is None or skew_level(skew_s) is not SkewLevel.ALARM:
        return
    word = "ahead of" if skew_s > 0 else "behind"
    text = f"The clock of {view.designation.other} is {abs(skew_s):.0f} s {word} that of {view.designation}."
    text += " No switch depends on it; logs and histories cannot be compared. Let both follow the same NTP server."
    yield _fact(last, Cause.CLOCK_SKEW, "The clocks of the two servers differ", text)


def of_documents(documents: Mapping[str, Mapping[str, Any] | None], boot_id: str) -> Look:
    """From "services" and "conflicts" of the node's Redis; None: not there, or Redis did not answer."""
    holds: list[Fact] = []
    known: set[Cause] = set()
    services = documents.get("services")
    if services is not None:
        known.add(Cause.TWO_OWNERS)
        holds += [fact for name, value in services.items() if (fact := _two_owners(name, value, boot_id)) is not None]
    count = (documents.get("conflicts") or {}).get("open")
    if isinstance(count, int):
        known.add(Cause.CONFLICT)
        if count:
            text = f"Edits that lost against a later one of the other server: {count} wait to be looked at and acknowledged."
            text += " Nothing is lost; page Replication shows them."
            holds.append(Fact(cause=Cause.CONFLICT, title="The configuration was edited on both servers", text=text))
    return Look(holds=tuple(holds), known=frozenset(known))


def _two_owners(name: str, value: object, boot_id: str) -> Fact | None:
    dual = value.get("dual") if isinstance(value, Mapping) else None
    if not isinstance(dual, Mapping) or dual.get("boot_id") != boot_id:
        return None
    claims = [c for c in dual.get("also_owned") or [] if isinstance(c, (list, tuple)) and len(c) == 2]
    if not claims:
        return None
    named = ", ".join(f"{what} by {owner}" for what, owner in claims[:CLAIMS_SHOWN])
    more = f" and {len(claims) - CLAIMS_SHOWN} more" if len(claims) > CLAIMS_SHOWN else ""
    text = f"Also owned: {named}{more}. Two owners serve the same users; nothing switches for this."
    return Fact(cause=Cause.TWO_OWNERS, title=f"Service {name} has two owners", text=text, item=name)


def of_licence(mark: str | None, today: datetime.date, server: str) -> Look:
    """From the mark that the portal leaves when it has logged the alarm of the licence; None: there is none."""
    known = frozenset({Cause.LICENCE})
    day, _, sentence = (mark or "").partition(" ")
    try:
        fresh = 0 <= (today - datetime.date.fromisoformat(day)).days <= LICENCE_DAYS
    except ValueError:
        return Look(known=known)
    if not fresh or not sentence.strip():
        return Look(known=known)
    fact = Fact(
        cause=Cause.LICENCE, title=f"The licence of {server or 'this server'} needs attention", text=sentence.strip()
    )
    return Look(holds=(fact,), known=known)


def of_drift(found: Iterable[Drift]) -> Look:
    """From the probers that do not fit the settings, as the balancer page shows them."""
    return Look(holds=tuple(map(_drift, found)), known=frozenset({Cause.BALANCER_DRIFT}))


def _drift(drift: Drift) -> Fact:
    who, asks_s = drift.prober, drift.prober.interval_s or 0.0
    text = f"It asks {who.question} every {asks_s:.3g} s; by the settings it should be {drift.wanted_s:.3g} s."
    if drift.earlier_s is not None:
        apart_s, word = abs(drift.earlier_s), "before" if drift.earlier_s >= 0 else "after"
        text += f" With 3 failures assumed it will switch {apart_s:.3g} s {word} the pair."
    title = f"Balancer {who.address} does not fit the settings"
    return Fact(cause=Cause.BALANCER_DRIFT, title=title, text=text, item=f"{who.address} {who.question}")


def of_switch(switch: Mapping[str, Any], me: str) -> Fact | None:
    """From a switch of this node's journal, or of the document "switch". None: it runs, or it is part of another story.

    A fence belongs to the promotion of the other server, which tells it; a start is no switch.
    """
    kind, rule, outcome = (str(switch.get(name) or "") for name in ("kind", "rule", "outcome"))
    actor, detail = str(switch.get("actor") or ""), str(switch.get("detail") or "")
    epoch = switch.get("epoch")
    reason = str(switch.get("reason") or "")
    text = f"Rule {rule}, epoch {epoch}: {reason}." + (f" Asked for by {actor}." if actor else "")
    switched = "start" if rule in STARTS else SWITCH_KINDS.get(rule, "switch")
    word = {"promote": switched, "demote": "demotion"}.get(kind, kind)
    facts: dict[str, Any] = {"rule": rule, "epoch": epoch if isinstance(epoch, int) else 0}
    if outcome in FAILED:
        if outcome == "aborted":  # before it changed anything, as when the other server answers after all
            facts["severity"] = Severity.WARNING
        title = f"{word.capitalize()} {outcome} on {me}"
        return Fact(cause=Cause.SWITCH_FAILED, title=title, text=f"{text} {detail}", item=f"{kind} {rule}", **facts)
    if outcome != "done" or rule in (*STARTS, "fence") or kind not in ("promote", "demote"):
        return None
    if actor:
        facts["severity"] = Severity.INFO
    title = f"{word.capitalize()}: {me} is active" if kind == "promote" else f"{me} is no longer active"
    return Fact(cause=Cause.SWITCH, title=title, text=text, **facts)


def of_daily(document: Mapping[str, Any] | None, told_wall_s: float) -> tuple[Fact | None, float]:
    """(the fact if a new result of the daily restart is a failure, when the newest result was). From the document "daily"."""
    result = (document or {}).get("result")
    at_s = result.get("at_wall_s") if isinstance(result, Mapping) else None
    if not isinstance(result, Mapping) or not isinstance(at_s, (int, float)) or at_s == told_wall_s:
        return None, told_wall_s
    if result.get("ok") is not False:
        return None, float(at_s)
    part = str(result.get("part"))
    title = f"The daily restart of the {part} failed"
    return Fact(cause=Cause.DAILY_RESTART, title=title, text=str(result.get("detail")), item=part), float(at_s)


def joined(looks: Iterable[Look]) -> Look:
    """Several looks as one."""
    found = list(looks)
    return Look(
        holds=tuple(fact for look in found for fact in look.holds),
        known=frozenset(cause for look in found for cause in look.known),
    )


def lasting_for(look: Look, since: dict[str, float], now_s: float, hold_s: float) -> Look:
    """Only those facts that have held for ``hold_s`` seconds. since: by key, kept by the caller, changed here."""
    keys = {fact.key for fact in look.holds}
    for key in [key for key in since if key not in keys]:
        del since[key]
    held = tuple(fact for fact in look.holds if now_s - since.setdefault(fact.key, now_s) >= hold_s)
    return Look(holds=held, known=look.known)
