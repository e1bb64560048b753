"""The rule table in words, for people. Made from the table, the guards' names and the vetoes themselves (``policy.py``).

Which vetoes can hold a rule back is not listed anywhere: they are asked, in views where everything is as bad as it can be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Mapping

from .diagnosis import Diagnosis as D
from .diagnosis import stall_limit_s
from .hysteresis import Memory
from .policy import CHOICES, S0, TABLE, Row, Rule
from .vetoes import VETOES, Case, streak_of
from .settings import Settings
from .terms import Designation, ProbeCause, Role
from .timing import Timing
from .view import ClusterView, NodeState, Pause, Probe, SwitchOrder

# rows that keep the table total although the guards of that role never name this situation
NEVER = frozenset({(Role.ACTIVE, D.RESUMABLE), (Role.STANDBY, D.PEER_STARTING), (Role.UNDECIDED, D.ISOLATED)})

# what must be true, so that the veto does not speak
PASSES: Mapping[str, str] = {
    "off": "Hot Standby mode is on",
    "paused": "automatic switching is not paused",
    "drained": "this server is not drained",
    "lan": "the LAN is up: carrier, and a reference host answers",
    "streak": "the streak is full",
    "hold": "the old active server has certainly stopped",
    "both sick": "the own check is better than the other server's",
    "unhealthy": "the own monitor is OK",
    "own portal dead": "the own portal answers, if the other server is heard",
    "peer unheard": "the other server can be asked to stop",
    "frozen": "not frozen after too many switches",
    "manual hold": "no manual switchover holds it back",
    "given up": "no service was given up on this server",
    "shared": "the servers do not both miss the same third party",
    "fence": "a fence command is set (FT_FENCE_COMMAND)",
    "failback": "the VIP leads here if it is tested, stable for long enough, within the allowed hours",
    "expected active": "the active server is the one that the administrator expected",
    "retry": "no attempt has failed a moment ago",
}
# held back by people or by what went before; the other vetoes are conditions of the situation itself
HOLDS = frozenset({"off", "paused", "drained", "frozen", "manual hold", "retry"})

# when a guard holds, as far as its name does not say it
MEANS: Mapping[D, str] = {
    D.SUPERSEDED: "a higher epoch than the own one was commanded or shown",
    D.ISOLATED: "for {lease_s:.1f} s no reference host, nor a signed 'standby, and I hear you' of the other server",
    D.PORTAL_DEAD: "the other server is heard, and for {lease_s:.1f} s the own portal was not",
    D.LEASE_LOST: "the lease could not be renewed for {lease_s:.1f} s",
    D.SPLIT_LOSE: "the other one is active under a valid lease too, and the VIP leads there, or this is server #2",
    D.SPLIT_STAY: "the other one is active under a valid lease too, and the VIP leads here, or this is server #1",
    D.STALLED: "no progress for {stall_s:.1f} s",
    D.SWITCHING: "",
    D.ORDERED: "",
    D.RESUMABLE: "",
    D.LAN_DOWN: "no carrier, or no reference host answers",
    D.PEER_ACTIVE: "it says so, signed, under a valid lease",
    D.VIP_HERE: "the VIP test is on, the other server is heard",
    D.FAILBACK_DUE: "failback is on, the other server is active",
    D.PEER_STARTING: "it answers, has decided no role, and owns nothing",
    D.NOBODY_ACTIVE: "the other server answers and owns nothing, and no voter shows a lock or a lease",
    D.PEER_STUCK: "it answers and has no role, but signs that it may own something: a service did not stop",
    D.PEER_GAVE_UP: "it says so, signed; its own monitor is not OK, and this server has not yet taken over for this fault",
    D.PEER_SILENT: "no answer in time, a wrong one, or its agent does not tick; nor is it heard through the VIP",
    D.SERVICE_DEAD: "its controller says so, or it does not answer for too long",
    D.STEADY: "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleRow:
    """One row as people read it. ``situations``: names of its diagnoses; several only where nothing is done."""

    id: str
    role: Role
    situations: tuple[str, ...]
    means: str
    why: str
    conditions: tuple[str, ...]
    vetoes: tuple[str, ...]
    actions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``situation`` in words."""
        lists = {name: list(getattr(self, name)) for name in ("situations", "conditions", "vetoes", "actions")}
        words = [str(D[name]) for name in self.situations]
        return {"id": self.id, "role": str(self.role), "means": self.means, "why": self.why, "words": words} | lists


def rules_of(row: Row) -> tuple[Rule, ...]:
    """Every rule that a row of the table can give."""
    return (row,) if isinstance(row, Rule) else CHOICES[row]


def rows(settings: Settings, me: Designation) -> tuple[RuleRow, ...]:
    """The whole table for this server, role by role in the table's order; what does nothing comes last, in one row."""
    timing, found = Timing.of(settings), []
    for role in Role:
        idle: list[str] = []
        for (of_role, diagnosis), row in TABLE.items():
            if of_role is not role or (role, diagnosis) in NEVER:
                continue
            if row is S0:
                idle.append(diagnosis.name)
                continue
            found += [_row(rule, role, diagnosis, settings, timing, me) for rule in rules_of(row)]
        found.append(
            RuleRow(
                id=S0.id, role=role, situations=tuple(idle), means="", why=S0.why, conditions=(), vetoes=(), actions=()
            )
        )
    return tuple(found)


def _row(rule: Rule, role: Role, diagnosis: D, settings: Settings, timing: Timing, me: Designation) -> RuleRow:
    held_by = vetoes_of(rule, me)
    return RuleRow(
        id=rule.id,
        role=role,
        situations=(diagnosis.name,),
        means=MEANS[diagnosis].format(lease_s=timing.lease_s, stall_s=stall_limit_s(timing)),
        why=rule.why,
        conditions=tuple(_passes(rule, name, settings, timing, me) for name in held_by if name not in HOLDS),
        vetoes=tuple(PASSES[name] for name in held_by if name in HOLDS),
        actions=tuple(str(action) for action in rule.actions),
    )


def _passes(rule: Rule, veto: str, settings: Settings, timing: Timing, me: Designation) -> str:
    """What must be true, with the figures of this pair."""
    case = replace(_worst(rule, me)[0], memory=Memory(), settings=settings, timing=timing)
    streak = streak_of(case)
    if veto == "streak" and streak is not None:
        return f"{case.ticks_needed} {streak[1]} in a row"
    if veto == "hold":
        return f"{PASSES[veto]}: no sooner than {case.hold_s:.1f} s after the end of the first bad probe"
    return PASSES[veto]


@lru_cache(maxsize=64)
def vetoes_of(rule: Rule, me: Designation) -> tuple[str, ...]:
    """Names of the vetoes that can hold ``rule`` back on server ``me``, in their order."""
    if not rule.promotes:
        return ()
    return tuple(name for name, veto in VETOES.items() if any(veto(case) for case in _worst(rule, me)))


def _worst(rule: Rule, me: Designation) -> tuple[Case, ...]:
    """Cases in which every veto that looks at this rule speaks: with the peer silent, and with both portals sick."""
    settings = Settings(enabled=False, vip_test=True, failback_stable_s=60.0)
    view = ClusterView(
        now_s=1000.0,
        designation=me,
        role=Role.STANDBY,
        pause=Pause(owner="", reason=""),
        drained=True,
        manual_hold=True,
        switches=2 * settings.flap_budget,
        retry_after_s=1001.0,
        order=SwitchOrder(switch_id="", target=me.other, expected_active=None),
        given_up=("",),
        failed=("",),
    )
    said = NodeState(designation=me.other, role=Role.STANDBY, failed=("",))
    sick = Probe(started_s=999.0, ended_s=1000.0, cause=ProbeCause.BODY, state=said)
    both = replace(view, peer=sick, own=Probe(started_s=999.0, ended_s=1000.0, cause=ProbeCause.TIMEOUT))
    memory = Memory(frozen=True, bad_since_s=1000.0)
    return tuple(Case(rule, v, memory, settings, Timing.of(settings)) for v in (view, both))


def holds_now(row: Mapping[str, Any], role: str, diagnosis: str, rule: str, why: str) -> bool:
    """Whether ``row`` (a RuleRow as JSON) is the one that the last decision stood on."""
    return bool(row["role"] == role and diagnosis in row["situations"] and row["id"] == rule and row["why"] == why)
