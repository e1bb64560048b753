"""Log port of the workers: FT_REPORT, the count of refused messages, and the events of the database."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, Callable, Protocol

from ftplugin.history.records import KEPT_EACH

EVENT_S_MIN = 10.0  # one event of a kind in this time; the next one says how many were left out
EVENTS_WAITING_MAX = 200
logger = logging.getLogger(__name__)


class ReportLike(Protocol):
    def line(self, source: str, text: str) -> None: ...


class NodeLog:
    """LogPort of a real node. Events are written by a thread: a locked database must not delay who reports one."""

    def __init__(
        self,
        report: ReportLike,
        count_refused: Callable[[str], None],
        record_event: Callable[[str, dict[str, Any]], bool],
    ) -> None:
        self._report, self._count_refused, self._record = report, count_refused, record_event
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(EVENTS_WAITING_MAX)
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def report(self, source: str, text: str) -> None:
        """One line of FT_REPORT."""
        self._report.line(source, text)

    def event(self, name: str, **facts: Any) -> None:
        """Count and keep an event. Refused messages are counted by cause for the page, each of them."""
        if name in KEPT_EACH:  # without one a duration is not known
            self._keep(name, facts)
            return
        facts = {key: str(value) for key, value in facts.items()}
        if name == "refused":
            self._count_refused(facts.get("cause", "unknown"))
        kind = (name, str(facts.get("cause", facts.get("task", facts.get("text", "")))))
        now_s = time.monotonic()
        with self._lock:
            last_s, left_out = self._last.get(kind, (float("-inf"), 0))
            if now_s - last_s < EVENT_S_MIN:
                self._last[kind] = (last_s, left_out + 1)
                return
            self._last[kind] = (now_s, 0)
        self._keep(name, {**facts, "left_out": str(left_out)} if left_out else facts)

    def _keep(self, name: str, facts: dict[str, Any]) -> None:
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="events", daemon=True)
                self._writer.start()
        try:
            self._events.put_nowait((name, facts))
        except queue.Full:
            logger.warning("event %s is not kept: the database has not taken the last %d", name, EVENTS_WAITING_MAX)

    def _write(self) -> None:
        while True:
            name, facts = self._events.get()
            if not self._record(name, facts):
                logger.warning("event %s is not kept: the database could not be written", name)
