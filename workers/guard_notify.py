"""The guard's word to systemd (sd_notify(3)): "ready", and again and again "alive", from its own loop.

Sent by the loop and not by a thread: a thread goes on while the loop hangs. systemd then kills the guard and starts it
anew (``WatchdogSec=``). A datagram never waits for its reader.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import Mapping

SHARE = 4  # words in each watchdog period
ROUNDS = 2  # the period is at least so many times the longest that one step of the loop may take

_log = logging.getLogger("workers.guard")


class Notifier:
    """``address``: of systemd's socket, as NOTIFY_SOCKET has it; empty: nobody listens. ``watchdog_s``: after so long a
    silence systemd acts; 0: it does not watch."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = watchdog_s
        self._due_s = 0.0
        self._said = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; a period that is no number counts as none."""
        meant = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        period = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(period) / 1e6 if meant and period.isdecimal() else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    def ready(self, step_s: float) -> None:
        """The loop begins. step_s: the longest that one of its steps may take, in seconds, as the stop of a service: a
        shorter watchdog period is made longer, since that guard does not hang, it waits."""
        words = "READY=1"
        if 0 < self._watchdog_s < ROUNDS * step_s:
            self._watchdog_s = ROUNDS * step_s
            words += f"\nWATCHDOG_USEC={int(self._watchdog_s * 1e6)}"
        self._send(words)

    def alive(self) -> None:
        """One more turn of the loop. Sends a quarter of the period after the last word, and costs nothing in between."""
        now_s = time.monotonic()
        if self._watchdog_s > 0 and now_s >= self._due_s:
            self._due_s = now_s + self._watchdog_s / SHARE
            self._send("WATCHDOG=1")

    def needs(self, limit_s: float) -> None:
        """A start or stop that takes longer than its unit says: from now on at most ``limit_s`` seconds."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(limit_s * 1e6)}")

    def stopping(self) -> None:
        """The loop has ended as asked."""
        self._send("STOPPING=1")

    def _send(self, words: str) -> None:
        """A failure is said once; systemd then restarts a guard that it does not hear."""
        if self._socket is None:
            return
        try:
            self._socket.sendto(words.encode(), socket.MSG_DONTWAIT, self._address)
            self._said = False
        except OSError as error:
            if not self._said:
                self._said = True
                _log.warning("systemd (NOTIFY_SOCKET) was not told %s: %s", words.splitlines()[0], error)
