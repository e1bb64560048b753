"""W1: dead services are restarted in their role, given up after too many restarts, and a node without the role owns nothing."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.core.watchdog import Condition, Limits, Trouble, Watch, WatchAction, judge, watch

ACTIVE, STARTING, STANDBY, STOPPING, DEAD, UNKNOWN = ServiceState
LIMITS = Limits(restarts_max=2, window_s=60.0, silent_s=30.0, settle_s=5.0)


def look(
    memory: Watch,
    *states: ServiceState,
    role: Role = Role.ACTIVE,
    now_s: float = 100.0,
    phase: Phase = Phase.READY,
    clear: bool = True,
    switching: bool = False,
    peer_given_up: Collection[str] | None = None,
    settle_s: dict[str, float] | None = None,
) -> tuple[Watch, tuple[WatchAction, ...]]:
    """One look with two restarts allowed in 60 s, 5 s for each to show what it did."""
    services = [ServiceReading(name=f"s{i}", state=state) for i, state in enumerate(states)]
    record = RoleRecord(role=role, phase=phase, epoch=4, clear=clear, deadline_s=1e9)
    return watch(
        memory,
        now_s=now_s,
        record=record,
        switching=switching,
        services=services,
        limits=LIMITS,
        peer_given_up=peer_given_up,
        settle_s=settle_s,
    )


def kinds(actions: tuple[WatchAction, ...]) -> list[tuple[str, str]]:
    return [(a.kind, a.service) for a in actions]


def watched(states: dict[float, ServiceState], memory: Watch | None = None, role: Role = Role.ACTIVE) -> Any:
    """Look after look of one service: (memory, [(time, kind)])."""
    memory, told = memory or Watch(), []
    for now_s, state in states.items():
        memory, actions = look(memory, state, now_s=now_s, role=role)
        told += [(now_s, action.kind) for action in actions]
    return memory, told


def given_up_at(start_s: float = 100.0) -> Watch:
    memory: Watch
    memory, told = watched({start_s + after_s: DEAD for after_s in (0, 5, 10)})
    assert told == [(start_s, "restart"), (start_s + 5, "restart"), (start_s + 10, "give up")]
    return memory


@pytest.mark.parametrize("state", [ACTIVE, STARTING, STOPPING, UNKNOWN])
def test_a_service_that_is_well_or_unknown_is_left_alone_on_the_active_node(state: ServiceState) -> None:
    assert look(Watch(), state)[1] == ()


@pytest.mark.parametrize("state", [DEAD, STANDBY])
def test_one_that_is_dead_or_has_lost_its_role_is_restarted_on_the_active_node(state: ServiceState) -> None:
    _, actions = look(Watch(), ACTIVE, state)
    assert kinds(actions) == [("restart", "s1")] and "(1 of 2)" in actions[0].sentence


def test_a_restart_gets_its_time_before_it_counts_as_in_vain() -> None:
    """The watchdog looks more often than a service that hangs in its stop can be restarted."""
    _, told = watched({now_s: DEAD for now_s in (100.0, 101.0, 104.9, 105.0)})
    assert told == [(100.0, "restart"), (105.0, "restart")]
    memory, _ = look(Watch(), DEAD, settle_s={"s0": 50.0})
    assert look(memory, DEAD, now_s=120.0)[1] == (), "its own stop limit is longer"


def test_killed_again_a_moment_after_its_restart_it_is_restarted_at_the_next_look() -> None:
    _, told = watched({100.0: DEAD, 101.0: STARTING, 102.0: ACTIVE, 102.5: DEAD})
    assert told == [(100.0, "restart"), (102.5, "restart")]


def test_one_that_somebody_else_brings_up_is_given_its_role_at_once_and_that_is_one_restart() -> None:
    """systemd or a supervisor is quicker than the watchdog: dead, then standby."""
    memory, told = watched({100.0: DEAD, 100.5: DEAD, 101.0: STANDBY, 101.5: STANDBY, 102.0: DEAD, 103.0: ACTIVE})
    assert told == [(100.0, "restart"), (101.0, "restart")]
    assert memory.of("s0").restarts_s == (100.0,)


def test_past_the_restarts_of_its_window_it_is_given_up_and_that_is_said_once() -> None:
    memory, told = watched({110.0 + i / 10: DEAD for i in range(1, 25)}, given_up_at())
    assert told == [] and memory.given_up == ("s0",)


def test_what_was_given_up_is_tried_again_at_gaps_that_grow_up_to_the_window() -> None:
    memory, told = given_up_at(), []
    for now_s in range(110, 400):
        memory, actions = look(memory, DEAD, now_s=float(now_s))
        told += [(now_s, actions[0].sentence.partition("(")[2]) for _ in actions]
    times = [now_s for now_s, _ in told]
    assert [b - a for a, b in zip([110, *times], times)] == [3, 6, 12, 24, 48, 60, 60, 60]
    assert told[0][1] == "try 1); the next one is in 6 s" and told[-1][1] == "try 8); the next one is in 60 s"


def test_the_fault_ends_when_the_service_was_well_for_a_whole_window() -> None:
    memory, told = watched({float(now_s): ACTIVE for now_s in range(115, 175)}, given_up_at())
    assert told == [] and memory.given_up == ("s0",)
    memory, told = watched({175.0: ACTIVE}, memory)
    assert told == [(175.0, "recovered")] and memory == Watch()
    assert watched({176.0: DEAD}, memory)[1] == [(176.0, "restart")], "a new fault has its restarts again"


def test_a_short_recovery_ends_no_fault() -> None:
    memory, _ = watched({115.0: ACTIVE, 170.0: ACTIVE, 171.0: DEAD, 172.0: ACTIVE, 200.0: ACTIVE}, given_up_at())
    assert memory.given_up == ("s0",)


def test_a_status_that_flaps_is_no_loop_of_restarts() -> None:
    states = {100.0 + i: DEAD if i % 2 else ACTIVE for i in range(60)}
    memory, told = watched(states)
    assert [kind for _, kind in told[:3]] == ["restart", "restart", "give up"]
    assert len(told) <= 8, told
    assert memory.given_up == ("s0",)


def test_one_that_falls_back_to_standby_again_and_again_is_given_up_as_well() -> None:
    states = {100.0 + i: STANDBY if i % 2 else ACTIVE for i in range(20)}
    assert [kind for _, kind in watched(states)[1]][:3] == ["restart", "restart", "give up"]


def test_each_service_has_its_own_count() -> None:
    memory = Watch()
    for now_s in (100.0, 105.0):
        memory, _ = look(memory, DEAD, ACTIVE, now_s=now_s)
    assert kinds(look(memory, DEAD, DEAD, now_s=110.0)[1]) == [("give up", "s0"), ("restart", "s1")]


# --- one that does not answer -----------------------------------------------------------------------------------


def test_one_that_does_not_answer_is_left_alone_for_a_while_then_stopped_and_started_then_given_up() -> None:
    _, told = watched({float(now_s): UNKNOWN for now_s in range(100, 150)})
    assert told == [(130.0, "restart"), (135.0, "restart"), (140.0, "give up"), (143.0, "restart"), (149.0, "restart")]


def test_an_answer_ends_its_silence() -> None:
    _, told = watched({100.0: UNKNOWN, 125.0: ACTIVE, 126.0: UNKNOWN, 150.0: UNKNOWN})
    assert told == []


def test_it_is_said_for_how_long_it_has_not_answered() -> None:
    memory, _ = look(Watch(), UNKNOWN, now_s=100.0)
    _, actions = look(memory, UNKNOWN, now_s=131.0)
    assert actions[0].sentence == "s0 has not answered for 31 s: stopping and starting it in its role (1 of 2)"


def test_on_a_standby_node_silence_alone_restarts_nothing() -> None:
    assert watched({float(now_s): UNKNOWN for now_s in range(100, 200)}, role=Role.STANDBY)[1] == []


@pytest.mark.parametrize("role", [Role.STANDBY, Role.UNDECIDED])
def test_where_it_may_own_something_without_the_role_it_is_stopped_and_started(role: Role) -> None:
    """Nobody may start it elsewhere before this node has signed that it owns nothing."""
    memory, told = Watch(), []
    for now_s in range(100, 140):
        memory, actions = look(memory, STANDBY, UNKNOWN, role=role, clear=False, now_s=float(now_s))
        told += [(now_s, a.kind, a.service) for a in actions]
    assert told == [(130, "restart", "s1"), (135, "restart", "s1")]
    assert kinds(look(memory, STANDBY, STANDBY, role=role, clear=False, now_s=140.0)[1]) == [("clear", "")]


# --- standby ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.STANDBY, Role.UNDECIDED])
@pytest.mark.parametrize("state", [ACTIVE, STARTING])
def test_a_service_that_owns_without_the_role_is_demoted(role: Role, state: ServiceState) -> None:
    _, actions = look(Watch(), STANDBY, state, role=role)
    assert kinds(actions) == [("demote", "")] and "s1 owns although this server is" in actions[0].sentence


def test_attempts_to_stop_one_that_owns_without_the_role_come_at_growing_gaps() -> None:
    memory, told = Watch(), []
    for now_s in range(100, 260):
        memory, actions = look(memory, ACTIVE, role=Role.STANDBY, now_s=float(now_s))
        told += [now_s for _ in actions]
    gaps = [b - a for a, b in zip(told, told[1:])]
    assert gaps == [5, 10, 20, 30, 30, 30, 30], "each attempt is a switch with an epoch of its own"
    memory, _ = look(memory, STANDBY, role=Role.STANDBY, now_s=260.0)
    assert kinds(look(memory, ACTIVE, role=Role.STANDBY, now_s=261.0)[1]) == [("demote", "")], "the next time at once"


def test_a_standby_node_says_clear_only_when_every_service_is_known_to_own_nothing() -> None:
    assert kinds(look(Watch(), STANDBY, DEAD, role=Role.STANDBY, clear=False)[1]) == [("clear", ""), ("restart", "s1")]
    for state in (UNKNOWN, STOPPING):
        assert look(Watch(), STANDBY, state, role=Role.STANDBY, clear=False)[1] == ()
    assert look(Watch(), STANDBY, role=Role.STANDBY, clear=True)[1] == ()
    assert kinds(look(Watch(), role=Role.STANDBY, clear=False)[1]) == [("clear", "")]


def test_a_dead_service_of_a_standby_node_is_restarted_as_standby() -> None:
    assert kinds(look(Watch(), DEAD, role=Role.STANDBY)[1]) == [("restart", "s0")]


@pytest.mark.parametrize(("peer_given_up", "ends"), [(None, False), (("s0",), False), ((), True), (("other",), True)])
def test_on_standby_a_fault_ends_only_while_the_service_works_on_the_active_node(
    peer_given_up: tuple[str, ...] | None, ends: bool
) -> None:
    """Stopped is no proof that it would work: broken on both, it must not be handed to and fro."""
    memory = given_up_at()
    for now_s in range(120, 182):
        memory, _ = look(memory, STANDBY, role=Role.STANDBY, now_s=float(now_s), peer_given_up=peer_given_up)
    assert (memory.given_up == ()) is ends


# --- a switch, a lease, a restart of the worker -------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"switching": True}, {"phase": Phase.STARTING}, {"phase": Phase.STOPPING}], ids=str
)
@pytest.mark.parametrize("role", [Role.ACTIVE, Role.STANDBY])
def test_nothing_is_done_while_a_switch_runs(changes: dict[str, object], role: Role) -> None:
    assert look(Watch(), DEAD, role=role, clear=False, **changes) == (Watch(), ())  # type: ignore[arg-type]


def test_on_an_active_node_whose_lease_has_run_out_nothing_is_restarted() -> None:
    record = RoleRecord(role=Role.ACTIVE, epoch=4, deadline_s=99.0)
    standby = ServiceReading(name="cti", state=ServiceState.STANDBY)
    _, actions = watch(Watch(), now_s=100.0, record=record, switching=False, services=[standby], limits=LIMITS)
    assert actions == ()


def test_a_restarted_worker_knows_what_was_given_up() -> None:
    memory = given_up_at()
    again = Watch.from_json(json.loads(json.dumps(memory.to_json())))
    assert again == memory and again.given_up == ("s0",) and again.next_try_s == 113.0


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {"s0": None},
        {"s0": {"restarts_s": "x"}},
        {"s0": {"tries": None}},
        {"s0": {"next_s": "soon"}},
        {"s0": {"pending_state": 1}},
    ],
)
def test_an_unreadable_document_starts_afresh(document: object) -> None:
    assert Watch.from_json(document) == Watch()


conditions = st.lists(st.tuples(st.floats(0.5, 100), st.sampled_from(Condition)), max_size=80)


@given(looks=conditions)
def test_whatever_it_sees_there_are_never_more_restarts_than_allowed(looks: list[tuple[float, Condition]]) -> None:
    """In any window at most R before it was given up; after that no two tries closer than the first gap."""
    trouble, now_s = Trouble(), 0.0
    restarts: list[float] = []
    tries: list[float] = []
    for after_s, condition in looks:
        now_s += after_s
        was_given_up = trouble.given_up
        trouble, verb = judge(trouble, condition, now_s=now_s, limits=LIMITS)
        if verb == "restart":
            (tries if was_given_up else restarts).append(now_s)
        assert condition is Condition.WRONG or verb in ("", "recovered")
        if verb == "recovered":
            restarts, tries = [], []
    assert all(len([t for t in restarts if last - t < LIMITS.window_s and t <= last]) <= 2 for last in restarts)
    assert all(b - a >= LIMITS.gap_s(1) for a, b in zip(tries, tries[1:]))
