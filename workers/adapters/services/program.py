"""A service that is started and stopped by programs: what commands, systemd units and OCF agents share.

Its "standby" is stopped (spec 5.5), unless its kind says otherwise. A start that runs in one process is known to the
others (start_file.py), so that any of them can end it.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from typing import Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

from .common import Common
from .running import OUTPUT_BYTES, Ended, Running, clean_environ, run
from .start_file import StartFile

FIRST_LOOK_S = 0.2  # how long promote waits for a start that is quick
LOOK_SHARE, LOOK_S_MAX = 0.15, 0.5  # of the stop limit: kept for the question whether it has stopped
SHORTEST_S = 0.05  # what a program gets although the limit is used up: killing it at once would tell nothing

_log = logging.getLogger(__name__)


class Flight:
    """A status command that runs, for all who want its answer."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.reading: ServiceReading | None = None


class ProgramService(ABC):
    """ServicePort by programs. A start runs on beside the caller; ``status`` says "starting" until it has ended."""

    def __init__(self, common: Common) -> None:
        self.name = common.name
        self.start_limit_s, self.stop_limit_s = common.start_limit_s, common.stop_limit_s
        self.status_limit_s = common.status_limit_s
        self._shared = StartFile(common.start_file, common.name)
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._flight: Flight | None = None
        self._turn = 0  # changes with each order, so that a status asked before it is asked again
        self._starting: Running | None = None
        self._failed = ""
        self._epoch = 0
        self._lease_s = 0.0

    # --- what a kind says

    @abstractmethod
    def _start_argv(self) -> Sequence[str]:
        """The program that makes it own."""

    @abstractmethod
    def _give_up(self, deadline_s: float) -> Ended:
        """Make it own nothing; ``deadline_s`` in CLOCK_MONOTONIC. Exit code 0: done."""

    @abstractmethod
    def _ask(self, limit_s: float) -> ServiceReading:
        """What it is now, a start that runs left out of account."""

    def _environ(self, action: str) -> dict[str, str]:
        return clean_environ() | {"FT_EPOCH": str(self._epoch), "FT_LEASE_S": f"{self._lease_s:.3f}"}

    # --- the port

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Start it, unless it runs: then it goes on under ``epoch``. Refused below the last epoch of any process."""
        with self._lock:
            demotion = self._shared.demotion()
            if refusal := self._shared.begin(epoch):
                return self._reading(ServiceState.UNKNOWN, refusal)
            self._epoch, self._lease_s, self._failed = epoch, lease_left_s, ""
            self._turn += 1
            if self._start_runs():
                return self._reading(ServiceState.STARTING)
            now = self._ask(self.status_limit_s)
            if now.state is ServiceState.ACTIVE:
                return now
            return self._begin(demotion)

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

    def status(self) -> ServiceReading:
        """What it is now, within ``status_limit_s`` seconds. A status that hangs holds up no promotion and no demotion."""
        deadline_s = time.monotonic() + self.status_limit_s
        while True:
            if not self._lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                return self._reading(ServiceState.STOPPING, "a stop or start command is running")
            try:
                turn, reading = self._turn, self._start_told()
            finally:
                self._lock.release()
            if reading is not None:
                return reading
            reading = self._ask_once(max(0.1, deadline_s - time.monotonic()))
            if turn == self._turn or time.monotonic() >= deadline_s:
                return self._with_failure(reading)

    def _ask_once(self, limit_s: float) -> ServiceReading:
        """One question at a time: who asks meanwhile gets the same answer, and no share of the limit."""
        with self._asking:
            flight, leads = self._flight, self._flight is None
            if flight is None:
                flight = self._flight = Flight()
        if leads:
            try:
                flight.reading = self._ask(limit_s)
            finally:
                with self._asking:
                    self._flight = None
                flight.ended.set()
        elif not flight.ended.wait(limit_s):
            return self._reading(ServiceState.UNKNOWN, "another status command has not ended")
        return flight.reading or self._reading(ServiceState.UNKNOWN, "the status command failed")

    def restart(self, own: bool) -> ServiceReading:
        """Stop what is left of it: promote, with its epoch, is what starts. With ``own`` a start that runs goes on."""
        with self._lock:
            if own and self._start_runs():
                return self._reading(ServiceState.STARTING)
            return self._halt(time.monotonic() + self.stop_limit_s)

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = 0.0) -> None:
        """Such a service knows no lease: the guard watches it."""

    # --- starting

    def _start_runs(self) -> bool:
        """Whether a start command runs, of this or another process of this node."""
        own_runs = self._starting is not None and self._starting.wait(0) is None
        return own_runs or self._shared.running() != 0

    def _begin(self, demotion: int) -> ServiceReading:
        """Start, if no demotion has come since ``demotion``."""
        running: Running | None = None
        try:
            running = Running(self._start_argv(), self._environ("start"), self.start_limit_s, gate=True)
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
        return self._start_told() or self._ask(self.status_limit_s)

    def _attend(self, running: Running) -> None:
        running.wait()
        self._shared.ended(running.pid)

    def _start_told(self) -> ServiceReading | None:
        """What a start that runs, or has failed since it was looked at, says; None: the service must be asked."""
        running = self._starting
        if running is None:
            if self._shared.running():
                return self._reading(ServiceState.STARTING, "a start of another process runs")
            return None
        ended = running.wait(0)
        if ended is None:
            return self._reading(ServiceState.STARTING)
        self._starting = None
        self._shared.ended(running.pid)
        if ended.code != 0:
            self._failed = f"start failed ({'no exit' if ended.code is None else f'exit {ended.code}'}): {ended.output}"
            return self._reading(ServiceState.DEAD, self._failed)
        return None

    def _with_failure(self, reading: ServiceReading) -> ServiceReading:
        """A failed start is remembered as the reason why it is dead, for as long as it is to own."""
        over = reading.state is ServiceState.DEAD or (reading.state is ServiceState.STANDBY and self._shared.wanted())
        if over and self._failed:
            return self._reading(ServiceState.DEAD, self._failed)
        return reading

    # --- stopping

    def _halt(self, deadline_s: float) -> ServiceReading:
        self._turn += 1
        if self._starting is not None:
            self._starting.kill("stopped while starting")
            self._starting = None
        self._shared.kill(_left_s(deadline_s))
        ended = self._give_up(deadline_s - min(LOOK_S_MAX, LOOK_SHARE * self.stop_limit_s))
        if pid := self._shared.running():
            return self._reading(ServiceState.STARTING, f"its start command, process group {pid}, does not end")
        reading = self._ask(min(self.status_limit_s, max(0.1, deadline_s - time.monotonic())))
        if reading.state is ServiceState.STANDBY or ended.code == 0:
            return reading
        return self._reading(reading.state, f"stop failed: {ended.output or ended.code}; {reading.detail}")

    def _run(self, argv: Sequence[str], limit_s: float, action: str = "") -> Ended:
        return run(argv, self._environ(action), max(SHORTEST_S, limit_s))

    def _reading(self, state: ServiceState, detail: str = "") -> ServiceReading:
        return ServiceReading(name=self.name, state=state, detail=detail[:OUTPUT_BYTES])


def _left_s(deadline_s: float) -> float:
    return max(SHORTEST_S, deadline_s - time.monotonic())
