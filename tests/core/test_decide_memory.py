"""Streaks restart after a gap, evidence does not (I-F); a change of timing that awaits both nodes; the sentence."""

from __future__ import annotations

from dataclasses import replace

from ftplugin.core.decision import decide, settle
from ftplugin.core.hysteresis import Memory
from ftplugin.core.timing import Timing

from .ticks import SELF, A, S, S1, S2, Ticks, acted, lan, settings, vip_on

# --- I-F


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


# --- timing of a change that awaits both nodes


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
