"""One host of the forecast: it ticks on its grid, and every tick is decided by the real ``decide``.

Ticks that only count on are left out in leaps: when three ticks of equal distance changed the memory by equal amounts, the
next ones do the same until something else happens. So a forecast costs about forty decisions, whatever T and N are.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ftplugin.core.decision import Decision, decide, settle
from ftplugin.core.hysteresis import Memory
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, ProbeCause, Role, Tri, VipDestination
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, LanReading, NodeState, Probe, VipReading, VoteReading

EPOCHS = {Designation.SERVER1: 2, Designation.SERVER2: 3}
PROBES_SHOWN_MAX = 8  # with a larger N only the first and the last of the N bad probes are events
SAME_S = 1e-6  # two durations that differ by less are the same
_NUMBERS = tuple(f.name for f in fields(Memory) if f.name not in ("peer_enabled", "frozen", "taken"))


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What a host may see. Before 0 all is well; at 0 the fault happens to ``victim``.

    vip_moves_s: when the balancer leads the VIP to the other server. vote_still_s: when the other server has last seen the
    victim's vote move.
    """

    settings: Settings
    timing: Timing
    victim: Designation
    vip_moves_s: float
    vote_still_s: float


class Host:
    """One node. ``grid_s``: its first tick after the fault begins then, at 0 < grid_s <= T."""

    def __init__(self, me: Designation, role: Role, world: World, grid_s: float, *, leaps: bool = True) -> None:
        self.me, self.role, self.world, self.leaps = me, role, world, leaps
        self.phase, self.epoch = Phase.READY, EPOCHS[me] if role is Role.ACTIVE else 0
        self.memory = Memory()
        self.lease_deadline_s: float | None = None
        self.switching = False
        self.next_moments_s: list[float] = []  # no leap passes one of them
        self._grid_s, self._slot = grid_s, -3  # three good ticks before the fault
        self._early = False
        self._past: dict[bool, list[tuple[float, Memory]]] = {True: [], False: []}  # of early ticks, of the grid's
        self.decision: Decision | None = None

    # --- when -----------------------------------------------------------------------------------------------------

    def first_start_s(self) -> float:
        return self._slot_s()

    def _slot_s(self) -> float:
        return self._grid_s + self._slot * self.world.timing.interval_s

    def probe_s(self, start_s: float) -> float:
        """How long the tick's probe takes: an answer comes at once, silence takes t."""
        return 0.0 if start_s <= 0 else self.world.timing.timeout_s

    def next_start_s(self, start_s: float, end_s: float) -> float:
        """When the tick after the one of ``start_s`` to ``end_s`` begins, as a tick worker does it: on the grid, or sooner
        where the decision asks for it; never two at once; one that would wait for more than T/2 is left out."""
        interval_s, was_early = self.world.timing.interval_s, self._early
        if not was_early:
            self._slot += 1
        while self._slot_s() + interval_s / 2 < end_s - SAME_S:
            self._slot += 1
        grid_s = max(self._slot_s(), end_s)
        again_s = self.decision.again_in_s if self.decision is not None else None
        self._early = again_s is not None and end_s + again_s < grid_s - SAME_S
        next_s = end_s + again_s if self._early and again_s is not None else grid_s
        if was_early and not self._early:
            return next_s
        period_s = next_s - start_s if was_early else interval_s
        periods = self._leap(start_s, end_s, period_s, grid_s if was_early else None)
        if not was_early:
            self._slot += periods
        return next_s + periods * period_s

    def _leap(self, start_s: float, end_s: float, period_s: float, grid_s: float | None) -> int:
        """How many periods are left out; the memory is then that of their end. A period is T, from a tick of the grid to
        the next one with the early ticks between, or from one early tick to the next one before ``grid_s``."""
        past = self._past[grid_s is not None]
        if grid_s is None:
            self._past[True].clear()
        past.append((start_s, self.memory))
        del past[:-3]
        if not self.leaps or len(past) < 3 or end_s <= 0:
            return 0
        if any(abs(b[0] - a[0] - period_s) > SAME_S for a, b in zip(past, past[1:])):
            return 0
        steps = [_difference(a[1], b[1]) for a, b in zip(past, past[1:])]
        if steps[0] is None or steps[1] is None or any(abs(x - y) > SAME_S for x, y in zip(*steps)):
            return 0
        periods = self._periods(end_s, period_s, grid_s, dict(zip(_NUMBERS, steps[1])))
        if periods > 0:
            self.memory = _moved(self.memory, steps[1], periods)
            past.clear()
        return max(0, periods)

    def _periods(self, end_s: float, period_s: float, grid_s: float | None, step: dict[str, float]) -> int:
        """How many ticks may be left out: none that could decide otherwise."""
        moments_s = [m for m in (*self.next_moments_s, grid_s or 0.0) if m > end_s]
        decision = self.decision
        if decision is not None and self.role is Role.STANDBY and decision.certain_s > end_s:
            timing = self.world.timing
            moments_s.append(max(end_s, decision.certain_s - timing.timeout_s - timing.fence_s))
        limits = [(m - end_s) / period_s - 2 for m in moments_s]
        for name in ("bad_streak", "combined_streak"):
            left = self.world.settings.threshold - getattr(self.memory, name)
            if step[name] > 0 and left > 0:
                limits.append(left / step[name] - 2 if self.world.settings.threshold > PROBES_SHOWN_MAX else 0)
        return int(min(limits, default=0.0))

    # --- what -----------------------------------------------------------------------------------------------------

    def decide(self, start_s: float, end_s: float) -> Decision:
        """The tick of ``start_s`` to ``end_s``."""
        view, world = self.view(start_s, end_s), self.world
        self.decision = decide(view, world.settings, self.memory, world.timing)
        self.memory = self.decision.memory
        return self.decision

    def become(self, role: Role, phase: Phase = Phase.READY, deadline_s: float | None = None) -> None:
        self.role, self.phase, self.lease_deadline_s = role, phase, deadline_s
        self.epoch = EPOCHS[self.me] + 2 if role is Role.ACTIVE else self.epoch
        self.switching = False
        self.memory = settle(self.memory)
        self._past = {True: [], False: []}

    def view(self, start_s: float, end_s: float) -> ClusterView:
        """What this host knows at ``end_s``, the end of the tick that began at ``start_s``."""
        heard, cut = start_s <= 0, end_s > 0 and self.me is self.world.victim
        settings = self.world.settings
        active = self.role is Role.ACTIVE
        own = self._state(self.me, self.role)
        peer_role = Role.STANDBY if active else Role.ACTIVE
        cause = ProbeCause.OK if heard else ProbeCause.TIMEOUT
        return ClusterView(
            now_s=end_s,
            designation=self.me,
            role=self.role,
            phase=self.phase,
            epoch=self.epoch,
            lease_deadline_s=self.lease_deadline_s if active else None,
            clear=not active,
            switching=self.switching,
            progress_age_s=0.0 if active and self.phase is Phase.STARTING else None,
            peer=Probe(
                started_s=start_s,
                ended_s=end_s,
                cause=cause,
                state=self._state(self.me.other, peer_role) if heard else None,
            ),
            own=Probe(started_s=end_s, ended_s=end_s, cause=ProbeCause.OK, state=own),
            portal_seen_s=end_s,
            lan=LanReading(
                carrier=Tri.YES,
                reference=Tri.NO if cut else Tri.YES,
                seen_s=0.0 if cut else end_s,
                steady_since_s=-2 * self.world.timing.watch_s,
                asked=True,
            ),
            vip=VipReading(destination=self._vip(end_s), asked_s=end_s) if settings.vip_address else VipReading(),
            votes=self._votes(heard, cut, end_s),
            early=self._early,
        )

    def _state(self, who: Designation, role: Role) -> NodeState:
        active = role is Role.ACTIVE
        return NodeState(
            designation=who,
            role=role,
            epoch=EPOCHS[who] if active else 0,
            agent_age_s=0.0,
            lease_left_s=self.world.timing.lease_s if active else 0.0,
            clear=not active,
            heard_asker_age_s=0.0,
            enabled=self.world.settings.enabled,
        )

    def _vip(self, at_s: float) -> VipDestination:
        """The balancer follows with the same T, t and N; until then the VIP leads to a server that does not answer."""
        victim = self.me is self.world.victim
        if at_s <= 0:
            return VipDestination.SELF if victim else VipDestination.PEER
        return VipDestination.SELF if at_s >= self.world.vip_moves_s and not victim else VipDestination.NOBODY

    def _votes(self, heard: bool, cut: bool, at_s: float) -> tuple[VoteReading, ...]:
        """The victim's vote in every voter that can be read; it moves until the fault."""
        voters = [str(d) for d in Designation if d is self.me or heard]
        if self.world.settings.witness and not cut:
            voters.append("witness")
        victim, still_s = self.world.victim, min(self.world.vote_still_s, at_s)
        return tuple(
            VoteReading(voter=v, mark="lease", owner=victim, epoch=EPOCHS[victim], still_since_s=still_s)
            for v in voters
        )


def _difference(one: Memory, two: Memory) -> list[float] | None:
    """What changed from one memory to the next, number by number; None when something became known or unknown."""
    found = []
    for name in _NUMBERS:
        a, b = getattr(one, name), getattr(two, name)
        if (a is None) is not (b is None):
            return None
        found.append(0.0 if a is None else b - a)
    return found if (one.peer_enabled, one.frozen) == (two.peer_enabled, two.frozen) else None


def _moved(memory: Memory, step: list[float], periods: int) -> Memory:
    """The memory after ``periods`` more ticks of the same kind."""
    changes = {}
    for name, by in zip(_NUMBERS, step):
        value = getattr(memory, name)
        if by and value is not None:
            changes[name] = value + (round(by) if isinstance(value, int) else by) * periods
    return replace(memory, **changes)
