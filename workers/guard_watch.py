"""Which services own something where nothing may, and since when none does: asked beside the guard's poll, which waits
for none of them.

One status call a service at a time, so that one that hangs takes one thread and delays nobody.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Protocol, Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from workers.adapters.runner import Call, DaemonPool

PERIOD_S = 1.0  # how often each service is asked
SUSPECT_S = 10.0  # so long a first "owns" counts, whatever the service says in between
FREE_S = 5.0  # so long every service must have said that it owns nothing, before the guard says it for them
OWNING = (ServiceState.ACTIVE, ServiceState.STARTING)
FREE = (ServiceState.STANDBY, ServiceState.DEAD)


class Service(Protocol):
    name: str
    stop_limit_s: float

    def demote(self, epoch: int) -> ServiceReading: ...

    def status(self) -> ServiceReading: ...


@dataclass(slots=True)
class _Watched:
    """One service: its call that runs and since when, when the next is due, when it first said that it owns; since when it
    has said at each look that it owns nothing, and when it last did."""

    service: Service
    call: Call | None = None
    asked_s: float = 0.0
    due_s: float = 0.0
    suspect_s: float | None = None
    free_since_s: float | None = None
    free_s: float = float("-inf")


class OwnerWatch:
    """``owners`` at each poll; the first answer that says "owns" is only a suspicion: the role may have just changed."""

    def __init__(self, services: Sequence[Service], pool: DaemonPool) -> None:
        self._watched = [_Watched(service) for service in services]
        self._pool = pool
        self._about: Any = None

    def owners(self, about: Any, again_s: float) -> list[str]:
        """Names of the services that said twice that they own something while ``about``, the node's role, was the same.

        again_s: how soon a suspect is asked again, in seconds.
        """
        if about != self._about:
            self.reset()
            self._about = about
        return [w.service.name for w in self._watched if self._look(w, again_s)]

    @property
    def suspects(self) -> bool:
        """Whether a service has said once that it owns something."""
        return any(watched.suspect_s is not None for watched in self._watched)

    @property
    def all_free(self) -> bool:
        """Whether every service has said for FREE_S, and up to now, that it owns nothing; also when there is none."""
        now_s = time.monotonic()
        return all(
            w.free_since_s is not None and now_s - w.free_since_s >= FREE_S and now_s - w.free_s < 3 * PERIOD_S
            for w in self._watched
        )

    def reset(self) -> None:
        """Forget every suspicion, and what calls that still run will say."""
        for watched in self._watched:
            watched.suspect_s, watched.free_since_s, watched.asked_s = None, None, float("-inf")
        self._about = None

    def _look(self, watched: _Watched, again_s: float) -> bool:
        now_s, call = time.monotonic(), watched.call
        if call is None:
            if now_s >= watched.due_s:
                watched.asked_s = now_s
                watched.call = self._pool.submit(watched.service.status)
            return False
        if not call.ended.is_set():
            return False
        watched.call, watched.due_s = None, now_s + PERIOD_S
        fresh = now_s - watched.asked_s < SUSPECT_S
        if fresh and call.result is not None and call.result.state in FREE:
            watched.free_since_s = now_s if watched.free_since_s is None else watched.free_since_s
            watched.free_s = now_s
        else:
            watched.free_since_s = None
        if not fresh or call.result is None or call.result.state not in OWNING:
            return False
        if watched.suspect_s is not None and now_s - watched.suspect_s < SUSPECT_S:
            watched.suspect_s = None
            return True
        watched.suspect_s, watched.due_s = now_s, now_s + again_s
        return False


class OneDemotion:
    """Demotions of one service, one at a time: a hung one must not use up the threads that demote the others."""

    def __init__(self, service: Service) -> None:
        self._service, self._busy = service, threading.Lock()

    def call(self, epoch: int) -> Callable[[], ServiceReading]:
        """A demotion under ``epoch``, to be run beside others."""
        return lambda: self._demote(epoch)

    def _demote(self, epoch: int) -> ServiceReading:
        if not self._busy.acquire(blocking=False):
            detail = "its last demotion has not ended"
            return ServiceReading(name=self._service.name, state=ServiceState.UNKNOWN, detail=detail)
        try:
            return self._service.demote(epoch)
        finally:
            self._busy.release()
