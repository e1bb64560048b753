"""A service that only knows commands: start, stop, status (spec 5.5: its "standby" is stopped).

Each command is an argument list, never parsed by a shell, in a process group of its own; at its limit the whole group
is killed, so that nothing it started goes on. ``status`` says by its exit code: 0 active, 3 stopped (as LSB init scripts
do), else dead. The commands get FT_EPOCH and FT_LEASE_S, and none of this node's secrets. A start that runs in one
process is known to the others (start_file.py).
"""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

from .start_file import KILL_LIMIT_S, StartFile

STATUS_LIMIT_S = 2.0
FIRST_LOOK_S = 0.2  # how long promote waits for a start that is quick
OUTPUT_BYTES = 300
EXIT_ACTIVE, EXIT_STOPPED = 0, 3
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate")  # the process stays the same, and so its pid

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a command ended. ``code`` is None when it was killed at its limit or could not be started."""

    code: int | None
    output: str = ""


class Running:
    """One command in its own process group, with its limit in seconds."""

    def __init__(self, argv: Sequence[str], environ: dict[str, str], limit_s: float, *, gate: bool = False) -> None:
        """gate: it waits for ``go``, and ends when this process ends before. Raises OSError."""
        self._output: IO[bytes] = tempfile.TemporaryFile()  # not a pipe: a daemon it leaves behind would hold it open
        self._deadline_s = time.monotonic() + limit_s
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._ended: Ended | None = None
        try:
            self._process = subprocess.Popen(
                [*GATE, *argv] if gate else list(argv),
                env=environ,
                stdin=subprocess.PIPE if gate else subprocess.DEVNULL,
                bufsize=0,
                stdout=self._output,
                stderr=subprocess.STDOUT,
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
        start_file: pathlib.Path | None = None,
    ) -> None:
        """Limits in seconds. start_file: what this node's processes share; None when there is but one.

        Raises ValueError naming the field.
        """
        for field, argv in (("start", start), ("stop", stop), ("status", status)):
            if isinstance(argv, (str, bytes)) or not all(isinstance(word, str) for word in argv):
                raise ValueError(f'{field}: must be a list such as ["systemctl", "{field}", "x"] (got {argv!r})')
        self.name, self.start_limit_s, self.stop_limit_s = name, start_limit_s, stop_limit_s
        self._start, self._stop, self._status = start, stop, status
        self._shared = StartFile(start_file, name)
        self._lock = threading.Lock()
        self._starting: Running | None = None
        self._failed = ""
        self._epoch = 0
        self._lease_s = 0.0

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Start it, unless it runs: then it goes on under ``epoch``. Refused below the last epoch of any process."""
        with self._lock:
            demotion = self._shared.demotion()
            if refusal := self._shared.refusal(epoch):
                return self._reading(ServiceState.UNKNOWN, refusal)
            try:
                self._shared.begin(epoch)
            except OSError as error:
                detail = f"not started: nobody could stop it, as its start file cannot be written: {error}"
                return self._reading(ServiceState.UNKNOWN, detail)
            self._epoch, self._lease_s, self._failed = epoch, lease_left_s, ""
            if self._start_runs():
                return self._reading(ServiceState.STARTING)
            now = self._ask_status()
            if now.state is ServiceState.ACTIVE:
                return now
            return self._begin(demotion)

    def _start_runs(self) -> bool:
        """Whether a start command runs, of this or another process of this node."""
        own_runs = self._starting is not None and self._starting.wait(0) is None
        return own_runs or self._shared.running() != 0

    def _begin(self, demotion: int) -> ServiceReading:
        """Start, if no demotion has come since ``demotion``."""
        running: Running | None = None
        try:
            running = Running(self._start, self._environ(), self.start_limit_s, gate=True)
            first = self._shared.starts(running.pid)
        except OSError as error:
            if running is not None:
                running.kill("not noted")
            self._failed = f"cannot be started: {error}"
            return self._reading(ServiceState.DEAD, self._failed)
        if not first:
            running.kill("another start runs")
            return self._reading(ServiceState.STARTING, "a start of another process runs")
        if self._shared.demotion() != demotion:
            running.kill("demoted meanwhile")
            self._shared.ended(running.pid)
            return self._reading(ServiceState.UNKNOWN, "refused: it was demoted meanwhile")
        running.go()
        self._starting = running
        if running.wait(FIRST_LOOK_S) is None:
            # waits on so that the limit is kept though nobody asks
            threading.Thread(target=self._attend, args=[running], name=f"ft-start-{self.name}", daemon=True).start()
            return self._reading(ServiceState.STARTING)
        return self._after_start(running)

    def _attend(self, running: Running) -> None:
        running.wait()
        self._shared.ended(running.pid)

    def _after_start(self, running: Running) -> ServiceReading:
        ended = running.wait(0)
        if ended is None:
            return self._reading(ServiceState.STARTING)
        self._starting = None
        self._shared.ended(running.pid)
        if ended.code != 0:
            self._failed = f"start failed ({'no exit' if ended.code is None else f'exit {ended.code}'}): {ended.output}"
            return self._reading(ServiceState.DEAD, self._failed)
        return self._ask_status()

    def demote(self, epoch: int) -> ServiceReading:
        """Stop it within ``stop_limit_s`` seconds; a start that still runs, in any process, is killed first.

        Refused below the last epoch of this process. Of the other processes' epochs it asks nothing: who stops because a
        lease ran out cannot know them while Redis is frozen.
        """
        deadline_s = time.monotonic() + self.stop_limit_s
        if epoch < self._epoch:
            return self._reading(ServiceState.UNKNOWN, f"refused: epoch {epoch} is below {self._epoch}")
        self._shared.demote(epoch)
        if not self._lock.acquire(timeout=self.stop_limit_s):
            return self._reading(ServiceState.UNKNOWN, "another command has not ended")
        try:
            self._epoch, self._failed = max(epoch, self._epoch), ""
            return self._halt(deadline_s)
        finally:
            self._lock.release()

    def _halt(self, deadline_s: float) -> ServiceReading:
        if self._starting is not None:
            self._starting.kill("stopped while starting")
            self._starting = None
        self._shared.kill(max(0.05, deadline_s - time.monotonic()))
        ended = self._run(self._stop, max(0.05, deadline_s - time.monotonic()))
        if pid := self._shared.running():
            return self._reading(ServiceState.STARTING, f"its start command, process group {pid}, does not end")
        reading = self._ask_status(min(STATUS_LIMIT_S, max(0.1, deadline_s - time.monotonic())))
        if reading.state is ServiceState.STANDBY or ended.code == 0:
            return reading
        return self._reading(reading.state, f"stop failed: {ended.output or ended.code}; {reading.detail}")

    def status(self) -> ServiceReading:
        """What it is now, within STATUS_LIMIT_S seconds."""
        deadline_s = time.monotonic() + STATUS_LIMIT_S
        if not self._lock.acquire(timeout=STATUS_LIMIT_S):
            return self._reading(ServiceState.STOPPING, "a stop or start command is running")
        try:
            if self._starting is not None:
                return self._after_start(self._starting)
            if self._shared.running():
                return self._reading(ServiceState.STARTING, "a start of another process runs")
            reading = self._ask_status(max(0.1, deadline_s - time.monotonic()))
        finally:
            self._lock.release()
        if reading.state is ServiceState.DEAD and self._failed:
            return self._reading(ServiceState.DEAD, self._failed)
        return reading

    def restart(self, own: bool) -> ServiceReading:
        """Stop what is left of it: promote, with its epoch, is what starts. With ``own`` a start that runs goes on."""
        with self._lock:
            if own and self._start_runs():
                return self._reading(ServiceState.STARTING)
            return self._halt(time.monotonic() + self.stop_limit_s)

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = 0.0) -> None:
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
