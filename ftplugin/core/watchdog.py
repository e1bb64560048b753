"""W1: what to do about each service, by the node's role (spec 6). Pure, like the rest of the core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Sequence

from .records import RoleRecord
from .terms import Phase, Role, ServiceState
from .view import ServiceReading


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Restarts done, per service, on the own CLOCK_BOOTTIME; and which services were given up (said once)."""

    restarts_s: dict[str, tuple[float, ...]] = field(default_factory=dict)
    given_up: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchAction:
    """kind: "restart" (in its role), "demote" (owns without a role), "clear" (owns nothing), "give up" (say so)."""

    kind: str
    service: str = ""
    sentence: str = ""


def watch(
    memory: Watch,
    *,
    now_s: float,
    record: RoleRecord,
    switching: bool,
    services: Sequence[ServiceReading],
    restarts_max: int,
    window_s: float,
) -> tuple[Watch, tuple[WatchAction, ...]]:
    """(memory, actions). While a switch runs nothing is done: the sequence itself looks after the services."""
    if switching or record.phase is not Phase.READY:
        return memory, ()
    if record.role is not Role.ACTIVE:
        return _not_active(memory, record, services, now_s, restarts_max, window_s)
    if record.deadline_s <= now_s:
        return memory, ()  # the lease has run out: demoted services are where they belong
    wrong = [s for s in services if s.state in (ServiceState.DEAD, ServiceState.STANDBY)]
    return _restarts(memory, wrong, now_s, restarts_max, window_s)


def _not_active(
    memory: Watch,
    record: RoleRecord,
    services: Sequence[ServiceReading],
    now_s: float,
    restarts_max: int,
    window_s: float,
) -> tuple[Watch, tuple[WatchAction, ...]]:
    owning = [s.name for s in services if s.state in (ServiceState.ACTIVE, ServiceState.STARTING)]
    if owning:
        return memory, (
            WatchAction(kind="demote", sentence=f"{', '.join(owning)} owns although this server is {record.role}"),
        )
    settled = all(s.state in (ServiceState.STANDBY, ServiceState.DEAD) for s in services)
    actions: tuple[WatchAction, ...] = ()
    if settled and not record.clear:
        actions = (WatchAction(kind="clear"),)
    dead = [s for s in services if s.state is ServiceState.DEAD]
    memory, restarts = _restarts(memory, dead, now_s, restarts_max, window_s)
    return memory, actions + restarts


def _restarts(
    memory: Watch, wrong: Sequence[ServiceReading], now_s: float, restarts_max: int, window_s: float
) -> tuple[Watch, tuple[WatchAction, ...]]:
    restarts = {name: tuple(t for t in times if now_s - t < window_s) for name, times in memory.restarts_s.items()}
    given_up = frozenset(name for name in memory.given_up if len(restarts.get(name, ())) >= restarts_max)
    actions: list[WatchAction] = []
    for service in wrong:
        done = restarts.get(service.name, ())
        if len(done) < restarts_max:
            restarts[service.name] = (*done, now_s)
            text = f"{service.name} is {service.state}: restarting it in its role ({len(done) + 1} of {restarts_max})"
            actions.append(WatchAction(kind="restart", service=service.name, sentence=text))
        elif service.name not in given_up:
            given_up |= {service.name}
            text = f"{service.name} is {service.state} after {restarts_max} restarts in {window_s:.0f} s: given up, look at it"
            actions.append(WatchAction(kind="give up", service=service.name, sentence=text))
    return replace(memory, restarts_s=restarts, given_up=given_up), tuple(actions)
