"""What would come next: ``decide`` itself, run on views of a supposed future.

A supposed future is a change to the surroundings ("the other server is silent from now on"); everything else stays as it
is now, only later. So what is foretold follows the rules, the guards and the vetoes by construction: there is no second
copy of them to keep in step. It is shown, never acted on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .decision import Decision, decide
from .hysteresis import Memory
from .lease import contact_s
from .policy import PROMOTIONS, Action
from .settings import Settings
from .terms import ProbeCause, Role, Tri, VipDestination
from .timing import Timing
from .view import ClusterView, LanReading, Probe, VipReading, VoteReading

TICKS_MAX = 300
LATER_S_MAX = 7 * 86_400.0
TIME_ENDS = frozenset({"streak", "hold", "failback", "retry"})  # vetoes that may end by waiting alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """The tick that has just been decided, with what ``decide`` was given."""

    view: ClusterView
    decision: Decision
    settings: Settings
    stop_by: Timing
    wait_by: Timing

    def decide(self, view: ClusterView, memory: Memory) -> Decision:
        return decide(view, self.settings, memory, self.stop_by, self.wait_by)

    @property
    def timing(self) -> Timing:
        return self.stop_by if self.view.role is Role.ACTIVE else self.wait_by

    @property
    def last_contact_s(self) -> float | None:
        return contact_s(self.view.lan.seen_s, self.decision.memory.vouched_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a supposed future ends: the decision that acts, or the one that still does not.

    ``ticks``: heartbeats until then. ``in_s``: from now to the change of role; None when nothing changes.
    """

    decision: Decision
    ticks: int
    in_s: float | None


Change = Callable[[Now, ClusterView, float], ClusterView]  # (now, the view as it stays, begin of its tick) -> the view


def as_it_is(now: Now, view: ClusterView, begin_s: float) -> ClusterView:
    """Nothing changes."""
    return view


def peer_silent(now: Now, view: ClusterView, begin_s: float) -> ClusterView:
    """The other server answers no more, on no path, and renews no vote."""
    ended_s = begin_s + now.settings.timeout_s
    probe = Probe(started_s=begin_s, ended_s=ended_s, cause=ProbeCause.TIMEOUT)
    known = view.vip.destination is VipDestination.SELF
    votes = tuple(
        replace(later, still_since_s=before.still_since_s) for later, before in zip(view.votes, now.view.votes)
    )
    return replace(view, now_s=ended_s, peer=probe, vip=view.vip if known else VipReading(), votes=votes)


def lan_lost(now: Now, view: ClusterView, begin_s: float) -> ClusterView:
    """The cable of this server is out: no reference host, no peer."""
    silent = peer_silent(now, view, begin_s)
    lan = replace(now.view.lan, reference=Tri.NO if now.view.lan.asked else now.view.lan.reference)
    deadline_s = silent.lease_deadline_s
    if now.last_contact_s is not None and deadline_s is not None and _guarded(now):
        deadline_s = now.last_contact_s + now.timing.lease_s  # its timer renews until there
    return replace(silent, lan=lan, lease_deadline_s=deadline_s)


def portal_dead(now: Now, view: ClusterView, begin_s: float) -> ClusterView:
    """The own portal answers no more, the other server does."""
    own = Probe(started_s=begin_s, ended_s=begin_s + now.settings.timeout_s, cause=ProbeCause.TIMEOUT)
    seen_s, deadline_s = now.view.portal_seen_s, view.lease_deadline_s
    if seen_s is not None and deadline_s is not None and _guarded(now):
        deadline_s = seen_s + now.timing.lease_s
    return replace(view, own=own, portal_seen_s=seen_s, lease_deadline_s=deadline_s)


def _guarded(now: Now) -> bool:
    """With Hot Standby off on both servers nobody would take over, and the lease is not capped."""
    return now.settings.enabled or now.decision.memory.peer_enabled


def end_of(now: Now, change: Change) -> Outcome:
    """Run the future tick by tick until a role would change; later in leaps, if only time is missing."""
    ticks, decision = 0, now.decision
    ticks_max = min(TICKS_MAX, 4 * now.settings.threshold + 8)
    for view, decision in _ticks(now, change):
        ticks += 1
        if changes_role(decision):
            return Outcome(decision=decision, ticks=ticks, in_s=_moment_s(now, view, decision) - now.view.now_s)
        if ticks >= ticks_max:
            break
    waits = {refusal.veto for refusal in decision.refused}
    if change is as_it_is and waits and waits <= TIME_ENDS:
        return _in_leaps(now, decision, ticks)
    return Outcome(decision=decision, ticks=ticks, in_s=None)


def changes_role(decision: Decision) -> bool:
    """Promote, demote, or settle the role after a start."""
    quiet = {Action.RESTART_SERVICES, Action.SYNC_SETTINGS, Action.REASSERT, Action.INVITE_PEER}
    return bool(set(decision.actions) - quiet)


def _ticks(now: Now, change: Change) -> Iterator[tuple[ClusterView, Decision]]:
    view, decision, interval_s = now.view, now.decision, now.settings.interval_s
    grid_s = begin_s = view.peer.started_s if view.peer is not None else view.now_s
    while True:
        again_s = None if decision.again_in_s is None else view.now_s + decision.again_in_s
        early = again_s is not None and again_s < grid_s + interval_s
        if early and again_s is not None:
            begin_s = again_s
        else:
            grid_s = begin_s = max(grid_s + interval_s, view.now_s)
        view = change(now, replace(later(now, begin_s), early=early), begin_s)
        decision = now.decide(view, decision.memory)
        yield view, decision


def later(now: Now, begin_s: float) -> ClusterView:
    """The same surroundings at a tick that begins at ``begin_s``: what goes on goes on, what stands still stands."""
    view = now.view
    by_s = begin_s - (view.peer.started_s if view.peer is not None else view.now_s)
    return replace(
        view,
        now_s=view.now_s + by_s,
        lease_deadline_s=None if view.lease_deadline_s is None else view.lease_deadline_s + by_s,
        peer=_probe(view.peer, by_s),
        own=_probe(view.own, by_s),
        portal_seen_s=_moved(view.portal_seen_s, by_s, view.own is not None and view.own.state is not None),
        lan=_lan(view.lan, by_s),
        vip=replace(view.vip, asked_s=_moved(view.vip.asked_s, by_s, True)),
        votes=tuple(_vote(vote, view, now.timing, by_s) for vote in view.votes),
        order=None,
        invited_epoch=None,
        freeze_acknowledged=False,
        clock_stepped=False,
        early=False,
    )


def _moved(moment_s: float | None, by_s: float, goes_on: bool) -> float | None:
    return moment_s + by_s if moment_s is not None and goes_on else moment_s


def _probe(probe: Probe | None, by_s: float) -> Probe | None:
    return None if probe is None else replace(probe, started_s=probe.started_s + by_s, ended_s=probe.ended_s + by_s)


def _lan(lan: LanReading, by_s: float) -> LanReading:
    return replace(lan, seen_s=_moved(lan.seen_s, by_s, lan.up is Tri.YES))


def _vote(vote: VoteReading, view: ClusterView, timing: Timing, by_s: float) -> VoteReading:
    since_s = vote.still_since_s
    renewed = since_s is not None and vote.owner != "" and view.now_s - since_s < 2 * timing.renew_s
    return replace(vote, still_since_s=_moved(since_s, by_s, renewed))


def _moment_s(now: Now, view: ClusterView, decision: Decision) -> float:
    """When the role changes: an active node's at the latest with its lease, a candidate's after its last probe."""
    if Action.PROMOTE in decision.actions:
        return max(view.now_s + (view.peer.latency_s if view.peer is not None else 0.0), decision.certain_s)
    lease_ends = now.view.role is Role.ACTIVE and not PROMOTIONS & set(decision.actions)
    if lease_ends and view.lease_deadline_s is not None:
        return min(view.now_s, view.lease_deadline_s)
    return view.now_s


def _in_leaps(now: Now, decision: Decision, ticks: int) -> Outcome:
    """As things are, only time is missing: the first moment, to one interval, at which the rule acts."""
    interval_s, start_s = now.settings.interval_s, now.view.peer.started_s if now.view.peer else now.view.now_s
    memory = decision.memory

    def at(count: int) -> tuple[ClusterView, Decision]:
        view = later(now, start_s + count * interval_s)
        return view, now.decide(view, replace(memory, last_tick_s=view.now_s - interval_s))

    low, high = ticks, 2 * ticks
    while not changes_role(at(high)[1]):
        low, high = high, 2 * high
        if high * interval_s > LATER_S_MAX:
            return Outcome(decision=at(low)[1], ticks=low, in_s=None)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if changes_role(at(middle)[1]) else (middle, high)
    view, decision = at(high)
    return Outcome(decision=decision, ticks=high, in_s=_moment_s(now, view, decision) - now.view.now_s)
