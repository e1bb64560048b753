"""Small durable events for the history page: when this node began and ended being active, and what led to a decision.

They go through the log port, whose own thread writes them: nothing here waits for the database, and a locked one costs
an event, never a tick or a switch.
"""

from __future__ import annotations

from typing import Any

from ftplugin.core.decision import Decision
from ftplugin.core.records import RoleRecord
from ftplugin.core.skew import SKEW_ALARM_S, SKEW_WARNING_S, SkewLevel, skew_level
from ftplugin.core.terms import ProbeCause, Role
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, Probe
from ftplugin.history.records import (
    ACTIVE_BEGUN,
    ACTIVE_ENDED,
    CLOCK_SKEW,
    CLOCK_SKEW_OVER,
    CLOCK_STEP,
    EVIDENCE,
    FREEZE,
    LEASE_LOST,
    ROLE_FOUND,
)

from .ports import Ports

SOURCE = "clock"
AGAIN_S = 10.0  # an order that is sent again and again for one reason is evidence once in this time


class Chronicle:
    """What the tick worker notes. All moments of the wall clock are shown and measured with, never decided on (I-H)."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._causes: dict[str, int] = {}
        self._first_bad_s: float | None = None
        self._skew: dict[str, float] = {}
        self._heard_active_s: float | None = None
        self._frozen: bool | None = None
        self._lost_epoch = 0
        self._said: dict[str, float] = {}
        self._skewed_s: float | None = None  # since when the clocks are too far apart; CLOCK_BOOTTIME

    @property
    def heard_active_s(self) -> float | None:
        """When the last heartbeat began in which the other server said that it is active; CLOCK_BOOTTIME."""
        return self._heard_active_s

    def tick(self, view: ClusterView, decision: Decision) -> None:
        """Once each tick: counts the causes of the running streak, notes a freeze, a clock's step and a lost lease."""
        self._count(view.peer, decision.memory.bad_streak)
        if view.peer is not None and view.peer.skew_s is not None:
            clock = self._ports.clock
            error_s = max(0.0, view.peer.latency_s) / 2
            self._skew = {"skew_s": view.peer.skew_s, "skew_error_s": error_s, "skew_wall_s": clock.wall_s()}
        if view.peer is not None and view.peer.good and view.peer.state is not None:
            self._heard_active_s = view.peer.started_s if view.peer.state.is_active else self._heard_active_s
        if view.clock_stepped:
            self._skew = {}
            self._keep(CLOCK_STEP)
        self._note_skew(view)
        frozen, self._frozen = self._frozen, decision.memory.frozen
        if decision.memory.frozen and frozen is False:
            self._keep(FREEZE, switches=view.switches)
        lost = view.role is Role.ACTIVE and view.lease_deadline_s is not None and view.lease_deadline_s <= view.now_s
        if lost and self._lost_epoch != view.epoch:
            self._lost_epoch = view.epoch
            self._keep(LEASE_LOST, epoch=view.epoch, ran_out_age_s=view.now_s - (view.lease_deadline_s or view.now_s))

    def _note_skew(self, view: ClusterView) -> None:
        """Tell when the clocks of the servers come too far apart, and when that is over. Decides nothing (I-H)."""
        ahead_s = view.peer.skew_s if view.peer is not None else None
        if ahead_s is None:
            return  # not heard: unknown is not over
        other = view.designation.other
        if self._skewed_s is None and skew_level(ahead_s) is SkewLevel.ALARM:
            self._skewed_s = view.now_s
            self._keep(CLOCK_SKEW, ahead_s=ahead_s)
            word = "ahead of" if ahead_s > 0 else "behind"
            text = f"ALARM: the clock of {other} is {abs(ahead_s):.0f} s {word} this one's; set both by the same NTP source"
            self._ports.log.report(SOURCE, text)
        elif self._skewed_s is not None and abs(ahead_s) <= SKEW_ALARM_S - SKEW_WARNING_S:  # no new one at each jitter
            lasted_s, self._skewed_s = view.now_s - self._skewed_s, None
            self._keep(CLOCK_SKEW_OVER, ahead_s=ahead_s, lasted_s=round(lasted_s, 3))
            self._ports.log.report(
                SOURCE, f"the clock of {other} is {abs(ahead_s):.1f} s from this one's: no alarm any more"
            )

    def ordered(self, order: dict[str, Any], view: ClusterView, decision: Decision) -> None:
        """An order was sent: keep what it was decided on. Nothing for one that waits or was carried out without an id."""
        if "switch_id" not in order:
            return
        said_s = self._said.get(decision.rule, float("-inf"))
        if view.now_s - said_s < AGAIN_S:
            return
        self._said[decision.rule] = view.now_s
        memory = decision.memory
        self._keep(
            EVIDENCE,
            switch_id=str(order.get("switch_id", "")),
            rule=decision.rule,
            why=decision.why,
            bad_streak=memory.bad_streak,
            causes=dict(self._causes),
            first_bad_age_s=_age_s(view.now_s, self._first_bad_s),
            heard_age_s=_age_s(view.now_s, memory.peer_heard_s),
            heard_active_age_s=_age_s(view.now_s, self._heard_active_s),
            nobody_streak=memory.nobody_streak,
            vip_self_streak=memory.vip_self_streak,
            vip=str(view.vip.destination),
            lan={"yes": "up", "no": "down"}.get(str(view.lan.up), "unknown"),
            lan_seen_age_s=_age_s(view.now_s, view.lan.seen_s),
        )

    def changed(self, before: RoleRecord, after: RoleRecord, lease_s: float) -> None:
        """The role record changed. lease_s: end of the lease that ``before`` had, on this boot's clock."""
        clock = self._ports.clock
        was, is_now = before.role is Role.ACTIVE, after.role is Role.ACTIVE
        since_s = after.since_wall_s or clock.wall_s()
        if was and not is_now:
            over_s = clock.wall_s() - max(0.0, clock.now_s() - lease_s)
            ended_s = min(since_s, over_s) if lease_s > 0 else since_s
            self._keep(ACTIVE_ENDED, epoch=before.epoch, earliest_wall_s=ended_s, latest_wall_s=ended_s)
        elif is_now and not was:
            heard_age_s = _age_s(clock.now_s(), self._heard_active_s)
            self._keep(ACTIVE_BEGUN, epoch=after.epoch, since_wall_s=since_s, heard_active_age_s=heard_age_s)

    def found(self, stored: RoleRecord, valid: bool, remembered: bool) -> None:
        """The worker started and found this record. An active one whose lease is over ended while nobody wrote it down:
        between its last renewal, at most a lease earlier, and its deadline; a boot ends it in any case.

        remembered: it is the journal's, for Redis has lost it. The lease may have been renewed since it was kept, so
        that only this start, or the boot, is certainly after the end."""
        clock = self._ports.clock
        if stored.role is Role.ACTIVE and not valid and stored.epoch:
            booted_s, same_boot = clock.wall_s() - clock.now_s(), stored.boot_id == clock.boot_id
            ahead_s = booted_s if stored.wall_ahead_s is None and same_boot else stored.wall_ahead_s
            if stored.deadline_s > 0 and ahead_s is not None:  # else nothing is known of its end
                over_s = stored.deadline_s + ahead_s
                earliest_s = max(stored.since_wall_s, over_s - self._lease_length_s())
                over_by_s = clock.wall_s() if remembered else over_s
                latest_s = over_by_s if same_boot else min(over_by_s, booted_s)
                moments = {"earliest_wall_s": min(earliest_s, latest_s), "latest_wall_s": latest_s}
                self._keep(ACTIVE_ENDED, epoch=stored.epoch, **moments)
        since = {"since_wall_s": stored.since_wall_s} if valid and stored.since_wall_s else {}
        self._keep(ROLE_FOUND, epoch=stored.epoch, role=str(stored.role), active=valid, **since)

    def _lease_length_s(self) -> float:
        """The last renewal was at most one lease before its deadline; then this node was active for certain."""
        return Timing.of(self._ports.settings.current()[1]).lease_s

    def _count(self, probe: Probe | None, streak: int) -> None:
        if streak <= 1:
            self._causes, self._first_bad_s = {}, None
        if streak and probe is not None and not probe.good:
            cause = str(probe.cause)
            if probe.cause is ProbeCause.CONNECT and probe.detail:
                cause = f"{cause} ({probe.detail[:80]})"  # as the line of the log: one cause has one name
            self._causes[cause] = self._causes.get(cause, 0) + 1
            if self._first_bad_s is None:
                self._first_bad_s = probe.ended_s

    def _keep(self, name: str, **facts: Any) -> None:
        clock = self._ports.clock
        moment = {"wall_s": clock.wall_s(), "at_s": clock.now_s(), "boot_id": clock.boot_id}
        self._ports.log.event(name, **moment, **self._skew, **facts)


def _age_s(now_s: float, moment_s: float | None) -> float | None:
    return None if moment_s is None else round(now_s - moment_s, 3)
