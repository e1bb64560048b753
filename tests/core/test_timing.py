"""Durations that follow from the settings: the guide's three sets by hand, and what must hold for every valid set."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ftplugin.core.rules import check
from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing, both_active_bound_s, expected_failover_s, service_start_s, worst_failover_s

# T/t/N: lease = hold - 5 s stop - 2 s margin; gap = 7 asks of the LAN, one a second; watch = hold + renewal + gap
SETS = {
    "30/10/5": (
        Settings(interval_s=30, timeout_s=10, threshold=5),
        {"hold_s": 120, "lease_s": 113, "renew_s": 15, "lan_gap_s": 7, "watch_s": 142, "expected": 163, "worst": 175},
    ),
    "20/10/3": (
        Settings(interval_s=20, timeout_s=10, threshold=3),
        {"hold_s": 40, "lease_s": 33, "renew_s": 10, "lan_gap_s": 7, "watch_s": 57, "expected": 73, "worst": 85},
    ),
    "15/10/4": (
        Settings(interval_s=15, timeout_s=10, threshold=4),
        {
            "hold_s": 45,
            "lease_s": 38,
            "renew_s": 7.5,
            "lan_gap_s": 7,
            "watch_s": 59.5,
            "expected": 73,
            "worst": 85,
        },
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_the_guide_s_sets(name: str) -> None:
    settings, want = SETS[name]
    timing = Timing.of(settings)
    for field in ("hold_s", "lease_s", "renew_s", "lan_gap_s", "watch_s"):
        assert getattr(timing, field) == pytest.approx(want[field]), field
    assert (timing.margin_s, timing.fence_s, timing.network_s) == (2, 2, 4)
    assert expected_failover_s(settings) == want["expected"]
    assert worst_failover_s(settings) == want["worst"]
    assert worst_failover_s(settings, agent_only=True) == want["worst"] + 2 * settings.interval_s


def test_the_release_delay_is_the_least_a_failover_takes() -> None:
    quick = Settings(interval_s=1, timeout_s=1, threshold=3, release_delay_s=60)
    assert expected_failover_s(quick) == worst_failover_s(quick) == 60 + 3


def test_cti_start_is_connect_and_200_ms_per_port_and_device() -> None:
    assert service_start_s(Settings(cti_connect_s=3, cti_ports=100, cti_devices=50)) == pytest.approx(33)


def test_both_active_bound_is_zero_with_a_witness_and_until_healed_without_vip_test() -> None:
    s = Settings(interval_s=1, timeout_s=1, threshold=3, service_stop_s=0.5)
    assert both_active_bound_s(replace(s, witness="10.0.0.9:6379")) == 0
    assert both_active_bound_s(s) is None
    assert both_active_bound_s(replace(s, vip_address="10.0.0.5", vip_test=True)) == 3 + 1 + 0.5


def test_network_limits_follow_the_round_trip_and_never_pass_t() -> None:
    def network_s(rtt_ms: int, timeout_s: float) -> float:
        return Timing.of(Settings(rtt_ms=rtt_ms, timeout_s=timeout_s)).network_s

    assert [network_s(*case) for case in ((0, 10), (100, 10), (200, 10), (1000, 10), (4000, 10), (1000, 0.2))] == [
        0.5,
        0.5,
        0.8,
        4,
        10,
        0.2,
    ]


@st.composite
def good_settings(draw: st.DrawFn) -> Settings:
    """Any set that may be saved."""
    interval_s = draw(st.floats(0.2, 3600))
    settings = Settings(
        interval_s=interval_s,
        timeout_s=draw(st.floats(0.05, 1)) * interval_s,
        threshold=draw(st.integers(2, 60)),
        service_stop_s=draw(st.floats(0, 120)),
        rtt_ms=draw(st.integers(0, 60_000)),
    )
    assume(not any(problem.severity == "error" for problem in check(settings)))
    return settings


@given(good_settings())
def test_an_isolated_active_node_has_stopped_before_the_other_may_start(settings: Settings) -> None:
    timing = Timing.of(settings)
    assert timing.lease_s + timing.stop_s + timing.margin_s == pytest.approx(timing.hold_s)
    assert timing.hold_s == pytest.approx((settings.threshold - 1) * settings.interval_s)
    assert timing.lease_s >= 0.3 - 1e-9
    assert timing.margin_s >= timing.guard_poll_s + 0.1


@given(good_settings())
def test_the_lease_can_be_renewed_three_times_and_at_least_every_t(settings: Settings) -> None:
    timing = Timing.of(settings)
    assert 0 < timing.renew_s <= min(timing.lease_s / 3, settings.interval_s) + 1e-9
    assert timing.watch_s == pytest.approx(timing.hold_s + timing.renew_s + timing.lan_gap_s)


@example(Settings(interval_s=0.2, timeout_s=0.2, threshold=4, service_stop_s=0))
@given(good_settings())
def test_the_lan_is_asked_20_times_per_hold_and_every_second_at_least(settings: Settings) -> None:
    timing = Timing.of(settings)
    assert timing.lan_period_s <= 1 and timing.hold_s / timing.lan_period_s >= 20 - 1e-9
    assert timing.lan_gap_s <= max(settings.timeout_s, 0.35) + 1e-9


@given(good_settings())
def test_limits_of_calls_stay_below_t(settings: Settings) -> None:
    timing = Timing.of(settings)
    assert timing.fence_s == min(settings.timeout_s, 2) and timing.network_s <= settings.timeout_s
    assert timing.guard_poll_s <= 1 and timing.portal_period_s <= max(2.0, timing.lease_s)


MANY_SHORT = Settings(interval_s=1, timeout_s=1, threshold=11, service_stop_s=1)
FEW_LONG = Settings(interval_s=9.9, timeout_s=9.9, threshold=2, service_stop_s=1)  # a shorter hold, but a longer watch


@example(MANY_SHORT, FEW_LONG)
@given(good_settings(), good_settings())
def test_while_a_change_awaits_the_peer_whichever_set_the_peer_uses_the_promise_holds(
    live: Settings, pending: Settings
) -> None:
    """The active stops by the smaller values, the standby waits by the larger: of lease, hold and watch each."""
    stop_by, wait_by = Timing.between(live, pending)
    for peer in (Timing.of(live), Timing.of(pending)):
        assert stop_by.lease_s <= peer.lease_s
        assert wait_by.hold_s >= peer.hold_s and wait_by.hold_s >= stop_by.lease_s + stop_by.stop_s
        assert wait_by.watch_s >= peer.watch_s


def test_without_a_pending_change_both_timings_are_the_live_ones() -> None:
    settings = SETS["20/10/3"][0]
    assert Timing.between(settings, None) == Timing.between(settings, settings) == (Timing.of(settings),) * 2
