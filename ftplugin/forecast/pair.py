"""The pair: server #1 is active, server #2 standby, and at 0 the fault happens to server #1.

The switch is carried out by the steps of ``core.sequence`` with their limits: against a server that answers nothing the last
probe takes t, and lock, fence and votes their shares of min(t, 2 s). Answers take no time here; the bounds of
``core.timing`` leave room for them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import lru_cache

from ftplugin.core.decision import Decision
from ftplugin.core.lease import lease_deadline_s
from ftplugin.core.policy import Action
from ftplugin.core.sequence import StepName, promotion
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.core.timing import Timing, service_start_s, worst_failover_s

from .host import PROBES_SHOWN_MAX, Host, World
from .timeline import Event, Fault, Forecast, Mark, Segment, Show

VICTIM = Designation.SERVER1
TYPICAL = 0.5  # the fault comes in the middle of an interval
LEAD_SHARE = 0.08  # of the picture lies before the fault


@lru_cache(maxsize=64)
def forecast(settings: Settings, fault: Fault, *, phase: float = TYPICAL, leaps: bool = True) -> Forecast:
    """What both servers do when ``fault`` happens to the active one, under ``settings`` (which ``rules.check`` accepts).

    phase: how much of the standby server's interval passes from the fault to its next heartbeat, 0 < phase <= 1.
    leaps: False decides every single tick, for tests.
    """
    return _Run(settings, fault, phase, leaps).go()


class _Run:
    def __init__(self, settings: Settings, fault: Fault, phase: float, leaps: bool) -> None:
        self.settings, self.fault = settings, fault
        self.timing = timing = Timing.of(settings)
        self.horizon_s = worst_failover_s(settings) + 2 * timing.interval_s
        renewed_s = -timing.renew_s * (1 - phase)  # the victim's last renewal before the fault
        watch_s = max(min(1.0, timing.renew_s), min(0.5, timing.interval_s / 2))  # between two looks at the votes
        world = World(
            settings=settings,
            timing=timing,
            victim=VICTIM,
            vip_moves_s=phase * timing.interval_s + timing.hold_s + timing.timeout_s,
            vote_still_s=renewed_s + watch_s,
        )
        self.renewed_s = renewed_s
        self.old = Host(VICTIM, Role.ACTIVE, world, (1 - phase / 2) * timing.interval_s, leaps=leaps)
        self.new = Host(VICTIM.other, Role.STANDBY, world, phase * timing.interval_s, leaps=leaps)
        self.old.lease_deadline_s = self._lease_end_s()
        for host in (self.old, self.new):
            host.next_moments_s += [world.vip_moves_s, self.horizon_s]
        self.shows: dict[Designation, list[tuple[float, Show]]] = {
            VICTIM: [(float("-inf"), Show.ACTIVE)],
            VICTIM.other: [(float("-inf"), Show.STANDBY)],
        }
        self.events: list[Event] = []
        self.counted = 0
        self.stopped_s: float | None = None
        self.promoted_s: float | None = None
        self.ready_s: float | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._pushed = 0

    def go(self) -> Forecast:
        self._fault()
        for host in (self.old, self.new):
            self._tick_from(host, host.first_start_s())
        while self._heap and not self._over():
            at_s, _, happen = heapq.heappop(self._heap)
            if at_s > self.horizon_s and self.promoted_s is None:
                break
            happen()
        if self.ready_s is None and self.new.decision is not None:
            self._note(self.horizon_s, VICTIM.other, Mark.HELD_BACK, text=self.new.decision.sentence)
        return self._result()

    def _over(self) -> bool:
        return self.ready_s is not None and self.stopped_s is not None

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (at_s, self._pushed, happen))

    def _note(self, at_s: float, server: Designation, mark: Mark, **facts: object) -> None:
        self.events.append(Event(at_s=at_s, server=server, mark=mark, **facts))  # type: ignore[arg-type]

    # --- the old active server --------------------------------------------------------------------------------------

    def _lease_end_s(self) -> float | None:
        """When the lease of the victim ends after a LAN cut; None: it does not. The last contact is at 0. With a witness a
        renewal needs a majority, and the last one was before 0; without, renewals go on, capped by the contact."""
        if not self.settings.enabled and not self.settings.witness:
            return None  # nobody would take over, so the lease is not capped (docs/architecture.md)
        before_s = self.renewed_s if self.settings.witness else self.timing.lease_s
        return lease_deadline_s(before_s=before_s, timing=self.timing, connected_s=0.0, portal_s=None, peer_heard=False)

    def _fault(self) -> None:
        self._note(0.0, VICTIM, Mark.FAULT)
        if self.fault is Fault.CRASH:
            self.stopped_s = 0.0
            self._show(0.0, VICTIM, Show.DEAD)
            return
        end_s = self.old.lease_deadline_s
        if end_s is None:
            self.old.lease_deadline_s = float("inf")
            return
        self.old.next_moments_s.append(end_s)
        self._at(end_s, lambda: self._stop(end_s, self.timing.guard_poll_s))

    def _stop(self, at_s: float, notice_s: float) -> None:
        """The portal says STANDBY at once; the services are told within ``notice_s`` and take their stop time."""
        if self.stopped_s is not None:
            return
        self.stopped_s = stopped_s = at_s + notice_s + self.timing.stop_s
        self._note(at_s, VICTIM, Mark.LEASE_OVER)
        self._show(at_s, VICTIM, Show.STOPPING)
        self._note(stopped_s, VICTIM, Mark.STOPPED)
        self._show(stopped_s, VICTIM, Show.STANDBY)

    # --- ticks ------------------------------------------------------------------------------------------------------

    def _tick_from(self, host: Host, start_s: float) -> None:
        if host is self.old and self.fault is Fault.CRASH and start_s > 0:
            return
        end_s = start_s + host.probe_s(start_s)
        self._at(end_s, lambda: self._tick(host, start_s, end_s))

    def _tick(self, host: Host, start_s: float, end_s: float) -> None:
        decision = host.decide(start_s, end_s)
        if host is self.new and self.promoted_s is None:
            self._count(decision, end_s)
        if Action.DEMOTE in decision.actions and host.role is Role.ACTIVE:
            self._stop(end_s, 0.0)
            self._note(end_s, host.me, Mark.DEMOTED, rule=decision.rule)
            host.become(Role.STANDBY)
        if Action.PROMOTE in decision.actions and not host.switching:
            self._promote(host, decision, end_s)
        self._tick_from(host, host.next_start_s(start_s, end_s))

    def _count(self, decision: Decision, at_s: float) -> None:
        needed, have = self.settings.threshold, min(decision.memory.bad_streak, self.settings.threshold)
        if have > self.counted and (needed <= PROBES_SHOWN_MAX or have in (1, needed)):
            self._note(at_s, VICTIM.other, Mark.BAD_PROBE, count=have, of=needed)
        self.counted = have

    # --- the new active server --------------------------------------------------------------------------------------

    def _promote(self, host: Host, decision: Decision, at_s: float) -> None:
        host.switching = True
        self._note(at_s, host.me, Mark.LAST_PROBE, rule=decision.rule)
        witness = bool(self.settings.witness)
        for step in promotion(self.timing, (), suspect=True, witness=witness):
            if step.name is StepName.LAST_PROBE:
                at_s += step.limit_s
                at_s = max(at_s, decision.not_before_s, decision.certain_s - self.timing.fence_s)
            elif step.name in (StepName.LOCK, StepName.OWN) and not witness:
                at_s += step.limit_s  # the voter on the silent server; with a witness the other two suffice
            elif step.name is StepName.FENCE:
                at_s = max(at_s + step.limit_s, decision.passable_s)
            elif step.name is StepName.ROLE:
                break
        self._at(at_s, lambda: self._promoted(host, at_s))

    def _promoted(self, host: Host, at_s: float) -> None:
        self.promoted_s = at_s
        released_s = self.settings.release_delay_s
        ready_s = max(at_s, released_s) + service_start_s(self.settings)
        host.become(Role.ACTIVE, Phase.STARTING, float("inf"))
        host.next_moments_s.append(ready_s)
        self._note(at_s, host.me, Mark.PROMOTED)
        self._show(at_s, host.me, Show.STARTING)
        if released_s > at_s:
            self._note(released_s, host.me, Mark.RELEASED)
        self._at(ready_s, lambda: self._ready(host, ready_s))

    def _ready(self, host: Host, at_s: float) -> None:
        host.phase, self.ready_s = Phase.READY, at_s
        self._note(at_s, host.me, Mark.READY)
        self._show(at_s, host.me, Show.ACTIVE)

    # --- the result -------------------------------------------------------------------------------------------------

    def _show(self, at_s: float, server: Designation, show: Show) -> None:
        self.shows[server].append((at_s, show))

    def _result(self) -> Forecast:
        last_s = max(event.at_s for event in self.events)
        start_s, end_s = -LEAD_SHARE * last_s, last_s * (1 + LEAD_SHARE)
        return Forecast(
            fault=self.fault,
            start_s=start_s,
            end_s=end_s,
            segments={server: _segments(changes, start_s, end_s) for server, changes in self.shows.items()},
            events=tuple(sorted(self.events, key=lambda event: event.at_s)),
            stopped_s=self.stopped_s,
            promoted_s=self.promoted_s,
            ready_s=self.ready_s,
        )


def _segments(changes: list[tuple[float, Show]], start_s: float, end_s: float) -> tuple[Segment, ...]:
    ends = [at_s for at_s, _ in changes[1:]] + [end_s]
    return tuple(
        Segment(start_s=max(start_s, at_s), end_s=until_s, show=show)
        for (at_s, show), until_s in zip(changes, ends)
        if until_s > max(start_s, at_s)
    )
