"""A service that only knows commands: start, stop, status (spec 5.5: its "standby" is stopped).

Each command is an argument list, no shell, in a process group of its own; at its limit the whole group is killed,
so that nothing it started goes on. ``status`` says by its exit code: 0 active, 3 stopped (as LSB init scripts do),
else dead. The commands get FT_EPOCH and FT_LEASE_S, and none of this node's secrets.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

STATUS_LIMIT_S = 2.0
FIRST_LOOK_S = 0.2  # how long promote waits for a start that is quick
OUTPUT_BYTES = 300
EXIT_ACTIVE, EXIT_STOPPED = 0, 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended. ``code`` is None when it was killed at its limit or could not be started."""

    code: int | None
    output: str = ""


class Running:
    """One command in its own process group, with its limit in seconds."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str], limit_s: float) -> None:
        """Raises OSError when it cannot be started."""
        self._output: IO[bytes] = tempfile.TemporaryFile()  # not a pipe: a daemon it leaves behind would hold it open
        self._deadline_s = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._ended: Ended | None = None
        try:
            self._process = subprocess.Popen(
                list(argv),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
        except OSError:
            self._output.close()
            raise

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
                self._process.wait()
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
        size = os.fstat(self._output.fileno()).st_size
        raw = os.pread(self._output.fileno(), OUTPUT_BYTES, max(0, size - OUTPUT_BYTES))
        return " / ".join(raw.decode("utf-8", "replace").split("\n")).strip(" /")


class CommandService:
    """ServicePort by commands. A start runs on beside the caller; ``status`` says "starting" until it has ended."""

    def __init__(
        self,
        *,
        name: str,
        start: Sequence[str],
        stop: Sequence[str],
        status: Sequence[str],
        start_limit_s: float,
        stop_limit_s: float,
        restart: Sequence[str] = (),
    ) -> None:
        """Limits in seconds. Raises ValueError naming the field."""
        for field, argv in (("start", start), ("stop", stop), ("status", status), ("restart", restart)):
            if isinstance(argv, (str, bytes)) or not all(isinstance(word, str) for word in argv):
                raise ValueError(f'{field}: must be a list such as ["systemctl", "{field}", "x"] (got {argv!r})')
        self.name, self.start_limit_s, self.stop_limit_s = name, start_limit_s, stop_limit_s
        self._start, self._stop, self._status, self._restart = start, stop, status, restart
        self._lock = threading.Lock()
        self._starting: Running | None = None
        self._failed = ""
        self._epoch = 0
        self._lease_s = 0.0

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Start it, unless it runs: then it goes on under ``epoch``. A lower epoch than the last is refused."""
        with self._lock:
            if epoch < self._epoch:
                return self._reading(ServiceState.UNKNOWN, f"refused: epoch {epoch} is below {self._epoch}")
            self._epoch, self._lease_s, self._failed = epoch, lease_left_s, ""
            if self._starting is not None and self._starting.wait(0) is None:
                return self._reading(ServiceState.STARTING)
            now = self._ask_status()
            if now.state is ServiceState.ACTIVE:
                return now
            return self._begin(self._start, FIRST_LOOK_S)

    def _begin(self, argv: Sequence[str], look_s: float) -> ServiceReading:
        try:
            running = Running(argv, self._environ(), self.start_limit_s)
        except OSError as error:
            self._failed = f"cannot be started: {error}"
            return self._reading(ServiceState.DEAD, self._failed)
        self._starting = running
        if running.wait(look_s) is None:
            # waits on so that the limit is kept though nobody asks
            threading.Thread(target=running.wait, name=f"ft-start-{self.name}", daemon=True).start()
            return self._reading(ServiceState.STARTING)
        return self._after_start(running)

    def _after_start(self, running: Running) -> ServiceReading:
        ended = running.wait(0)
        if ended is None:
            return self._reading(ServiceState.STARTING)
        self._starting = None
        if ended.code != 0:
            self._failed = f"start failed ({'no exit' if ended.code is None else f'exit {ended.code}'}): {ended.output}"
            return self._reading(ServiceState.DEAD, self._failed)
        return self._ask_status()

    def demote(self, epoch: int) -> ServiceReading:
        """Stop it within ``stop_limit_s`` seconds; a start that still runs is killed first."""
        deadline_s = time.monotonic() + self.stop_limit_s
        with self._lock:
            if epoch < self._epoch:
                return self._reading(ServiceState.UNKNOWN, f"refused: epoch {epoch} is below {self._epoch}")
            self._epoch, self._failed = epoch, ""
            if self._starting is not None:
                self._starting.kill("stopped while starting")
                self._starting = None
            ended = self._run(self._stop, max(0.05, deadline_s - time.monotonic()))
            limit_s = min(STATUS_LIMIT_S, max(0.1, deadline_s - time.monotonic()))
            reading = self._ask_status(limit_s)
            if reading.state is ServiceState.STANDBY or ended.code == 0:
                return reading
            return self._reading(reading.state, f"stop failed: {ended.output or ended.code}; {reading.detail}")

    def status(self) -> ServiceReading:
        if not self._lock.acquire(timeout=STATUS_LIMIT_S):
            return self._reading(ServiceState.STOPPING, "a stop or start command is running")
        try:
            if self._starting is not None:
                return self._after_start(self._starting)
            reading = self._ask_status()
        finally:
            self._lock.release()
        if reading.state is ServiceState.DEAD and self._failed:
            return self._reading(ServiceState.DEAD, self._failed)
        return reading

    def restart(self) -> ServiceReading:
        """The restart command, or stop and start; what is known shortly after."""
        with self._lock:
            if self._starting is not None:
                return self._after_start(self._starting)
            if self._restart:
                return self._begin(self._restart, FIRST_LOOK_S)
            self._run(self._stop, self.stop_limit_s)
            return self._begin(self._start, FIRST_LOOK_S)

    def renew(self, epoch: int, lease_left_s: float) -> None:
        """Such a service knows no lease: the guard watches it."""

    def _ask_status(self, limit_s: float = STATUS_LIMIT_S) -> ServiceReading:
        ended = self._run(self._status, limit_s)
        if ended.code is None:
            return self._reading(ServiceState.UNKNOWN, ended.output)
        states = {EXIT_ACTIVE: ServiceState.ACTIVE, EXIT_STOPPED: ServiceState.STANDBY}
        detail = ended.output or (f"status exit {ended.code}" if ended.code not in states else "")
        return self._reading(states.get(ended.code, ServiceState.DEAD), detail)

    def _run(self, argv: Sequence[str], limit_s: float) -> Ended:
        try:
            ended = Running(argv, self._environ(), limit_s).wait()
        except OSError as error:
            return Ended(code=None, output=f"cannot be run: {error}")
        return ended or Ended(code=None, output="did not end")

    def _environ(self) -> dict[str, str]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("FT_")}
        return environ | {"FT_EPOCH": str(self._epoch), "FT_LEASE_S": f"{self._lease_s:.3f}"}

    def _reading(self, state: ServiceState, detail: str = "") -> ServiceReading:
        values: dict[str, Any] = {"name": self.name, "state": state, "detail": detail[:OUTPUT_BYTES]}
        return ServiceReading(**values)
