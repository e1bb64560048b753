"""The lease of an active node, renewed by its own timer between ticks (spec 5.2 I-D, 5.4)."""

from __future__ import annotations

from typing import Any, Callable

from ftplugin.core.diagnosis import peer_is_heard, stall_limit_s
from ftplugin.core.hysteresis import Memory
from ftplugin.core.lease import CLOCK_STEP_S, clocks_agree, contact_s, lease_deadline_s
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings, SettingsError
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.core.timing import Timing
from ftplugin.core.view import NodeState, VoteReading

from .collect import known_lan
from .node_role import NodeRole
from .ports import ServicePort

SKIP_SHARE = 0.6  # of the renewal period: so soon after a renewal the timer's turn is left out
LONG_SHARE = 0.6  # of the lease: with so much of it left, a turn that follows another closely does not renew again
WATCH_PERIOD_S = 0.5
SAVE_LEASE_RENEW_S_MIN = 5.0  # shorter leases are over before a reboot could resume them: not worth a disk write


class LeaseKeeper(NodeRole):
    """Renews, or lets run out."""

    _ahead_s: float | None = None  # the wall clock before CLOCK_BOOTTIME, as last seen
    _pauses: tuple[tuple[float, float], ...] = ()  # when this host may have stood still, and for how long

    def renew_lease(self, *, at_once: bool = False) -> bool:
        """Called by its own timer, and ``at_once`` after each tick; of two turns close together one is left out.
        True when this node is active and its lease was renewed.

        Not renewed: a lease that has run out (it is never revived), without a tick for 2 T, when a higher epoch was seen,
        when a start makes no progress, without a majority (with a witness), while the own Redis is silent, or when the
        peer took over while this host stood still.
        """
        revision, settings, timing, _ = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError:
            return False
        if not self._started:
            return False
        self.sync_role()
        record, now_s = self.record, self.ports.clock.now_s()
        if record.role is not Role.ACTIVE:
            self._publish_contact()
            self._watch_votes(timing, me)
            return False
        if at_once:
            self._publish_contact()
        verified = self.clocks_agree()
        soon = now_s - self._renewed_s < timing.renew_s * SKIP_SHARE
        if verified and soon and self.deadline_s - now_s >= timing.lease_s * LONG_SHARE:
            return True
        if not self.resolved or not self._may_renew(record, now_s, timing):
            return False
        if not verified and not self._verify(record, timing, me):
            return False
        before_s = self.ports.clock.now_s()
        quorum = len(list(self.ports.votes.names())) >= 3
        if quorum and not self._renew_votes(record.epoch, timing, timing.lease_s / 2):
            return False
        deadline_s = self._deadline_s(before_s, settings, timing)
        if deadline_s <= before_s:
            return False  # nothing was heard since this host may have stood still
        if self.ports.clock.now_s() >= self.deadline_s:
            return False  # it ran out while the voters were asked
        if not self._write_lease(record.epoch, deadline_s):
            return False
        if self.record.epoch == record.epoch and self.record.role is Role.ACTIVE:
            self.deadline_s, self._renewed_s = deadline_s, before_s
            self.renewed = (revision, self.ports.settings.mark())
        if not quorum:  # the lease is the node's own; the votes only show the peer that it is alive and connected
            self._renew_votes(record.epoch, timing, timing.renew_s / 2)
        self._renew_services(record.epoch, deadline_s, timing.renew_s / 2)
        if timing.renew_s >= SAVE_LEASE_RENEW_S_MIN:
            self.ports.journal.save_lease(record.epoch, deadline_s, self.ports.clock.boot_id)
        return True

    def _renew_services(self, epoch: int, deadline_s: float, limit_s: float) -> None:
        """Hand the lease on. A service that hangs must cost neither a renewal nor the tick that waits here."""

        def hand_on(service: ServicePort) -> Callable[[], None]:
            return lambda: service.renew(epoch, deadline_s - self.ports.clock.now_s(), limit_s)

        calls = [hand_on(service) for service in self.ports.services]
        self.ports.runner.side_by_side(calls, limit_s + 0.05, last_here=True)

    def _write_lease(self, epoch: int, deadline_s: float) -> bool:
        clock = self.ports.clock
        ahead_s = clock.wall_s() - clock.now_s()
        return self.ports.runtime.renew(epoch, deadline_s, clock.boot_id, ahead_s) == "ok"

    def clocks_agree(self) -> bool:
        """Whether no clock made a step since the last renewal."""
        clock = self.ports.clock
        agree = clocks_agree(self.record.wall_ahead_s, clock.wall_s(), clock.now_s())
        if agree:
            self._stepped_s = None
        return agree

    def _verify(self, record: RoleRecord, timing: Timing, me: Designation) -> bool:
        """A clock made a step since the last renewal; this host may have stood still, and its lease be over for everybody
        else. Asks the peer and the voters before the portal may say ACTIVE again (spec 3, I-F). With a witness the majority
        still has to renew afterwards."""
        first = self._stepped_s is None  # timer and tick may both get here
        stepped_s = self._stepped_s = self.ports.clock.now_s() if self._stepped_s is None else self._stepped_s
        said, votes = self._peer_and_voters(timing)
        if said is None and not self._nobody_can_have_taken_over(record, timing, stepped_s):
            return False  # asked again at the next turn, until the lease runs out
        taken = max([0, *(vote.epoch for vote in votes if vote.owner == me.other)])
        locked = max([0, *(vote.lock_epoch for vote in votes if vote.lock_owner == me.other)])
        if said is not None and locked > record.epoch and not self._lock_is_void(record.epoch, timing, me):
            taken = max(taken, locked)
        if said is not None and said.role is Role.ACTIVE:
            taken = max(taken, said.epoch)
        if taken <= record.epoch:
            if first or said is None:
                self.ports.log.report("agent", "a clock of this server made a step; its role was verified and holds")
            return True
        text = f"a clock of this server made a step, and the other took epoch {taken}: the lease ends now"
        self.ports.log.report("agent", text)
        self.deadline_s = self.ports.clock.now_s()
        self._write_lease(record.epoch, self.deadline_s)  # the guard reads it at its next poll
        return False

    def outranked(self, epoch: int) -> bool:
        """Whether the other server, or a voter, shows that it has taken the role under a higher epoch (C0)."""
        _, settings, timing, _ = self.settings()
        other = self.designation(settings).other
        said, votes = self._peer_and_voters(timing)
        taken = [vote.epoch for vote in votes if vote.owner == other]
        if said is not None and said.role is Role.ACTIVE:
            taken.append(said.epoch)
        return max(taken, default=0) > epoch

    def _nobody_can_have_taken_over(self, record: RoleRecord, timing: Timing, stepped_s: float) -> bool:
        """The peer is silent: is it certain that it did not become active meanwhile? Only if this host stood still for less
        than a hold (a clock set back is no pause at all), and the LAN has answered since."""
        clock, lan = self.ports.clock, self.ports.lan.reading()
        stood_still_s = clock.wall_s() - clock.now_s() - (record.wall_ahead_s or 0.0)
        if lan.asked and (lan.seen_s is None or lan.seen_s < stepped_s):
            return False
        return stood_still_s < timing.hold_s

    def _peer_and_voters(self, timing: Timing) -> tuple[NodeState | None, list[VoteReading]]:
        """What the peer and every voter say, asked at once: two silent ones in turn could take what is left of the lease."""
        peer, votes = self.ports.peer, self.ports.votes
        readings = [lambda n=name: votes.reading(n, timing.network_s) for name in votes.names()]
        calls: list[Callable[[], Any]] = [lambda: peer.state(timing.network_s), *readings]
        reply, *seen = self.ports.runner.side_by_side(calls, timing.network_s + 0.05)
        return None if reply is None else reply.state, [vote for vote in seen if vote is not None]

    def _lock_is_void(self, epoch: int, timing: Timing, me: Designation) -> bool:
        """A lock of a peer that answers: a promotion under way right now, or left by one that died long ago?

        Once this node's counter has moved in the peer's own voter, no candidate can take that vote by what it watched
        before, so the lock does not matter. Nor does the lock of a peer that is silent: it had to watch for longer than
        this host can have stood still.
        """
        return bool(self.ports.votes.renew(me.other, epoch, timing.network_s).ok)

    def _watch_votes(self, timing: Timing, me: Designation) -> None:
        """Keeps watching since when each voter stands still, closer than the ticks do (5.4).

        Waits for no silent voter: a promotion's first lease is capped by the contact published here, and renewed from here.
        """
        votes, now_s = self.ports.votes, self.ports.clock.now_s()
        period_s = min(WATCH_PERIOD_S, timing.interval_s / 2)
        if now_s - self._watched_s < period_s:
            return
        self._watched_s = now_s
        limit_s = min(timing.network_s, period_s)
        names = sorted(votes.names(), key=lambda name: name == me)  # the own one, which answers at once, comes last
        calls = [lambda n=name: votes.reading(n, limit_s) for name in names]
        self.ports.runner.side_by_side(calls, timing.renew_s / 4, last_here=len(calls) < 3)

    def _publish_contact(self) -> None:
        """For the switch worker: a lease that starts now may not outlast what this node knows of its surroundings."""
        clock = self.ports.clock
        lan = known_lan(self.ports.lan.reading(), self.contact_floor_s or 0.0)
        contact = contact_s(lan.seen_s, (self.memory or Memory()).vouched_s)
        self.ports.runtime.publish("contact", {"boot_id": clock.boot_id, "contact_s": self._true_contact_s(contact)})

    def _true_contact_s(self, contact: float | None) -> float | None:
        """A step of the wall clock forward: this host may have stood still so long without CLOCK_BOOTTIME counting it, so
        every contact from before is that much older (I-F)."""
        clock = self.ports.clock
        now_s = clock.now_s()
        known_s, self._ahead_s = self._ahead_s, clock.wall_s() - now_s
        if known_s is not None and self._ahead_s - known_s > CLOCK_STEP_S:
            self._pauses += ((now_s, self._ahead_s - known_s),)
        if contact is None:
            return None
        self._pauses = tuple((at_s, length_s) for at_s, length_s in self._pauses if contact <= at_s)
        return contact - sum(length_s for _, length_s in self._pauses)

    def _may_renew(self, record: RoleRecord, now_s: float, timing: Timing) -> bool:
        if now_s >= self.deadline_s or record.seen_epoch > record.epoch:
            return False
        if self.tick_s is None or now_s - self.tick_s > timing.stale_s:
            return False
        starting = record.phase is Phase.STARTING and record.progress_s is not None
        return not (starting and now_s - (record.progress_s or 0.0) > stall_limit_s(timing))

    def _deadline_s(self, before_s: float, settings: Settings, timing: Timing) -> float:
        memory = self.memory or Memory()
        if not settings.enabled and not memory.peer_enabled:
            return before_s + timing.lease_s  # nobody would take over: losing the LAN must not stop the services
        lan = known_lan(self.ports.lan.reading(), self.contact_floor_s or 0.0)
        return lease_deadline_s(
            before_s=before_s,
            timing=timing,
            connected_s=self._true_contact_s(contact_s(lan.seen_s, memory.vouched_s)),
            portal_s=self.ports.lan.portal_seen_s(),
            peer_heard=peer_is_heard(memory.peer_heard_s, before_s, timing),
        )

    def _renew_votes(self, epoch: int, timing: Timing, limit_s: float) -> bool:
        """True when two voters renewed; returns as soon as they have."""
        votes = self.ports.votes
        limit_s = min(timing.network_s, max(0.05, limit_s))
        granted: list[str] = []

        def ask(voter: str) -> Callable[[], bool]:
            def call() -> bool:
                if votes.renew(voter, epoch, limit_s).ok:
                    granted.append(voter)
                return len(granted) >= 2

            return call

        calls = [ask(name) for name in votes.names()]
        self.ports.runner.side_by_side(calls, limit_s + 0.05, enough=bool, last_here=len(calls) < 3)
        return len(granted) >= 2
