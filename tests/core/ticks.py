"""A node that only decides: views are made by hand, memory is carried from tick to tick as the agent does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.decision import Decision, decide
from ftplugin.core.hysteresis import Memory
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, ProbeCause, Role, Tri, VipDestination
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, LanReading, NodeState, Pause, Probe, SwitchOrder, VipReading, VoteReading

N = 3  # of DEFAULTS
S1, S2 = Designation.SERVER1, Designation.SERVER2
A, S, U = Role.ACTIVE, Role.STANDBY, Role.UNDECIDED
LAN_UP = LanReading(carrier=Tri.YES, reference=Tri.YES)
LAN_DOWN = LanReading(carrier=Tri.YES, reference=Tri.NO)
LAN_UNKNOWN = LanReading(carrier=Tri.YES, reference=Tri.UNKNOWN)
DEFAULTS = Settings(
    server1_address="10.0.0.1",
    server2_address="10.0.0.2",
    enabled=True,
    timeout_s=1.0,
    interval_s=1.0,
    threshold=3,
    service_stop_s=0.3,
    portal_restart_s=1.0,
    lan_references=("10.0.0.254",),
)
PAUSE = Pause(owner="anna", reason="new switch in the rack")
BOTH = pytest.mark.parametrize("me", [S1, S2])
SELF, PEER, NOBODY = VipDestination.SELF, VipDestination.PEER, VipDestination.NOBODY


def settings(**changes: Any) -> Settings:
    return replace(DEFAULTS, **changes)


def vip_on(**changes: Any) -> Settings:
    return settings(vip_address="10.0.0.100", vip_test=True, **changes)


def state(designation: Designation, role: Role = A, **changes: Any) -> NodeState:
    """The signed word of a node that is well: an active one has a lease left, a standby one is clear."""
    active = role is A
    fields: dict[str, Any] = {
        "designation": designation,
        "role": role,
        "epoch": 2 if designation is S1 else 3,
        "agent_age_s": 0.2,
        "lease_left_s": 1.0 if active else 0.0,
        "clear": not active,
        "heard_asker_age_s": 0.3,
    }
    return NodeState(**(fields | changes))


class Ticks:
    """One node's decisions, tick after tick. ``now_s`` is its CLOCK_BOOTTIME."""

    def __init__(self, me: Designation, role: Role, chosen: Settings = DEFAULTS, memory: Memory | None = None) -> None:
        self.me, self.role, self.settings = me, role, chosen
        self.timing = Timing.of(chosen)
        self.memory = memory or Memory()
        self.now_s = 1000.0
        self.last: Decision | None = None

    # --- probes, made for the moment of the tick ---

    def good(self, role: Role = A, **changes: Any) -> Probe:
        return self.probe(ProbeCause.OK, state(self.me.other, role, **changes))

    def probe(self, cause: ProbeCause, said: NodeState | None = None, took_s: float = 0.1) -> Probe:
        return Probe(started_s=self.now_s - took_s, ended_s=self.now_s, cause=cause, state=said)

    def silent(self, took_s: float = 0.1) -> Probe:
        return self.probe(ProbeCause.TIMEOUT, took_s=took_s)

    def well(self) -> Probe:
        """The own monitor says OK."""
        return self.probe(ProbeCause.OK, state(self.me, self.role))

    def sick(self) -> Probe:
        return self.probe(ProbeCause.BODY, state(self.me, self.role))

    def votes_of_peer(self, still_since_s: float | None) -> tuple[VoteReading, ...]:
        return (VoteReading(voter=self.me, mark="m", owner=self.me.other, epoch=3, still_since_s=still_since_s),)

    # --- ticks ---

    def view(self, **changes: Any) -> ClusterView:
        """A quiet tick: LAN seen, own portal OK, an active node in the middle of its lease; ``changes`` on top."""
        active = self.role is A
        fields: dict[str, Any] = {
            "now_s": self.now_s,
            "designation": self.me,
            "role": self.role,
            "phase": Phase.READY,
            "epoch": 2 if self.me is S1 else 3,
            "lease_deadline_s": self.now_s + 1.0 if active else None,
            "clear": not active,
            "own": self.well(),
            "portal_seen_s": self.now_s,
            "lan": replace(LAN_UP, seen_s=self.now_s),
        }
        if active and "peer" not in changes:
            fields["peer"] = self.good(S)
        return ClusterView(**(fields | changes))

    def tick(self, after_s: float | None = None, **changes: Any) -> Decision:
        """One tick, T after the last one. A value that is callable is called at the new time (for probes)."""
        if self.last is not None:
            self.now_s += self.settings.interval_s if after_s is None else after_s
        changes = {k: v() if callable(v) else v for k, v in changes.items()}
        self.last = decide(self.view(**changes), self.settings, self.memory, self.timing)
        self.memory = self.last.memory
        return self.last

    def ticks(self, count: int, **changes: Any) -> Decision:
        decision = None
        for _ in range(count):
            decision = self.tick(**changes)
        assert decision is not None
        return decision

    def order(self, target: Designation | None = None, expected: Designation | None = None) -> SwitchOrder:
        return SwitchOrder(switch_id="x", target=target or self.me, expected_active=expected, actor="anna")

    def vip(self, where: VipDestination, said: NodeState | None = None) -> VipReading:
        return VipReading(destination=where, peer_state=said, asked_s=self.now_s)


def lan(seen_s: float) -> LanReading:
    """No reference host answers since then."""
    return replace(LAN_DOWN, seen_s=seen_s)


def vetoes(decision: Decision) -> set[str]:
    return {r.veto for r in decision.refused}


def acted(decision: Decision) -> str:
    """The rule that acts, or "" when it was held back or there is nothing to do."""
    return decision.rule if decision.actions else ""


def ticks_until(t: Ticks, rule: str, **changes: object) -> int:
    """How many silent ticks until ``rule`` acts."""
    changes = {"peer": t.silent, **changes}
    return next(count for count in range(1, 60) if acted(t.tick(**changes)) == rule)
