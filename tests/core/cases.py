"""One hand-made situation for each row of the table that can occur; used by the totality test and the golden dump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import C3, F1, F1_NOBODY, F1_STUCK, H1, PROMOTIONS, RULES, Rule
from ftplugin.core.vetoes import VETOES, Case
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, ProbeCause, Role, ServiceState, SplitStance
from ftplugin.core.view import ClusterView, Probe, ServiceReading

from .ticks import A, LAN_DOWN, LAN_UNKNOWN, PAUSE, S, S1, S2, SELF, U, Ticks, settings, vip_on

DEAD = (ServiceReading(name="cti", state=ServiceState.DEAD),)


@dataclass(frozen=True)
class Situation:
    role: Role
    diagnosis: D
    rule: str
    view: ClusterView
    settings: Settings
    memory: Memory


def _changes(t: Ticks) -> dict[D, tuple[str, dict[str, Any]]]:
    """What makes each situation, for the role of ``t``; and the id of the rule that answers it."""
    now = t.now_s
    if t.role is A:
        return {
            D.SUPERSEDED: ("L1", {"superseded_by_epoch": 9}),
            D.ISOLATED: ("I1", {"lan": replace(LAN_DOWN, seen_s=now - 60), "peer": t.silent()}),
            D.PORTAL_DEAD: ("P1", {"portal_seen_s": now - 60}),
            D.LEASE_LOST: ("L1", {"lease_deadline_s": now}),
            D.SPLIT_LOSE if t.me is S2 else D.SPLIT_STAY: (
                "X1",
                {"peer": t.good(A, epoch=8, stance=SplitStance.STAY if t.me is S2 else "")},
            ),
            D.STALLED: ("L1", {"progress_age_s": 60.0}),
            D.SWITCHING: ("SW", {"switching": True}),
            D.ORDERED: ("S0", {"order": t.order()}),
            D.SERVICE_DEAD: ("W1", {"services": DEAD}),
            D.STEADY: ("S0", {}),
        }
    common: dict[D, tuple[str, dict[str, Any]]] = {
        D.SWITCHING: ("SW", {"switching": True}),
        D.ORDERED: ("M1", {"order": t.order(expected=t.me.other), "peer": t.good(A)}),
        D.LAN_DOWN: ("S0" if t.role is S else "C4", {"lan": LAN_DOWN, "peer": t.good(S, clear=False)}),
        D.PEER_SILENT: ("F1" if t.role is S else "C3", {"peer": t.silent()}),
        D.PEER_ACTIVE: ("S0" if t.role is S else "C1", {"peer": t.good(A)}),
        D.STEADY: ("S0", {"peer": t.good(S), "votes": t.votes_of_peer(now)}),
        D.PEER_STUCK: ("F1", {"peer": t.good(S, clear=False), "can_fence": True}),
    }
    if t.role is S:
        return common | {
            D.PEER_GAVE_UP: ("H1", {"peer": gave_up(t)}),
            D.NOBODY_ACTIVE: ("F1", {"peer": t.good(S)}),
            D.VIP_HERE: ("F2", {"peer": t.good(A), "vip": t.vip(SELF)}),
            D.FAILBACK_DUE: ("B1", {"peer": t.good(A)}),
            D.SERVICE_DEAD: ("W1", {"peer": t.good(A), "services": DEAD}),
        }
    return common | {
        D.RESUMABLE: ("C0", {"resumable": True}),
        D.PEER_STARTING: ("C2", {"peer": t.good(U)}),
        D.NOBODY_ACTIVE: ("C2", {"peer": t.good(S)}),
    }


def gave_up(t: Ticks, *names: str, **changes: Any) -> Probe:
    """The active peer says that it has given up a service, and its monitor is not OK."""
    return t.good(A, given_up=names or ("cti",), healthy=False, **changes)


def situations() -> Iterator[Situation]:
    """Every row that can occur, at the moment when nothing holds it back."""
    for role in Role:
        for me in (S1, S2):
            for diagnosis, (rule, changes) in _changes(Ticks(me, role)).items():
                if diagnosis is D.FAILBACK_DUE and me is S2:
                    continue
                chosen = {D.VIP_HERE: vip_on(), D.FAILBACK_DUE: settings(failback=True)}.get(diagnosis, settings())
                t = Ticks(me, role, chosen)
                changes = _changes(t)[diagnosis][1]
                yield Situation(role, diagnosis, rule, t.view(**changes), chosen, ripe(t))


def ripe(t: Ticks) -> Memory:
    """Streaks long since full, and nothing dangerous heard lately."""
    return Memory(
        last_tick_s=t.now_s - 1,
        bad_streak=50,
        bad_since_s=t.now_s - 50,
        nobody_streak=50,
        stuck_streak=50,
        vip_self_streak=50,
        own_ok_streak=50,
        own_ok_since_s=t.now_s - 50,
        peer_heard_s=t.now_s - 1,
    )


# --- what each veto holds back ---------------------------------------------------------------------------------


def _quiet(rule: Rule, me: Designation) -> Case:
    """A case in which no veto speaks."""
    chosen = settings()
    t = Ticks(me, S, chosen)
    peer = t.silent() if rule in (F1, C3) else t.good(S if rule in (F1_NOBODY, F1_STUCK) else A)
    peer = gave_up(t) if rule is H1 else peer
    order = t.order(expected=me.other) if rule.id == "M1" else None
    view = t.view(peer=peer, order=order, can_fence=rule is F1_STUCK)
    return Case(rule, view, ripe(t), chosen, t.timing)


def _see(**changes: Any) -> Callable[[Case], Case]:
    return lambda c: replace(c, view=replace(c.view, **changes))


def _remember(**changes: Any) -> Callable[[Case], Case]:
    return lambda c: replace(c, memory=replace(c.memory, **changes))


def _set(**changes: Any) -> Callable[[Case], Case]:
    return lambda c: replace(c, settings=replace(c.settings, **changes))


def _body_bad(c: Case) -> Case:
    t = Ticks(c.view.designation, S)
    return replace(c, view=replace(c.view, peer=t.probe(ProbeCause.BODY, t.good(A).state), own=t.sick()))


def _just_heard(c: Case) -> Case:
    since = c.view.now_s
    return replace(c, memory=replace(c.memory, bad_since_s=since, combined_since_s=since))


def _frozen(switches: int) -> Callable[[Case], Case]:
    return lambda c: replace(c, memory=replace(c.memory, frozen=True), view=replace(c.view, switches=switches))


def _both_miss(c: Case) -> Case:
    peer = gave_up(Ticks(c.view.designation, S), failed=("axl",))
    return replace(c, view=replace(c.view, peer=peer, failed=("disk", "axl")))


_NO_STREAKS = {
    "bad_streak": 0,
    "nobody_streak": 0,
    "stuck_streak": 0,
    "vip_self_streak": 0,
    "combined_streak": 0,
    "own_ok_streak": 0,
}
ADVERSE: dict[str, Callable[[Case], Case]] = {
    "off": _set(enabled=False),
    "paused": _see(pause=PAUSE),
    "drained": _see(drained=True),
    "lan down": _see(lan=LAN_DOWN),
    "lan unknown": _see(lan=LAN_UNKNOWN),
    "no streak": _remember(**_NO_STREAKS),
    "first bad probe just now": _just_heard,
    "both sick": _body_bad,
    "own monitor bad": _see(own=None),
    "own portal dead": _see(own=Probe(started_s=999.0, ended_s=999.5, cause=ProbeCause.TIMEOUT)),
    "peer not heard": _see(peer=None),
    "frozen": _frozen(3),
    "frozen, twice the budget": _frozen(6),
    "manual hold": _see(manual_hold=True),
    "a service given up here": _see(given_up=("scheduler",)),
    "both miss the call manager": _both_miss,
    "no fence command": _see(can_fence=False),
    "not stable yet": _set(failback_stable_s=600.0),
    "outside the hours": _see(in_failback_hours=False),
    "VIP unknown, VIP test on": _set(vip_test=True),
    "another node was expected": lambda c: _see(order=Ticks(c.view.designation, S).order())(c),
    "failed a moment ago": _see(retry_after_s=1001.0),
}
PROMOTING = tuple(rule for rule in RULES if PROMOTIONS & set(rule.actions))


def held_by(rule: Rule, adverse: str) -> str:
    """Names of the vetoes that hold ``rule`` back under one adverse circumstance; "" when none does."""
    case = ADVERSE[adverse](_quiet(rule, S1))
    return ", ".join(name for name, veto in VETOES.items() if veto(case))


def quiet_refusals(rule: Rule) -> str:
    case = _quiet(rule, S1)
    return ", ".join(name for name, veto in VETOES.items() if veto(case))
