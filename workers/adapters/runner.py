"""Threads that are abandoned when they are late.

``concurrent.futures`` joins its threads when the interpreter ends, so one call that hangs would keep a dead worker
from being restarted by its supervisor. These threads are daemons, are reused (a probe every tick starts none),
leave after a quiet while, and their number is bounded: when every thread is stuck a call is refused instead of
queued without end.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any, Callable, Sequence

THREADS_MAX = 64
IDLE_S = 120.0

_log = logging.getLogger(__name__)


class Call:
    """One call handed to the pool. ``ended`` is set once; then ``result`` or ``error`` holds."""

    def __init__(self, function: Callable[[], Any], on_end: Callable[[Call], None] | None = None) -> None:
        self.function, self.on_end = function, on_end
        self.ended = threading.Event()
        self.cancelled = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        if not self.cancelled:
            try:
                self.result = self.function()
            except Exception as error:  # a port raises nothing; what is raised here is a defect and must be seen
                self.error = error
                _log.exception("a call run beside others failed")
        self.ended.set()
        if self.on_end is not None:
            self.on_end(self)


class DaemonPool:
    """Reusable daemon threads, at most ``threads_max``; an idle one ends after ``idle_s`` seconds."""

    def __init__(self, threads_max: int = THREADS_MAX, idle_s: float = IDLE_S) -> None:
        self._max, self._idle_s = threads_max, idle_s
        self._lock = threading.Lock()
        self._threads = 0
        self._idle: list[queue.SimpleQueue[Call]] = []  # one a waiting thread; the latest is taken first: it is warm

    @property
    def threads(self) -> int:
        """Threads alive now, busy or idle."""
        return self._threads

    def submit(self, function: Callable[[], Any], on_end: Callable[[Call], None] | None = None) -> Call | None:
        """Start the call at once; None when every thread is busy and no more may be started."""
        call = Call(function, on_end)
        with self._lock:
            if self._idle:
                calls = self._idle.pop()
            elif self._threads < self._max:
                self._threads += 1
                calls = queue.SimpleQueue()
                threading.Thread(target=self._work, args=(calls,), name="ft-call", daemon=True).start()
            else:
                return None
        calls.put(call)
        return call

    def _work(self, calls: queue.SimpleQueue[Call]) -> None:
        while True:
            try:
                call = calls.get(timeout=self._idle_s)
            except queue.Empty:
                with self._lock:
                    if calls in self._idle:  # nobody has taken this thread meanwhile: it may go
                        self._idle.remove(calls)
                        self._threads -= 1
                        return
                continue
            call.run()
            del call
            with self._lock:
                self._idle.append(calls)


class SideBySide:
    """Runner port: calls side by side, the late ones left behind."""

    def __init__(self, pool: DaemonPool | None = None) -> None:
        self.pool = pool or DaemonPool()

    def side_by_side(
        self,
        calls: Sequence[Callable[[], Any]],
        limit_s: float,
        enough: Callable[[Any], bool] | None = None,
        last_here: bool = False,
    ) -> list[Any]:
        """Results in the order of ``calls``; None for one that was late, raised, or found no free thread.

        limit_s: seconds for all of them together. enough: return at once when it holds for any one result.
        last_here: the last one keeps its own limit for certain; it runs in the calling thread and saves a hand-over.
        """
        deadline_s = time.monotonic() + limit_s
        changed: queue.SimpleQueue[Call] = queue.SimpleQueue()
        beside = calls[:-1] if last_here else calls
        started: list[Call | None] = [self.pool.submit(function, changed.put) for function in beside]
        if last_here and calls:
            started.append(here := Call(calls[-1], changed.put))
            here.run()
        waiting = sum(call is not None for call in started)
        if waiting < len(started):
            _log.error("no free thread for %d of %d calls", len(started) - waiting, len(started))
        while waiting:
            try:
                ended = changed.get(timeout=max(0.0, deadline_s - time.monotonic()))
            except queue.Empty:
                break
            waiting -= 1
            if enough is not None and ended.error is None and enough(ended.result):
                break
        results: list[Any] = []
        for call in started:
            if call is not None and not call.ended.is_set():
                call.cancelled = True
            results.append(call.result if call is not None and call.ended.is_set() else None)
        return results
