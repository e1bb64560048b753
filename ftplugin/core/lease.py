"""Epochs and leases: the arithmetic (spec 5.2 I-D, I-E, 5.4).

A lease deadline is a promise, so it is counted from the earliest moment that could matter: from *before* the request
that renewed it, and never further than what the node last knew of its surroundings allows. A node that has lost its LAN
(or its own portal while the peer is alive) therefore stops by itself, however well its timers run.
"""

from __future__ import annotations

from collections.abc import Iterable

from .terms import Designation
from .timing import Timing

CLOCK_STEP_S = 1.0  # the distance of two clocks moved by more than this: one made a step (I-F); slewing stays far below
EPOCH_LEAP = 2**32  # no honest server is that far ahead; a restored one leaps by two million (``store.backup``)


def believable(epochs: Iterable[int], known: int) -> list[int]:
    """Those of ``epochs`` that a voter may have from an honest server. known: the highest of own and signed words.

    Whoever has the login of a voter can write any number into its record. Taken for seen, one near 2**53 would be the last
    epoch that there is: every later demotion would be refused.
    """
    return [epoch for epoch in epochs if epoch <= known + EPOCH_LEAP]


def next_epoch(seen: int, designation: Designation) -> int:
    """The lowest epoch of this node above ``seen``: 2*counter + (0 for server1, 1 for server2) (I-E)."""
    return 2 * (seen // 2 + 1) + (0 if designation is Designation.SERVER1 else 1)


def epoch_owner(epoch: int) -> Designation:
    """Whose an epoch is, by its parity (I-E)."""
    return Designation.SERVER2 if epoch % 2 else Designation.SERVER1


def contact_s(lan_seen_s: float | None, vouched_s: float | None) -> float | None:
    """When this node last knew itself connected: a reference host, or the peer's signed "standby, heard you" (I1)."""
    times = [t for t in (lan_seen_s, vouched_s) if t is not None]
    return max(times) if times else None


def clocks_agree(wall_ahead_s: float | None, wall_s: float, now_s: float) -> bool:
    """False when a clock made a step since the lease was renewed: the host may have been paused without CLOCK_BOOTTIME
    counting it, as virtual machines are, so the lease may be long over and the role must be verified first (I-F, spec 3).

    wall_ahead_s: of the role record; None: not known. wall_s, now_s: wall clock and CLOCK_BOOTTIME now. A wall clock that
    was set has the same look; it costs one question to the peer, and decides nothing (I-H).
    """
    return wall_ahead_s is None or abs(wall_s - now_s - wall_ahead_s) <= CLOCK_STEP_S


def lease_deadline_s(
    *, before_s: float, timing: Timing, connected_s: float | None, portal_s: float | None, peer_heard: bool
) -> float:
    """Until when an active node may call itself active.

    before_s: own clock before the renewing request. connected_s: ``contact_s``. portal_s: when the own portal last
    answered; it counts only while the peer is heard (P1), since otherwise nobody could take over. All in seconds of
    CLOCK_BOOTTIME.
    """
    deadline_s = before_s + timing.lease_s
    if connected_s is not None:
        deadline_s = min(deadline_s, connected_s + timing.lease_s)
    if peer_heard and portal_s is not None:
        deadline_s = min(deadline_s, portal_s + timing.lease_s)
    return deadline_s
