"""Step one of a tick: ask everything side by side, each with its own limit, and freeze it into one ``ClusterView``."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Callable

from ftplugin.core.lease import CLOCK_STEP_S
from ftplugin.core.records import RoleRecord
from ftplugin.core.rules import in_hours
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Phase, ProbeCause, Role, SplitStance
from ftplugin.core.timing import Timing
from ftplugin.core.view import (
    ClusterView,
    LanReading,
    Pause,
    Probe,
    ServiceReading,
    SwitchOrder,
    VipReading,
    VoteReading,
)
from ftplugin.standing import DRAIN, PAUSE, in_force
from ftplugin.state import HEALTH, shared_failed_of

from .ports import Ports
from .promotion import HANDED, START_FAILED
from .standing import Standing

OWN_PROBE_S_MAX = 2.0
# what portal, peer, administrator, health checks and switch worker left for the agent
NOTES = ("invite", "word", "pause", "drain", "ack_freeze", HEALTH, HANDED, START_FAILED)


@dataclass(kw_only=True)
class Facts:
    """What the agent itself knows when it collects."""

    designation: Designation
    record: RoleRecord
    resolved: bool
    deadline_s: float
    contact_floor_s: float
    switching: bool
    stance: SplitStance
    vip: VipReading
    services: tuple[ServiceReading, ...]
    retry_after_s: float | None
    given_up: tuple[str, ...] = ()
    next_try_s: float | None = None
    stuck: tuple[str, ...] = ()
    can_fence: bool = False


class Collector:
    """The only place that asks sockets on behalf of a decision."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._clocks: tuple[float, float] | None = None
        self._journalled: tuple[bool, int] = (False, 0)
        self._standing = Standing(ports)
        self._notes: dict[str, dict[str, Any] | None] = {}

    def view(
        self,
        read_facts: Callable[[], Facts],
        settings: Settings,
        timing: Timing,
        order: SwitchOrder | None = None,
        early: bool = False,
    ) -> ClusterView:
        """Everything known at this moment; takes at most the longest single limit (t).

        ``read_facts`` is called when the answers are in: the lease may have been renewed while a dead peer was asked.
        """
        ports = self.ports
        peer, own, votes, stored = self._ask(settings, timing)
        now_s = ports.clock.now_s()
        facts = read_facts()
        record, live = facts.record, facts.vip.asked_s is not None and now_s - facts.vip.asked_s <= _vip_age_max(timing)
        active = record.role is Role.ACTIVE
        self._notes = notes = ports.runtime.fetch_many(NOTES)
        since_ack_s = self._acknowledged_s(now_s)
        word = notes["word"] or {}
        spoke_s = float(word["at_s"]) if word.get("boot_id") == ports.clock.boot_id else None
        handed_s, handed = _handed(notes[HANDED], ports.clock.boot_id)
        standing = self._standing.settle(stored, notes)
        pause = in_force(standing[PAUSE], ports.clock.boot_id, now_s)
        return ClusterView(
            now_s=now_s,
            designation=facts.designation,
            role=record.role if facts.resolved else Role.UNDECIDED,
            phase=record.phase,
            epoch=record.epoch,
            lease_deadline_s=facts.deadline_s if active else None,
            resumable=active and record.boot_id == ports.clock.boot_id and now_s < facts.deadline_s,
            clear=record.clear,
            superseded_by_epoch=record.seen_epoch if active else 0,
            switching=facts.switching,
            progress_age_s=_progress_age_s(record, now_s),
            peer=peer,
            own=own,
            portal_seen_s=ports.lan.portal_seen_s(),
            lan=known_lan(ports.lan.reading(), facts.contact_floor_s),
            vip=facts.vip if live else VipReading(),
            votes=votes,
            services=facts.services,
            order=order,
            pause=Pause(owner=str(pause.get("owner", "")), reason=str(pause.get("reason", ""))) if pause else None,
            drained=standing[DRAIN] is not None,
            manual_hold=self._journalled[0],
            freeze_acknowledged=since_ack_s is not None and since_ack_s <= timing.stale_s + timing.timeout_s,
            clock_stepped=self._stepped(),
            early=early,
            in_failback_hours=self._in_hours(settings),
            switches=self._journalled[1],
            retry_after_s=facts.retry_after_s,
            stance=facts.stance,
            spoke_s=spoke_s,
            spoke_well=bool(word.get("good")),
            spoke_clear=bool(word.get("clear")),
            invited_epoch=_invited_epoch(notes["invite"], ports.clock.boot_id, now_s, timing),
            given_up=facts.given_up,
            next_try_s=facts.next_try_s,
            stuck=facts.stuck,
            can_fence=facts.can_fence,
            failed=shared_failed_of(
                notes[HEALTH], interval_s=settings.interval_s, boot_id=ports.clock.boot_id, now_s=now_s
            ),
            handed=handed,
            handed_s=handed_s,
            start_failed_epoch=_epoch_of(notes[START_FAILED], ports.clock.boot_id),
        )

    def _ask(
        self, settings: Settings, timing: Timing
    ) -> tuple[Probe, Probe, tuple[VoteReading, ...], dict[str, dict[str, Any]] | None]:
        """(peer, own portal, voters, pause and drain as the database has them), all asked side by side."""
        ports = self.ports
        voters = list(ports.votes.names())
        started_s = ports.clock.now_s()
        since_ack_s = self._acknowledged_s(started_s)
        calls: list[Callable[[], Any]] = [
            lambda: ports.peer.probe(timing.timeout_s, check_body=settings.application_error),
            lambda: ports.peer.probe_own(min(timing.timeout_s, OWN_PROBE_S_MAX)),
            lambda: self._read_journal(settings, since_ack_s),
            *(_vote(ports, voter, timing.network_s) for voter in voters),
        ]
        addressed = (
            not settings.witness
        )  # the nodes are asked at IP addresses; a witness's name may hang in the resolver
        results = ports.runner.side_by_side(calls, timing.timeout_s + 0.5, last_here=addressed)
        lost = _lost(started_s, ports.clock.now_s())
        votes = tuple(v or VoteReading(voter=name) for name, v in zip(voters, results[3:], strict=True))
        hold, switches, stored = results[2] or (*self._journalled, None)  # a database that hangs costs no tick
        self._journalled = hold, switches
        return results[0] or lost, results[1] or lost, votes, stored

    def _read_journal(
        self, settings: Settings, since_ack_s: float | None
    ) -> tuple[bool, int, dict[str, dict[str, Any]] | None]:
        """(manual hold, automatic switches in the window or since the last acknowledgement, pause and drain)."""
        window_s = settings.flap_window_s if since_ack_s is None else min(settings.flap_window_s, since_ack_s)
        journal = self.ports.journal
        return journal.manual_hold(), journal.automatic_switches(window_s), journal.standing()

    def _acknowledged_s(self, now_s: float) -> float | None:
        """Seconds since an administrator acknowledged a freeze on this boot: switches before that no longer count."""
        document = self._notes.get("ack_freeze")
        if document is None or document.get("boot_id") != self.ports.clock.boot_id:
            return None
        return max(0.0, now_s - float(document.get("at_s", 0)))

    def _in_hours(self, settings: Settings) -> bool:
        if not settings.failback_hours:
            return True
        local = time.localtime(self.ports.clock.wall_s())
        return in_hours(settings.failback_hours, local.tm_hour * 60 + local.tm_min)

    def _stepped(self) -> bool:
        clock = self.ports.clock
        now_s = clock.now_s()
        clocks = (clock.wall_s() - now_s, clock.monotonic_s() - now_s)
        before, self._clocks = self._clocks, clocks
        return before is not None and any(abs(a - b) > CLOCK_STEP_S for a, b in zip(before, clocks, strict=True))


def known_lan(reading: LanReading, floor_s: float) -> LanReading:
    """A node that asks references but never had an answer has last seen its LAN when it started, at best."""
    if not reading.asked and reading.seen_s is None:
        return reading
    return replace(reading, seen_s=max(floor_s, reading.seen_s or floor_s))


def _vip_age_max(timing: Timing) -> float:
    return timing.interval_s + timing.timeout_s


def _vote(ports: Ports, voter: str, limit_s: float) -> Callable[[], VoteReading]:
    return lambda: ports.votes.reading(voter, limit_s)


def _lost(started_s: float, ended_s: float) -> Probe:
    return Probe(started_s=started_s, ended_s=ended_s, cause=ProbeCause.TIMEOUT, detail="the probe did not end in time")


def _progress_age_s(record: RoleRecord, now_s: float) -> float | None:
    starting = record.role is Role.ACTIVE and record.phase is Phase.STARTING
    return now_s - record.progress_s if starting and record.progress_s is not None else None


def _invited_epoch(invite: dict[str, Any] | None, boot_id: str, now_s: float, timing: Timing) -> int | None:
    """The epoch under which the peer signed "I have stopped, you may promote" a short while ago (I1, P1); else None."""
    if not invite or invite.get("boot_id") != boot_id:
        return None
    young = 0 <= now_s - float(invite.get("at_s", 0)) <= timing.stale_s + timing.timeout_s
    epoch = invite.get("epoch")
    return (epoch if isinstance(epoch, int) else 0) if young else None


def _handed(document: dict[str, Any] | None, boot_id: str) -> tuple[float | None, tuple[str, ...]]:
    """(when, for which services) this node last took over because the peer had given them up (H1)."""
    if not document or document.get("boot_id") != boot_id:
        return None, ()
    return float(document["at_s"]), tuple(str(name) for name in document["services"])


def _epoch_of(document: dict[str, Any] | None, boot_id: str) -> int:
    return int(document["epoch"]) if document and document.get("boot_id") == boot_id else 0


def view_to_json(view: ClusterView) -> dict[str, Any]:
    """The view as the page reads it."""
    return {name: _plain(getattr(view, name)) for name in _names(ClusterView) or ()}


def _plain(value: Any) -> Any:
    kind: Any = type(value)
    names = _names(kind)
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Field names of a dataclass, None for any other type; kept, since a tick asks about fifty times."""
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else None
