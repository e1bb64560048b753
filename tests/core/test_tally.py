"""What the agent counts for /metrics: probes, their latency, and seconds with none or two active."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.terms import ProbeCause
from ftplugin.core.view import ClusterView, NodeState, VipReading
from ftplugin.metrics.tally import BOUNDS_S, Share, Tally, beat_of

from .ticks import S1, A, S, Ticks, settings

STALE_S = 2.0
HURRIED = settings(interval_s=1.0, timeout_s=1.0, threshold=3)


def told(tally: Tally) -> Tally:
    """As it comes out of Redis."""
    return Tally.of_json(json.loads(json.dumps(tally.to_json())))


def seen(t: Ticks, at_s: float, **changes: Any) -> ClusterView:
    t.now_s = at_s
    return t.view(**changes)


def share_of(t: Ticks, **changes: Any) -> Share:
    return beat_of(t.view(**changes), STALE_S).share


def test_who_is_active_as_this_server_sees_it() -> None:
    active, standby = Ticks(S1, A, HURRIED), Ticks(S1, S, HURRIED)
    assert share_of(active, peer=active.good(S)) is Share.ONE
    assert share_of(active, peer=active.good(A)) is Share.TWO
    assert share_of(active, peer=active.silent()) is Share.ONE, "a silent server is no second active one"
    assert share_of(standby, peer=standby.good(A)) is Share.ONE
    assert share_of(standby, peer=standby.good(S)) is Share.NONE_SIGNED
    assert share_of(standby, peer=standby.silent()) is Share.NONE_SILENT


def test_a_lease_that_has_run_out_is_no_active_server() -> None:
    t = Ticks(S1, A, HURRIED)
    view = t.view(peer=t.good(S))
    assert beat_of(replace(view, lease_deadline_s=view.now_s), STALE_S).share is Share.NONE_SIGNED


def test_a_server_that_is_heard_through_the_vip_alone_is_active() -> None:
    t = Ticks(S1, S, HURRIED)
    heard = t.good(A)
    state = heard.state
    assert isinstance(state, NodeState)
    view = t.view(peer=t.silent(), vip=VipReading(peer_state=state))
    assert beat_of(view, STALE_S).share is Share.ONE


def test_seconds_of_an_outage_are_those_between_the_heartbeats() -> None:
    t, tally = Ticks(S1, S, HURRIED), Tally()
    for at_s in (100.0, 101.0):
        tally.add(beat_of(seen(t, at_s, peer=t.good(A)), STALE_S))
    for at_s in (102.0, 103.0, 104.5):
        tally.add(beat_of(seen(t, at_s, peer=t.silent()), STALE_S))
    tally.add(beat_of(seen(t, 105.0, peer=t.good(A)), STALE_S))
    assert tally.seconds[Share.NONE_SILENT] == pytest.approx(3.0), "102 to 105"
    assert tally.seconds[Share.ONE] == pytest.approx(2.0) and tally.seconds[Share.TWO] == 0
    assert tally.probes == {"ok": 3, str(ProbeCause.TIMEOUT): 3} and tally.ticks == 6


def test_a_gap_in_the_heartbeats_counts_as_nothing() -> None:
    t, tally = Ticks(S1, S, HURRIED), Tally()
    for at_s in (100.0, 103.0, 104.0, 90.0):  # nobody looked for 3 s; a reboot begins a new clock
        tally.add(beat_of(seen(t, at_s, peer=t.silent()), STALE_S))
    assert tally.seconds[Share.NONE_SILENT] == pytest.approx(1.0)


def test_latency_is_that_of_good_probes_in_the_bucket_up_to_its_bound() -> None:
    t, tally = Ticks(S1, S, HURRIED), Tally()
    good = t.good(A)
    for latency_s in (0.004, BOUNDS_S[1], 31.0):
        probe = replace(good, started_s=good.ended_s - latency_s)
        beat = replace(beat_of(t.view(peer=probe), STALE_S), latency_s=latency_s)
        tally.add(beat)
    tally.add(beat_of(t.view(peer=t.silent()), STALE_S))
    assert tally.buckets == [1, 1, *[0] * (len(BOUNDS_S) - 2), 1]
    assert tally.latency_sum_s == pytest.approx(31.014)


def test_a_restarted_worker_goes_on_counting() -> None:
    t, before, after = Ticks(S1, S, HURRIED), Tally(), Tally()
    for tally in (before, after):
        for at_s in (1.0, 2.0):
            tally.add(beat_of(seen(t, at_s, peer=t.good(S)), STALE_S))
    after.take_up(before.to_json())
    found = told(after)
    assert (found.ticks, found.probes, found.seconds[Share.NONE_SIGNED]) == (4, {"ok": 4}, 2.0)
    assert sum(found.buckets) == 4


GOOD = Tally(ticks=3, probes={"ok": 3}).to_json()


@pytest.mark.parametrize(
    "damage",
    [
        None,
        {},
        {"ticks": -1, "probes": 7, "seconds": [], "buckets": "x"},
        {**GOOD, "ticks": True, "probes": {"ok": "3"}, "seconds": {"two": float("nan"), "signed": -5, "one": 10**400}},
        {**GOOD, "ticks": None, "probes": {}, "bounds_s": 7.0, "latency_sum_s": 4.0},
        {**GOOD, "ticks": None, "probes": {}, "buckets": [1], "latency_sum_s": 4.0},
        {**GOOD, "ticks": 0, "probes": None, "bounds_s": [1.0], "latency_sum_s": 9.0},
    ],
)
def test_a_document_that_cannot_be_read_counts_as_nothing(damage: Any) -> None:
    found = Tally.of_json(damage)
    assert found.ticks == 0 and sum(found.probes.values()) == 0
    assert sum(found.seconds.values()) == 0 and sum(found.buckets) == 0 and found.latency_sum_s == 0
