"""How long one call of a database server may last, and what happens while the server does not answer.

The deadline belongs to the thread: whoever talks to the database within it gets what is left of it. A server that let one
call run into its limit is not asked again by those who work: they are refused at once, so that a page of five questions
ends after the first and a heartbeat waits once. A thread asks it instead, until it answers again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHORT_S = 0.1  # a call that took its limit less this has run into it
ASK_AGAIN_S = 1.0
logger = logging.getLogger(__name__)


class _Deadline(threading.local):
    end_s: float | None = None  # CLOCK_MONOTONIC


_deadline = _Deadline()


@contextmanager
def within(limit_s: float) -> Iterator[None]:
    """What this thread does in the block ends within ``limit_s`` seconds, or earlier if an outer block says so."""
    outer_s, end_s = _deadline.end_s, time.monotonic() + limit_s
    _deadline.end_s = end_s if outer_s is None else min(outer_s, end_s)
    try:
        yield
    finally:
        _deadline.end_s = outer_s


def left_s(otherwise_s: float) -> float:
    """Seconds left to this thread, below 0 when the time is over; ``otherwise_s`` outside of any ``within``."""
    return otherwise_s if _deadline.end_s is None else _deadline.end_s - time.monotonic()


class Silence:
    """Whether the server is known to be silent. Ends by itself: a thread of its own asks until there is an answer.

    ask: one question to the server; returns or raises. limit_s: after which a call has run into its limit.
    """

    def __init__(self, ask: Callable[[], object], limit_s: float) -> None:
        self._ask, self._limit_s = ask, limit_s
        self._lock = threading.Lock()
        self._cause = ""
        self._pid = 0
        self._over = threading.Event()

    @property
    def cause(self) -> str:
        """Why the server counts as silent, "" when it does not. A forked child finds out for itself."""
        return self._cause if self._pid == os.getpid() else ""

    def ended(self, took_s: float, cause: str) -> None:
        """A call failed after ``took_s`` seconds; a quick refusal is an answer and costs nobody any time."""
        if took_s < self._limit_s - SHORT_S:
            return
        with self._lock:
            if self.cause:
                return
            self._cause, self._pid, self._over = cause, os.getpid(), threading.Event()
        threading.Thread(target=self._wait, args=(self._over,), name="ft-database", daemon=True).start()

    def close(self) -> None:
        """Ask no more; whoever comes next finds out for himself."""
        self._over.set()
        self._cause = ""

    def _wait(self, over: threading.Event) -> None:
        since_s = time.monotonic()
        while not self._answers():
            if over.wait(ASK_AGAIN_S):
                return
        self._cause = ""
        logger.warning("the database answers again after %.0f s", time.monotonic() - since_s)

    def _answers(self) -> bool:
        began_s = time.monotonic()
        try:
            self._ask()
        except (
            Exception
        ) as error:  # whatever it is: only the time it took counts, and those who work meet it themselves
            logger.debug("asked the silent database: %s", error)
        return time.monotonic() - began_s < self._limit_s - SHORT_S
