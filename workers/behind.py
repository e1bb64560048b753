"""Writes of the guard that it does not wait for: when its disk hangs, the services must stop owning all the same."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Behind:
    """Makes calls one after the other on a daemon thread of its own."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return len(self._waiting)

    def run(self, call: Callable[[], None]) -> None:
        """Comes back at once."""
        with self._changed:
            self._waiting.append(call)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="ft-behind", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # no more threads here: the next call tries again
                    _log.error("nothing can be written: %s", error)
                    return
                self._thread = thread
            self._changed.notify_all()

    def finish(self, limit_s: float) -> None:
        """Wait until all calls are made, for ``limit_s`` seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, limit_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                self._busy, call = True, self._waiting.popleft()
            try:
                call()
            except Exception:  # the next one may go well
                _log.exception("a write failed")
