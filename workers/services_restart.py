"""The services' part of the daily restart (spec 6), carried out by the switch worker: all stop in reverse, then start in order.

Nothing changes hands: the role, its epoch and its lease stay. A switch that must run meanwhile shows as a higher epoch or
an ended lease, and is given way to at the next step: whoever switches looks after the services then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading

from .ports import ServicePort

if TYPE_CHECKING:
    from .execute import SwitchRunner

KIND = "daily"
RESULT = "daily_services"
POLL_S = 0.2
TURN_LIMIT_S = 1.0
ORDER_AGE_S_MAX = 10.0
PROMOTIONS_MAX = 3  # of one service: a start that ends at once is no reason to go on for its whole limit
AGAIN_S = 2.0
SETTLE_S = 1.0
DEAD_S = 10.0


class GivesWay(Exception):
    """The role is no longer what it was: the restart stops where it is."""


def order_of(record: RoleRecord, boot_id: str, now_s: float) -> dict[str, Any]:
    """The order for the switch queue, from the role as it is now. ``now_s``: CLOCK_BOOTTIME of this boot."""
    return {"kind": KIND, "epoch": record.epoch, "role": str(record.role), "boot_id": boot_id, "ordered_s": now_s}


def longest_s(services: Sequence[ServicePort]) -> float:
    """How long a restart of all of them may take, in seconds; a start that is being waited for takes most of it."""
    return 1.0 + sum(
        s.stop_limit_s + SETTLE_S + 2 * s.start_limit_s + 4 * s.status_limit_s + 2 * TURN_LIMIT_S for s in services
    )


def restart_services(runner: SwitchRunner, order: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out ``order_of``; {outcome, detail, duration_s}, also published as the document ``daily_services``."""
    clock = runner.ports.clock
    began_s = clock.now_s()
    outcome, detail = _carried_out(runner, order)
    ended_s = clock.now_s()
    facts = {"outcome": outcome, "detail": detail, "duration_s": round(ended_s - began_s, 3)}
    document = {**facts, "boot_id": clock.boot_id, "ordered_s": order.get("ordered_s"), "ended_s": ended_s}
    runner.ports.runtime.publish(RESULT, document)
    return facts


def _carried_out(runner: SwitchRunner, order: Mapping[str, Any]) -> tuple[str, str]:
    clock = runner.ports.clock
    age_s = clock.now_s() - float(order.get("ordered_s", 0))
    if order.get("boot_id") != clock.boot_id or not 0 <= age_s <= ORDER_AGE_S_MAX:
        return "refused", "the order came too late"
    try:
        return _all(runner, int(order.get("epoch", 0)), str(order.get("role")))
    except GivesWay as why:
        return "aborted", str(why)


def _all(runner: SwitchRunner, epoch: int, role: str) -> tuple[str, str]:
    def still() -> RoleRecord:
        record = runner.ports.runtime.read_role()
        if record is None or record.role != role or record.epoch != epoch or record.phase is not Phase.READY:
            raise GivesWay("the role changed meanwhile")
        if record.role is Role.ACTIVE and not runner.owns(epoch):
            raise GivesWay("the lease has run out, or a higher epoch was seen")
        return record

    for service in reversed(runner.ports.services):
        with _turn(runner):
            still()
            service.restart(False)
    trouble = []
    for service in runner.ports.services:
        reading = _stopped(runner, service, still)
        if reading.state in (ServiceState.ACTIVE, ServiceState.STARTING):
            trouble.append(f"{service.name} did not stop: it is {reading.state} {reading.detail}".rstrip())
            continue
        if role == Role.ACTIVE:
            reading = _promoted(runner, service, epoch, still)
        if reading.state is not (ServiceState.ACTIVE if role == Role.ACTIVE else ServiceState.STANDBY):
            trouble.append(f"{service.name} is {reading.state} {reading.detail}".rstrip())
    if trouble:
        return "failed", "; ".join(trouble)
    return "done", ", ".join(f"{service.name} is {role}" for service in runner.ports.services)


@contextmanager
def _turn(runner: SwitchRunner) -> Iterator[None]:
    """For one command to one service, not for the whole restart: a promotion that is due must find the turn free."""
    with runner.turn(TURN_LIMIT_S) as mine:
        if not mine:
            raise GivesWay("a switch is running")
        yield


def _stopped(runner: SwitchRunner, service: ServicePort, still: Callable[[], RoleRecord]) -> ServiceReading:
    """Wait until it owns nothing and stays so for a moment: a service may answer first and restart then."""
    clock = runner.ports.clock
    began_s = changed_s = clock.now_s()
    reading = service.status()
    while True:
        lasted_s, took_s = clock.now_s() - changed_s, clock.now_s() - began_s
        if reading.state is ServiceState.STANDBY and lasted_s >= SETTLE_S:
            return reading
        if reading.state is ServiceState.DEAD and lasted_s >= DEAD_S:
            return reading  # it does not come up by itself: promote starts it
        if reading.state is ServiceState.ACTIVE and took_s >= service.stop_limit_s + SETTLE_S:
            return reading
        if took_s >= service.start_limit_s:
            return reading
        clock.sleep(POLL_S)
        still()
        before, reading = reading, service.status()
        if reading.state is not before.state:
            changed_s = clock.now_s()


def _promoted(
    runner: SwitchRunner, service: ServicePort, epoch: int, still: Callable[[], RoleRecord]
) -> ServiceReading:
    """Promote it and wait until it owns, within its start limit."""
    clock = runner.ports.clock
    end_s = clock.now_s() + service.start_limit_s
    promotions, asked_s = 0, float("-inf")
    reading = service.status()
    while clock.now_s() < end_s:
        idle = reading.state in (ServiceState.STANDBY, ServiceState.DEAD)
        if not promotions or (idle and clock.now_s() - asked_s >= AGAIN_S):
            if promotions == PROMOTIONS_MAX:
                break
            with _turn(runner):
                left_s = still().deadline_s - clock.now_s()
                reading = service.promote(epoch, left_s)
            promotions, asked_s = promotions + 1, clock.now_s()
        if reading.state is ServiceState.ACTIVE:
            break
        clock.sleep(POLL_S)
        still()
        reading = service.status()
    return reading
