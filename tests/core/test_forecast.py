"""The forecast of the settings' preview: both nodes' ticks through the real core, held against ``core.timing``."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ftplugin.core import decision as core_decision
from ftplugin.core.vetoes import VETOES
from ftplugin.core.rules import check
from ftplugin.core.settings import Settings
from ftplugin.core.suspect import AIM_S
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing, expected_failover_s, service_start_s, worst_failover_s
from ftplugin.forecast import Fault, Forecast, Mark, Show, forecast
from ftplugin.forecast.host import Host

S1, S2 = Designation
PAIR = Settings(server1_address="10.0.0.1", server2_address="10.0.0.2", enabled=True)
SETS = {  # T/t/N
    "30/10/5": replace(PAIR, interval_s=30, timeout_s=10, threshold=5),
    "20/10/3": replace(PAIR, interval_s=20, timeout_s=10, threshold=3),
    "15/10/4": replace(PAIR, interval_s=15, timeout_s=10, threshold=4),
    "1/1/3": replace(PAIR, interval_s=1, timeout_s=1, threshold=3, service_stop_s=0.3, release_delay_s=0),
    "0.5/0.5/3": replace(PAIR, interval_s=0.5, timeout_s=0.5, threshold=3, service_stop_s=0.2, release_delay_s=0),
}
KINDS = {
    "plain": {},
    "witness": {"witness": "10.0.0.9:6379"},
    "suspect": {"suspect_interval_s": 0.2},
    "VIP test": {"vip_address": "10.0.0.5", "vip_test": True},
    "all of them": {
        "witness": "10.0.0.9:6379",
        "suspect_interval_s": 0.2,
        "vip_address": "10.0.0.5",
        "vip_test": True,
    },
}
PHASES = (0.01, 0.2, 0.35, 0.5, 0.65, 0.8, 0.99, 1.0)
EACH_SET = pytest.mark.parametrize("name", SETS)
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
EACH_FAULT = pytest.mark.parametrize("fault", Fault)


def chosen(name: str, kind: str) -> Settings:
    return replace(SETS[name], **KINDS[kind])  # type: ignore[arg-type]


def at(found: Forecast, mark: Mark) -> list[float]:
    return [event.at_s for event in found.events if event.mark is mark]


@EACH_SET
@EACH_KIND
@EACH_FAULT
def test_no_phase_takes_longer_than_the_worst_delay_that_the_page_prints(name: str, kind: str, fault: Fault) -> None:
    settings = chosen(name, kind)
    for phase in PHASES:
        ready_s = forecast(settings, fault, phase=phase).ready_s
        assert ready_s is not None and ready_s <= worst_failover_s(settings) + AIM_S + 1e-6, phase


@EACH_SET
@EACH_FAULT
def test_the_worst_phase_takes_the_worst_delay_to_the_second(name: str, fault: Fault) -> None:
    worst_s = worst_failover_s(SETS[name])
    assert forecast(SETS[name], fault, phase=1.0).ready_s == pytest.approx(worst_s, abs=AIM_S)


@EACH_SET
@EACH_KIND
@EACH_FAULT
def test_the_typical_phase_is_near_the_expected_delay(name: str, kind: str, fault: Fault) -> None:
    """N*T + t counts one t and no fence; half of T is the distance of the typical phase from the latest one."""
    settings = chosen(name, kind)
    ready_s, near_s = forecast(settings, fault).ready_s, settings.interval_s / 2 + Timing.of(settings).fence_s
    assert ready_s is not None and abs(ready_s - expected_failover_s(settings)) <= near_s + AIM_S + 1e-6


@EACH_SET
@EACH_KIND
def test_after_a_lan_cut_the_old_server_has_stopped_before_the_new_one_owns_anything(name: str, kind: str) -> None:
    settings = chosen(name, kind)
    for phase in PHASES:
        found = forecast(settings, Fault.LAN_CUT, phase=phase)
        assert found.both_active_s == 0
        assert found.stopped_s is not None and found.promoted_s is not None and found.stopped_s <= found.promoted_s
        assert found.stopped_s <= Timing.of(settings).hold_s + 1e-9


def test_the_guide_s_first_set_second_by_second() -> None:
    """30/10/5, the cut half an interval before the next heartbeat: by hand."""
    found = forecast(SETS["30/10/5"], Fault.LAN_CUT)
    assert at(found, Mark.BAD_PROBE) == [25, 55, 85, 115, 145], "15 s to the heartbeat, 10 s until it is given up"
    assert at(found, Mark.LEASE_OVER) == [113] and found.stopped_s == 113 + 1 + 5
    assert at(found, Mark.LAST_PROBE) == [145], "the fifth ends with the hold of 120 s after the first"
    assert found.promoted_s == 145 + 10 + 2, "last probe t, lock and fence 2 s"
    assert found.ready_s == 157 + 3
    assert [(s.show, s.start_s) for s in found.segments[S1]][1:] == [(Show.STOPPING, 113), (Show.STANDBY, 119)]
    assert [(s.show, s.start_s) for s in found.segments[S2]][1:] == [(Show.STARTING, 157), (Show.ACTIVE, 160)]
    assert [e.rule for e in found.events if e.rule] == ["I1", "F1"]


def test_a_crashed_server_is_shown_dead_and_the_other_starts_its_services() -> None:
    settings = replace(SETS["20/10/3"], cti_ports=50, release_delay_s=90)
    found = forecast(settings, Fault.CRASH)
    assert [s.show for s in found.segments[S1]] == [Show.ACTIVE, Show.DEAD]
    assert found.promoted_s == 72 and at(found, Mark.RELEASED) == [90]
    assert found.ready_s == 90 + service_start_s(settings)


def test_suspect_mode_counts_sooner_and_saves_what_the_page_says() -> None:
    off = forecast(SETS["30/10/5"], Fault.CRASH)
    on = forecast(replace(SETS["30/10/5"], suspect_interval_s=2), Fault.CRASH)
    assert at(on, Mark.BAD_PROBE)[-1] < at(off, Mark.BAD_PROBE)[-1]
    assert off.ready_s is not None and on.ready_s is not None
    assert off.ready_s - on.ready_s == pytest.approx(3, abs=2 * AIM_S)


@EACH_FAULT
def test_with_hot_standby_off_nothing_takes_over_and_the_core_says_why(fault: Fault) -> None:
    found = forecast(replace(SETS["30/10/5"], enabled=False), fault)
    assert found.promoted_s is found.ready_s is None
    (held,) = (e for e in found.events if e.mark is Mark.HELD_BACK)
    assert "Hot Standby mode is off" in held.text
    assert found.segments[S2][-1].show is Show.STANDBY
    if fault is Fault.LAN_CUT:
        assert found.stopped_s is None and found.segments[S1][-1].show is Show.ACTIVE, "nobody would take over from it"


def test_it_is_the_core_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A veto planted in the core's own table shows in the forecast."""
    settings = replace(SETS["30/10/5"], rtt_ms=17)  # a set that no other test has made a forecast of
    monkeypatch.setitem(VETOES, "planted", lambda case: "a planted veto")
    assert Host.decide.__globals__["decide"] is core_decision.decide
    found = forecast(settings, Fault.CRASH)
    assert found.ready_s is None and "a planted veto" in found.events[-1].text


@st.composite
def good_settings(draw: st.DrawFn) -> Settings:
    interval_s = draw(st.floats(0.2, 60))
    settings = replace(
        PAIR,
        interval_s=interval_s,
        timeout_s=max(0.1, draw(st.floats(0.1, 1)) * interval_s),
        threshold=draw(st.integers(2, 60)),
        suspect_interval_s=draw(st.sampled_from([0.0, 0.2, interval_s / 3, interval_s])),
        service_stop_s=draw(st.floats(0, 20)),
        release_delay_s=0.0,
        witness=draw(st.sampled_from(["", "10.0.0.9:6379"])),
    )
    assume(not any(problem.severity == "error" for problem in check(settings)))
    return settings


@examples(deadline=None)
@given(good_settings(), st.sampled_from(Fault), st.sampled_from(PHASES))
@example(
    replace(PAIR, interval_s=4.0, timeout_s=3.65625, threshold=7, suspect_interval_s=0.2, release_delay_s=0.0),
    Fault.CRASH,
    0.65,
)
def test_what_is_left_out_changes_nothing_and_the_bounds_hold_for_any_set(
    settings: Settings, fault: Fault, phase: float
) -> None:
    quick, full = (forecast(settings, fault, phase=phase, leaps=leaps) for leaps in (True, False))
    assert [(e.mark, e.count, e.rule) for e in quick.events] == [(e.mark, e.count, e.rule) for e in full.events]
    assert [e.at_s for e in quick.events] == pytest.approx([e.at_s for e in full.events], abs=1e-4)
    assert quick.both_active_s == 0
    assert quick.ready_s is not None and quick.ready_s <= worst_failover_s(settings) + AIM_S + 1e-4  # I-B


@pytest.mark.parametrize(
    "changes",
    [
        {"interval_s": 3600.0, "threshold": 10_000},
        {"interval_s": 3600.0, "timeout_s": 0.4, "threshold": 10_000, "suspect_interval_s": 0.2},
        {"interval_s": 1.0, "timeout_s": 0.1, "threshold": 10_000, "suspect_interval_s": 0.2},
        {"interval_s": 0.2, "timeout_s": 0.2, "threshold": 10_000},
        {"interval_s": 1.0, "timeout_s": 1.0, "threshold": 10, "cti_ports": 100_000, "release_delay_s": 86_400.0},
    ],
)
def test_the_largest_values_cost_less_than_100_ms(changes: dict) -> None:
    settings = replace(PAIR, **changes)
    for fault in Fault:
        best_s = min(_took_s(settings, fault) for _ in range(3))
        assert best_s < 0.1, fault


def _took_s(settings: Settings, fault: Fault) -> float:
    forecast.cache_clear()
    begun_s = time.perf_counter()
    assert forecast(settings, fault).ready_s is not None
    return time.perf_counter() - begun_s
