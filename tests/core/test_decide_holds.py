"""Off, pause and freeze: what holds promotions back, and that it holds no demotion."""

from __future__ import annotations

from .ticks import PAUSE, A, N, S, S1, S2, Ticks, U, acted, settings, ticks_until, vetoes


def test_off_nothing_promotes_by_itself() -> None:
    for role, peer in ((S, None), (U, None), (S, S), (U, U)):
        t = Ticks(S1, role, settings(enabled=False))
        decision = t.ticks(20, peer=t.silent if peer is None else lambda: t.good(peer))  # noqa: B023
        assert decision.actions == () and "off" in vetoes(decision), decision.sentence


def test_off_changes_no_role_of_the_active_node() -> None:
    t = Ticks(S1, A, settings(enabled=False))
    assert t.ticks(9).actions == ()


def test_a_pause_names_who_and_why() -> None:
    t = Ticks(S2, S)
    decision = t.ticks(N, peer=t.silent, pause=PAUSE)
    assert vetoes(decision) == {"paused"} and "paused by anna: new switch in the rack" in decision.sentence


def test_past_the_budget_b1_and_f2_stop_and_f1_doubles_its_hold() -> None:
    t = Ticks(S1, S, settings(failback=True))
    assert vetoes(t.ticks(9, peer=lambda: t.good(A), switches=3)) == {"frozen"}
    assert any("frozen" in a for a in t.last.alarms)  # type: ignore[union-attr]
    t = Ticks(S2, S)
    assert ticks_until(t, "F1", switches=3) == 2 * N
    assert (
        t.last is not None
        and t.memory.bad_since_s is not None
        and t.last.not_before_s == t.memory.bad_since_s + 2 * t.timing.hold_s
    )


def test_the_budget_counts_the_switches_of_both_nodes() -> None:
    t = Ticks(S1, S, settings(failback=True))
    assert vetoes(t.ticks(9, peer=lambda: t.good(A, switches=1), switches=2)) == {"frozen"}


def test_f1_stops_at_twice_the_budget() -> None:
    t = Ticks(S2, S)
    assert vetoes(t.ticks(30, peer=t.silent, switches=6)) == {"frozen"}


def test_a_freeze_outlasts_its_window_until_it_is_acknowledged() -> None:
    t = Ticks(S1, S, settings(failback=True))
    t.tick(peer=lambda: t.good(A), switches=3)
    assert vetoes(t.ticks(9, peer=lambda: t.good(A), switches=0)) == {"frozen"}
    assert acted(t.tick(peer=lambda: t.good(A), switches=0, freeze_acknowledged=True)) == "B1"
    assert acted(t.tick(peer=lambda: t.good(A), switches=0)) == "B1"
