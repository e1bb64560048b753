"""What a node remembers between ticks: streaks, and when it last knew what (spec 5.1, I-F).

Two kinds of memory, which must not be mixed up. *Streaks* count consecutive ticks and restart after any gap, since a
stale count proves nothing. *Evidence* ("the peer last said it owns something", "the peer vouched for me") is a point in
time that only ages; losing it early could be dangerous, so no gap restarts it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Mapping

from .settings import Settings
from .terms import ProbeCause, Role, Tri, VipDestination
from .timing import Timing
from .view import ClusterView, VoteReading


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Persisted after every decision; all times are seconds of CLOCK_BOOTTIME."""

    last_tick_s: float | None = None
    bad_streak: int = 0
    bad_since_s: float | None = None  # END of the first bad probe of the streak
    nobody_streak: int = 0
    vip_self_streak: int = 0
    combined_streak: int = 0
    combined_since_s: float | None = None
    own_ok_streak: int = 0
    own_ok_since_s: float | None = None
    owner_word_s: float | None = None  # the peer's last signed word that did not say "I own nothing"
    peer_heard_s: float | None = None  # start of the last good probe
    vouched_s: float | None = None  # start of the last probe answered "standby, and I heard you within T"
    peer_enabled: bool = True  # the peer's last word on Hot Standby mode
    frozen: bool = False
    stuck_streak: int = 0  # ticks in which the peer had no role, but may own something
    taken: tuple[str, ...] = ()  # faults of the peer's services for which this node has taken over once (H1)

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Memory:
        """What was persisted; anything unknown or unreadable starts afresh, which only delays."""
        names = {f.name for f in fields(cls)} - {"taken"}
        known: dict[str, Any] = {
            k: v for k, v in (document or {}).items() if k in names and isinstance(v, (int, float, bool, type(None)))
        }
        taken = (document or {}).get("taken")
        listed = taken if isinstance(taken, (list, tuple)) else ()
        return cls(**known, taken=tuple(name for name in listed if isinstance(name, str)))

    def without_streaks(self) -> Memory:
        return replace(
            self,
            bad_streak=0,
            bad_since_s=None,
            nobody_streak=0,
            stuck_streak=0,
            vip_self_streak=0,
            combined_streak=0,
            combined_since_s=None,
            own_ok_streak=0,
            own_ok_since_s=None,
        )


def probe_is_good(view: ClusterView, timing: Timing) -> bool:
    """The direct probe was good, or the peer signed "active, agent fresh" at the VIP (spec 5, "Probe")."""
    if view.peer is not None and view.peer.good:
        return True
    return direct_path_cut(view, timing)


def direct_path_cut(view: ClusterView, timing: Timing) -> bool:
    """The peer is silent where it lives but answers, active and fresh, at the VIP."""
    state = view.vip.peer_state
    direct = view.peer is not None and view.peer.state is not None
    fresh = state is not None and state.agent_age_s is not None and state.agent_age_s <= timing.stale_s
    return not direct and state is not None and state.is_active and fresh


def vote_shows(vote: VoteReading, now_s: float, timing: Timing) -> bool:
    """The voter shows a lock or a lease that has not stood still for a whole lease (spec 5.4)."""
    if not vote.owner and not vote.lock_owner:
        return False
    return vote.still_since_s is None or now_s - vote.still_since_s < timing.lease_s


def nobody_active(view: ClusterView, timing: Timing) -> bool:
    """The peer answers and signs that it owns nothing, this node is not active, and no voter shows a lock or lease."""
    state = view.peer_state
    if view.role is Role.ACTIVE or state is None or state.is_active or not state.clear:
        return False  # its role may still read active when only its guard is left: the lease decides
    return not any(vote_shows(vote, view.now_s, timing) for vote in view.votes)


def peer_stuck(view: ClusterView, timing: Timing) -> bool:
    """As ``nobody_active``, but the peer signs that it may own something: it has no role, and a service has not stopped."""
    state = view.peer_state
    if view.role is Role.ACTIVE or state is None or state.is_active or state.clear:
        return False
    return not any(vote_shows(vote, view.now_s, timing) for vote in view.votes)


def advance(memory: Memory, view: ClusterView, settings: Settings, timing: Timing) -> Memory:
    """Memory after this tick's view. After a gap of more than 2 T or a clock step, streaks count from this tick (I-F)."""
    gap = memory.last_tick_s is not None and view.now_s - memory.last_tick_s > timing.stale_s
    if gap or view.clock_stepped:
        memory = memory.without_streaks()
    memory = _evidence(_heard_between(memory, view), view, timing)
    good = probe_is_good(view, timing)
    bad = view.peer is not None and not good
    vip_here = settings.vip_test and view.vip.destination is VipDestination.SELF
    ended_s = view.peer.ended_s if view.peer is not None else view.now_s
    combined = bad or vip_here
    own_ok = view.self_healthy
    if bad and not own_ok and view.peer is not None and view.peer.cause is ProbeCause.BODY:
        bad, combined = False, vip_here  # both miss a third party; who sees it back first must not find a full streak
    one = 0 if view.early else 1  # suspect mode hastens the count of bad probes alone: the others are counted in T
    return replace(
        memory,
        last_tick_s=view.now_s,
        bad_streak=memory.bad_streak + 1 if bad else 0,
        bad_since_s=(memory.bad_since_s if memory.bad_streak else ended_s) if bad else None,
        nobody_streak=memory.nobody_streak + one if nobody_active(view, timing) else 0,
        stuck_streak=memory.stuck_streak + one if peer_stuck(view, timing) else 0,
        vip_self_streak=memory.vip_self_streak + one if vip_here else 0,
        combined_streak=memory.combined_streak + one if combined else 0,
        combined_since_s=(memory.combined_since_s if memory.combined_streak else ended_s) if combined else None,
        own_ok_streak=memory.own_ok_streak + one if own_ok else 0,
        own_ok_since_s=(memory.own_ok_since_s if memory.own_ok_streak else view.now_s) if own_ok else None,
        frozen=_frozen(memory, view, settings),
        taken=_taken(memory, view),
    )


def _taken(memory: Memory, view: ClusterView) -> tuple[str, ...]:
    """Once per fault (spec 6): a fault is forgotten when the peer no longer lists its service as given up. A peer whose Redis
    was wiped lists nothing until its next tick, which proves nothing."""
    names = list(memory.taken)
    if view.handed_s is not None and (memory.last_tick_s is None or view.handed_s > memory.last_tick_s):
        names += [name for name in view.handed if name not in names]
    state = view.peer_state
    if state is None or state.agent_age_s is None:
        return tuple(names)
    return tuple(name for name in names if name in state.given_up)


def _heard_between(memory: Memory, view: ClusterView) -> Memory:
    """What the peer said to a switch sequence between two ticks: a good answer ends the streak of bad probes, and any
    that did not say "I own nothing" is a word like a probe's."""
    spoke_s, last_s = view.spoke_s, memory.last_tick_s
    if spoke_s is None or last_s is None or spoke_s <= last_s:
        return memory
    if view.spoke_well:
        memory = replace(
            memory, bad_streak=0, bad_since_s=None, combined_streak=0, combined_since_s=None, nobody_streak=0
        )
    return memory if view.spoke_clear else replace(memory, owner_word_s=spoke_s)


def _evidence(memory: Memory, view: ClusterView, timing: Timing) -> Memory:
    state = view.peer_state
    if state is None:
        return memory
    heard_at_s = view.peer.ended_s if view.peer is not None and view.peer.state is not None else view.now_s
    memory = replace(memory, owner_word_s=None if state.clear else heard_at_s, peer_enabled=state.enabled)
    if view.peer is not None and view.peer.good:
        memory = replace(memory, peer_heard_s=view.peer.started_s)
        age_s = state.heard_asker_age_s
        if state.role is Role.STANDBY and age_s is not None:
            # heard within T counts as of now; two ticks of one phase make it a little more, which must not cost a whole T
            vouched_s = view.peer.started_s - max(0.0, age_s - timing.interval_s)
            memory = replace(memory, vouched_s=max(vouched_s, memory.vouched_s or vouched_s))
    return memory


def switches_counted(view: ClusterView) -> int:
    """Automatic switches of both nodes in the window, as far as known."""
    return view.switches + (view.peer_state.switches if view.peer_state is not None else 0)


def _frozen(memory: Memory, view: ClusterView, settings: Settings) -> bool:
    """Past the budget the pair freezes, and stays so until an administrator acknowledges (spec 5.6)."""
    if view.freeze_acknowledged:
        return False
    return memory.frozen or switches_counted(view) >= settings.flap_budget


def lan_is_up(view: ClusterView) -> bool:
    return view.lan.up is Tri.YES
