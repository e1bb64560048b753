"""What the signed state of a peer that was told to demote says: it has stopped, or it has tried and could not (spec 5.5)."""

from __future__ import annotations

from ftplugin.core.terms import Phase
from ftplugin.core.view import NodeState

# Of a silent one, when its time is over. Whether it is one of these nobody can tell from here: the votes may know more (I-C)
TIME_OVER = "a server that is dead or isolated has stopped by now"


def did_not_stop(state: NodeState, epoch: int, *, long: bool) -> bool:
    """The peer has tried to stop everything under ``epoch`` and could not. One that is still at it, or that has just booted and
    whose switch worker is not up yet, is not meant: it needs time, no fence command. long: it has signed for N ticks three
    times over that it has no role and may own something; then nothing more comes of itself.
    """
    tried = state.epoch >= epoch and state.phase is Phase.READY
    return state.seen_epoch >= epoch and not state.is_active and (tried or long)


def has_stopped(state: NodeState, epoch: int) -> bool:
    # its role may still read active when only its guard is left to speak: the lease is over and every service demoted
    return state.seen_epoch >= epoch and state.clear and not state.is_active
