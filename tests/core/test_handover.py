"""H1: a service that was given up on the active node moves the role once for its fault, to a node that is able."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation, ProbeCause, ServiceState
from ftplugin.core.view import Probe, ServiceReading

from .cases import gave_up
from .ticks import BOTH, LAN_DOWN, PAUSE, A, S, S1, S2, Ticks, acted, settings, vetoes

DEAD = (ServiceReading(name="cti", state=ServiceState.DEAD),)
HANGS = (ServiceReading(name="cti", state=ServiceState.UNKNOWN),)


@BOTH
def test_a_healthy_standby_node_takes_over_what_the_active_one_has_given_up(me: Designation) -> None:
    t = Ticks(me, S)
    decision = t.tick(peer=lambda: gave_up(t))
    assert acted(decision) == "H1" and decision.actions == (Action.PROMOTE_CONFIRMED,)
    assert decision.sentence == "H1: the active server has given up a service"


@pytest.mark.parametrize(
    ("changes", "veto"),
    [
        ({"pause": PAUSE}, "paused"),
        ({"drained": True}, "drained"),
        ({"switches": 3}, "frozen"),
        ({"own": None}, "unhealthy"),
        ({"given_up": ("scheduler",)}, "given up"),
        ({"retry_after_s": 2000.0}, "retry"),
    ],
    ids=lambda value: str(value),
)
def test_what_holds_it_back(changes: dict[str, Any], veto: str) -> None:
    t = Ticks(S2, S)
    decision = t.tick(peer=lambda: gave_up(t), **changes)
    assert decision.rule == "H1" and veto in vetoes(decision) and decision.actions == ()


def test_a_manual_hold_that_somebody_forgot_keeps_no_dead_service() -> None:
    t = Ticks(S2, S)
    assert acted(t.tick(peer=lambda: gave_up(t), manual_hold=True)) == "H1"


def test_mode_off_holds_it_back() -> None:
    t = Ticks(S2, S, settings(enabled=False))
    assert vetoes(t.tick(peer=lambda: gave_up(t))) == {"off"}


def test_without_a_lan_it_is_not_even_thought_of() -> None:
    t = Ticks(S2, S)
    assert t.tick(peer=lambda: gave_up(t), lan=LAN_DOWN).actions == ()


@pytest.mark.parametrize("given_up", [("cti",), ("cti", "scheduler")])
def test_the_same_service_given_up_here_is_no_better_place(given_up: tuple[str, ...]) -> None:
    t = Ticks(S2, S)
    assert acted(t.tick(peer=lambda: gave_up(t), given_up=given_up)) == ""


def test_a_third_party_that_both_miss_moves_nothing() -> None:
    t = Ticks(S2, S)
    decision = t.tick(peer=lambda: gave_up(t, failed=("axl",)), failed=("axl",))
    assert vetoes(decision) == {"shared"} and "both servers miss axl" in decision.sentence
    assert acted(t.tick(peer=lambda: gave_up(t, failed=("axl",)), failed=("tcp",))) == "H1"


def test_once_for_each_fault() -> None:
    """The demotion for this fault was confirmed: whatever becomes of the promotion, it is not asked for again."""
    t = Ticks(S2, S)
    assert acted(t.tick(peer=lambda: gave_up(t))) == "H1"
    t.tick(peer=lambda: gave_up(t), handed=("cti",), handed_s=t.now_s + 0.5)
    for _ in range(50):
        assert acted(t.tick(peer=lambda: gave_up(t), handed=("cti",), handed_s=1000.5)) == ""
    assert acted(t.tick(peer=lambda: gave_up(t, "cti", "scheduler"))) == "H1", "another service is another fault"
    t.tick(peer=lambda: t.good(A))
    assert acted(t.tick(peer=lambda: gave_up(t))) == "H1", "the fault was over; this is the next one"


def test_the_fault_is_remembered_while_the_other_one_is_silent_and_over_a_restart_of_the_worker() -> None:
    t = Ticks(S2, S, memory=Memory(last_tick_s=999.0, taken=("cti",)))
    t.tick(peer=t.silent)
    t.memory = Memory.from_json(t.memory.to_json())
    assert acted(t.tick(peer=lambda: gave_up(t))) == ""


def test_an_attempt_that_moved_nothing_may_be_repeated() -> None:
    """Only a confirmed demotion counts; a lost packet must not cost the hand-over."""
    t = Ticks(S2, S)
    assert acted(t.tick(peer=lambda: gave_up(t))) == "H1"
    assert acted(t.tick(peer=lambda: gave_up(t))) == "H1"


def test_what_is_well_again_is_left_where_it_is() -> None:
    t = Ticks(S2, S)
    assert acted(t.tick(peer=lambda: t.good(A, given_up=("cti",), healthy=True))) == ""


@pytest.mark.parametrize("rule", ["B1", "F2"])
def test_neither_failback_nor_the_vip_brings_the_role_back_to_a_server_that_gave_a_service_up(rule: str) -> None:
    from .ticks import SELF, vip_on

    t = Ticks(S1, S, settings(failback=True) if rule == "B1" else vip_on())
    changes: dict[str, Any] = {} if rule == "B1" else {"vip": t.vip(SELF)}
    decision = t.ticks(9, peer=lambda: t.good(A), given_up=("cti",), **changes)
    assert decision.rule == rule and "given up" in vetoes(decision)
    assert acted(t.tick(peer=lambda: t.good(A), **changes)) == rule


def test_with_the_application_error_setting_a_service_given_up_on_both_makes_no_failover() -> None:
    t = Ticks(S1, S, settings(application_error=True))
    bad = replace(gave_up(t), cause=ProbeCause.BODY)
    decision = t.ticks(9, peer=lambda: replace(bad, started_s=t.now_s - 0.1, ended_s=t.now_s), given_up=("cti",))
    assert decision.rule == "F1" and vetoes(decision) == {"given up"}
    assert "cti was given up on both servers" in decision.sentence


def bad_body(t: Ticks, *names: str) -> Probe:
    return replace(gave_up(t, *names), cause=ProbeCause.BODY, started_s=t.now_s - 0.1, ended_s=t.now_s)


@pytest.mark.parametrize("rule", ["H1", "F1"])
@pytest.mark.parametrize(
    ("here", "there", "why"),
    [
        ((), ("cti",), ""),
        (("scheduler",), ("scheduler", "cti"), ""),
        (("cti",), ("cti",), "cti was given up on both servers"),
        (("cti", "scheduler"), ("cti",), "scheduler was given up on this server"),
        (("scheduler",), ("cti",), "scheduler was given up on this server"),
    ],
    ids=str,
)
def test_a_switch_for_services_goes_only_to_a_server_that_is_better_off_and_so_never_back(
    rule: str, here: tuple[str, ...], there: tuple[str, ...], why: str
) -> None:
    """Of two servers that each have given up another service, neither is better: the role would move to and fro."""
    t = Ticks(S2, S, settings(application_error=rule == "F1"))
    peer = (lambda: bad_body(t, *there)) if rule == "F1" else (lambda: gave_up(t, *there))
    decision = t.ticks(9, peer=peer, given_up=here)
    assert decision.rule == rule and (acted(decision) == rule) is not bool(why)
    assert vetoes(decision) == ({"given up"} if why else set()) and why in decision.sentence
    if here and not why:  # it has moved
        back = Ticks(S1, S, settings(application_error=rule == "F1"))
        peer = (lambda: bad_body(back, *here)) if rule == "F1" else (lambda: gave_up(back, *here))
        assert acted(back.ticks(9, peer=peer, given_up=there)) == "", "it would move back"


def test_a_body_that_is_bad_for_another_cause_is_a_reason_though_a_service_was_given_up_here() -> None:
    t = Ticks(S2, S, settings(application_error=True))
    bad = replace(t.good(A, healthy=False), cause=ProbeCause.BODY)
    assert acted(t.ticks(9, peer=lambda: replace(bad, ended_s=t.now_s), given_up=("cti",))) == "F1"


# --- what the active node says ------------------------------------------------------------------------------------


def said(**changes: object) -> str:
    t = Ticks(S1, A)
    changes = {"services": DEAD, "given_up": ("cti",), "next_try_s": 1040.0, **changes}
    return t.tick(**changes).sentence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "chance"),
    [
        ({}, "the other server may take over, once for this fault"),
        ({"given_up": ("cti",)}, "not handed over: the other server has given it up too"),
        ({"given_up": ("scheduler",)}, "not handed over: the other server has given up scheduler"),
        ({"healthy": False}, "not handed over: the other server is not healthy"),
        ({"eligible": False}, "not handed over: the other server is drained"),
    ],
    ids=str,
)
def test_the_active_node_says_what_it_gave_up_when_it_tries_again_and_who_may_help(
    peer: dict[str, Any], chance: str
) -> None:
    text = said(peer=Ticks(S1, A).good(S, **peer))
    assert text.startswith("W1: cti was given up after too many restarts; next try in 40 s; ") and chance in text


def test_without_the_other_one_or_with_a_common_cause_it_says_so() -> None:
    assert "the other server is not heard" in said(peer=Ticks(S1, A).silent())
    assert "both servers miss axl" in said(peer=Ticks(S1, A).good(S, failed=("axl",)), failed=("axl",))
    assert "it does not stop" in said(services=HANGS)


def test_a_service_that_was_given_up_is_an_alarm() -> None:
    t = Ticks(S1, A)
    assert "cti was given up after too many restarts: look at it" in t.tick(services=DEAD, given_up=("cti",)).alarms


# --- a stop that fails --------------------------------------------------------------------------------------------


@BOTH
def test_a_peer_that_did_not_stop_everything_is_not_passed_and_both_say_what_to_do(me: Designation) -> None:
    t = Ticks(me, S)
    decision = t.ticks(30, peer=lambda: t.good(S, clear=False))
    assert decision.rule == "F1" and vetoes(decision) == {"fence"}
    assert f"switch {me.other} off and force the takeover" in decision.sentence
    other = Ticks(me.other, S)
    alarms = other.tick(peer=lambda: other.good(S), clear=False, stuck=("cti is unknown (no answer)",)).alarms
    assert any("cti is unknown" in a and f"switch {me.other} off" in a for a in alarms)


@BOTH
def test_with_a_fence_command_it_waits_until_the_peer_could_have_taken_its_role_back(me: Designation) -> None:
    t = Ticks(me, S)
    acted_at = [n for n in range(1, 15) if acted(t.tick(peer=lambda: t.good(S, clear=False), can_fence=True)) == "F1"]
    assert acted_at[0] == 9, "server2 needs 6 ticks with nobody active to take its role back"


@pytest.mark.parametrize(("me", "alone", "failed"), [(S1, 3, 12), (S2, 6, 15)])
def test_whose_services_did_not_start_lets_the_other_one_go_first(me: Designation, alone: int, failed: int) -> None:
    for epoch, needed in ((0, alone), (100, failed)):
        t = Ticks(me, S)
        ticks = [t.tick(peer=lambda: t.good(S), start_failed_epoch=epoch) for _ in range(20)]
        assert next(n for n, d in enumerate(ticks, 1) if d.actions) == needed
    t = Ticks(me, S)
    tried = [t.tick(peer=lambda: t.good(S, epoch=101), start_failed_epoch=100) for _ in range(20)]
    assert next(n for n, d in enumerate(tried, 1) if d.actions) == alone, "the other one has had its turn"


def test_a_body_that_is_bad_on_both_is_still_no_reason_to_switch() -> None:
    t = Ticks(S2, S)
    both = replace(gave_up(t), cause=ProbeCause.BODY)
    assert acted(t.tick(peer=both, own=t.sick())) == ""
