"""Naming the situation: the first guard that holds, the most dangerous first.

A guard says what *is*; whether it has lasted long enough to act on is a veto's business (``vetoes.py``). So a single bad
probe is already "peer silent", and the page can show rule F1 held back at 1 of 5.
"""

from __future__ import annotations

from enum import StrEnum

from .handover import offered, wrong_services
from .hysteresis import Memory, nobody_active, peer_stuck, probe_is_good
from .lease import contact_s
from .settings import Settings
from .terms import Designation, ProbeCause, Role, SplitStance, VipDestination
from .timing import Timing
from .view import ClusterView


class Diagnosis(StrEnum):
    SUPERSEDED = "a higher epoch than that of the own role was ordered"
    ISOLATED = "this node has lost its LAN"
    PORTAL_DEAD = "the own portal does not answer"
    LEASE_LOST = "the own lease has run out"
    SPLIT_LOSE = "both nodes are active and this one yields"
    SPLIT_STAY = "both nodes are active and this one stays"
    STALLED = "the start of the services makes no progress"
    SWITCHING = "a switch is running"
    ORDERED = "an administrator asked for a switchover"
    RESUMABLE = "the own lease is still valid after a restart"
    LAN_DOWN = "the LAN is not seen"
    PEER_ACTIVE = "the peer is active"
    VIP_HERE = "the VIP leads to this node"
    FAILBACK_DUE = "server #1 may become active again"
    PEER_STARTING = "the peer is starting too"
    NOBODY_ACTIVE = "no node is active"
    PEER_STUCK = "no node is active, and the peer may still own something"
    PEER_GAVE_UP = "the active peer has given up a service"
    PEER_SILENT = "the peer does not answer well"
    SERVICE_DEAD = "a service is dead"
    STEADY = "nothing to do"


STALL_S_MIN = 10.0  # a start without any progress for this long (or 2 T) has failed


def stall_limit_s(timing: Timing) -> float:
    return max(STALL_S_MIN, timing.stale_s)


def diagnose(view: ClusterView, memory: Memory, settings: Settings, timing: Timing) -> Diagnosis:
    """The situation of this node at this tick; ``memory`` is already advanced by the same view."""
    if view.role is Role.ACTIVE:
        return _active(view, memory, settings, timing)
    if view.switching:
        return Diagnosis.SWITCHING
    if view.order is not None:
        return Diagnosis.ORDERED
    if view.role is Role.UNDECIDED:
        return _undecided(view, timing)
    return _standby(view, memory, settings, timing)


def _active(view: ClusterView, memory: Memory, settings: Settings, timing: Timing) -> Diagnosis:
    if view.superseded_by_epoch > view.epoch:
        return Diagnosis.SUPERSEDED
    guarded = settings.enabled or memory.peer_enabled  # with both off nobody would take over from a demoted node
    if guarded and lan_lost(view, memory, timing):
        return Diagnosis.ISOLATED
    if guarded and portal_lost(view, memory, timing):
        return Diagnosis.PORTAL_DEAD
    if view.lease_deadline_s is None or view.now_s >= view.lease_deadline_s:
        return Diagnosis.LEASE_LOST
    if view.peer_state is not None and view.peer_state.is_active:
        return Diagnosis.SPLIT_LOSE if yields(view, settings) else Diagnosis.SPLIT_STAY
    if view.progress_age_s is not None and view.progress_age_s > stall_limit_s(timing):
        return Diagnosis.STALLED
    if view.switching:
        return Diagnosis.SWITCHING
    if view.order is not None:
        return Diagnosis.ORDERED
    return Diagnosis.SERVICE_DEAD if _service_dead(view) else Diagnosis.STEADY


def lan_lost(view: ClusterView, memory: Memory, timing: Timing) -> bool:
    """I1: no reference host, and no signed "standby, heard you" of the peer, for (N-1)*T less stop time and margin."""
    seen_s = contact_s(view.lan.seen_s, memory.vouched_s)
    return seen_s is not None and view.now_s - seen_s >= timing.lease_s


def portal_lost(view: ClusterView, memory: Memory, timing: Timing) -> bool:
    """P1: the peer is heard, the own portal is not, for as long as in I1."""
    if view.portal_seen_s is None or not peer_is_heard(memory.peer_heard_s, view.now_s, timing):
        return False
    return view.now_s - view.portal_seen_s >= timing.lease_s


def peer_is_heard(peer_heard_s: float | None, now_s: float, timing: Timing) -> bool:
    """A good probe of the peer is not older than 2 T."""
    return peer_heard_s is not None and now_s - peer_heard_s <= timing.stale_s


def yields(view: ClusterView, settings: Settings) -> bool:
    """X1: who loses when two are active. The VIP decides if it is tested; else server2 loses. Ties (both would lose, or
    both would stay, since server1 cannot see the VIP that server2 has) go against server2.

    "I stay" is kept, wherever the VIP leads next: the peer may have heard it and be about to demote. So of two that each
    demote after the other's word, none can have said it before; and two that have said it end in a tie.
    """
    peer = view.peer_state
    vip = view.vip.destination if settings.vip_test else VipDestination.UNKNOWN
    if vip is VipDestination.SELF or view.stance is SplitStance.STAY:
        return view.designation is Designation.SERVER2 and peer is not None and peer.stance is SplitStance.STAY
    if vip is VipDestination.PEER:
        both_yield = peer is not None and peer.stance is SplitStance.YIELD
        return not (both_yield and view.designation is Designation.SERVER1)
    if peer is not None and peer.stance is SplitStance.YIELD:
        return False
    return view.designation is Designation.SERVER2


def _undecided(view: ClusterView, timing: Timing) -> Diagnosis:
    peer = view.peer_state
    if view.resumable:
        return Diagnosis.RESUMABLE
    if peer is not None and peer.is_active:
        return Diagnosis.PEER_ACTIVE
    if view.lan.up.value == "no":
        return Diagnosis.LAN_DOWN
    if peer is not None and peer.role is Role.UNDECIDED and peer.clear:
        return Diagnosis.PEER_STARTING
    if nobody_active(view, timing):
        return Diagnosis.NOBODY_ACTIVE
    if not probe_is_good(view, timing):
        return Diagnosis.PEER_SILENT
    return Diagnosis.PEER_STUCK if peer_stuck(view, timing) else Diagnosis.STEADY


def _standby(view: ClusterView, memory: Memory, settings: Settings, timing: Timing) -> Diagnosis:
    peer = view.peer_state
    if not probe_is_good(
        view, timing
    ):  # a wrong body is a fresh word all the same: asked again, it would stop no better
        stuck = view.peer is not None and view.peer.cause is ProbeCause.BODY and peer_stuck(view, timing)
        return Diagnosis.PEER_STUCK if stuck else Diagnosis.PEER_SILENT
    if peer is not None and not peer.is_active and nobody_active(view, timing):
        return Diagnosis.NOBODY_ACTIVE
    if view.lan.up.value == "no":
        return Diagnosis.LAN_DOWN
    if peer_stuck(view, timing):
        return Diagnosis.PEER_STUCK
    if offered(view, memory):  # before those that may have to wait for long
        return Diagnosis.PEER_GAVE_UP
    if settings.vip_test and view.vip.destination is VipDestination.SELF:
        return Diagnosis.VIP_HERE
    if settings.failback and view.designation is Designation.SERVER1 and peer is not None and peer.is_active:
        return Diagnosis.FAILBACK_DUE
    return (
        Diagnosis.SERVICE_DEAD
        if _service_dead(view)
        else Diagnosis.PEER_ACTIVE if peer and peer.is_active else Diagnosis.STEADY
    )


def _service_dead(view: ClusterView) -> bool:
    return bool(wrong_services(view))
