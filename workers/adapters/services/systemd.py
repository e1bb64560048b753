"""A systemd unit (spec 6), by ``systemctl``: its standby is an inactive unit.

``systemctl`` and not D-Bus: it is there wherever systemd is, needs no further library, and as a program of its own it can
be killed at its limit. A stop that takes too long is ended by killing every process of the unit: what systemd knows by
its cgroup, whatever the processes did to hide.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

from .common import Common
from .program import SHORTEST_S, ProgramService
from .running import Ended, clean_environ, run

ASK_LIMIT_S = 5.0  # of the question whether the unit exists
STOP_SHARE = 0.7  # of the stop limit; what is left is for killing
NAME_CHARS_MAX = 255
DOCUMENT_BYTES = 8192
TYPES = ("service", "target", "socket", "timer", "mount", "path")
PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "Result",
    "TasksCurrent",
    "LoadError",
    "WantedBy",
)
BOOT_STATES = ("enabled", "enabled-runtime")
# systemd's limit of starts is against loops; a start by order is no loop, and must not fail because of earlier crashes
START = 'systemctl --no-ask-password reset-failed "$1" 2>/dev/null; exec systemctl --no-ask-password start "$1"'
_UNIT = re.compile(rf"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.({'|'.join(TYPES)})", re.ASCII)  # systemd.unit(5)

_log = logging.getLogger(__name__)


class SystemdService(ProgramService):
    """ServicePort over ``systemctl start``, ``stop``, ``kill`` and ``show``."""

    KEYS = REQUIRED = ("unit",)

    def __init__(self, common: Common, *, unit: str) -> None:
        """unit: its full name, as "scheduler.service". Raises ValueError naming the field."""
        valid = isinstance(unit, str) and len(unit) <= NAME_CHARS_MAX and not unit.startswith("-")
        if not valid or not _UNIT.fullmatch(unit):
            types = ", ".join(f".{word}" for word in TYPES)
            raise ValueError(f"unit: must be a unit's name with its type, one of {types} (got {unit!r})")
        if "@." in unit:
            raise ValueError(f"unit: is a template; name an instance of it, as {unit.replace('@.', '@1.')!r}")
        super().__init__(common)
        self._unit = unit
        if common.ask_outside:
            self._check(common.at_boot)

    def _check(self, at_boot: bool) -> None:
        """Raises ValueError when systemd says that this unit cannot be controlled. No answer is no verdict."""
        known, problem = self._show(ASK_LIMIT_S)
        if problem:
            _log.warning("service %s: systemd could not be asked about %s: %s", self.name, self._unit, problem)
            return
        load = known.get("LoadState", "")
        if load == "not-found":
            raise ValueError(f"unit: systemd knows no {self._unit!r}: install it and run systemctl daemon-reload")
        if load == "masked":
            raise ValueError(f"unit: {self._unit!r} is masked: run systemctl unmask {self._unit}")
        if load != "loaded":
            why = known.get("LoadError", "").strip('" ')
            raise ValueError(f"unit: {self._unit!r} is {load or 'not loaded'}: {why or 'see systemctl status'}")
        if known.get("UnitFileState") in BOOT_STATES and not at_boot:
            way = f"run systemctl disable {self._unit}"
            raise ValueError(f"unit: {self._unit!r} is enabled, so it would start at boot on both servers: {way}")
        if known.get("UnitFileState") == "generated" and known.get("WantedBy") and not at_boot:
            way = f"run update-rc.d {self._unit.partition('.')[0]} disable, then systemctl daemon-reload"
            raise ValueError(f"unit: {self._unit!r} is an init script that starts at boot on both servers: {way}")

    def _start_argv(self) -> Sequence[str]:
        return ("/bin/sh", "-c", START, "start", self._unit)

    def _give_up(self, deadline_s: float) -> Ended:
        left_s = deadline_s - time.monotonic()
        ended = self._run(("systemctl", "--no-ask-password", "stop", self._unit), left_s * STOP_SHARE)
        if ended.code is not None:
            return ended
        _log.error("service %s: %s did not stop in time (%s); killing it", self.name, self._unit, ended.output)
        killed = self._run(
            ("systemctl", "--no-ask-password", "kill", "--signal=SIGKILL", self._unit), deadline_s - time.monotonic()
        )
        while time.monotonic() < deadline_s:
            if self._ask(deadline_s - time.monotonic()).state in (ServiceState.STANDBY, ServiceState.DEAD):
                return Ended(code=0, output="killed")
            time.sleep(0.05)
        return Ended(code=None, output=f"{ended.output}; systemctl kill: {killed.output or killed.code}")

    def _ask(self, limit_s: float) -> ServiceReading:
        known, problem = self._show(limit_s)
        if problem:
            return self._reading(ServiceState.UNKNOWN, problem)
        active, sub, result = (known.get(key, "") for key in ("ActiveState", "SubState", "Result"))
        detail = f"{active} ({sub})" + (f", result {result}" if result not in ("", "success") else "")
        if known.get("LoadState") != "loaded" and active == "inactive":
            return self._reading(ServiceState.DEAD, f"{self._unit} is {known.get('LoadState') or 'not known'}")
        if active in ("active", "reloading", "refreshing"):
            return self._reading(ServiceState.ACTIVE)
        if active == "activating":
            if self._failed:
                return self._reading(ServiceState.DEAD, detail)
            return self._reading(ServiceState.STARTING, detail)
        if active == "deactivating":
            return self._reading(ServiceState.STOPPING, detail)
        if active not in ("inactive", "failed"):
            return self._reading(ServiceState.UNKNOWN, f"systemd says {detail}")
        if (left := known.get("TasksCurrent", "")).isdecimal() and 0 < int(left) < 1 << 32:
            return self._reading(ServiceState.UNKNOWN, f"{detail}, but {left} of its processes are left")
        if active == "failed" and self._shared.wanted():
            return self._reading(ServiceState.DEAD, detail)
        return self._reading(ServiceState.STANDBY, "" if active == "inactive" else detail)

    def _show(self, limit_s: float) -> tuple[dict[str, str], str]:
        """(properties of the unit, why there are none)."""
        argv = ("systemctl", "show", *(f"--property={word}" for word in PROPERTIES), self._unit)
        ended = run(argv, clean_environ() | {"LC_ALL": "C"}, max(SHORTEST_S, limit_s), DOCUMENT_BYTES)
        if ended.code != 0:
            return {}, f"systemctl show: {f'exit {ended.code}' if ended.code is not None else ended.output}"
        lines = (line.partition("=") for line in ended.output.splitlines())
        return {key: value for key, found, value in lines if found}, ""
