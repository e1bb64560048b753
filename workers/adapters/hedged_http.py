"""Hedged attempts inside one total limit (spec 5, "Probe").

Attempt 0 starts at once; further ones start at t/5, 2t/5 and 3t/5 if none has answered. Any answer ends the probe,
a bad one too: it comes from a host that is there. Two failures are not waited out, so that a killed process is
noticed at once: *refused* on a new connection is decisive (the host lives, nobody listens), and a *closed*
connection brings the next attempt forward. What is still running when the probe ends is cut and its thread returns.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Callable, Generic, TypeVar

from ftplugin.core.timing import HEDGES

from .http_client import HttpFailure, Link
from .runner import DaemonPool

T = TypeVar("T")
OnLink = Callable[[Link], None]
Attempt = Callable[[int, float, OnLink], T]  # (number, seconds left, told of each connection) -> answer

_DECISIVE = ("refused", "too large", "garbage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Generic[T]):
    """The first answer, or the failure that explains best why there is none."""

    value: T | None
    failure: HttpFailure | None


class _Race(Generic[T]):
    def __init__(self, pool: DaemonPool, attempt: Attempt[T], limit_s: float) -> None:
        self.pool, self.attempt, self.limit_s = pool, attempt, limit_s
        self.started_s = time.monotonic()
        self.changed = threading.Condition()
        self.links: dict[int, Link] = {}
        self.failures: list[HttpFailure] = []
        self.value: T | None = None
        self.started = self.running = 0
        self.over = False

    def left_s(self) -> float:
        return self.started_s + self.limit_s - time.monotonic()

    def start(self) -> None:
        index = self.started
        self.started += 1
        self.running += 1
        if self.pool.submit(lambda: self.run(index)) is None:
            self.running -= 1
            self.failures.append(HttpFailure("connect", "no free thread on this node"))

    def run(self, index: int) -> None:
        value: T | None = None
        failure: HttpFailure | None = None
        try:
            value = self.attempt(index, self.left_s(), lambda link: self.opened(index, link))
        except HttpFailure as error:
            failure = error
        finally:
            with self.changed:
                self.running -= 1
                self.links.pop(index, None)
                if value is not None and self.value is None:
                    self.value = value
                self.failures.append(failure or HttpFailure("connect", "attempt failed")) if value is None else None
                self.changed.notify()

    def opened(self, index: int, link: Link) -> None:
        with self.changed:
            if self.over:
                raise HttpFailure("timeout", "given up")
            self.links[index] = link

    def due_s(self) -> float | None:
        """Seconds until the next attempt; None when there is none left."""
        if self.started >= len(HEDGES):
            return None
        if self.failures and self.running == 0 and self.failures[-1].kind == "closed":
            return 0.0
        return self.started_s + HEDGES[self.started] * self.limit_s - time.monotonic()

    def decided(self) -> bool:
        if self.value is not None or any(f.kind in _DECISIVE for f in self.failures):
            return True
        return self.left_s() <= 0 or (self.running == 0 and self.started >= len(HEDGES))

    def go(self) -> Outcome[T]:
        with self.changed:
            while not self.decided():
                due_s = self.due_s()
                if due_s is not None and due_s <= 0:
                    self.start()
                    continue
                left_s = self.left_s()
                self.changed.wait(max(0.0, left_s if due_s is None else min(due_s, left_s)))
            self.over = True
            losers = list(self.links.values())
            outcome = Outcome(value=self.value, failure=self._failure())
        for link in losers:
            link.cut()
        return outcome

    def _failure(self) -> HttpFailure | None:
        if self.value is not None:
            return None
        decisive = [f for f in self.failures if f.kind in _DECISIVE]
        if decisive:
            return decisive[0]
        if self.running or not self.failures or any(f.kind == "timeout" for f in self.failures):
            return HttpFailure("timeout", f"no complete answer within {self.limit_s:g} s, {self.started} attempts")
        return self.failures[-1]


def hedged(pool: DaemonPool, attempt: Attempt[T], limit_s: float) -> Outcome[T]:
    """Run ``attempt`` up to four times, staggered; the first answer wins. Ends within ``limit_s`` seconds."""
    return _Race(pool, attempt, limit_s).go()


def single(attempt: Attempt[T], limit_s: float) -> Outcome[T]:
    """One attempt in the calling thread, for an address on this host, where nothing gets lost on the way."""
    try:
        return Outcome(value=attempt(0, limit_s, lambda link: None), failure=None)
    except HttpFailure as failure:
        return Outcome(value=None, failure=failure)
