"""Suspect mode: after a bad probe a standby node asks again sooner; F1 still never ends sooner than the hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftplugin.core.decision import Decision, decide
from ftplugin.core.rules import check
from ftplugin.core.settings import Settings
from ftplugin.core.terms import ProbeCause
from ftplugin.core.timing import Timing, expected_failover_s, suspect_saving_s, worst_failover_s

from .ticks import LAN_DOWN, PAUSE, SELF, A, S, S1, S2, Ticks, U, acted, settings, vetoes, vip_on

SLOW = settings(interval_s=10.0, timeout_s=2.0, threshold=3, suspect_interval_s=0.5)
HOLD_S, GAP_S = 20.0, Timing.of(SLOW).lan_gap_s


def fast(t: Ticks, probe_s: float = 0.1, ticks_max: int = 99) -> Decision:
    """Goes on as a host does with a peer that is silent: the next tick when the decision asks for it, else on the grid."""
    grid_s = t.now_s
    for _ in range(ticks_max):
        assert t.last is not None
        again_s = None if t.last.again_in_s is None else t.now_s + t.last.again_in_s
        while grid_s <= t.now_s:
            grid_s += t.settings.interval_s
        early = again_s is not None and again_s < grid_s
        after_s = (again_s if early and again_s is not None else grid_s) + probe_s - t.now_s
        t.tick(after_s=after_s, peer=lambda: t.silent(probe_s), early=early)
        if acted(t.last):
            break
    return t.last


def suspicious(chosen: Settings = SLOW, probe_s: float = 0.1) -> Ticks:
    """A standby node at the end of its first bad probe."""
    t = Ticks(S2, S, chosen)
    t.tick(peer=t.good(A))
    t.tick(after_s=chosen.interval_s + probe_s, peer=lambda: t.silent(probe_s))
    return t


def test_the_first_bad_probe_is_followed_after_the_suspect_interval_counted_from_its_begin() -> None:
    t = suspicious()
    assert t.last is not None and t.last.again_in_s == pytest.approx(0.5 - 0.1)
    slow = suspicious(probe_s=1.5).last
    assert slow is not None and slow.again_in_s == 0.0


def test_the_streak_is_full_early_and_f1_still_waits_for_the_hold() -> None:
    t = suspicious()
    first_bad_s = t.now_s
    for _ in range(2):
        assert t.last is not None and t.last.again_in_s is not None
        t.tick(after_s=t.last.again_in_s + 0.1, peer=t.silent, early=True)
    assert t.now_s - first_bad_s < 1.5 and t.last is not None
    assert (t.memory.bad_streak, vetoes(t.last)) == (3, {"hold"})
    decision = fast(t)
    assert acted(decision) == "F1"
    assert decision.not_before_s == pytest.approx(first_bad_s + HOLD_S)
    assert decision.passable_s == pytest.approx(first_bad_s + HOLD_S + GAP_S)
    left_s = decision.passable_s - t.now_s
    assert 0 < left_s <= SLOW.timeout_s, "just enough is left for the last probe, which runs inside the hold"


def test_without_suspect_mode_no_tick_is_asked_for_and_f1_waits_for_the_grid() -> None:
    t = suspicious(replace(SLOW, suspect_interval_s=0.0))
    first_bad_s = t.now_s
    assert acted(fast(t)) == "F1"
    assert t.now_s - first_bad_s >= HOLD_S - 1e-6


def test_a_good_probe_ends_suspect_mode_at_once() -> None:
    t = suspicious()
    decision = t.tick(after_s=0.5, peer=lambda: t.good(A), early=True)
    assert (decision.again_in_s, t.memory.bad_streak) == (None, 0)


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("the LAN is down here", {"lan": LAN_DOWN}),
        ("paused", {"pause": PAUSE}),
        ("drained", {"drained": True}),
        ("a switch is running", {"switching": True}),
        ("the last attempt failed", {"retry_after_s": 1e9}),
    ],
)
def test_no_tick_is_asked_for_when_more_probes_could_not_lead_to_a_failover(why: str, changes: dict) -> None:
    t = suspicious()
    assert t.tick(after_s=0.5, peer=t.silent, early=True, **changes).again_in_s is None, why


@pytest.mark.parametrize("role", [A, U])
def test_only_a_standby_node_is_suspicious(role: object) -> None:
    t = Ticks(S1, role, SLOW)  # type: ignore[arg-type]
    assert t.ticks(2, peer=t.silent).again_in_s is None


def test_a_probe_that_takes_a_whole_interval_leaves_the_grid_as_it_is() -> None:
    t = suspicious(settings(suspect_interval_s=0.2), probe_s=1.0)
    assert t.last is not None and t.last.again_in_s is None


def test_early_ticks_count_bad_probes_alone() -> None:
    """F2 and B1 mean N ticks of T: suspect mode must not hasten them."""
    chosen = vip_on(suspect_interval_s=0.2, failback=True)
    t = Ticks(S1, S, chosen)
    t.tick(peer=t.good(A))
    before = t.tick(peer=t.silent, vip=t.vip(SELF)).memory
    after = before
    for _ in range(4):
        after = t.tick(after_s=0.2, peer=t.silent, vip=lambda: t.vip(SELF), early=True).memory
    assert after.bad_streak == before.bad_streak + 4
    for name in ("vip_self_streak", "combined_streak", "own_ok_streak", "nobody_streak"):
        assert getattr(after, name) == getattr(before, name), name


def test_an_early_tick_ends_a_streak_as_any_other_does() -> None:
    t = Ticks(S1, S, vip_on(suspect_interval_s=0.2))
    t.ticks(2, peer=t.silent, vip=lambda: t.vip(SELF))
    memory = t.tick(after_s=0.2, peer=lambda: t.good(A), early=True).memory
    assert (memory.bad_streak, memory.vip_self_streak, memory.combined_streak) == (0, 0, 0)


@given(st.integers(2, 8), st.floats(0.2, 1.0), st.floats(0.05, 0.99), st.floats(0.001, 1.0))
def test_f1_never_acts_so_that_it_could_end_sooner_than_the_hold(
    threshold: int, suspect_s: float, timeout_s: float, share: float
) -> None:
    chosen = settings(threshold=threshold, suspect_interval_s=suspect_s, timeout_s=timeout_s, service_stop_s=0.0)
    probe_s = max(0.001, share * timeout_s)
    t = suspicious(chosen, probe_s)
    first_bad_s = t.now_s
    decision = fast(t, probe_s)
    assert acted(decision) == "F1"
    assert decision.not_before_s >= first_bad_s + Timing.of(chosen).hold_s - 1e-9
    assert t.memory.bad_streak >= threshold


def test_the_decision_is_the_same_whatever_the_suspect_interval_is() -> None:
    """Hold, lease and every veto come from T, t and N alone."""
    on, off = suspicious(), suspicious(replace(SLOW, suspect_interval_s=0.0))
    assert on.last is not None and off.last is not None
    assert replace(on.last, again_in_s=None) == off.last
    view = on.view(peer=on.probe(ProbeCause.CONNECT))
    a, b = (decide(view, t.settings, t.memory) for t in (on, off))
    assert replace(a, again_in_s=None) == b and Timing.of(SLOW) == Timing.of(off.settings)


@pytest.mark.parametrize(
    ("interval_s", "timeout_s", "threshold", "suspect_s", "saved_s"),
    [
        (30, 10, 5, 0, 0),
        (30, 10, 5, 2, 3),  # the last probe of 10 s lies inside the hold; the gap of 7 s does not
        (20, 10, 3, 1, 3),
        (20, 20, 3, 1, 0),  # probes of T: the streak is not full before the hold ends
        (20, 18, 4, 1, 6),  # 3 probes and the last one take 72 s, the hold 60 s: 12 s are left of the last one's 18
        (1, 1, 3, 0.2, 0),
    ],
)
def test_the_expected_delay_shows_what_suspect_mode_saves_and_the_worst_one_promises_none_of_it(
    interval_s: float, timeout_s: float, threshold: int, suspect_s: float, saved_s: float
) -> None:
    off = Settings(interval_s=interval_s, timeout_s=timeout_s, threshold=threshold, release_delay_s=0)
    on = replace(off, suspect_interval_s=suspect_s)
    assert suspect_saving_s(on) == pytest.approx(saved_s)
    assert expected_failover_s(off) - expected_failover_s(on) == pytest.approx(saved_s)
    assert worst_failover_s(off) == worst_failover_s(on)


@pytest.mark.parametrize("value", [-1, 0.1, 0.19, 30.1, 31])
def test_a_suspect_interval_outside_its_limits_is_refused_with_field_value_and_way_out(value: float) -> None:
    problems = [p for p in check(Settings(suspect_interval_s=value)) if p.field == "suspect_interval_s"]
    assert [p.severity for p in problems] == ["error"]
    assert f"{value:g}" in problems[0].message and "0.2 s to the heartbeat interval of 30 s" in problems[0].message
    assert "0 turns it off" in problems[0].message


@pytest.mark.parametrize("value", [0, 0.2, 5, 30])
def test_a_suspect_interval_up_to_t_or_off_is_taken(value: float) -> None:
    assert check(Settings(suspect_interval_s=value)) == []
