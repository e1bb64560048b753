"""decide(), tick after tick: one test for each row of spec 5.1 and for each reading of it. T = t = 1 s, N = 3."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from ftplugin.core.decision import Decision, decide, settle
from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation, ProbeCause, Role, SplitStance, Tri, VipDestination
from ftplugin.core.timing import Timing
from ftplugin.core.view import LanReading, VoteReading

from .cases import DEAD
from .ticks import (
    A,
    LAN_DOWN,
    LAN_UNKNOWN,
    LAN_UP,
    NOBODY,
    PAUSE,
    PEER,
    S,
    S1,
    S2,
    SELF,
    U,
    Ticks,
    acted,
    settings,
    state,
    vetoes,
    vip_on,
)

N = 3
BOTH = pytest.mark.parametrize("me", [S1, S2])

# --- C: a node has just started -------------------------------------------------------------------------------------


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


def test_c3_server1_promotes_after_n_silent_ticks_server2_after_n_more() -> None:
    assert [ticks_until(Ticks(me, U), "C3") for me in (S1, S2)] == [N, 2 * N]


def test_c4_a_node_that_starts_without_lan_is_standby() -> None:
    t = Ticks(S1, U)
    assert t.tick(peer=t.silent(), lan=LAN_DOWN).actions == (Action.BECOME_STANDBY,)


def test_c3_is_held_back_while_the_lan_is_unknown() -> None:
    t = Ticks(S1, U)
    decision = t.ticks(9, peer=t.silent, lan=LAN_UNKNOWN)
    assert (decision.rule, vetoes(decision)) == ("C3", {"lan"})


def ticks_until(t: Ticks, rule: str, **changes: object) -> int:
    """How many silent ticks until ``rule`` acts."""
    changes = {"peer": t.silent, **changes}
    return next(count for count in range(1, 60) if acted(t.tick(**changes)) == rule)


# --- F1 -------------------------------------------------------------------------------------------------------------


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
    moved = t.now_s
    decision = t.tick(peer=t.silent, votes=t.votes_of_peer(moved))
    assert decision.passable_s == moved + t.timing.watch_s
    assert vetoes(decision) == {"hold"}


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
    assert acted(t.tick(peer=lambda: t.good(S), invited=True)) == "F1"


def test_f1_an_invited_node_still_needs_its_lan() -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(peer=t.good(S), invited=True, lan=LAN_DOWN)) == {"lan"}


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


# --- F2 and the combined streak --------------------------------------------------------------------------------------


def test_f2_acts_after_n_ticks_with_the_vip_here_and_only_confirmed() -> None:
    t = Ticks(S2, S, vip_on())
    held = t.ticks(N - 1, peer=lambda: t.good(A), vip=t.vip(SELF))
    assert (held.rule, vetoes(held)) == ("F2", {"streak"})
    assert t.tick(peer=lambda: t.good(A), vip=t.vip(SELF)).actions == (Action.PROMOTE_CONFIRMED,)


@pytest.mark.parametrize(
    ("changes", "veto"),
    [
        ({"own": None}, "unhealthy"),
        ({"lan": LAN_UNKNOWN}, "lan"),
        ({"manual_hold": True}, "manual hold"),
        ({"pause": PAUSE}, "paused"),
        ({"switches": 3}, "frozen"),
    ],
)
def test_f2_conditions(changes: dict[str, object], veto: str) -> None:
    t = Ticks(S2, S, vip_on())
    assert vetoes(t.ticks(N + 2, peer=lambda: t.good(A), vip=t.vip(SELF), **changes)) == {veto}


def test_f2_is_nothing_without_the_vip_test() -> None:
    t = Ticks(S2, S)
    assert t.ticks(9, peer=lambda: t.good(A), vip=t.vip(SELF)).rule == "S0"


@pytest.mark.parametrize("where", [PEER, NOBODY, VipDestination.BOTH, VipDestination.UNKNOWN])
def test_f2_needs_the_vip_here_and_nothing_else_counts(where: VipDestination) -> None:
    t = Ticks(S2, S, vip_on())
    assert acted(t.ticks(9, peer=lambda: t.good(A), vip=t.vip(where))) == ""


@pytest.mark.parametrize(("last_bad", "rule"), [(True, "F1"), (False, "F2")])
def test_a_combined_streak_acts_as_f1_when_the_last_probe_is_bad_else_as_f2(last_bad: bool, rule: str) -> None:
    """Bad, VIP here, bad: three ticks, though neither streak alone is full. A tick that is both counts once."""
    t = Ticks(S2, S, vip_on())
    for bad in (not last_bad, last_bad, not last_bad, last_bad)[-N:]:
        decision = t.tick(
            peer=(lambda: t.probe(ProbeCause.STATUS, None)) if bad else (lambda: t.good(A)),
            vip=t.vip(SELF if not bad else NOBODY),
        )
    assert (t.memory.combined_streak, decision.rule, "streak" in vetoes(decision)) == (N, rule, False)


def test_a_tick_that_is_bad_and_has_the_vip_here_counts_once() -> None:
    t = Ticks(S2, S, vip_on())
    t.tick(peer=t.silent, vip=t.vip(SELF))
    assert t.memory.combined_streak == 1


# --- B1 -------------------------------------------------------------------------------------------------------------


def test_b1_acts_after_n_good_answers_of_the_own_monitor() -> None:
    t = Ticks(S1, S, settings(failback=True))
    assert vetoes(t.ticks(N - 1, peer=lambda: t.good(A))) == {"streak"}
    assert t.tick(peer=lambda: t.good(A)).actions == (Action.PROMOTE_CONFIRMED,)


def test_b1_waits_until_stable_for_has_passed() -> None:
    t = Ticks(S1, S, settings(failback=True, failback_stable_s=10.0))
    t.ticks(5, peer=lambda: t.good(A))
    assert t.last is not None and vetoes(t.last) == {"failback"} and "stable for 4 of 10 s" in t.last.sentence
    assert acted(t.ticks(6, peer=lambda: t.good(A))) == "B1"


def test_b1_one_bad_answer_of_the_own_monitor_restarts_stable_for() -> None:
    t = Ticks(S1, S, settings(failback=True, failback_stable_s=10.0))
    t.ticks(9, peer=lambda: t.good(A))
    t.tick(peer=lambda: t.good(A), own=t.sick)
    assert acted(t.ticks(10, peer=lambda: t.good(A))) == ""
    assert acted(t.tick(peer=lambda: t.good(A))) == "B1"


@pytest.mark.parametrize(
    ("changes", "veto"),
    [
        ({"lan": LAN_DOWN}, "lan"),
        ({"lan": LAN_UNKNOWN}, "lan"),
        ({"in_failback_hours": False}, "failback"),
        ({"manual_hold": True}, "manual hold"),
        ({"pause": PAUSE}, "paused"),
        ({"drained": True}, "drained"),
        ({"switches": 3}, "frozen"),
    ],
)
def test_b1_conditions(changes: dict[str, object], veto: str) -> None:
    t = Ticks(S1, S, settings(failback=True))
    decision = t.ticks(N + 2, peer=lambda: t.good(A), **changes)
    assert decision.actions == () and (veto in vetoes(decision) or decision.diagnosis is D.LAN_DOWN), decision.sentence


def test_b1_a_manual_hold_of_the_peer_holds_it_too() -> None:
    t = Ticks(S1, S, settings(failback=True))
    assert vetoes(t.ticks(N, peer=lambda: t.good(A, manual_hold=True))) == {"manual hold"}


def test_b1_is_for_server1_alone_and_only_when_set() -> None:
    for me, chosen in ((S2, settings(failback=True)), (S1, settings())):
        t = Ticks(me, S, chosen)
        assert t.ticks(9, peer=lambda: t.good(A)).rule == "S0"  # noqa: B023


def test_b1_never_acts_on_a_silent_peer() -> None:
    t = Ticks(S1, S, settings(failback=True))
    t.ticks(9, peer=lambda: t.good(A), lan=LAN_DOWN)
    assert t.tick(peer=t.silent).rule == "F1"


def test_b1_with_the_vip_test_needs_the_vip_here() -> None:
    t = Ticks(S1, S, vip_on(failback=True))
    assert vetoes(t.ticks(9, peer=lambda: t.good(A), vip=t.vip(NOBODY))) == {"failback"}
    assert t.tick(peer=lambda: t.good(A), vip=t.vip(SELF)).rule == "F2"


# --- X1 -------------------------------------------------------------------------------------------------------------

VIPS, STANCES = (SELF, PEER, NOBODY, VipDestination.BOTH, VipDestination.UNKNOWN), tuple(SplitStance)


def split(me: Designation, where: VipDestination, stance: SplitStance, *, vip_test: bool = True) -> Decision:
    t = Ticks(me, A, vip_on() if vip_test else settings(vip_address="10.0.0.100"))
    return t.tick(peer=t.good(A, stance=stance), vip=t.vip(where))


@pytest.mark.parametrize(
    ("me", "stance"), [(me, stance) for me in (S1, S2) for stance in STANCES if (me, stance) != (S2, SplitStance.STAY)]
)
def test_x1_who_has_the_vip_stays(me: Designation, stance: SplitStance) -> None:
    assert split(me, SELF, stance).stance is SplitStance.STAY


@BOTH
@pytest.mark.parametrize("stance", [SplitStance.NONE, SplitStance.STAY])
def test_x1_who_sees_the_vip_at_the_peer_loses(me: Designation, stance: SplitStance) -> None:
    decision = split(me, PEER, stance)
    assert decision.stance is SplitStance.YIELD
    assert decision.actions == ((Action.DEMOTE,) if stance is SplitStance.STAY else ())


@pytest.mark.parametrize("where", [NOBODY, VipDestination.BOTH, VipDestination.UNKNOWN])
@pytest.mark.parametrize("stance", [SplitStance.NONE, SplitStance.STAY])
def test_x1_when_the_vip_tells_nothing_server2_loses(where: VipDestination, stance: SplitStance) -> None:
    assert split(S1, where, stance).stance is SplitStance.STAY
    decision = split(S2, where, stance)
    assert decision.stance is SplitStance.YIELD
    assert decision.actions == ((Action.DEMOTE,) if stance is SplitStance.STAY else ())


def test_x1_when_both_would_lose_server2_does() -> None:
    assert split(S1, PEER, SplitStance.YIELD).stance is SplitStance.STAY
    assert split(S2, PEER, SplitStance.YIELD).actions == (Action.DEMOTE,)


def test_x1_when_both_would_stay_server2_gives_way() -> None:
    """Server #2 has the VIP, server #1 cannot tell: without a tie-break both would stay active for ever."""
    assert split(S1, SELF, SplitStance.STAY).stance is SplitStance.STAY
    assert split(S1, VipDestination.UNKNOWN, SplitStance.STAY).stance is SplitStance.STAY
    assert split(S2, SELF, SplitStance.STAY).actions == (Action.DEMOTE,)


@pytest.mark.parametrize("where", VIPS)
def test_x1_with_the_vip_test_off_the_vip_decides_nothing(where: VipDestination) -> None:
    assert split(S1, where, SplitStance.NONE, vip_test=False).stance is SplitStance.STAY
    assert split(S2, where, SplitStance.NONE, vip_test=False).stance is SplitStance.YIELD


@BOTH
def test_x1_nobody_demotes_before_the_other_says_that_it_stays(me: Designation) -> None:
    for where in VIPS:
        assert Action.DEMOTE not in split(me, where, SplitStance.NONE).actions


def run_split(first: VipDestination, second: VipDestination, order: tuple[Designation, ...]) -> set[Designation]:
    """Who is still active when both have ticked in turn for ten rounds, each hearing the other's last stance."""
    views = {S1: first, S2: second}
    stances, active = {S1: SplitStance.NONE, S2: SplitStance.NONE}, {S1, S2}
    for me in order * 10:
        if me not in active or me.other not in active:
            continue
        decision = split(me, views[me], stances[me.other])
        stances[me] = decision.stance
        if Action.DEMOTE in decision.actions:
            active.discard(me)
    return active


@pytest.mark.parametrize(
    ("first", "second", "order"), list(product(VIPS, VIPS, [(S1, S2), (S2, S1), (S1, S1, S2), (S2, S2, S1)]))
)
def test_x1_every_split_ends_with_exactly_one_active(
    first: VipDestination, second: VipDestination, order: tuple[Designation, ...]
) -> None:
    assert len(run_split(first, second, order)) == 1


def test_x1_the_survivor_takes_a_new_epoch_once() -> None:
    t = Ticks(S1, A)
    assert t.tick(peer=t.good(A, epoch=7), epoch=6).actions == (Action.REASSERT,)
    assert t.tick(peer=lambda: t.good(A, epoch=7), epoch=8).actions == ()


def test_x1_a_peer_whose_lease_is_over_is_no_split() -> None:
    t = Ticks(S2, A)
    assert t.tick(peer=t.good(A, lease_left_s=0.0)).diagnosis is D.STEADY


def test_x1_a_peer_heard_through_the_vip_counts() -> None:
    t = Ticks(S2, A, vip_on())
    assert t.tick(peer=t.silent(), vip=t.vip(PEER, state(S1, A, stance=SplitStance.STAY))).actions == (Action.DEMOTE,)


# --- I1, P1, L1 -----------------------------------------------------------------------------------------------------


def lan(seen_s: float) -> LanReading:
    return replace(LAN_DOWN, seen_s=seen_s)


@BOTH
def test_i1_demotes_when_the_lan_was_not_seen_for_the_lease(me: Designation) -> None:
    t = Ticks(me, A)
    early = t.view(peer=t.silent(), lan=lan(t.now_s - t.timing.lease_s + 0.01))
    late = t.view(peer=t.silent(), lan=lan(t.now_s - t.timing.lease_s))
    assert decide(early, t.settings, Memory()).actions == ()
    assert decide(late, t.settings, Memory()).actions == (Action.DEMOTE, Action.INVITE_PEER)


def test_i1_a_peer_that_signs_standby_and_heard_you_keeps_the_node_active() -> None:
    t = Ticks(S1, A)
    start = t.now_s
    assert acted(t.ticks(9, peer=lambda: t.good(S, heard_asker_age_s=1.0), lan=lambda: lan(start))) == ""


@pytest.mark.parametrize("said", [{"heard_asker_age_s": 1.01}, {"heard_asker_age_s": None}, {"role": U}], ids=str)
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
    assert Ticks(S1, A).tick(superseded_by_epoch=3).actions == (Action.DEMOTE,)
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


# --- M1 -------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("role", [S, U])
def test_m1_switches_over_when_the_expected_node_is_active(me: Designation, role: Role) -> None:
    t = Ticks(me, role)
    assert t.tick(order=t.order(expected=me.other), peer=t.good(A)).actions == (Action.PROMOTE_CONFIRMED,)


def test_m1_with_nobody_active_and_nobody_expected() -> None:
    t = Ticks(S2, S)
    assert acted(t.tick(order=t.order(expected=None), peer=t.good(S))) == "M1"


@pytest.mark.parametrize(("expected", "role"), [(S2, A), (None, A), (S1, S)])
def test_m1_is_refused_when_the_expected_active_node_has_changed(expected: Designation | None, role: Role) -> None:
    t = Ticks(S2, S)
    decision = t.tick(order=t.order(expected=expected), peer=t.good(role))
    assert vetoes(decision) == {"expected active"} and "expected" in decision.sentence


def test_m1_for_the_other_node_is_refused_here() -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(order=t.order(target=S1, expected=S1), peer=t.good(A))) == {"expected active"}


@pytest.mark.parametrize(("changes", "veto"), [({"own": None}, "unhealthy"), ({"drained": True}, "drained")])
def test_m1_needs_a_healthy_target_that_is_not_drained(changes: dict[str, object], veto: str) -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(order=t.order(expected=S1), peer=t.good(A), **changes)) == {veto}


@pytest.mark.parametrize(
    "changes",
    [{"pause": PAUSE}, {"manual_hold": True}, {"switches": 99}, {"retry_after_s": 2000.0}, {"lan": LAN_UNKNOWN}],
    ids=str,
)
def test_m1_an_administrator_s_order_passes_what_holds_automatic_switches(changes: dict[str, object]) -> None:
    t = Ticks(S2, S, settings(enabled=False))
    assert acted(t.tick(order=t.order(expected=S1), peer=t.good(A), **changes)) == "M1"


# --- W1, a running switch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [A, S])
def test_w1_a_dead_service_is_restarted_in_its_role(role: Role) -> None:
    t = Ticks(S2, role)
    decision = t.tick(peer=t.good(S if role is A else A), services=DEAD)
    assert (acted(decision), decision.actions) == ("W1", (Action.RESTART_SERVICES,))


@pytest.mark.parametrize("role", [A, S, U])
def test_nothing_new_is_started_while_a_switch_runs(role: Role) -> None:
    t = Ticks(S1, role)
    decision = t.tick(switching=True, peer=t.good(S if role is A else U))
    assert (decision.rule, decision.actions) == ("SW", ())


# --- off, pause, freeze -----------------------------------------------------------------------------------------------


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


# --- I-F ------------------------------------------------------------------------------------------------------------


def test_a_gap_of_more_than_2_t_restarts_every_streak() -> None:
    t = Ticks(S2, S, vip_on())
    t.ticks(2, peer=t.silent, vip=t.vip(SELF))
    t.tick(after_s=2.01, peer=t.silent, vip=t.vip(SELF))
    m = t.memory
    assert (m.bad_streak, m.vip_self_streak, m.combined_streak, m.own_ok_streak) == (1, 1, 1, 1)
    assert m.bad_since_s == t.now_s == m.own_ok_since_s


def test_a_gap_of_2_t_or_less_does_not() -> None:
    t = Ticks(S2, S)
    t.ticks(2, peer=t.silent)
    t.tick(after_s=2.0, peer=t.silent)
    assert t.memory.bad_streak == 3


def test_a_step_of_any_clock_restarts_the_streaks() -> None:
    t = Ticks(S2, S)
    t.ticks(2, peer=t.silent)
    assert acted(t.tick(peer=t.silent, clock_stepped=True)) == ""
    assert t.memory.bad_streak == 1


def test_evidence_outlives_a_gap_and_a_change_of_role() -> None:
    """When the peer last said that it owns something, and when it last vouched, only ages (I-F)."""
    t = Ticks(S2, S)
    t.tick(peer=t.good(A))
    t.memory = replace(t.memory, vouched_s=123.0)
    word = t.memory.owner_word_s
    t.tick(after_s=100.0, peer=t.silent)
    assert (t.memory.owner_word_s, t.memory.vouched_s) == (word, 123.0)
    assert (settle(t.memory).owner_word_s, settle(t.memory).bad_streak) == (word, 0)


def test_the_lan_s_age_does_not_restart_with_a_gap() -> None:
    t = Ticks(S1, A)
    t.tick(peer=t.silent)
    assert acted(t.tick(after_s=100.0, peer=t.silent, lan=lan(1000.0), clock_stepped=True)) == "I1"


def test_a_peer_s_clear_word_ends_the_fear_of_it() -> None:
    t = Ticks(S2, S)
    t.tick(peer=t.good(A))
    t.tick(peer=lambda: t.good(S))
    assert t.memory.owner_word_s is None


def test_memory_survives_being_stored_and_garbage_starts_afresh() -> None:
    t = Ticks(S2, S, vip_on())
    t.ticks(2, peer=t.silent, vip=t.vip(SELF))
    assert Memory.from_json(t.memory.to_json()) == t.memory
    assert Memory.from_json({"bad_streak": "many", "no_such": 1}) == Memory()
    assert Memory.from_json(None) == Memory()


# --- timing of a change that awaits both nodes ------------------------------------------------------------------------


def test_while_a_change_awaits_the_peer_the_standby_waits_longer_and_the_active_stops_sooner() -> None:
    old, new = settings(interval_s=1.0), settings(interval_s=2.0)
    stop_by, wait_by = Timing.between(new, old)
    t = Ticks(S2, S, new)
    standby = decide(t.view(peer=t.silent()), new, Memory(), stop_by, wait_by)
    assert standby.not_before_s == t.now_s + Timing.of(new).hold_s
    t = Ticks(S1, A, new)
    view = t.view(peer=t.silent(), lan=lan(t.now_s - Timing.of(old).lease_s))
    assert acted(decide(view, new, Memory(), stop_by, wait_by)) == "I1"


def test_every_tick_says_one_sentence_with_the_rule_and_what_it_waits_for() -> None:
    t = Ticks(S2, S)
    decision = t.tick(peer=t.silent())
    assert decision.sentence.startswith("F1 held back: the peer does not answer well (timeout); 1 of 3 bad probes")
    document = decision.to_json()
    assert document["rule"] == "F1" and document["streaks"]["bad"] == 1 and document["refused"]
