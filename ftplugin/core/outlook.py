"""Why this server is what it is, and what would change it: for the page and ``ft why``. Pure, and never acted on.

Three parts. *Streaks* are the counts that rules wait for. *Prospects* say what would make this server switch and when;
they are found by running ``decide`` on supposed futures (``futures.py``). *Refused* are the other rows of the table for
this role, each with what it lacks: its situation, or the vetoes that hold it back. The row that the decision stands on
comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

from .decision import Decision
from .diagnosis import Diagnosis as D
from .diagnosis import stall_limit_s
from .futures import Change, Now, Outcome, as_it_is, end_of, lan_lost, peer_silent, portal_dead
from .handover import offered, why_not_offered, wrong_services
from .hysteresis import peer_stuck, probe_is_good
from .policy import PROMOTIONS, S0, SW, TABLE, Action, Rule, rule_for
from .vetoes import Case, refusals, streak_of
from .rulebook import NEVER
from .settings import Settings
from .terms import Designation, Role
from .timing import Timing
from .view import ClusterView


@dataclass(frozen=True, kw_only=True, slots=True)
class Streak:
    """Consecutive ticks that a rule waits for: ``have`` of ``needed``."""

    rule: str
    have: int
    needed: int
    noun: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prospect:
    """``supposed``: "the next 3 heartbeats are bad". ``then``: what this server would do by ``rule``, "" for nothing.

    ``in_s``: from the tick until its role changes, about. ``held``: why it does nothing, or what it waits for.
    """

    supposed: str
    rule: str
    then: str
    in_s: float | None
    held: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """One row of the table for this role. ``reasons``: what keeps it from acting; empty for the row that acts."""

    rule: str
    situation: str
    why: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """``rows[0]`` is the one that the decision stands on."""

    role: Role
    diagnosis: D
    streaks: tuple[Streak, ...]
    prospects: tuple[Prospect, ...]
    rows: tuple[Alternative, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, compact: lists instead of repeated names where there are many."""
        return {
            "role": str(self.role),
            "diagnosis": self.diagnosis.name,
            "why": self.rows[0].why,
            "streaks": [[s.rule, s.have, s.needed, s.noun] for s in self.streaks],
            "prospects": [
                {
                    "supposed": p.supposed,
                    "rule": p.rule,
                    "then": p.then,
                    "in_s": None if p.in_s is None else round(p.in_s, 1),
                    "held": list(p.held),
                }
                for p in self.prospects
            ],
            "rows": [[r.rule, r.situation, r.why, list(r.reasons)] for r in self.rows],
        }


def outlook(view: ClusterView, settings: Settings, decision: Decision, stop_by: Timing, wait_by: Timing) -> Outlook:
    """The outlook of one tick. ``decision``: of ``decide`` for the same view, settings and timings."""
    now = Now(view=view, decision=decision, settings=settings, stop_by=stop_by, wait_by=wait_by)
    return Outlook(
        role=view.role,
        diagnosis=decision.diagnosis,
        streaks=_streaks(now),
        prospects=_prospects(now),
        rows=_rows(now),
    )


# --- rows: what else could have acted, and why it did not ----------------------------------------------------------


def _rows(now: Now) -> tuple[Alternative, ...]:
    acting = _rule(now, now.decision.diagnosis)
    reasons = tuple(refusal.sentence for refusal in now.decision.refused)
    found = [Alternative(rule=acting.id, situation=str(now.decision.diagnosis), why=acting.why, reasons=reasons)]
    for diagnosis, rule in _other_rules(now):
        lack = LACKS[diagnosis](now) or f"comes after: {now.decision.diagnosis}"
        held = tuple(refusal.sentence for refusal in refusals(_case(now, rule)))
        found.append(Alternative(rule=rule.id, situation=str(diagnosis), why=rule.why, reasons=(lack, *held)))
    return tuple(found)


def _other_rules(now: Now) -> list[tuple[D, Rule]]:
    found = []
    for role, diagnosis in TABLE:
        if role is not now.view.role or diagnosis is now.decision.diagnosis or (role, diagnosis) in NEVER:
            continue
        rule = _rule(now, diagnosis)
        if rule not in (S0, SW):
            found.append((diagnosis, rule))
    return found


def _rule(now: Now, diagnosis: D) -> Rule:
    return rule_for(diagnosis, now.view, now.decision.memory, now.settings)


def _case(now: Now, rule: Rule) -> Case:
    return Case(rule, now.view, now.decision.memory, now.settings, now.timing)


def _streaks(now: Now) -> tuple[Streak, ...]:
    """Of every rule of this role that has to last and whose situation is given; one line for each count."""
    rules = [_rule(now, now.decision.diagnosis)]
    rules += [rule for diagnosis, rule in _other_rules(now) if not LACKS[diagnosis](now)]
    found: dict[str, Streak] = {}
    for rule in rules:
        case = _case(now, rule)
        streak = streak_of(case) if rule.promotes else None
        if streak is not None:
            have, noun = streak
            found.setdefault(
                noun, Streak(rule=rule.id, have=min(have, case.ticks_needed), needed=case.ticks_needed, noun=noun)
            )
    return tuple(found.values())


# --- what a situation lacks; "" when its own guard holds -----------------------------------------------------------


def _left(now: Now, since_s: float | None, what: str, never: str) -> str:
    if since_s is None:
        return never
    left_s = since_s + now.timing.lease_s - now.view.now_s
    return f"{what} {now.view.now_s - since_s:.1f} s ago; {left_s:.1f} s are left" if left_s > 0 else ""


def _lease(now: Now) -> str:
    deadline_s = now.view.lease_deadline_s
    left_s = 0.0 if deadline_s is None else deadline_s - now.view.now_s
    return f"the lease is valid for {left_s:.1f} s more" if left_s > 0 else ""


def _stalled(now: Now) -> str:
    age_s = now.view.progress_age_s
    if age_s is None:
        return "no start is running"
    left_s = stall_limit_s(now.timing) - age_s
    return f"the last progress was {age_s:.1f} s ago; {left_s:.1f} s are left" if left_s >= 0 else ""


def _peer_is(now: Now, wanted: bool, otherwise: str) -> str:
    state = now.view.peer_state
    return "" if state is not None and state.is_active is wanted else otherwise


def _nobody(now: Now) -> str:
    state = now.view.peer_state
    if state is None:
        return "the other server is not heard"
    if state.is_active:
        return "the other server is active"
    return "" if state.clear else "the other server may still own something"


def _vip(now: Now) -> str:
    if not now.settings.vip_test:
        return "the VIP test is off"
    where = now.view.vip.destination
    return "" if where == "self" else f"the VIP does not lead here (it leads to: {where})"


def _failback(now: Now) -> str:
    if now.view.designation is not Designation.SERVER1:
        return "this is server #2"
    return _peer_is(now, True, "the other server is not active") if now.settings.failback else "failback is off"


def _dead(now: Now) -> str:
    return "" if wrong_services(now.view) else "no service is dead"


def _stuck(now: Now) -> str:
    if peer_stuck(now.view, now.timing):
        return ""
    state = now.view.peer_state
    if state is None:
        return "the other server is not heard"
    return "the other server is active" if state.is_active else "the other server owns nothing, or votes still move"


def _gave_up(now: Now) -> str:
    return "" if offered(now.view, now.decision.memory) else why_not_offered(now.view)


def _starting(now: Now) -> str:
    state = now.view.peer_state
    started = state is not None and state.role is Role.UNDECIDED and state.clear
    return "" if started else "the other server has not just started"


LACKS: Mapping[D, Callable[[Now], str]] = {
    D.SUPERSEDED: lambda n: "" if n.view.superseded_by_epoch > n.view.epoch else "no higher epoch was seen",
    D.ISOLATED: lambda n: _left(n, n.last_contact_s, "the LAN was last seen", "no LAN reference host is asked"),
    D.PORTAL_DEAD: lambda n: _left(n, n.view.portal_seen_s, "the own portal last answered", "it was not asked yet"),
    D.LEASE_LOST: _lease,
    D.SPLIT_LOSE: lambda n: _peer_is(n, True, "the other server does not say that it is active"),
    D.SPLIT_STAY: lambda n: _peer_is(n, True, "the other server does not say that it is active"),
    D.STALLED: _stalled,
    D.SWITCHING: lambda n: "" if n.view.switching else "no switch is running",
    D.ORDERED: lambda n: "" if n.view.order is not None else "no switchover was asked for",
    D.RESUMABLE: lambda n: "" if n.view.resumable else "there is no own lease that is still valid",
    D.LAN_DOWN: lambda n: "" if n.view.lan.up == "no" else "the LAN is not known to be down",
    D.PEER_ACTIVE: lambda n: _peer_is(n, True, "the other server does not say that it is active"),
    D.VIP_HERE: _vip,
    D.FAILBACK_DUE: _failback,
    D.PEER_STARTING: _starting,
    D.NOBODY_ACTIVE: _nobody,
    D.PEER_STUCK: _stuck,
    D.PEER_GAVE_UP: _gave_up,
    D.PEER_SILENT: lambda n: "the other server answers well" if probe_is_good(n.view, n.timing) else "",
    D.SERVICE_DEAD: _dead,
    D.STEADY: lambda n: "",
}


# --- prospects -----------------------------------------------------------------------------------------------------


def _prospects(now: Now) -> tuple[Prospect, ...]:
    if now.decision.diagnosis is D.SWITCHING or PROMOTIONS & set(now.decision.actions):
        return ()
    silent = now.decision.diagnosis is D.PEER_SILENT
    found = []
    if now.view.role is Role.ACTIVE:
        found.append(_prospect(now, lan_lost, "the LAN is lost from now on, and the other server with it"))
        if now.view.portal_seen_s is not None:
            found.append(_prospect(now, portal_dead, "the own portal stops answering"))
        return tuple(found)
    if now.decision.refused and not silent:
        found.append(_prospect(now, as_it_is, "everything stays as it is"))
    future = as_it_is if silent else peer_silent
    found.append(_prospect(now, future, "the next {heartbeats} bad" + (" too" if silent else "")))
    return tuple(found)


def _prospect(now: Now, change: Change, supposed: str) -> Prospect:
    end = end_of(now, change)
    acts = end.in_s is not None
    if "{heartbeats}" in supposed:
        one = acts and end.ticks == 1
        count = f"{end.ticks} heartbeats are" if acts else "heartbeats are"
        supposed = supposed.replace("{heartbeats}", "heartbeat is" if one else count)
    held = _held(now, change, end)
    return Prospect(
        supposed=supposed,
        rule=end.decision.rule if acts else "",
        then=_then(end) if acts else "",
        in_s=end.in_s,
        held=held,
    )


def _then(end: Outcome) -> str:
    actions = set(end.decision.actions)
    if PROMOTIONS & actions:
        confirmed = Action.PROMOTE_CONFIRMED in actions
        return "this server becomes active" + (
            ", once the other one has confirmed that it stopped" if confirmed else ""
        )
    return "this server goes on as active" if Action.RESUME in actions else "this server becomes standby"


def _held(now: Now, change: Change, end: Outcome) -> tuple[str, ...]:
    if end.in_s is None:
        return tuple(r.sentence for r in end.decision.refused) or (str(end.decision.diagnosis),)
    return tuple(r.sentence for r in now.decision.refused) if change is as_it_is else ()


def prospect_text(prospect: Mapping[str, Any], age_s: float = 0.0) -> str:
    """One sentence. ``prospect``: as in ``Outlook.to_json``; ``age_s``: since its tick, seconds."""
    held = "; ".join(prospect["held"])
    if not prospect["then"]:
        return f"If {prospect['supposed']}: nothing ({held})."
    in_s = max(0.0, prospect["in_s"] - age_s)
    when = f" in about {in_s:.1f} s" if in_s > 0 else " now"
    waits = f" (waits now: {held})" if held else ""
    return f"If {prospect['supposed']}: {prospect['rule']}, {prospect['then']}{when}{waits}."
