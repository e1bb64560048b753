"""W1: dead services are restarted in their role, and a node without the role owns nothing."""

from __future__ import annotations

import pytest

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.core.watchdog import Watch, WatchAction, watch

ACTIVE, STARTING, STANDBY, STOPPING, DEAD, UNKNOWN = ServiceState


def look(
    memory: Watch,
    *states: ServiceState,
    role: Role = Role.ACTIVE,
    now_s: float = 100.0,
    phase: Phase = Phase.READY,
    clear: bool = True,
    switching: bool = False,
) -> tuple[Watch, tuple[WatchAction, ...]]:
    """One look with two restarts allowed in 60 s."""
    services = [ServiceReading(name=f"s{i}", state=state) for i, state in enumerate(states)]
    record = RoleRecord(role=role, phase=phase, epoch=4, clear=clear, deadline_s=1e9)
    return watch(
        memory, now_s=now_s, record=record, switching=switching, services=services, restarts_max=2, window_s=60.0
    )


def kinds(actions: tuple[WatchAction, ...]) -> list[tuple[str, str]]:
    return [(a.kind, a.service) for a in actions]


@pytest.mark.parametrize("state", [ACTIVE, STARTING, STOPPING, UNKNOWN])
def test_a_service_that_is_well_or_unknown_is_left_alone_on_the_active_node(state: ServiceState) -> None:
    assert look(Watch(), state)[1] == ()


@pytest.mark.parametrize("state", [DEAD, STANDBY])
def test_one_that_is_dead_or_has_lost_its_role_is_restarted_on_the_active_node(state: ServiceState) -> None:
    _, actions = look(Watch(), ACTIVE, state)
    assert kinds(actions) == [("restart", "s1")] and "(1 of 2)" in actions[0].sentence


def test_past_the_restarts_of_its_window_it_is_given_up_and_that_is_said_once() -> None:
    memory, said = Watch(), []
    for now_s in (100.0, 101.0, 102.0, 103.0):
        memory, actions = look(memory, DEAD, now_s=now_s)
        said += kinds(actions)
    assert said == [("restart", "s0"), ("restart", "s0"), ("give up", "s0")]


def test_when_the_window_has_passed_it_is_restarted_again() -> None:
    memory = Watch()
    for now_s in (100.0, 101.0, 102.0):
        memory, _ = look(memory, DEAD, now_s=now_s)
    memory, actions = look(memory, DEAD, now_s=161.5)
    assert kinds(actions) == [("restart", "s0")] and memory.given_up == frozenset()


def test_each_service_has_its_own_count() -> None:
    memory = Watch()
    for now_s in (100.0, 101.0):
        memory, _ = look(memory, DEAD, ACTIVE, now_s=now_s)
    assert kinds(look(memory, DEAD, DEAD, now_s=102.0)[1]) == [("give up", "s0"), ("restart", "s1")]


@pytest.mark.parametrize("role", [Role.STANDBY, Role.UNDECIDED])
@pytest.mark.parametrize("state", [ACTIVE, STARTING])
def test_a_service_that_owns_without_the_role_is_demoted(role: Role, state: ServiceState) -> None:
    _, actions = look(Watch(), STANDBY, state, role=role)
    assert kinds(actions) == [("demote", "")] and "s1 owns although this server is" in actions[0].sentence


def test_a_standby_node_says_clear_only_when_every_service_is_known_to_own_nothing() -> None:
    assert kinds(look(Watch(), STANDBY, DEAD, role=Role.STANDBY, clear=False)[1]) == [("clear", ""), ("restart", "s1")]
    for state in (UNKNOWN, STOPPING):
        assert look(Watch(), STANDBY, state, role=Role.STANDBY, clear=False)[1] == ()
    assert look(Watch(), STANDBY, role=Role.STANDBY, clear=True)[1] == ()
    assert kinds(look(Watch(), role=Role.STANDBY, clear=False)[1]) == [("clear", "")]


def test_a_dead_service_of_a_standby_node_is_restarted_as_standby() -> None:
    assert kinds(look(Watch(), DEAD, role=Role.STANDBY)[1]) == [("restart", "s0")]


@pytest.mark.parametrize(
    "changes", [{"switching": True}, {"phase": Phase.STARTING}, {"phase": Phase.STOPPING}], ids=str
)
@pytest.mark.parametrize("role", [Role.ACTIVE, Role.STANDBY])
def test_nothing_is_done_while_a_switch_runs(changes: dict[str, object], role: Role) -> None:
    assert look(Watch(), DEAD, role=role, clear=False, **changes) == (Watch(), ())  # type: ignore[arg-type]


def test_on_an_active_node_whose_lease_has_run_out_nothing_is_restarted() -> None:
    record = RoleRecord(role=Role.ACTIVE, epoch=4, deadline_s=99.0)
    standby = ServiceReading(name="cti", state=ServiceState.STANDBY)
    _, actions = watch(
        Watch(), now_s=100.0, record=record, switching=False, services=[standby], restarts_max=3, window_s=600.0
    )
    assert actions == ()
