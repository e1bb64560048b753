"""The services' part of the daily restart on real programs of a supervisord: in their role, in order, giving way to a switch."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role
from ftplugin.core.terms import ServiceState as S
from workers.execute import SwitchRunner
from workers.services_restart import RESULT, order_of, restart_services

from .test_supervisord import Supervisord, program


class Runtime:
    """Role record and documents, as the node's Redis has them; ``reads`` counts looks at the role."""

    def __init__(self, record: RoleRecord) -> None:
        self.record, self.documents = record, dict[str, Any]()
        self.reads, self.changes = 0, dict[int, RoleRecord]()

    def read_role(self) -> RoleRecord:
        self.reads += 1
        self.record = self.changes.get(self.reads, self.record)
        return self.record

    def publish(self, name: str, value: Any) -> bool:
        self.documents[name] = value
        return True


class Node:
    def __init__(self, services: list[Any], role: Role) -> None:
        self.clock, self.services = SystemClock(), services
        deadline_s = self.clock.now_s() + 600 if role is Role.ACTIVE else 0.0
        self.runtime = Runtime(RoleRecord(role=role, epoch=4, boot_id=self.clock.boot_id, deadline_s=deadline_s))
        ports: Any = types.SimpleNamespace(clock=self.clock, runtime=self.runtime, services=services)
        self.runner = SwitchRunner(ports)
        for service in services if role is Role.ACTIVE else ():
            service.promote(4, 600.0)

    def restart(self, **changes: Any) -> dict[str, Any]:
        order = order_of(self.runtime.record, self.clock.boot_id, self.clock.now_s()) | changes
        return restart_services(self.runner, order)


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisord]:
    made = Supervisord(tmp_path_factory.mktemp("r"), program("base") + program("top"))
    yield made
    made.end()


@pytest.fixture
def services(supervisord: Supervisord) -> Iterator[list[Any]]:
    made = [supervisord.service(name) for name in ("base", "top")]
    yield made
    for service in made:
        service.demote(1000)
        service._shared.demote(0)
        (supervisord.folder / f"supervisord-{service.name}.start").unlink(missing_ok=True)


def test_on_the_active_server_every_process_is_new_and_owns_again(
    supervisord: Supervisord, services: list[Any]
) -> None:
    node = Node(services, Role.ACTIVE)
    before = [supervisord.pid(service) for service in services]
    found = node.restart()
    assert found["outcome"] == "done" and found["detail"] == "base is active, top is active"
    after = [supervisord.pid(service) for service in services]
    assert all(new not in (0, old) for old, new in zip(before, after, strict=True))
    assert after[0] < after[1] or after[1] < before[0], "the first one starts first"
    assert node.runtime.documents[RESULT]["outcome"] == "done"


def test_services_stop_in_reverse_and_start_in_order(services: list[Any]) -> None:
    node, done = Node(services, Role.ACTIVE), list[str]()
    for service in services:
        for verb in ("restart", "promote"):
            call = getattr(service, verb)
            setattr(service, verb, lambda *a, c=call, s=service, v=verb: (done.append(f"{v} {s.name}"), c(*a))[1])
    assert node.restart()["outcome"] == "done"
    assert done == ["restart top", "restart base", "promote base", "promote top"]


def test_on_the_standby_server_nothing_owns_afterwards(services: list[Any]) -> None:
    node = Node(services, Role.STANDBY)
    found = node.restart()
    assert found["outcome"] == "done" and [service.status().state for service in services] == [S.STANDBY, S.STANDBY]


def test_a_service_that_does_not_come_back_is_named(supervisord: Supervisord, services: list[Any]) -> None:
    short = supervisord.service("short", start_limit_s=3.0)
    found = Node([services[0], short], Role.ACTIVE).restart()
    assert found["outcome"] == "failed" and "short is" in found["detail"] and "base" not in found["detail"]


@pytest.mark.parametrize("change", ["role", "epoch seen", "lease", "phase"])
def test_it_gives_way_when_the_role_is_no_longer_what_it_was(services: list[Any], change: str) -> None:
    node = Node(services, Role.ACTIVE)
    record = node.runtime.record
    node.runtime.changes[2] = {
        "role": replace(record, role=Role.STANDBY, epoch=6),
        "epoch seen": replace(record, seen_epoch=7),
        "lease": replace(record, deadline_s=node.clock.now_s() - 1),
        "phase": replace(record, phase=Phase.STOPPING),
    }[change]
    found = node.restart()
    assert found["outcome"] == "aborted", found
    assert services[0].status().state is S.ACTIVE, "the one that had not its turn yet is left to whoever switches"


def test_a_switch_that_runs_is_not_disturbed(services: list[Any]) -> None:
    node = Node(services, Role.ACTIVE)
    with node.runner.turn(1.0) as mine:
        assert mine
        found = node.restart()
    assert found["outcome"] == "aborted" and "a switch is running" in found["detail"]
    assert [service.status().state for service in services] == [S.ACTIVE, S.ACTIVE]


@pytest.mark.parametrize("wrong", [{"boot_id": "another"}, {"ordered_s": 0.0}, {"ordered_s": 1e12}])
def test_a_late_order_is_void(services: list[Any], wrong: dict[str, Any]) -> None:
    node = Node(services, Role.ACTIVE)
    assert node.restart(**wrong)["outcome"] == "refused"


def test_the_turn_is_free_while_a_service_comes_up(supervisord: Supervisord, services: list[Any]) -> None:
    """A promotion or demotion that is due must not wait for a slow start."""
    slow = supervisord.service("slow")
    node, free = Node([slow], Role.ACTIVE), list[bool]()
    sleep = node.clock.sleep

    def look(seconds: float) -> None:
        with node.runner.turn(0.0) as mine:
            free.append(mine)
        sleep(seconds)

    node.clock.sleep = look  # type: ignore[method-assign]
    assert node.restart()["outcome"] == "done"
    slow.demote(1000)
    assert free and all(free)


class Answering:
    """A service that answers its restart first and carries it out a moment later, as one with an HTTP API may."""

    name, start_limit_s, stop_limit_s, status_limit_s = "api", 20.0, 2.0, 1.0

    def __init__(self, clock: SystemClock, state: S) -> None:
        self.clock, self.state, self.told_s, self.new = clock, state, float("inf"), False
        self.promoted: list[tuple[bool, int]] = []

    def _now(self) -> Any:
        passed_s = self.clock.now_s() - self.told_s
        if passed_s > 0.5 and not self.new:
            self.state, self.new = S.DEAD, True
        if passed_s > 1.2 and self.state is S.DEAD:
            self.state = S.STANDBY
        return types.SimpleNamespace(name=self.name, state=self.state, detail="")

    status = _now

    def restart(self, own: bool) -> Any:
        self.told_s = self.clock.now_s()
        return self._now()

    def promote(self, epoch: int, lease_left_s: float) -> Any:
        self._now()
        self.promoted.append((self.new, epoch))
        self.state = S.ACTIVE if self.state is S.STANDBY else self.state
        return self._now()


def test_a_service_that_answers_before_it_restarts_is_waited_for() -> None:
    service = Answering(SystemClock(), S.ACTIVE)
    node = Node([service], Role.STANDBY)
    node.runtime.record = replace(node.runtime.record, role=Role.ACTIVE, deadline_s=node.clock.now_s() + 600)
    assert node.restart()["outcome"] == "done"
    assert service.promoted == [(True, 4)] and service.state is S.ACTIVE


def test_on_a_standby_server_it_is_waited_for_too() -> None:
    """Else the watchdog would find it dead, and count that."""
    service = Answering(SystemClock(), S.STANDBY)
    assert Node([service], Role.STANDBY).restart()["outcome"] == "done"
    assert service.new and service.state is S.STANDBY and service.promoted == []
