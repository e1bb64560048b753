"""X1: two are active; who stays, and that exactly one does."""

from __future__ import annotations

from itertools import product

import pytest

from ftplugin.core.decision import Decision
from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation, SplitStance, VipDestination

from .ticks import BOTH, NOBODY, PEER, SELF, A, S1, S2, Ticks, settings, state, vip_on

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


def survivors(ticks: tuple[tuple[Designation, VipDestination, bool], ...]) -> set[Designation]:
    """Who is still active after these ticks. Each hears the other's last word or, when it comes late, the one before."""
    said: dict[Designation, list[SplitStance]] = {S1: [SplitStance.NONE], S2: [SplitStance.NONE]}
    heard, active = {S1: 0, S2: 0}, {S1, S2}
    for me, where, late in ticks:
        if me in active:
            heard[me] = max(heard[me], len(said[me.other]) - 1 - late)
            t = Ticks(me, A, vip_on())
            decision = t.tick(peer=t.good(A, stance=said[me.other][heard[me]]), vip=t.vip(where), stance=said[me][-1])
            said[me].append(decision.stance)
            active -= {me} if Action.DEMOTE in decision.actions else set()
    return active


def test_x1_wherever_the_vip_leads_from_tick_to_tick_never_both_yield() -> None:
    stories = product(product((S1, S2), (SELF, PEER), (False, True)), repeat=4)
    assert [story for story in stories if not survivors(story)] == []
