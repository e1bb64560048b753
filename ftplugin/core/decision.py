"""``decide``: one tick's view, the settings and the memory in; what to do and why out. Pure (design 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .diagnosis import Diagnosis, diagnose
from .handover import alarms_of, state_of_fault
from .hysteresis import Memory, advance, direct_path_cut
from .policy import X1_YIELD, Action, Rule, rule_for
from .vetoes import Case, Refusal, certain_s, not_before_s, passable_s, refusals
from .settings import Settings
from .suspect import again_in_s
from .terms import Role, SplitStance, VipDestination
from .timing import Timing
from .view import ClusterView

FROZEN = "automatic switching is frozen: too many switches in the window"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What one tick decided.

    ``actions`` is empty when ``refused`` is not. ``not_before_s``: no promotion sooner. ``passable_s``: an unanswered
    fence may be passed no sooner (both on the own CLOCK_BOOTTIME). ``sentence`` is shown and logged when it changes;
    ``why`` is the rule's reason alone.
    """

    rule: str
    diagnosis: Diagnosis
    actions: tuple[Action, ...]
    sentence: str
    why: str
    memory: Memory
    refused: tuple[Refusal, ...] = ()
    not_before_s: float = 0.0
    passable_s: float = 0.0
    certain_s: float = 0.0  # what is to be waited for before the fence, on the own CLOCK_BOOTTIME
    stance: SplitStance = SplitStance.NONE
    alarms: tuple[str, ...] = ()
    again_in_s: float | None = None  # suspect mode: the next tick so soon after this one, not at the grid's next

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "diagnosis": self.diagnosis.name,
            "actions": list(self.actions),
            "sentence": self.sentence,
            "refused": [{"veto": r.veto, "sentence": r.sentence} for r in self.refused],
            "alarms": list(self.alarms),
            "streaks": {
                "bad": self.memory.bad_streak,
                "nobody": self.memory.nobody_streak,
                "vip_self": self.memory.vip_self_streak,
                "own_ok": self.memory.own_ok_streak,
            },
        }


def decide(
    view: ClusterView,
    settings: Settings,
    memory: Memory,
    timing: Timing | None = None,
    wait_timing: Timing | None = None,
) -> Decision:
    """The decision of one tick.

    timing: what an active node stops by; wait_timing: what a standby node waits by. Both follow from ``settings`` unless a
    change of timing still awaits the other node (spec 4), when the caller passes ``Timing.between``.
    """
    stop_by = timing or Timing.of(settings)
    wait_by = wait_timing or stop_by
    used = stop_by if view.role is Role.ACTIVE else wait_by
    memory = advance(memory, view, settings, used)
    diagnosis = diagnose(view, memory, settings, used)
    rule = rule_for(diagnosis, view, memory, settings)
    if rule is X1_YIELD:  # a split gives the role back, not the fault: the hand-over for it is due once more (H1)
        memory = replace(memory, taken=())
    case = Case(rule, view, memory, settings, used)
    refused = refusals(case)
    return Decision(
        rule=rule.id,
        diagnosis=diagnosis,
        actions=() if refused else rule.actions,
        sentence=_sentence(rule, diagnosis, view, settings, refused),
        why=rule.why,
        memory=memory,
        refused=refused,
        not_before_s=not_before_s(case),
        passable_s=passable_s(case),
        certain_s=certain_s(case),
        stance=_stance(diagnosis, view, settings),
        alarms=_alarms(view, memory, settings, used),
        again_in_s=again_in_s(case, refused),
    )


def settle(memory: Memory) -> Memory:
    """Memory after a change of role: streaks of the old role say nothing about the new one."""
    return replace(memory.without_streaks())


def _stance(diagnosis: Diagnosis, view: ClusterView, settings: Settings) -> SplitStance:
    """What this node signs about a split. One that has the VIP says "I stay" even when it hears nobody: the other one may
    hear it through the VIP alone, and waits for this word (X1)."""
    has_vip = settings.vip_test and view.vip.destination is VipDestination.SELF
    if view.role is Role.ACTIVE and has_vip and diagnosis is not Diagnosis.SPLIT_LOSE:
        return SplitStance.STAY
    return {Diagnosis.SPLIT_LOSE: SplitStance.YIELD, Diagnosis.SPLIT_STAY: SplitStance.STAY}.get(
        diagnosis, SplitStance.NONE
    )


def _sentence(
    rule: Rule, diagnosis: Diagnosis, view: ClusterView, settings: Settings, refused: tuple[Refusal, ...]
) -> str:
    """ "F1 held back: the peer does not answer well (connection error); 2 of 5 bad probes"."""
    what = str(diagnosis)
    if diagnosis is Diagnosis.PEER_SILENT and view.peer is not None:
        what += f" ({view.peer.cause})"
    if refused:
        return f"{rule.id} held back: {what}; " + "; ".join(r.sentence for r in refused)
    if rule.id == "S0":
        return f"{view.role}: {what}"
    if rule.id == "W1" and view.given_up:
        return f"{rule.id}: {state_of_fault(view, settings)}"
    return f"{rule.id}: {rule.why}"


def _alarms(view: ClusterView, memory: Memory, settings: Settings, timing: Timing) -> tuple[str, ...]:
    alarms = []
    if direct_path_cut(view, timing):
        alarms.append("direct path cut: the peer answers at the VIP only")
    if memory.frozen:
        alarms.append(FROZEN)
    if view.vip.destination.value == "both":
        alarms.append("both servers answer at the VIP")
    if view.lan.up.value == "unknown" and settings.enabled:
        none = "set LAN reference hosts, or this server can never fail over"
        silent = "no LAN reference host answers just now; this server cannot fail over meanwhile"
        alarms.append(f"LAN unknown: {silent if view.lan.asked else none}")
    return (*alarms, *alarms_of(view))
