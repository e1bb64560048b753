"""W1: what to do about each service, by the node's role (spec 6). Pure, like the rest of the core.

Theory. A service that is wrong is restarted in its role. Each restart counts for a window; after R of them the service is
*given up*: the fault has begun. From then on it is tried again at gaps that grow from a twentieth of the window to the
whole window, and the other node may take the role over (H1, ``handover.py``). The fault ends when the service was well
for a whole window; until then a short recovery changes nothing, so a status that flaps ends up here too. On a standby node
a service that owns nothing cannot show whether it would work: there it counts as well only while the other node is active
and has not given up the same one. So a service that is broken on both nodes is handed over once and never back.

A service that does not answer is not dead: it may own something, and a second one beside it would do harm. For
``silent_s`` it is left alone; after that it is stopped and started again, and counted like any other restart. The same on
a node that has lost its role and cannot sign that it owns nothing, since until then no node may start it. One that
cannot even be stopped is never offered to the other node, which could not start it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Collection, Mapping, Sequence

from .records import RoleRecord
from .terms import Phase, Role, ServiceState
from .view import ServiceReading

GAP_SHARE = 20  # of the window: the first gap after it was given up; each next one is twice as long
DEMOTE_GAP_S_MAX = 30.0  # between two attempts to stop one that owns without a role; the guard tries all the while


class Condition(StrEnum):
    WELL = "well"
    WRONG = "wrong"
    OPEN = "neither"  # starting, stopping, not answering: no news


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """R restarts in a window of ``window_s`` seconds; ``silent_s``: how long a service may leave questions unanswered.

    settle_s: how long an ordered restart may take before "still wrong" means that it did not help.
    """

    restarts_max: int
    window_s: float
    silent_s: float = 60.0
    settle_s: float = 6.0

    def gap_s(self, tries: int) -> float:
        """Seconds to the next try of one that was given up, after so many tries in vain."""
        return min(self.window_s, self.window_s / GAP_SHARE * 2.0 ** min(tries, 30))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """What is remembered of one service; times on the own CLOCK_BOOTTIME.

    restarts_s: within the window. pending_s: until then an ordered restart is under way, begun in pending_state.
    given_up_s: since when; None: not. tries, next_s: since then, and when the next one is due. well_s, silent_s: since
    when without a break.
    """

    restarts_s: tuple[float, ...] = ()
    pending_s: float = 0.0
    pending_state: str = ""
    given_up_s: float | None = None
    tries: int = 0
    next_s: float = 0.0
    well_s: float | None = None
    silent_s: float | None = None

    @property
    def given_up(self) -> bool:
        return self.given_up_s is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """The troubles of all services that have any. Only they are persisted."""

    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    demotions: int = 0  # of services that own without a role, since they do
    demote_s: float = 0.0  # no sooner again

    def of(self, name: str) -> Trouble:
        return self.troubles.get(name) or Trouble()

    @property
    def given_up(self) -> tuple[str, ...]:
        return tuple(name for name, trouble in self.troubles.items() if trouble.given_up)

    @property
    def next_try_s(self) -> float | None:
        """When the first of those that were given up is tried again."""
        return min((t.next_s for t in self.troubles.values() if t.given_up), default=None)

    def to_json(self) -> dict[str, Any]:
        return {name: {f.name: getattr(t, f.name) for f in fields(Trouble)} for name, t in self.troubles.items()}

    @classmethod
    def from_json(cls, document: object) -> Watch:
        """What was persisted in the same boot; anything unreadable starts afresh, which costs R restarts more."""
        found = {}
        for name, values in document.items() if isinstance(document, Mapping) else ():
            trouble = _trouble(values)
            if isinstance(name, str) and trouble is not None:
                found[name] = trouble
        return cls(troubles=found)


def _trouble(values: object) -> Trouble | None:
    if not isinstance(values, Mapping):
        return None
    known = {f.name: values[f.name] for f in fields(Trouble) if f.name in values}
    restarts_s: Any = known.pop("restarts_s", ())
    if not isinstance(restarts_s, (list, tuple)) or not isinstance(known.get("pending_state", ""), str):
        return None
    needed = ("pending_s", "tries", "next_s")
    numbers = [v for k, v in known.items() if k != "pending_state" and (v is not None or k in needed)]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in [*restarts_s, *numbers]):
        return None
    return Trouble(restarts_s=tuple(restarts_s), **known)


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchAction:
    """kind: "restart" (in its role; one that does not answer is stopped first), "demote" (owns without a role), "clear"
    (owns nothing), "give up" and "recovered" (say so)."""

    kind: str
    service: str = ""
    sentence: str = ""


def judge(
    trouble: Trouble, condition: Condition, *, now_s: float, limits: Limits, state: str = ""
) -> tuple[Trouble, str]:
    """One look at one watched thing: (what is remembered, "restart", "give up", "recovered" or "").

    state: what it says; one that is wrong in another way while its restart is under way was brought up by somebody else,
    as systemd does: it is restarted in its role at once, and that is still the same restart.
    """
    kept = tuple(t for t in trouble.restarts_s if now_s - t < limits.window_s)
    trouble = replace(trouble, restarts_s=kept)
    if condition is Condition.WELL:
        well_s = now_s if trouble.well_s is None else trouble.well_s
        if trouble.given_up and now_s - well_s >= limits.window_s:
            return Trouble(), "recovered"
        return replace(trouble, well_s=well_s, pending_s=0.0), ""
    trouble = replace(trouble, well_s=None)
    if condition is Condition.OPEN:
        return replace(trouble, pending_s=0.0), ""
    if now_s < trouble.pending_s:
        changed = trouble.pending_state != "" and state != trouble.pending_state
        return (replace(trouble, pending_state=""), "restart") if changed else (trouble, "")
    pending: dict[str, Any] = {"pending_s": now_s + limits.settle_s, "pending_state": state}
    if trouble.given_up:
        if now_s < trouble.next_s:
            return trouble, ""
        tries = trouble.tries + 1
        return replace(trouble, tries=tries, next_s=now_s + limits.gap_s(tries), **pending), "restart"
    if len(kept) < limits.restarts_max:
        return replace(trouble, restarts_s=(*kept, now_s), **pending), "restart"
    return replace(trouble, given_up_s=now_s, tries=0, next_s=now_s + limits.gap_s(0)), "give up"


def watch(
    memory: Watch,
    *,
    now_s: float,
    record: RoleRecord,
    switching: bool,
    services: Sequence[ServiceReading],
    limits: Limits,
    peer_given_up: Collection[str] | None = None,
    settle_s: Mapping[str, float] | None = None,
) -> tuple[Watch, tuple[WatchAction, ...]]:
    """(memory, actions). While a switch runs nothing is done: the sequence itself looks after the services.

    settle_s: service -> how long its restart may take, where it is not that of ``limits``. peer_given_up: what the other node,
    heard and active, has given up itself; None: it is not heard or not active.
    """
    if switching or record.phase is not Phase.READY:
        return memory, ()
    active = record.role is Role.ACTIVE
    if active and record.deadline_s <= now_s:
        return memory, ()  # the lease has run out: demoted services are where they belong
    actions: list[WatchAction] = []
    if not active:
        owning = [s.name for s in services if s.state in (ServiceState.ACTIVE, ServiceState.STARTING)]
        if owning:
            return _stop_again(memory, owning, record, now_s, limits)
        if all(s.state in (ServiceState.STANDBY, ServiceState.DEAD) for s in services) and not record.clear:
            actions.append(WatchAction(kind="clear"))
    troubles, settle_s = {}, settle_s or {}
    for service in services:
        limits = replace(limits, settle_s=settle_s.get(service.name, limits.settle_s))
        before = _silence(memory.of(service.name), service.state, now_s)
        condition = _condition(before, service, record, now_s, limits, peer_given_up)
        after, verb = judge(before, condition, now_s=now_s, limits=limits, state=service.state)
        if verb:
            sentence = _sentence(service, after, verb, now_s, limits)
            actions.append(WatchAction(kind=verb, service=service.name, sentence=sentence))
        if after != Trouble(well_s=after.well_s):
            troubles[service.name] = after
    return Watch(troubles=troubles), tuple(actions)


def _stop_again(
    memory: Watch, owning: Sequence[str], record: RoleRecord, now_s: float, limits: Limits
) -> tuple[Watch, tuple[WatchAction, ...]]:
    """At once, then at growing gaps: each attempt is a switch with an epoch and a journal entry of its own."""
    if now_s < memory.demote_s:
        return memory, ()
    gap_s = min(DEMOTE_GAP_S_MAX, limits.settle_s * 2.0 ** min(memory.demotions, 30))
    memory = replace(memory, demotions=memory.demotions + 1, demote_s=now_s + gap_s)
    text = f"{', '.join(owning)} owns although this server is {record.role}"
    return memory, (WatchAction(kind="demote", sentence=text),)


def _silence(trouble: Trouble, state: ServiceState, now_s: float) -> Trouble:
    if state is not ServiceState.UNKNOWN:
        return replace(trouble, silent_s=None)
    return trouble if trouble.silent_s is not None else replace(trouble, silent_s=now_s)


def _condition(
    trouble: Trouble,
    service: ServiceReading,
    record: RoleRecord,
    now_s: float,
    limits: Limits,
    peer_given_up: Collection[str] | None,
) -> Condition:
    state, active = service.state, record.role is Role.ACTIVE
    if state is ServiceState.DEAD or (active and state is ServiceState.STANDBY):
        return Condition.WRONG
    if (active or not record.clear) and trouble.silent_s is not None:  # it may own something
        return Condition.WRONG if now_s - trouble.silent_s >= limits.silent_s else Condition.OPEN
    if active:
        return Condition.WELL if state is ServiceState.ACTIVE else Condition.OPEN
    if state is not ServiceState.STANDBY:
        return Condition.OPEN
    works_there = peer_given_up is not None and service.name not in peer_given_up
    return Condition.WELL if works_there or not trouble.given_up else Condition.OPEN


def what_is_wrong(service: ServiceReading, trouble: Trouble, now_s: float) -> str:
    """ "cti is dead", "cti has not answered for 75 s"."""
    if trouble.silent_s is not None:
        return f"{service.name} has not answered for {now_s - trouble.silent_s:.0f} s"
    return f"{service.name} is {service.state}"


def _sentence(service: ServiceReading, trouble: Trouble, verb: str, now_s: float, limits: Limits) -> str:
    what = what_is_wrong(service, trouble, now_s)
    detail = f" ({service.detail})" if service.detail else ""
    if verb == "recovered":
        return f"{service.name} was well for {limits.window_s:.0f} s: its fault is over"
    if verb == "give up":
        return (
            f"{what}{detail} after {limits.restarts_max} restarts in {limits.window_s:.0f} s: given up, look at it; "
            f"it is tried again in {limits.gap_s(0):.0f} s, then at growing gaps"
        )
    if trouble.given_up:
        next_s = trouble.next_s - now_s
        return f"{what}{detail}: given up, trying it once more (try {trouble.tries}); the next one is in {next_s:.0f} s"
    count = f"{len(trouble.restarts_s)} of {limits.restarts_max}"
    how = "stopping and starting it" if trouble.silent_s is not None else "restarting it"
    return f"{what}{detail}: {how} in its role ({count})"
