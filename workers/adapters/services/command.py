"""A service that only knows commands: start, stop, status (spec 5.5: its "standby" is stopped).

Each command is an argument list, never parsed by a shell, in a process group of its own; at its limit the whole group
is killed, so that nothing it started goes on. ``status`` says by its exit code: 0 active, 3 stopped (as LSB init scripts
do); 4, and what a shell says of a program that did not run or was killed: it could not be told; else dead. The commands
get FT_EPOCH and FT_LEASE_S, and none of this node's secrets.
"""

from __future__ import annotations

import time
from typing import Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

from .common import Common
from .program import ProgramService
from .running import Ended

EXIT_ACTIVE, EXIT_STOPPED = 0, 3
EXIT_UNTOLD = (4, 126, 127)  # LSB: "unknown"; sh(1): cannot be run, not found. From 128 on, or below 0: killed
_STATES = {EXIT_ACTIVE: ServiceState.ACTIVE, EXIT_STOPPED: ServiceState.STANDBY}


class CommandService(ProgramService):
    """ServicePort by three commands."""

    KEYS = REQUIRED = ("start", "stop", "status")

    def __init__(self, common: Common, *, start: Sequence[str], stop: Sequence[str], status: Sequence[str]) -> None:
        """Raises ValueError naming the field."""
        for field, argv in (("start", start), ("stop", stop), ("status", status)):
            listed = isinstance(argv, (list, tuple)) and argv
            if not listed or not all(isinstance(word, str) and "\0" not in word for word in argv):
                raise ValueError(f'{field}: must be a list such as ["asteriskctl", "{field}"] (got {argv!r})')
        super().__init__(common)
        self._start, self._stop, self._status = start, stop, status

    def _start_argv(self) -> Sequence[str]:
        return self._start

    def _give_up(self, deadline_s: float) -> Ended:
        return self._run(self._stop, deadline_s - time.monotonic())

    def _ask(self, limit_s: float) -> ServiceReading:
        ended = self._run(self._status, limit_s)
        if ended.code is None:
            return self._reading(ServiceState.UNKNOWN, ended.output)
        detail = ended.output or (f"status exit {ended.code}" if ended.code not in _STATES else "")
        told = ended.code not in EXIT_UNTOLD and 0 <= ended.code < 128  # else it may run, and own
        return self._reading(_STATES.get(ended.code, ServiceState.DEAD if told else ServiceState.UNKNOWN), detail)
