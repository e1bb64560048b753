"""The whole policy: one total table from (role, diagnosis) to a rule, and the vetoes that hold a rule back.

Theory. A rule that *demotes* is never vetoed: at worst nobody is active for a while. A rule that *promotes* passes every
veto first, then a switch sequence (``sequence.py``) whose lock, epoch, fence and votes must each succeed. So the table
may be generous and the pair still never has two owners. Rule ids are those of spec 5.1; L1 is the lost lease that
spec 5.1 lists among what is never vetoed, S0 is "no rule applies".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Callable

from .diagnosis import Diagnosis as D
from .handover import both_miss, wrong_services
from .hysteresis import Memory, lan_is_up, switches_counted
from .settings import Settings
from .terms import Designation, ProbeCause, Role, SplitStance, VipDestination
from .timing import Timing
from .view import ClusterView


class Action(StrEnum):
    """What a decision asks the agent to do, in order."""

    RESUME = "resume the role"
    BECOME_STANDBY = "become standby"
    PROMOTE = "fence the peer if it can be reached, then promote"
    PROMOTE_CONFIRMED = "promote after the peer's confirmed demotion"
    DEMOTE = "demote"
    INVITE_PEER = "tell the peer that it may promote"
    REASSERT = "take a new epoch and re-assert it"
    RESTART_SERVICES = "restart dead services in their role"
    SYNC_SETTINGS = "take the active node's settings"


PROMOTIONS = frozenset({Action.PROMOTE, Action.PROMOTE_CONFIRMED})


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: an id, what it does, and why, in words an administrator reads."""

    id: str
    actions: tuple[Action, ...]
    why: str

    @property
    def promotes(self) -> bool:
        return bool(PROMOTIONS & set(self.actions))


C0 = Rule("C0", (Action.RESUME,), "restarted within its own lease")
C1 = Rule("C1", (Action.BECOME_STANDBY, Action.SYNC_SETTINGS), "the peer is active")
C2_PROMOTE = Rule(
    "C2", (Action.PROMOTE_CONFIRMED,), "both servers have started and nobody is active: server #1 takes the role"
)
C2_STANDBY = Rule("C2", (Action.BECOME_STANDBY,), "both servers have started: server #1 takes the role")
C3 = Rule("C3", (Action.PROMOTE,), "started, and the peer is silent")
C4 = Rule("C4", (Action.BECOME_STANDBY,), "started without a LAN")
F1 = Rule("F1", (Action.PROMOTE,), "the active server has failed")
F1_NOBODY = Rule("F1", (Action.PROMOTE_CONFIRMED,), "nobody is active")
F1_STUCK = Rule("F1", (Action.PROMOTE_CONFIRMED,), "nobody is active, and the other server has not stopped everything")
H1 = Rule("H1", (Action.PROMOTE_CONFIRMED,), "the active server has given up a service")
F2 = Rule("F2", (Action.PROMOTE_CONFIRMED,), "the VIP leads to this server")
B1 = Rule("B1", (Action.PROMOTE_CONFIRMED,), "server #1 is healthy again")
X1_YIELD = Rule("X1", (Action.DEMOTE,), "both were active, the other one stays")
X1_WAIT = Rule("X1", (), "both are active; this server yields as soon as the other one says that it stays")
X1_STAY = Rule("X1", (Action.REASSERT,), "both were active, this one stays")
X1_STAYS = Rule("X1", (), "both are active; this server stays")
I1 = Rule("I1", (Action.DEMOTE, Action.INVITE_PEER), "cut off from the LAN")
P1 = Rule("P1", (Action.DEMOTE, Action.INVITE_PEER), "the own portal does not answer while the peer is alive")
L1 = Rule("L1", (Action.DEMOTE,), "the lease has run out")
L1_STALLED = Rule("L1", (Action.DEMOTE, Action.INVITE_PEER), "the services do not start")
M1 = Rule("M1", (Action.PROMOTE_CONFIRMED,), "switchover asked for by an administrator")
W1 = Rule("W1", (Action.RESTART_SERVICES,), "a service is dead")
W1_GIVEN_UP = Rule("W1", (Action.RESTART_SERVICES,), "a service was given up; it is tried again at growing gaps")
SW = Rule("SW", (), "a switch is running")
S0 = Rule("S0", (), "no rule applies")
RULES = (
    C0, C1, C2_PROMOTE, C2_STANDBY, C3, C4, F1, F1_NOBODY, F1_STUCK, H1, F2, B1, X1_YIELD, X1_WAIT, X1_STAY, X1_STAYS, I1, P1,
    L1, L1_STALLED, M1, W1, W1_GIVEN_UP, SW, S0,
)  # fmt: skip

A, S, U = Role.ACTIVE, Role.STANDBY, Role.UNDECIDED
Row = Rule | Callable[[ClusterView, Memory, Settings], Rule]


def _split(view: ClusterView, memory: Memory, settings: Settings) -> Rule:
    """The loser demotes only after the survivor's signed "I stay" (X1)."""
    peer = view.peer_state
    if peer is not None and peer.stance is SplitStance.STAY:
        return X1_YIELD
    both_yield = peer is not None and peer.stance is SplitStance.YIELD
    return X1_YIELD if both_yield and view.designation is Designation.SERVER2 else X1_WAIT


def _stay(view: ClusterView, memory: Memory, settings: Settings) -> Rule:
    """The survivor needs a new epoch once, above the other's."""
    peer = view.peer_state
    return X1_STAY if peer is not None and peer.epoch > view.epoch else X1_STAYS


def _both_started(view: ClusterView, memory: Memory, settings: Settings) -> Rule:
    """C2: server1 promotes; server2 waits N ticks for it, then is standby."""
    if view.designation is Designation.SERVER1:
        return C2_PROMOTE
    return C2_STANDBY if memory.nobody_streak >= settings.threshold else S0


def _dead(view: ClusterView, memory: Memory, settings: Settings) -> Rule:
    """W1 restarts; what was given up only waits for its next try."""
    return W1 if set(wrong_services(view)) - set(view.given_up) else W1_GIVEN_UP


TABLE: dict[tuple[Role, D], Row] = {
    (A, D.SUPERSEDED): L1,
    (A, D.ISOLATED): I1,
    (A, D.PORTAL_DEAD): P1,
    (A, D.LEASE_LOST): L1,
    (A, D.SPLIT_LOSE): _split,
    (A, D.SPLIT_STAY): _stay,
    (A, D.STALLED): L1_STALLED,
    (A, D.SWITCHING): SW,
    (A, D.ORDERED): S0,
    (A, D.RESUMABLE): C0,
    (A, D.LAN_DOWN): S0,
    (A, D.PEER_ACTIVE): S0,
    (A, D.VIP_HERE): S0,
    (A, D.FAILBACK_DUE): S0,
    (A, D.PEER_STARTING): S0,
    (A, D.PEER_STUCK): S0,
    (A, D.PEER_GAVE_UP): S0,
    (A, D.NOBODY_ACTIVE): S0,
    (A, D.PEER_SILENT): S0,
    (A, D.SERVICE_DEAD): _dead,
    (A, D.STEADY): S0,
    (S, D.SUPERSEDED): S0,
    (S, D.ISOLATED): S0,
    (S, D.PORTAL_DEAD): S0,
    (S, D.LEASE_LOST): S0,
    (S, D.SPLIT_LOSE): S0,
    (S, D.SPLIT_STAY): S0,
    (S, D.STALLED): S0,
    (S, D.SWITCHING): SW,
    (S, D.ORDERED): M1,
    (S, D.RESUMABLE): S0,
    (S, D.LAN_DOWN): S0,
    (S, D.PEER_ACTIVE): S0,
    (S, D.VIP_HERE): F2,
    (S, D.FAILBACK_DUE): B1,
    (S, D.PEER_STARTING): F1_NOBODY,
    (S, D.PEER_STUCK): F1_STUCK,
    (S, D.PEER_GAVE_UP): H1,
    (S, D.NOBODY_ACTIVE): F1_NOBODY,
    (S, D.PEER_SILENT): F1,
    (S, D.SERVICE_DEAD): _dead,
    (S, D.STEADY): S0,
    (U, D.SUPERSEDED): S0,
    (U, D.ISOLATED): C4,
    (U, D.PORTAL_DEAD): S0,
    (U, D.LEASE_LOST): S0,
    (U, D.SPLIT_LOSE): S0,
    (U, D.SPLIT_STAY): S0,
    (U, D.STALLED): S0,
    (U, D.SWITCHING): SW,
    (U, D.ORDERED): M1,
    (U, D.RESUMABLE): C0,
    (U, D.LAN_DOWN): C4,
    (U, D.PEER_ACTIVE): C1,
    (U, D.VIP_HERE): S0,
    (U, D.FAILBACK_DUE): S0,
    (U, D.PEER_STARTING): _both_started,
    (U, D.PEER_STUCK): S0,
    (U, D.PEER_GAVE_UP): S0,
    (U, D.NOBODY_ACTIVE): _both_started,
    (U, D.PEER_SILENT): C3,
    (U, D.SERVICE_DEAD): S0,
    (U, D.STEADY): S0,
}

CHOICES: dict[Row, tuple[Rule, ...]] = {  # of the rows that are no single rule
    _split: (X1_YIELD, X1_WAIT), _stay: (X1_STAY, X1_STAYS), _both_started: (C2_PROMOTE, C2_STANDBY, S0),
    _dead: (W1, W1_GIVEN_UP),
}  # fmt: skip


def rule_for(diagnosis: D, view: ClusterView, memory: Memory, settings: Settings) -> Rule:
    """The table's row for this node's role and situation."""
    row = TABLE[view.role, diagnosis]
    return row if isinstance(row, Rule) else row(view, memory, settings)


# --- vetoes: each returns a sentence, or "" ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule was held back: the veto's name and a sentence."""

    veto: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What a veto looks at."""

    rule: Rule
    view: ClusterView
    memory: Memory
    settings: Settings
    timing: Timing

    @property
    def ticks_needed(self) -> int:
        """N; twice that for server2 where both may act on the same news (F1 with nobody active, C3). Three times where the
        peer has not stopped everything: it is the first that may take its role back, without a second owner."""
        slow = self.rule in (F1_NOBODY, C3) and self.view.designation is Designation.SERVER2
        turns = 3 if self.rule is F1_STUCK else 2 if slow else 1
        return self.settings.threshold * (turns + self.deference) * self.caution

    @property
    def deference(self) -> int:
        """Whose services did not start lets the other one go first, until that one has taken a higher epoch."""
        state, failed = self.view.peer_state, self.view.start_failed_epoch
        return 3 if self.rule is F1_NOBODY and failed and state is not None and state.epoch <= failed else 0

    @property
    def hold_s(self) -> float:
        extra = self.ticks_needed - self.settings.threshold * self.caution
        return self.timing.hold_s * self.caution + extra * self.timing.interval_s

    @property
    def caution(self) -> int:
        """A frozen pair that has nobody active goes on with doubled holds (spec 5.6)."""
        return 2 if self.memory.frozen and self.rule.id in ("F1", "C3") else 1


def _off(c: Case) -> str:
    return "Hot Standby mode is off" if not c.settings.enabled and c.rule.id != "M1" else ""


def _paused(c: Case) -> str:
    if c.view.pause is None or c.rule.id == "M1":
        return ""
    return f"paused by {c.view.pause.owner}: {c.view.pause.reason}"


def _drained(c: Case) -> str:
    return "this server is drained for maintenance" if c.view.drained else ""


def _lan(c: Case) -> str:
    if c.rule.id == "M1" or lan_is_up(c.view):
        return ""
    return f"the LAN is not known to be up (carrier {c.view.lan.carrier}, reference hosts {c.view.lan.reference})"


def streak_of(c: Case) -> tuple[int, str] | None:
    """(how many consecutive ticks there are, of what) of a rule that has to last; None of one that has not."""
    have = {"F2": c.memory.vip_self_streak, "B1": c.memory.own_ok_streak}.get(c.rule.id)
    noun = {"F2": "ticks with the VIP here", "B1": "good answers of the own monitor"}.get(c.rule.id, "bad probes")
    if c.rule in (F1, C3):
        have = max(c.memory.bad_streak, c.memory.combined_streak)
    elif c.rule is F1_NOBODY:
        have, noun = c.memory.nobody_streak, "ticks with nobody active"
    elif c.rule is F1_STUCK:
        have, noun = c.memory.stuck_streak, "ticks with nobody active"
    elif c.rule.id == "F2" and have is not None:
        have = max(have, c.memory.combined_streak)
    elif c.rule is C2_PROMOTE:
        started = c.view.peer_state is not None and c.view.peer_state.role is Role.UNDECIDED
        have, noun = (c.ticks_needed if started else c.memory.nobody_streak), "ticks with nobody active"
    return None if have is None else (have, noun)


def _streak(c: Case) -> str:
    found = streak_of(c)
    if found is None or found[0] >= c.ticks_needed or (c.view.invited and c.rule in (F1, F1_NOBODY)):
        return ""
    return f"{found[0]} of {c.ticks_needed} {found[1]}"


def _hold(c: Case) -> str:
    """Never sooner than (N-1)*T after the END of the first bad probe. The last probe and the fence of a silent peer take t and
    min(t, 2 s) of it: held back for less than that, F1 would miss this tick and lose a whole T. Nor is it held back for one
    more tick that would end later than the last probe should begin (I-B): the switch worker waits for the rest. That is
    for the wait since the first bad probe alone; a vote that still moves must stand still first."""
    if c.rule not in (F1, C3) or c.view.invited:
        return ""
    sure_s = certain_s(c)
    left_s = sure_s - c.view.now_s
    waits_s = c.timing.timeout_s + (c.timing.fence_s if c.view.peer_state is None else 0.0)
    first_bad_s = c.memory.bad_since_s
    if c.view.peer is not None and first_bad_s is not None and sure_s <= first_bad_s + c.hold_s + c.timing.lan_gap_s:
        waits_s += min(c.view.peer.latency_s, c.timing.timeout_s)
    return f"{left_s:.1f} s until the old active server has certainly stopped" if left_s > waits_s else ""


def certain_s(c: Case) -> float:
    """When F1 or C3 may end in a promotion: a silent peer cannot confirm a fence, so it must have stopped certainly. One
    whose monitor alone is broken can: its agent is asked as soon as the hold is over. Should it not answer then, the fence
    still passes no sooner than ``passable_s``."""
    if c.view.peer_state is not None or peer_reaches_here(c):
        return not_before_s(c)
    return max(not_before_s(c), passable_s(c))


def peer_reaches_here(c: Case) -> bool:
    """The peer's agent renewed its vote in this node's own Redis within two renewal periods: it is alive, and connected.

    The voters were asked when the probe began; a monitor that hangs has kept this tick waiting for t since then.
    """
    asked_s = c.view.now_s if c.view.peer is None else c.view.peer.started_s
    own = [v for v in c.view.votes if v.voter == c.view.designation and v.owner == c.view.designation.other]
    return any(v.still_since_s is not None and asked_s - v.still_since_s < 2 * c.timing.renew_s for v in own)


def not_before_s(c: Case) -> float:
    """Earliest moment for a promotion under this rule, on the own clock."""
    if c.rule not in (F1, C3) or c.view.invited:
        return c.view.now_s
    since = [s for s in (c.memory.bad_since_s, c.memory.combined_since_s) if s is not None]
    return min(since) + c.hold_s if since else c.view.now_s + c.hold_s


def passable_s(c: Case) -> float:
    """When a silent peer has certainly stopped (I-D, ``timing.py``): a hold after its last signed word that it may own
    something and after the first bad probe, and a watch after any vote of the peer was last seen to move (5.4) and
    after the own LAN came back."""
    hold_s = c.timing.hold_s + c.timing.lan_gap_s
    times = [t + hold_s for t in (c.memory.owner_word_s, c.memory.bad_since_s) if t is not None]
    if c.view.lan.steady_since_s is not None and c.view.lan.asked:
        times.append(c.view.lan.steady_since_s + c.timing.watch_s)
    for vote in c.view.votes:
        unsettled = vote.owner == c.view.designation.other or vote.mark == "missing"  # a wiped voter proves nothing yet
        if unsettled and vote.still_since_s is not None:
            times.append(vote.still_since_s + c.timing.watch_s)
    return max(times) if times else c.view.now_s + hold_s


def _both_sick(c: Case) -> str:
    """A third party that both miss causes no switch: the own check must be better than the peer's."""
    probe = c.view.peer
    body = probe is not None and probe.cause is ProbeCause.BODY
    return "the own check fails as well" if c.rule is F1 and body and not c.view.self_healthy else ""


def _unhealthy(c: Case) -> str:
    if c.rule.id not in ("F2", "B1", "H1", "M1") or c.view.self_healthy:
        return ""
    cause = c.view.own.cause if c.view.own is not None else "not asked"
    return f"the own monitor is not OK ({cause})"


def _own_portal_dead(c: Case) -> str:
    """With the peer alive, a server whose own portal is dead would only be demoted again (P1), or the two would take the
    role from each other while neither portal answers."""
    heard, own = c.view.peer_state is not None or c.view.invited or peer_reaches_here(c), c.view.own
    return "the own portal does not answer" if heard and own is not None and own.state is None else ""


def _peer_unheard(c: Case) -> str:
    if c.rule.id not in ("F2", "B1", "H1", "M1") or c.view.peer_state is not None:
        return ""
    return "the peer cannot be asked to stop"


def _frozen(c: Case) -> str:
    if not c.memory.frozen:
        return ""
    if c.rule.id in ("B1", "F2", "H1"):
        return f"frozen after {switches_counted(c.view)} automatic switches; acknowledge it to go on"
    if c.rule.id in ("F1", "C3") and switches_counted(c.view) >= 2 * c.settings.flap_budget:
        return f"frozen for good after {switches_counted(c.view)} automatic switches; acknowledge it to go on"
    return ""


def _manual_hold(c: Case) -> str:
    if c.rule.id not in ("B1", "F2", "H1"):
        return ""
    held = c.view.manual_hold or (c.view.peer_state is not None and c.view.peer_state.manual_hold)
    return "a manual switchover holds automatic switches back until it is released" if held else ""


def _failback(c: Case) -> str:
    if c.rule is not B1:
        return ""
    if c.settings.vip_test and c.view.vip.destination is not VipDestination.SELF:
        return f"the VIP does not lead here (it leads to: {c.view.vip.destination})"
    since_s = c.memory.own_ok_since_s
    stable_s = 0.0 if since_s is None else c.view.now_s - since_s
    if stable_s < c.settings.failback_stable_s:
        return f"stable for {stable_s:.0f} of {c.settings.failback_stable_s:.0f} s"
    return "" if c.view.in_failback_hours else f"outside the allowed hours {c.settings.failback_hours}"


def _expected(c: Case) -> str:
    order = c.view.order
    if c.rule is not M1 or order is None:
        return ""
    if order.target is not c.view.designation:
        return f"{order.target} was asked for, this is {c.view.designation}"
    active = c.view.peer_state is not None and c.view.peer_state.is_active
    now_active = c.view.designation.other if active else None
    if now_active is not order.expected_active:
        return f"expected {order.expected_active or 'nobody'} to be active, but {now_active or 'nobody'} is"
    return ""


def _retry(c: Case) -> str:
    after_s = c.view.retry_after_s
    if c.rule.id == "M1" or after_s is None or c.view.now_s >= after_s:
        return ""
    return f"the last attempt failed; the next is in {after_s - c.view.now_s:.1f} s"


def _given_up(c: Case) -> str:
    """A server on which a service does not work takes no role from one that is active (spec 6)."""
    state, names = c.view.peer_state, c.view.given_up
    if c.rule is F1 and c.view.peer is not None and c.view.peer.cause is ProbeCause.BODY and state is not None:
        both = [name for name in names if name in state.given_up]  # its failed check is what this server would have too
        return f"{', '.join(both)} was given up on both servers" if both else ""
    return f"{', '.join(names)} was given up on this server" if c.rule.id in ("B1", "F2", "H1") and names else ""


def _shared(c: Case) -> str:
    missed = both_miss(c.view) if c.rule is H1 else ()
    return f"both servers miss {', '.join(missed)}: the other one would not do better" if missed else ""


def _fence(c: Case) -> str:
    if c.rule is not F1_STUCK or c.view.can_fence:
        return ""
    other = c.view.designation.other
    return f"look at the services of {other}, or switch {other} off and force the takeover (no fence command is set)"


VETOES: dict[str, Callable[[Case], str]] = {
    "off": _off,
    "paused": _paused,
    "drained": _drained,
    "lan": _lan,
    "streak": _streak,
    "hold": _hold,
    "both sick": _both_sick,
    "unhealthy": _unhealthy,
    "own portal dead": _own_portal_dead,
    "peer unheard": _peer_unheard,
    "frozen": _frozen,
    "manual hold": _manual_hold,
    "given up": _given_up,
    "shared": _shared,
    "fence": _fence,
    "failback": _failback,
    "expected active": _expected,
    "retry": _retry,
}


def refusals(case: Case) -> tuple[Refusal, ...]:
    """Every veto that holds the rule back; none for a rule that does not promote."""
    if not case.rule.promotes:
        return ()
    return tuple(Refusal(name, text) for name, veto in VETOES.items() if (text := veto(case)))
