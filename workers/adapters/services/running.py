"""One program of a service in a process group of its own: it ends within its limit, and all that it started with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, Sequence

from .start_file import KILL_LIMIT_S

OUTPUT_BYTES = 300
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate")  # the process stays the same, and so its pid

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended. ``code`` is None when it was killed at its limit or could not be started."""

    code: int | None
    output: str = ""


class Running:
    """One command in its own process group, with its limit in seconds."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: dict[str, str],
        limit_s: float,
        *,
        gate: bool = False,
        document_bytes: int = 0,
    ) -> None:
        """gate: it waits for ``go``, and ends when this process ends before. document_bytes: its output is a document: so
        much of it is kept as it is, without what goes to stderr; 0: the end of all it says, in one line. Raises OSError.
        """
        self._document_bytes = document_bytes
        self._output: IO[bytes] = tempfile.TemporaryFile()  # not a pipe: a daemon it leaves behind would hold it open
        self._deadline_s = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._ended: Ended | None = None
        try:
            self._process = subprocess.Popen(  # nosec B603 # by the administrator's configuration, no shell
                [*GATE, *argv] if gate else list(argv),
                env=environ,
                stdin=subprocess.PIPE if gate else subprocess.DEVNULL,
                bufsize=0,
                stdout=self._output,
                stderr=subprocess.DEVNULL if document_bytes else subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        except OSError:
            self._output.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def go(self) -> None:
        """Open the gate."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(b"go\n")
            except BrokenPipeError:
                _log.debug("command %d was ended at its gate", self.pid)
            self._process.stdin.close()

    def wait(self, seconds: float | None = None) -> Ended | None:
        """How it ended; None while it runs on after ``seconds``. At its own limit its group is killed."""
        left_s = max(0.0, self._deadline_s - time.monotonic())
        if self._ended is None:
            try:
                self._process.wait(left_s if seconds is None else min(seconds, left_s))
            except subprocess.TimeoutExpired:
                if time.monotonic() < self._deadline_s:
                    return None
                return self.kill(f"killed after its limit of {self._limit_s:g} s")
            return self._end(self._process.returncode, "")
        return self._ended

    def kill(self, why: str) -> Ended:
        """End the whole group at once."""
        with self._lock:
            if self._ended is None and self._process.poll() is None:
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    _log.debug("command group %d had ended already", self._process.pid)
                try:
                    self._process.wait(KILL_LIMIT_S)
                except subprocess.TimeoutExpired:
                    _log.error("command %d was killed and does not end; it waits for a device", self._process.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return self._end(None, why)

    def _end(self, code: int | None, why: str) -> Ended:
        """First come, first kept: the caller, the thread that keeps the limit and a demotion may all end it."""
        with self._lock:
            if self._ended is None:
                tail = self._tail()
                self._ended = Ended(code=code, output=": ".join(filter(None, (why, tail))))
                self._output.close()
            return self._ended

    def _tail(self) -> str:
        if self._document_bytes:
            return os.pread(self._output.fileno(), self._document_bytes, 0).decode("utf-8", "replace")
        size = os.fstat(self._output.fileno()).st_size
        raw = os.pread(self._output.fileno(), OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
        return " / ".join(raw.decode("utf-8", "replace").split("\n")).strip(" /")


def run(argv: Sequence[str], environ: dict[str, str], limit_s: float, document_bytes: int = 0) -> Ended:
    """Run one program to its end or its limit; one that cannot be run has ended too, and says why."""
    try:
        ended = Running(argv, environ, limit_s, document_bytes=document_bytes).wait()
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        return Ended(code=None, output=f"cannot be run: {error}")
    return ended or Ended(code=None, output="did not end")


def clean_environ() -> dict[str, str]:
    """This process's environment without the node's own keys: no secret of the node goes to a service."""
    return {key: value for key, value in os.environ.items() if not key.startswith("FT_")}
