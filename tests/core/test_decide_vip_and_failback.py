"""F2 and B1: the VIP leads here, or server #1 may have its role back; a combined streak."""

from __future__ import annotations

import pytest

from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.policy import Action
from ftplugin.core.terms import ProbeCause, VipDestination

from .ticks import (
    LAN_DOWN,
    LAN_UNKNOWN,
    NOBODY,
    PAUSE,
    PEER,
    SELF,
    A,
    N,
    S,
    S1,
    S2,
    Ticks,
    acted,
    settings,
    vetoes,
    vip_on,
)

# --- F2 and the combined streak


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


# --- B1


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
