"""What decided ticks tell: the real decision core on views made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftplugin.alerts.causes import Cause
from ftplugin.alerts.facts import Look, TickFacts, speaks
from ftplugin.core.futures import Now
from ftplugin.core.hysteresis import Memory
from ftplugin.core.terms import VipDestination
from ftplugin.core.view import VoteReading

from .cases import ripe
from .ticks import S1, S2, A, N, S, Ticks, settings


def last(t: Ticks, **changes: Any) -> Now:
    """One tick, T after the last one."""
    changes = {name: value() if callable(value) else value for name, value in changes.items()}
    decision = t.tick(**changes)
    view = t.view(**changes)
    return Now(view=view, decision=decision, settings=t.settings, stop_by=t.timing, wait_by=t.timing)


def causes(look: Look) -> list[Cause]:
    return [fact.cause for fact in look.holds]


def test_peer_is_lost_after_n_bad_probes_and_found_by_one_good_one() -> None:
    t, facts = Ticks(S2, S), TickFacts()
    seen = [causes(facts.look(last(t, peer=t.silent))) for _ in range(N + 2)]
    assert seen == [[]] * (N - 1) + [[Cause.PEER_LOST]] * 3
    fact = facts.look(last(t, peer=t.silent)).holds[0]
    assert fact.title == "server1 does not answer" and "timeout" in fact.text and "This server is standby." in fact.text
    assert Cause.PEER_LOST in facts.look(last(t, peer=t.good)).known


def test_a_promotion_clears_the_streak_but_the_lost_peer_stays_lost() -> None:
    t, facts = Ticks(S2, S, memory=ripe(Ticks(S2, S))), TickFacts()
    assert causes(facts.look(last(t, peer=t.silent))) == [Cause.PEER_LOST]
    active = Ticks(S2, A)
    look = facts.look(last(active, peer=active.silent()))
    assert causes(look) == [] and Cause.PEER_LOST not in look.known, "nothing says that it is back"


def test_with_the_mode_off_a_silent_peer_is_no_alert() -> None:
    t, facts = Ticks(S2, S, settings(enabled=False)), TickFacts()
    look = [facts.look(last(t, peer=t.silent)) for _ in range(2 * N)][-1]
    assert causes(look) == [] and Cause.PEER_LOST not in look.known


def test_two_active_servers_are_a_split_once_both_were_asked_while_active() -> None:
    t, facts = Ticks(S1, A), TickFacts()
    t.now_s += 10
    before = replace(t.good(A), started_s=t.now_s - 5)
    assert causes(facts.look(last(t, peer=before))) == [], "what it said before this server was active proves nothing"
    look = facts.look(last(t, peer=lambda: replace(t.good(A), started_s=t.now_s)))
    assert causes(look) == [Cause.SPLIT_BRAIN] and look.holds[0].rule == "X1"
    calm = facts.look(last(t, peer=lambda: t.good(S)))
    assert causes(calm) == [] and Cause.SPLIT_BRAIN in calm.known
    silent = facts.look(last(t, peer=lambda: t.silent()))
    assert Cause.SPLIT_BRAIN not in silent.known, "who cannot be heard may still be active"


def test_both_at_the_vip_is_a_split() -> None:
    t, facts = Ticks(S1, A), TickFacts()
    look = facts.look(last(t, vip=t.vip(VipDestination.BOTH)))
    assert [fact.title for fact in look.holds] == ["Both servers answer at the VIP"]


@pytest.mark.parametrize(("skew_s", "words"), [(31.0, "31 s ahead of"), (-3600.0, "3600 s behind"), (29.0, "")])
def test_clocks_that_differ_by_more_than_30_s_are_told_with_the_side(skew_s: float, words: str) -> None:
    t, facts = Ticks(S1, A), TickFacts()
    look = facts.look(last(t, peer=lambda: replace(t.good(S), skew_s=skew_s)))
    assert [fact.cause for fact in look.holds] == ([Cause.CLOCK_SKEW] if words else [])
    assert all(words in fact.text for fact in look.holds) and Cause.CLOCK_SKEW in look.known
    assert Cause.CLOCK_SKEW not in facts.look(last(t, peer=t.silent)).known


def test_each_service_that_was_given_up_is_an_incident_of_its_own() -> None:
    t, facts = Ticks(S1, A), TickFacts()
    look = facts.look(last(t, given_up=("cti", "scheduler")))
    assert [fact.key for fact in look.holds] == ["given_up:cti", "given_up:scheduler"]
    assert Cause.GIVEN_UP in facts.look(last(t)).known


def test_a_freeze_is_told_and_its_end_known() -> None:
    t, facts = Ticks(S2, S, settings(flap_budget=2), memory=Memory(frozen=True)), TickFacts()
    look = facts.look(last(t, switches=2, peer=t.good))
    assert causes(look) == [Cause.FREEZE] and "2 automatic switches" in look.holds[0].text
    assert Cause.FREEZE in facts.look(last(t, switches=2, freeze_acknowledged=True, peer=t.good)).known


def test_of_what_both_see_exactly_one_speaks() -> None:
    def pair(role1: Any, role2: Any) -> tuple[bool, bool]:
        one, two = Ticks(S1, role1), Ticks(S2, role2)
        return speaks(last(one, peer=one.good(role2))), speaks(last(two, peer=two.good(role1)))

    assert pair(A, S) == (True, False)
    assert pair(S, A) == (False, True)
    assert pair(S, S) == (True, False)
    assert pair(A, A) == (True, False)
    alone = Ticks(S2, S)
    assert speaks(last(alone, peer=alone.silent())) is True, "nobody else is there to tell it"
    assert speaks(None) is False


def test_a_witness_that_is_silent_for_n_ticks_is_told_and_one_answer_ends_it() -> None:
    """Without it the loss of either server stops the services, and nothing else says so."""
    t, facts = Ticks(S1, A, settings(witness="10.0.0.9:6379")), TickFacts()
    mute, well = (VoteReading(voter="witness", mark=mark) for mark in (None, "m"))
    seen = [causes(facts.look(last(t, votes=(mute,)))) for _ in range(N + 1)]
    assert seen == [[]] * (N - 1) + [[Cause.WITNESS_LOST]] * 2
    look = facts.look(last(t, votes=(mute,)))
    assert Cause.WITNESS_LOST not in look.known and "the loss of either server stops" in look.holds[0].text
    assert look.holds[0].title == "The witness 10.0.0.9:6379 does not answer"
    over = facts.look(last(t, votes=(well,)))
    assert causes(over) == [] and Cause.WITNESS_LOST in over.known
    assert causes(facts.look(last(t, votes=(mute,)))) == [], "counted anew"
    assert Cause.WITNESS_LOST in TickFacts().look(last(Ticks(S1, A))).known, "a witness that was taken out is over, too"
