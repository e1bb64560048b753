"""I1, P1, L1: when an active node gives up its role."""

from __future__ import annotations

import pytest

from ftplugin.core.decision import decide
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation

from .ticks import BOTH, LAN_UNKNOWN, A, S, S1, Ticks, U, acted, lan, settings


@BOTH
def test_i1_demotes_when_the_lan_was_not_seen_for_the_lease(me: Designation) -> None:
    t = Ticks(me, A)
    early = t.view(peer=t.silent(), lan=lan(t.now_s - t.timing.lease_s + 0.01))
    late = t.view(peer=t.silent(), lan=lan(t.now_s - t.timing.lease_s))
    assert decide(early, t.settings, Memory()).actions == ()
    assert decide(late, t.settings, Memory()).actions == (Action.DEMOTE, Action.INVITE_PEER)


@pytest.mark.parametrize(
    "age_s", [0.0, 1.0, 1.01], ids=["just now", "T ago", "a moment more than T, in the same phase"]
)
def test_i1_a_peer_that_signs_standby_and_heard_you_keeps_the_node_active(age_s: float) -> None:
    t = Ticks(S1, A)
    start = t.now_s
    assert acted(t.ticks(9, peer=lambda: t.good(S, heard_asker_age_s=age_s), lan=lambda: lan(start))) == ""


@pytest.mark.parametrize("said", [{"heard_asker_age_s": 3.0}, {"heard_asker_age_s": None}, {"role": U}], ids=str)
def test_i1_an_answer_that_does_not_vouch_does_not_help(said: dict[str, object]) -> None:
    """It does not hear this node any more, or is not standby: it will take over."""
    t = Ticks(S1, A)
    start = t.now_s
    heard = {"role": S, **said}
    assert acted(t.ticks(3, peer=lambda: t.good(**heard), lan=lambda: lan(start))) == "I1"  # type: ignore[arg-type]


def test_i1_does_not_fire_when_it_could_not_be_told_whether_there_is_a_lan() -> None:
    t = Ticks(S1, A)
    assert acted(t.ticks(9, peer=t.silent, lan=LAN_UNKNOWN)) == ""


def test_p1_demotes_when_the_peer_is_heard_and_the_own_portal_is_not() -> None:
    t = Ticks(S1, A)
    start = t.now_s
    assert acted(t.ticks(2, portal_seen_s=start)) == ""
    decision = t.tick(portal_seen_s=start)
    assert (acted(decision), decision.actions) == ("P1", (Action.DEMOTE, Action.INVITE_PEER))


def test_p1_without_a_peer_that_could_take_over_the_node_stays() -> None:
    t = Ticks(S1, A)
    start = t.now_s
    assert acted(t.ticks(20, peer=t.silent, portal_seen_s=start)) == ""


def test_p1_a_peer_heard_more_than_2_t_ago_is_not_heard() -> None:
    t = Ticks(S1, A)
    t.tick(peer=lambda: t.good(S))
    heard = t.memory.peer_heard_s
    assert heard is not None
    t.now_s = heard + t.timing.stale_s + 0.01
    assert acted(t.tick(after_s=0.0, peer=t.silent, portal_seen_s=heard - 9)) == ""


@pytest.mark.parametrize(
    ("own", "peer", "rule"), [(False, False, ""), (True, False, "I1"), (False, True, "I1"), (True, True, "I1")]
)
def test_off_on_both_nodes_a_lost_lan_changes_no_role(own: bool, peer: bool, rule: str) -> None:
    t = Ticks(S1, A, settings(enabled=own))
    t.tick(peer=lambda: t.good(S, enabled=peer, heard_asker_age_s=None))
    start = t.now_s
    assert acted(t.ticks(3, peer=t.silent, lan=lambda: lan(start - 1))) == rule


@pytest.mark.parametrize(("own", "peer", "rule"), [(False, False, ""), (True, False, "P1"), (False, True, "P1")])
def test_off_on_both_nodes_a_dead_portal_changes_no_role(own: bool, peer: bool, rule: str) -> None:
    t = Ticks(S1, A, settings(enabled=own))
    start = t.now_s
    assert acted(t.ticks(3, peer=lambda: t.good(S, enabled=peer), portal_seen_s=start)) == rule


def test_l1_a_lease_that_has_run_out_demotes() -> None:
    t = Ticks(S1, A)
    assert t.tick(lease_deadline_s=t.now_s).actions == (Action.DEMOTE,)
    assert Ticks(S1, A).tick(lease_deadline_s=None).actions == (Action.DEMOTE,)


def test_l1_a_higher_epoch_demotes_the_own_one_does_not() -> None:
    found = Ticks(S1, A).tick(superseded_by_epoch=3)
    assert found.actions == (Action.DEMOTE, Action.INVITE_PEER) and "lease" not in found.sentence
    assert Ticks(S1, A).tick(superseded_by_epoch=2).actions == ()


def test_l1_a_start_without_progress_is_given_up_a_slow_one_is_not() -> None:
    """A 180 s service start is no death while its progress moves."""
    t = Ticks(S1, A)
    assert t.tick(progress_age_s=9.9, switching=True).rule == "SW"
    assert t.tick(progress_age_s=10.1, switching=True).actions == (Action.DEMOTE, Action.INVITE_PEER)


def test_l1_a_long_interval_gives_a_start_2_t() -> None:
    t = Ticks(S1, A, settings(interval_s=30.0, timeout_s=10.0, threshold=5))
    assert t.tick(progress_age_s=59.0).rule == "S0"
    assert acted(t.tick(progress_age_s=61.0)) == "L1"
