"""An OCF resource agent (OCF 1.1), the standard of the field: ``agent = "ocf:heartbeat:IPaddr2"`` and its ``params``.

A plain agent is started to own and stopped to own nothing. One that can be promoted is kept started on both nodes, and
is promoted and demoted. What ``monitor`` says:

    exit code           plain agent               promotable agent
    0 running           active                    standby
    7 not running       standby                   dead: on a standby node the watchdog starts it
    8 promoted          unknown                   active
    5 not installed     dead                      dead
    any other           dead while it is to own, so that it is restarted; else unknown: it may still own something

"Unknown" after a failed stop is on purpose: OCF calls such a resource running, so nobody else may start it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Mapping, Sequence

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading

from . import ocf_agent
from .common import Common
from .program import FIRST_LOOK_S, ProgramService
from .running import Ended, Running
from .start_file import StartFile

SUCCESS, NOT_INSTALLED, NOT_RUNNING, RUNNING_PROMOTED = 0, 5, 7, 8
MEANING = {
    1: "OCF_ERR_GENERIC",
    2: "OCF_ERR_ARGS: a parameter is wrong here",
    3: "OCF_ERR_UNIMPLEMENTED",
    4: "OCF_ERR_PERM: this user may not",
    5: "OCF_ERR_INSTALLED: a program that it needs is missing",
    6: "OCF_ERR_CONFIGURED: the configuration is wrong",
    7: "OCF_NOT_RUNNING",
    8: "OCF_RUNNING_PROMOTED",
    9: "OCF_FAILED_PROMOTED",
}
DEMOTE_SHARE = 0.6  # of the stop limit; what is left is for a stop, when demote fails
MONITOR_INTERVAL_MS = 10_000  # what agents are told; 0 would mean a probe, which accepts that programs are missing
CLONE = {  # what agents ask to learn that they are promotable
    "OCF_RESKEY_CRM_meta_promotable": "true",
    "OCF_RESKEY_CRM_meta_clone_max": "2",
    "OCF_RESKEY_CRM_meta_clone_node_max": "1",
    "OCF_RESKEY_CRM_meta_promoted_max": "1",
    "OCF_RESKEY_CRM_meta_master_max": "1",
    "OCF_RESKEY_CRM_meta_notify": "false",
}
# start and promote are one program, so that whoever demotes can end both; a start that is not needed is left out
PROMOTE = (
    'if [ "$2" = started ]; then "$1" monitor; case $? in 8) exit 0;; 0) ;; *) "$1" start || exit $?;; esac; fi;'
    ' exec "$1" "$3"'
)

_log = logging.getLogger(__name__)


class OcfService(ProgramService):
    """ServicePort over an agent's actions."""

    KEYS = ("agent", "params", "check_level", "ocf_root")
    REQUIRED = ("agent",)

    def __init__(
        self,
        common: Common,
        *,
        agent: str,
        params: Mapping[str, Any] | None = None,
        check_level: int = 0,
        ocf_root: str = ocf_agent.OCF_ROOT,
    ) -> None:
        """Raises ValueError naming the field."""
        self._agent = ocf_agent.find(agent, ocf_root)
        texts = ocf_agent.settings_of(params or {})
        if isinstance(check_level, bool) or not isinstance(check_level, int):
            raise ValueError(
                f"check_level: must be a whole number, 0 for the agent's plain monitor (got {check_level!r})"
            )
        super().__init__(common)
        # agents name their state files by it, in a folder that all instances on this server share
        self._resource = f"{common.prefix}-{common.name}" if common.prefix else common.name
        self.promotable = False
        try:
            meta = ocf_agent.read(self._agent, self._resource)
            self.promotable = meta.promotable
            texts = ocf_agent.check(self._agent, meta, texts, check_level)
        except ValueError as error:
            if common.ask_outside:
                raise
            _log.error("service %s: %s", common.name, error)  # stopping it is still tried
        self._variables = {f"OCF_RESKEY_{name}": text for name, text in texts.items()}
        self._check_level = str(check_level)
        self._rise_file = StartFile(
            common.start_file.with_suffix(".standby") if common.start_file else None, f"{common.name} standby"
        )
        self._rising: Running | None = None

    def validate(self) -> str:
        """Run ``validate-all``; why the agent refuses its parameters on this server, or an empty text."""
        ended = self._run((self._agent.path, "validate-all"), ocf_agent.META_LIMIT_S, "validate-all")
        if ended.code in (SUCCESS, 3):  # it need not have the action
            return ""
        return f"validate-all says {_told(ended)}"

    # --- what a kind says

    def _start_argv(self) -> Sequence[str]:
        words = ("started", "promote") if self.promotable else ("", "start")
        return ("/bin/sh", "-c", PROMOTE, "ocf", self._agent.path, *words)

    def _environ(self, action: str) -> dict[str, str]:
        limits_s = {"start": self.start_limit_s, "promote": self.start_limit_s, "monitor": self.status_limit_s}
        interval = MONITOR_INTERVAL_MS if action == "monitor" and self._shared.wanted() else 0
        own = {
            "OCF_CHECK_LEVEL": self._check_level if action == "monitor" else "0",
            "OCF_RESKEY_CRM_meta_interval": str(interval),
            "OCF_RESKEY_CRM_meta_timeout": str(round(1000 * limits_s.get(action, self.stop_limit_s))),
            "OCF_RESKEY_CRM_meta_name": action,
        }
        given = super()._environ(action)
        told = {key: given[key] for key in ("FT_EPOCH", "FT_LEASE_S")}
        clone = CLONE if self.promotable else {}
        return self._agent.environ(self._resource) | told | clone | own | self._variables

    def _give_up(self, deadline_s: float) -> Ended:
        if not self.promotable:
            return self._act("stop", deadline_s - time.monotonic())
        self._end_rise("demoted while it came up")
        before = self._act("monitor", min(self.status_limit_s, (deadline_s - time.monotonic()) / 4))
        if before.code in (SUCCESS, NOT_RUNNING):
            return Ended(code=0)
        demoted = self._act("demote", (deadline_s - time.monotonic()) * DEMOTE_SHARE)
        if demoted.code == SUCCESS:
            return demoted
        _log.error("service %s: demote failed (%s); stopping it", self.name, _told(demoted))
        stopped = self._act("stop", deadline_s - time.monotonic())
        return stopped if stopped.code == SUCCESS else Ended(code=stopped.code, output=_told(stopped))

    def _ask(self, limit_s: float) -> ServiceReading:
        if self.promotable and self._rises():
            return self._reading(ServiceState.UNKNOWN, "it is being started as standby")
        ended = self._act("monitor", limit_s)
        if ended.code is None:
            return self._reading(ServiceState.UNKNOWN, f"monitor {ended.output}")
        if ended.code == SUCCESS:
            return self._reading(ServiceState.STANDBY if self.promotable else ServiceState.ACTIVE)
        if ended.code == NOT_RUNNING:
            if self.promotable:
                return self._reading(ServiceState.DEAD, "it is not started")
            return self._reading(ServiceState.STANDBY)
        if ended.code == RUNNING_PROMOTED and self.promotable:
            return self._reading(ServiceState.ACTIVE)
        if ended.code == NOT_INSTALLED or self._shared.wanted() or (self.promotable and ended.code == 1):
            return self._reading(ServiceState.DEAD, f"monitor says {_told(ended)}")
        return self._reading(ServiceState.UNKNOWN, f"it may still own something: monitor says {_told(ended)}")

    def _halt(self, deadline_s: float) -> ServiceReading:
        reading = super()._halt(deadline_s)
        if reading.state is ServiceState.DEAD and reading.detail.startswith("stop failed"):
            return self._reading(ServiceState.UNKNOWN, reading.detail)
        return reading

    # --- a promotable agent stays started

    def _begin(self, demotion: int) -> ServiceReading:
        self._end_rise("promoted while it came up")
        return super()._begin(demotion)

    def restart(self, own: bool) -> ServiceReading:
        """Stop it; a promotable one that is not to own is then started, beside the caller."""
        if not self.promotable:
            return super().restart(own)
        with self._lock:
            if own and self._start_runs():
                return self._reading(ServiceState.STARTING)
            if not own and self._rises():
                return self._reading(ServiceState.UNKNOWN, "it is being started as standby")
            deadline_s = time.monotonic() + self.stop_limit_s
            reading = self._halt(deadline_s)
            if reading.state is ServiceState.ACTIVE:
                return reading
            stopped = self._act("stop", deadline_s - time.monotonic())
            if stopped.code != SUCCESS:
                return self._reading(ServiceState.UNKNOWN, f"stop failed: {_told(stopped)}")
            return self._ask(self.status_limit_s) if own else self._rise()

    def _rise(self) -> ServiceReading:
        """Start it as standby. It owns nothing by that, so no epoch is asked."""
        try:
            running = Running((self._agent.path, "start"), self._environ("start"), self.start_limit_s, gate=True)
        except OSError as error:
            return self._reading(ServiceState.DEAD, f"cannot be started: {error}")
        try:
            first = self._rise_file.starts(running.pid)
        except OSError as error:
            running.kill("not noted")
            return self._reading(ServiceState.DEAD, f"not started: its start file cannot be written: {error}")
        if not first:
            running.kill("another start runs")
            return self._reading(ServiceState.UNKNOWN, "it is being started as standby")
        running.go()
        self._rising = running
        if running.wait(FIRST_LOOK_S) is None:
            threading.Thread(target=self._attend_rise, args=[running], name=f"ft-rise-{self.name}", daemon=True).start()
        else:
            self._rise_file.ended(running.pid)
        return self._ask(self.status_limit_s)

    def _attend_rise(self, running: Running) -> None:
        ended = running.wait()
        self._rise_file.ended(running.pid)
        if ended is not None and ended.code != SUCCESS:
            _log.error("service %s: start as standby failed: %s", self.name, _told(ended))

    def _rises(self) -> bool:
        return self._rise_file.running() != 0

    def _end_rise(self, why: str) -> None:
        rising, self._rising = self._rising, None
        if rising is not None:
            rising.kill(why)
        self._rise_file.kill(FIRST_LOOK_S)

    def _act(self, action: str, limit_s: float) -> Ended:
        return self._run((self._agent.path, action), limit_s, action)


def _told(ended: Ended) -> str:
    """An exit code in the words of OCF, and what the agent said."""
    if ended.code is None:
        return ended.output
    name = MEANING.get(ended.code, "")
    return f"exit {ended.code}" + (f" ({name})" if name else "") + (f": {ended.output}" if ended.output else "")
