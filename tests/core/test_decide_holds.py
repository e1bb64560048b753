"""Off, pause and freeze: what holds promotions back, and that it holds no demotion."""

from __future__ import annotations

from dataclasses import replace

from ftplugin.core.terms import ProbeCause

from .ticks import LAN_UNKNOWN, PAUSE, A, N, S, S1, S2, Ticks, U, acted, settings, state, ticks_until, vetoes


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


# --- Hot Standby mode that was off on the other server


def test_f1_does_not_pass_a_silent_server_on_which_the_mode_was_off_when_it_was_last_heard() -> None:
    """Cut off, that one keeps its role for ever; only a person can know that it is dead (M2)."""
    t = Ticks(S2, S)
    t.tick(peer=lambda: t.good(A, enabled=False))
    decision = t.ticks(30, peer=t.silent)
    assert vetoes(decision) == {"off"} and "force the takeover" in decision.sentence
    t.tick(peer=t.good)
    assert ticks_until(t, "F1") == N, "heard with the mode on, it is as ever"


def test_one_that_said_that_it_owns_nothing_has_nothing_to_keep() -> None:
    t = Ticks(S2, S)
    t.tick(peer=lambda: t.good(S, enabled=False))
    assert ticks_until(t, "F1") == N


def test_a_server_on_which_the_mode_is_off_is_asked_to_stop_as_long_as_it_can_answer() -> None:
    sick = {"application_error": True}
    t = Ticks(S2, S, settings(**sick))
    t.ticks(N, peer=lambda: t.probe(ProbeCause.BODY, state(S1, A, enabled=False)))
    assert t.last is not None and "off" not in vetoes(t.last)


def test_with_a_witness_a_server_that_is_cut_off_has_no_majority_whatever_its_mode() -> None:
    t = Ticks(S2, S, settings(witness="10.0.0.9:6379"))
    t.tick(peer=lambda: t.good(A, enabled=False))
    assert ticks_until(t, "F1") == N


def test_an_invitation_ends_the_pause_after_a_failed_attempt() -> None:
    t = Ticks(S2, S)
    held = t.tick(peer=lambda: t.good(S), retry_after_s=2000.0)
    assert "retry" in vetoes(held)
    assert acted(t.tick(peer=lambda: t.good(S), retry_after_s=2000.0, invited_epoch=4)) == "F1"


def test_an_unknown_lan_is_a_matter_of_settings_only_where_no_reference_host_is_asked() -> None:
    t = Ticks(S2, S)
    asked = replace(LAN_UNKNOWN, asked=True, seen_s=t.now_s - 1)
    for lan, says, not_said in (
        (LAN_UNKNOWN, "set LAN reference", "just now"),
        (asked, "just now", "set LAN reference"),
    ):
        alarms = " ".join(t.tick(peer=t.good, lan=lan).alarms)
        assert says in alarms and not_said not in alarms
