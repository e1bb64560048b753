"""The policy: one total table from (role, diagnosis) to a rule. What holds a rule back are the vetoes (``vetoes.py``).

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
from .handover import wrong_services
from .hysteresis import Memory
from .settings import Settings
from .terms import Designation, Role, SplitStance
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
F1 = Rule("F1", (Action.PROMOTE,), "the other server gives no good answer")
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
L1_OUTRANKED = Rule("L1", (Action.DEMOTE, Action.INVITE_PEER), "a higher epoch than that of the own role was ordered")
L1_STALLED = Rule("L1", (Action.DEMOTE, Action.INVITE_PEER), "the services do not start")
M1 = Rule("M1", (Action.PROMOTE_CONFIRMED,), "switchover asked for by an administrator")
W1 = Rule("W1", (Action.RESTART_SERVICES,), "a service is dead")
W1_GIVEN_UP = Rule("W1", (Action.RESTART_SERVICES,), "a service was given up; it is tried again at growing gaps")
SW = Rule("SW", (), "a switch is running")
S0 = Rule("S0", (), "no rule applies")
RULES = (
    C0, C1, C2_PROMOTE, C2_STANDBY, C3, C4, F1, F1_NOBODY, F1_STUCK, H1, F2, B1, X1_YIELD, X1_WAIT, X1_STAY, X1_STAYS, I1, P1,
    L1, L1_OUTRANKED, L1_STALLED, M1, W1, W1_GIVEN_UP, SW, S0,
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
    (A, D.SUPERSEDED): L1_OUTRANKED,
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
    (U, D.PEER_STUCK): F1_STUCK,
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
