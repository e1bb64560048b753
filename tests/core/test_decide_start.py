"""C0 to C4: what a node that has just started does, tick after tick. T = t = 1 s, N = 3."""

from __future__ import annotations

import pytest

from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation

from .ticks import BOTH, LAN_DOWN, LAN_UNKNOWN, A, N, S, S1, S2, Ticks, U, acted, settings, ticks_until, vetoes


def test_c0_a_restarted_worker_resumes_inside_its_own_lease() -> None:
    t = Ticks(S1, U)
    decision = t.tick(resumable=True, peer=t.good(S))
    assert (acted(decision), decision.actions) == ("C0", (Action.RESUME,))


@BOTH
def test_c1_a_starting_node_joins_the_active_one_and_takes_its_settings(me: Designation) -> None:
    t = Ticks(me, U)
    decision = t.tick(peer=t.good(A))
    assert (acted(decision), decision.actions) == ("C1", (Action.BECOME_STANDBY, Action.SYNC_SETTINGS))


def test_c2_both_start_server1_promotes_at_once_server2_waits_n_ticks_and_is_standby() -> None:
    one, two = Ticks(S1, U), Ticks(S2, U)
    assert one.tick(peer=one.good(U)).actions == (Action.PROMOTE_CONFIRMED,)
    assert two.ticks(N - 1, peer=lambda: two.good(U)).actions == ()
    decision = two.tick(peer=lambda: two.good(U))
    assert (acted(decision), decision.actions) == ("C2", (Action.BECOME_STANDBY,))


@pytest.mark.parametrize("failback", [True, False])
def test_c2_server1_starts_beside_a_standby_server2_and_promotes_after_n_ticks_whatever_failback_says(
    failback: bool,
) -> None:
    t = Ticks(S1, U, settings(failback=failback))
    held = t.ticks(N - 1, peer=lambda: t.good(S))
    assert (held.rule, vetoes(held)) == ("C2", {"streak"}) and "2 of 3 ticks with nobody active" in held.sentence
    assert t.tick(peer=lambda: t.good(S)).actions == (Action.PROMOTE_CONFIRMED,)


def test_c2_is_not_taken_while_a_voter_shows_the_lease_of_the_other_node() -> None:
    t = Ticks(S1, U)
    decision = t.ticks(9, peer=lambda: t.good(S), votes=lambda: t.votes_of_peer(t.now_s))
    assert decision.diagnosis is D.STEADY and decision.actions == ()


@BOTH
def test_beside_a_server_that_did_not_stop_everything_it_says_what_to_do_and_starts_nothing(me: Designation) -> None:
    t = Ticks(me, U)
    decision = t.ticks(30, peer=lambda: t.good(S, clear=False))
    assert decision.diagnosis is D.PEER_STUCK and (decision.rule, vetoes(decision)) == ("F1", {"fence"})
    assert f"switch {me.other} off and force the takeover" in decision.sentence


@BOTH
def test_with_a_fence_command_it_may_be_used_after_three_times_n_ticks_as_by_a_standby_server(me: Designation) -> None:
    t = Ticks(me, U)
    held = [t.tick(peer=lambda: t.good(S, clear=False), can_fence=True) for _ in range(3 * N - 1)]
    assert {acted(d) for d in held} == {""}
    last = t.tick(peer=lambda: t.good(S, clear=False), can_fence=True)
    assert (acted(last), last.actions) == ("F1", (Action.PROMOTE_CONFIRMED,))


@BOTH
def test_one_that_boots_as_well_is_not_called_stuck_before_it_had_its_time(me: Designation) -> None:
    t = Ticks(me, U)
    assert "switch" not in t.ticks(3 * N - 1, peer=lambda: t.good(U, clear=False)).sentence
    assert f"switch {me.other} off" in t.tick(peer=lambda: t.good(U, clear=False)).sentence


def test_c3_server1_promotes_after_n_silent_ticks_server2_after_n_more() -> None:
    assert [ticks_until(Ticks(me, U), "C3") for me in (S1, S2)] == [N, 2 * N]


def test_c4_a_node_that_starts_without_lan_is_standby() -> None:
    t = Ticks(S1, U)
    assert t.tick(peer=t.silent(), lan=LAN_DOWN).actions == (Action.BECOME_STANDBY,)


def test_c3_is_held_back_while_the_lan_is_unknown() -> None:
    t = Ticks(S1, U)
    decision = t.ticks(9, peer=t.silent, lan=LAN_UNKNOWN)
    assert (decision.rule, vetoes(decision)) == ("C3", {"lan"})
