"""F1: the peer is dead, or nobody is active: what counts, what waits, what holds it back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation, ProbeCause, Tri
from ftplugin.core.view import LanReading, VoteReading

from .ticks import (
    BOTH,
    LAN_DOWN,
    LAN_UNKNOWN,
    LAN_UP,
    NOBODY,
    PEER,
    A,
    N,
    S,
    S1,
    S2,
    Ticks,
    acted,
    settings,
    state,
    ticks_until,
    vetoes,
    vip_on,
)


@BOTH
def test_f1_acts_on_the_nth_bad_probe_and_not_before(me: Designation) -> None:
    t = Ticks(me, S)
    t.tick(peer=t.good(A))
    held = t.ticks(N - 1, peer=t.silent)
    assert held.rule == "F1" and "streak" in vetoes(held)
    assert "2 of 3 bad probes" in held.sentence
    assert t.tick(peer=t.silent).actions == (Action.PROMOTE,)


@pytest.mark.parametrize("cause", [c for c in ProbeCause if c is not ProbeCause.OK])
def test_f1_counts_a_bad_probe_of_any_cause_and_names_it(cause: ProbeCause) -> None:
    t = Ticks(S2, S)
    decision = t.tick(peer=t.probe(cause))
    assert t.memory.bad_streak == 1 and f"({cause})" in decision.sentence


def test_f1_one_good_probe_restarts_the_streak() -> None:
    t = Ticks(S2, S)
    t.ticks(N - 1, peer=t.silent)
    t.tick(peer=lambda: t.good(A))
    assert acted(t.ticks(N - 1, peer=t.silent)) == ""
    assert acted(t.tick(peer=t.silent)) == "F1"


def test_f1_hold_counts_from_the_end_of_the_first_bad_probe() -> None:
    """The first one took its whole limit: counted from its start the other node would still be inside its lease."""
    t = Ticks(S2, S)
    t.tick(peer=t.good(A))
    t.now_s += 1.0
    began = t.now_s
    first = t.tick(after_s=1.0, peer=lambda: t.silent(took_s=1.0))
    assert first.memory.bad_since_s == began + 1.0
    third = t.ticks(2, peer=lambda: t.silent(took_s=0.01))
    assert third.not_before_s == began + 1.0 + t.timing.hold_s


def test_f1_waits_when_n_probes_failed_faster_than_the_hold() -> None:
    """Ticks bunched together (a late tick follows quickly) fill the streak early; the hold still stands."""
    t = Ticks(S2, S, settings(threshold=5, timeout_s=0.5))
    t.tick(peer=t.silent)
    for _ in range(4):
        decision = t.tick(after_s=0.1, peer=t.silent)
    assert t.memory.bad_streak == 5 and vetoes(decision) == {"hold"}


def test_f1_waits_for_a_silent_peer_that_was_heard_owning_a_moment_ago() -> None:
    t = Ticks(S2, S)
    t.tick(peer=t.good(A))
    decision = t.tick(peer=t.silent)
    assert decision.memory.owner_word_s == 1000.0
    assert decision.passable_s >= t.now_s + t.timing.hold_s - 1e-9


def test_f1_an_unanswered_fence_waits_for_a_vote_that_moved_lately() -> None:
    t = Ticks(S2, S)
    t.ticks(N - 1, peer=t.silent)
    moved = t.now_s - 0.05  # more than two renewals before the next probe: nothing of the peer reaches here any more
    decision = t.tick(peer=lambda: t.silent(took_s=0.0), votes=t.votes_of_peer(moved))
    assert decision.passable_s == moved + t.timing.watch_s
    assert vetoes(decision) == {"hold"}


def test_f1_a_silent_monitor_of_an_agent_that_still_renews_here_is_fenced_at_once() -> None:
    """It can confirm; should it not answer, the fence still passes no sooner than a watch after its last renewal."""
    t = Ticks(S2, S)
    t.ticks(N - 1, peer=t.silent)
    decision = t.tick(peer=t.silent, votes=lambda: t.votes_of_peer(t.now_s - t.timing.renew_s))
    assert acted(decision) == "F1"
    assert decision.passable_s == t.now_s - t.timing.renew_s + t.timing.watch_s


def test_f1_an_unanswered_fence_waits_for_a_voter_that_was_wiped_lately() -> None:
    """Its silence proves nothing yet: the peer may renew there again."""
    t = Ticks(S2, S)
    t.ticks(N - 1, peer=t.silent)
    wiped = (VoteReading(voter="server2", mark="missing", still_since_s=t.now_s),)
    assert t.tick(peer=t.silent, votes=wiped).passable_s == t.now_s - 1 + t.timing.watch_s


def test_f1_an_unanswered_fence_waits_after_the_own_lan_came_back() -> None:
    """Bad probes and still votes of the time of the outage say nothing about the peer."""
    t = Ticks(S2, S)
    t.ticks(N, peer=t.silent, lan=LAN_DOWN)
    back = t.now_s
    decision = t.tick(peer=t.silent, lan=replace(LAN_UP, seen_s=back, steady_since_s=back, asked=True))
    assert decision.passable_s == back + t.timing.watch_s and vetoes(decision) == {"hold"}


def test_f1_is_not_held_by_the_vote_of_a_peer_that_answers() -> None:
    """It answers (its agent is stale): the fence will be confirmed, so nothing has to be waited for."""
    t = Ticks(S2, S)
    stale = state(S1, A, agent_age_s=9.0)
    decision = t.ticks(N, peer=lambda: t.probe(ProbeCause.AGENT_STALE, stale), votes=lambda: t.votes_of_peer(t.now_s))
    assert acted(decision) == "F1"


@pytest.mark.parametrize(
    "lan",
    [
        LAN_DOWN,
        LAN_UNKNOWN,
        LanReading(carrier=Tri.NO, reference=Tri.YES),
        LanReading(carrier=Tri.UNKNOWN, reference=Tri.YES),
    ],
)
def test_f1_is_held_back_unless_the_lan_is_known_to_be_up(lan: LanReading) -> None:
    t = Ticks(S2, S)
    decision = t.ticks(N + 5, peer=t.silent, lan=lan)
    assert (decision.rule, vetoes(decision)) == ("F1", {"lan"})


def test_f1_server1_acts_after_n_ticks_with_nobody_active_server2_after_2n() -> None:
    found = []
    for me in (S1, S2):
        t = Ticks(me, S)
        found.append(ticks_until(t, "F1", peer=lambda: t.good(S)))  # noqa: B023
        assert t.last is not None and t.last.actions == (Action.PROMOTE_CONFIRMED,)
    assert found == [N, 2 * N]


@pytest.mark.parametrize("said", [{"clear": False}, {"role": A, "lease_left_s": 0.0, "clear": False}], ids=str)
def test_f1_a_peer_that_may_still_own_something_is_not_nobody_active(said: dict[str, object]) -> None:
    t = Ticks(S2, S)
    decision = t.ticks(20, peer=lambda: t.good(**{"role": S, **said}))  # type: ignore[arg-type]
    assert t.memory.nobody_streak == 0 and decision.actions == ()


def test_f1_a_moving_vote_is_not_nobody_active_a_still_one_is() -> None:
    t = Ticks(S1, S)
    t.ticks(9, peer=lambda: t.good(S), votes=lambda: t.votes_of_peer(t.now_s))
    assert t.memory.nobody_streak == 0
    decision = t.ticks(N, peer=lambda: t.good(S), votes=lambda: t.votes_of_peer(t.now_s - t.timing.lease_s))
    assert acted(decision) == "F1"


def test_f1_a_vote_that_could_not_be_read_as_still_counts_as_moving() -> None:
    t = Ticks(S1, S)
    t.ticks(9, peer=lambda: t.good(S), votes=lambda: t.votes_of_peer(None))
    assert t.memory.nobody_streak == 0


def test_f1_an_invited_node_promotes_at_once() -> None:
    """The peer signed "I have stopped, you may promote" (I1, P1)."""
    t = Ticks(S2, S)
    t.tick(peer=t.good(A))
    assert acted(t.tick(peer=lambda: t.good(S), invited_epoch=4)) == "F1"


def test_f1_an_invited_node_still_needs_its_lan() -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(peer=t.good(S), invited_epoch=4, lan=LAN_DOWN)) == {"lan"}


def test_f1_vip_unreachable_neither_counts_nor_vetoes() -> None:
    t = Ticks(S2, S, vip_on())
    t.ticks(9, peer=lambda: t.good(A), vip=t.vip(NOBODY))
    assert (t.memory.vip_self_streak, t.memory.combined_streak) == (0, 0)
    assert ticks_until(t, "F1", vip=t.vip(NOBODY)) == N


def test_f1_a_signed_answer_at_the_vip_is_a_good_probe_and_raises_the_alarm() -> None:
    t = Ticks(S2, S, vip_on())
    decision = t.ticks(9, peer=t.silent, vip=lambda: t.vip(PEER, state(S1, A)))
    assert t.memory.bad_streak == 0 and decision.diagnosis is D.PEER_ACTIVE
    assert any("direct path cut" in alarm for alarm in decision.alarms)


@pytest.mark.parametrize("said", [{"agent_age_s": 2.1}, {"agent_age_s": None}, {"lease_left_s": 0.0}], ids=str)
def test_f1_an_answer_at_the_vip_without_fresh_agent_or_lease_is_no_good_probe(said: dict[str, object]) -> None:
    t = Ticks(S2, S, vip_on())
    t.ticks(2, peer=t.silent, vip=lambda: t.vip(PEER, state(S1, A, **said)))
    assert t.memory.bad_streak == 2


def test_f1_the_vip_does_not_excuse_a_peer_that_answered_directly_and_badly() -> None:
    t = Ticks(S2, S, vip_on())
    t.ticks(
        2,
        peer=lambda: t.probe(ProbeCause.AGENT_STALE, state(S1, A, agent_age_s=9.0)),
        vip=lambda: t.vip(PEER, state(S1, A)),
    )
    assert t.memory.bad_streak == 2


def test_f1_a_third_party_that_both_miss_causes_no_switch() -> None:
    t = Ticks(S2, S, settings(application_error=True))
    peer = lambda: t.probe(ProbeCause.BODY, state(S1, A))  # noqa: E731
    decision = t.ticks(20, peer=peer, own=t.sick)
    assert "both sick" in vetoes(decision)
    assert vetoes(t.ticks(N - 1, peer=peer, own=t.well)) == {"streak"}, "what both missed does not count"
    assert acted(t.ticks(2, peer=peer, own=t.well)) == "F1"


def test_f1_a_sick_node_still_takes_over_from_a_dead_one() -> None:
    t = Ticks(S2, S)
    assert acted(t.ticks(N, peer=t.silent, own=t.sick)) == "F1"


def test_f1_a_failed_attempt_is_not_repeated_before_its_pause() -> None:
    t = Ticks(S2, S)
    t.ticks(N, peer=t.silent)
    assert vetoes(t.tick(peer=t.silent, retry_after_s=t.now_s + 5)) == {"retry"}
    assert acted(t.tick(peer=t.silent, retry_after_s=t.now_s)) == "F1"
