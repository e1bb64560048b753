"""Counts the heartbeats for ``/metrics`` (``ftplugin.metrics.tally``).

A tick hands over its facts, the page's thread adds them up. So a tick pays for a small object, and the document goes to
Redis in the round trip that the outlook takes anyway.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ftplugin.core.futures import Now
from ftplugin.metrics.tally import DOCUMENT, Beat, Tally, beat_of

from .ports import RuntimePort

WAITING_MAX = 1_000  # heartbeats, while Redis or the other server keeps the page's thread


class Counting:
    """``ticked`` is called by the tick, all else by one thread."""

    def __init__(self, runtime: RuntimePort) -> None:
        self._runtime = runtime
        self._waiting: deque[Beat] = deque(maxlen=WAITING_MAX)
        self._tally = Tally()
        self._taken_up = False

    def ticked(self, last: Now) -> None:
        self._waiting.append(beat_of(last.view, last.stop_by.stale_s))

    def documents(self) -> dict[str, dict[str, Any]]:
        """What is to be published now: nothing when nobody has ticked since."""
        if not self._waiting:
            return {}
        while self._waiting:
            self._tally.add(self._waiting.popleft())
        if not self._taken_up and (before := self._runtime.fetch(DOCUMENT)):
            self._taken_up = True
            self._tally.take_up(before)
        return {DOCUMENT: self._tally.to_json()}

    def published(self, done: bool) -> None:
        """done: Redis took it. From then on what it has is this process's own."""
        self._taken_up = self._taken_up or done
