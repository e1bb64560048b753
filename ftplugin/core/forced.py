"""M2, the forced takeover: an administrator promotes a standby server that no rule lets promote itself.

No situation leads to M2, so it is no row of the table (``policy.py``). What holds automatic rules back (streaks, pause,
freeze, mode off, an unknown LAN, the VIP, the own checks) is passed. What keeps two servers from owning is not: lock,
durable epoch, fence and votes are as in F1, and a server that confirms nothing is waited for until its lease has
certainly ended. Only one wait may be waived, by the word "it is switched off or cut off, I have checked it": without a
witness, and only while nothing says that the other one is alive. With a witness the votes decide, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .hysteresis import Memory, advance
from .policy import Action, Rule
from .vetoes import VETOES, Case, Refusal, endless, passable_s, peer_reaches_here
from .settings import Settings
from .terms import Tri
from .timing import Timing
from .view import ClusterView

M2 = Rule("M2", (Action.PROMOTE,), "forced takeover by an administrator")
ENDLESS = (
    "Hot Standby mode is or was off: a server that is cut off then keeps its role for ever, so there is no time after "
    "which it has certainly stopped; switch the other server off, then say that it is"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Forced:
    """What M2 may do now.

    refused: why it may not. certain_s: when a server that confirms nothing has certainly stopped, own CLOCK_BOOTTIME.
    silent: the other one did not answer when asked, so ``certain_s`` counts already. endless: it never certainly stops by
    itself. waived: the wait is left out on the administrator's word. memory: after this view.
    """

    memory: Memory
    refused: tuple[Refusal, ...]
    certain_s: float
    silent: bool
    endless: bool
    waived: bool

    @property
    def sentence(self) -> str:
        return f"{M2.id} held back: " + "; ".join(r.sentence for r in self.refused) if self.refused else M2.why


def force(view: ClusterView, settings: Settings, memory: Memory, timing: Timing, *, checked: bool) -> Forced:
    """Judge a forced takeover of this node (M2, spec 5.4 and I-D).

    timing: what a standby node waits by. checked: the administrator's word that the other server is off or cut off.
    """
    memory = advance(memory, view, settings, timing)
    case = Case(M2, view, memory, settings, timing)
    alive = view.peer_state is not None or peer_reaches_here(case)
    for_ever = endless(settings, memory)
    waived = checked and not settings.witness and not alive
    refused = [Refusal(name, text) for name, veto in KEPT.items() if (text := veto(case))]
    if for_ever and not alive and not waived:
        refused.append(Refusal("endless", ENDLESS))
    return Forced(
        memory=memory,
        refused=tuple(refused),
        certain_s=passable_s(case),
        silent=memory.bad_since_s is not None,
        endless=for_ever,
        waived=waived,
    )


def _lan_down(c: Case) -> str:
    """I1 would demote it at once, and its first lease may not outlast its last contact (I-D)."""
    if c.view.lan.up is not Tri.NO:
        return ""
    return (
        f"this server has lost its LAN (carrier {c.view.lan.carrier}, reference hosts {c.view.lan.reference}): an active "
        "server without LAN gives up by itself (I1)"
    )


KEPT: dict[str, Callable[[Case], str]] = {
    "drained": VETOES["drained"],
    "lan": _lan_down,
    "own portal dead": VETOES["own portal dead"],
}


def passes(veto: str, lan: Mapping[str, Any]) -> bool:
    """Whether M2 passes a veto that holds this node back now, by its name. ``lan``: carrier and reference as published."""
    if veto == "lan":
        return Tri.NO not in (lan.get("carrier"), lan.get("reference"))
    return veto not in KEPT
