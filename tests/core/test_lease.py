"""Epochs never meet; a lease is never longer than what the node knows of its surroundings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftplugin.core.lease import contact_s, epoch_owner, lease_deadline_s, next_epoch
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing

S1, S2 = Designation.SERVER1, Designation.SERVER2
TIMING = Timing.of(Settings(interval_s=1, timeout_s=1, threshold=3, service_stop_s=0.3))  # lease 1.5 s
times = st.floats(0, 1000)
maybe = st.one_of(st.none(), times)


@given(st.integers(0, 2**60), st.sampled_from(Designation))
def test_a_new_epoch_is_above_every_seen_one_by_two_at_most_and_tells_its_owner(seen: int, me: Designation) -> None:
    epoch = next_epoch(seen, me)
    assert seen < epoch <= seen + 3 and epoch_owner(epoch) is me and epoch >= 2


@given(st.integers(0, 2**60), st.integers(0, 2**60))
def test_epochs_of_two_nodes_are_never_equal(a: int, b: int) -> None:
    assert next_epoch(a, S1) != next_epoch(b, S2)


@given(st.lists(st.sampled_from(Designation), min_size=2, max_size=50))
def test_epochs_grow_strictly_whoever_takes_the_next_one(takers: list[Designation]) -> None:
    seen = [0]
    for me in takers:
        seen.append(next_epoch(seen[-1], me))
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(("seen", "one", "two"), [(0, 2, 3), (2, 4, 5), (3, 4, 5), (4, 6, 7), (5, 6, 7)])
def test_the_first_epochs_by_hand(seen: int, one: int, two: int) -> None:
    assert (next_epoch(seen, S1), next_epoch(seen, S2)) == (one, two)


@given(before=times, connected=maybe, portal=maybe, heard=st.booleans())
def test_a_deadline_never_outlasts_the_request_or_the_last_contact(
    before: float, connected: float | None, portal: float | None, heard: bool
) -> None:
    deadline = lease_deadline_s(
        before_s=before, timing=TIMING, connected_s=connected, portal_s=portal, peer_heard=heard
    )
    assert deadline <= before + TIMING.lease_s
    assert connected is None or deadline <= connected + TIMING.lease_s
    assert portal is None or not heard or deadline <= portal + TIMING.lease_s


@pytest.mark.parametrize(
    ("connected", "portal", "heard", "want"),
    [
        (None, None, False, 101.5),
        (99.5, None, False, 101.0),
        (98.0, None, False, 99.5),
        (100, 99, True, 100.5),
        (100, 99, False, 101.5),
        (None, 99, True, 100.5),
    ],
)
def test_deadlines_by_hand(connected: float | None, portal: float | None, heard: bool, want: float) -> None:
    """Asked at 100: 1.5 s of lease, less since the LAN (or, while the peer is heard, the own portal) was last seen."""
    assert (
        lease_deadline_s(before_s=100, timing=TIMING, connected_s=connected, portal_s=portal, peer_heard=heard) == want
    )


@given(maybe, maybe)
def test_contact_is_the_latest_of_lan_and_vouching_peer(lan: float | None, vouched: float | None) -> None:
    known = [t for t in (lan, vouched) if t is not None]
    assert contact_s(lan, vouched) == (max(known) if known else None)
