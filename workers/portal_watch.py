"""The own portal, watched and restarted as services are (spec 6, guide 6.3.4.1: the framework is restarted by the agent).

Alive means that ``/live`` answers (the LAN probe asks it). Only silence makes the watchdog ask the portal's controller:

    nothing runs, and nobody is starting it      dead at the second look: its own supervisor would have acted meanwhile
    it runs, starts, stops or cannot be told     dead after the portal restart time: so long a restart by whomever may take
    this process or the portal has just begun    the portal restart time too

So no supervisor is fought, and a portal that was just restarted gets its time. R restarts in a window, then growing gaps, as
for a service (``core.watchdog.judge``). An active server whose portal stays dead hands over by P1, whatever is done here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ftplugin.config import NodeConfig
from ftplugin.core.daily import Times
from ftplugin.core.terms import ServiceState, Tri
from ftplugin.core.timing import Timing
from ftplugin.core.view import ServiceReading
from ftplugin.core.watchdog import Condition, Limits, Trouble, judge

from .ports import Clock, LanPort, Ports, ServicePort

LOOKS = 2  # so often a portal that does not run must be seen before it is restarted
ANSWERS_MISSED = 3  # of /live, before the portal counts as silent
POLL_S = 0.1
STOPPED = (ServiceState.STANDBY, ServiceState.DEAD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Restarted:
    """How a restart went. ``problem``: "" when the portal answers again. ``duration_s``: from the stop until then."""

    problem: str
    duration_s: float


class PortalControl:
    """Restarts the portal, one restart at a time: the watchdog and the daily restart share it."""

    def __init__(self, service: ServicePort, *, clock: Clock, lan: LanPort) -> None:
        self._service, self._clock, self._lan = service, clock, lan
        self._lock = threading.Lock()
        self._epoch = 0  # of this process alone: a controller wants its orders numbered
        self.begun_s = clock.now_s()  # when it last was given time to come up, CLOCK_BOOTTIME

    def status(self) -> ServiceReading | None:
        """What its controller says; None while a restart is under way."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._service.status()
        finally:
            self._lock.release()

    def seen_s(self) -> float | None:
        """When the portal last answered, CLOCK_BOOTTIME."""
        return self._lan.portal_seen_s()

    def restart(self, limit_s: float) -> Restarted:
        """Stop it, start it, and wait until it answers, ``limit_s`` seconds from the start at most."""
        with self._lock:
            began_s = self._clock.now_s()
            problem = self._anew() or self._wait(limit_s)
            return Restarted(problem=problem, duration_s=self._clock.now_s() - began_s)

    def _anew(self) -> str:
        self._epoch += 1
        stopped = self._service.demote(self._epoch)
        if stopped.state not in STOPPED:
            self.begun_s = self._clock.now_s()
            return f"the portal did not stop: it is {stopped.state} {stopped.detail}".rstrip()
        self._epoch += 1
        self.begun_s = self._clock.now_s()
        started = self._service.promote(self._epoch, 0.0)
        if started.state is ServiceState.DEAD:
            return f"the portal did not start: {started.detail or started.state}"
        return ""

    def _wait(self, limit_s: float) -> str:
        end_s = self.begun_s + limit_s
        while (seen_s := self._lan.portal_seen_s()) is None or seen_s < self.begun_s:
            if self._clock.now_s() >= end_s:
                reading = self._service.status()
                said = f"{reading.state} {reading.detail}".rstrip()
                return (
                    f"the portal did not answer /live within {limit_s:.0f} s of its start; its controller says {said}"
                )
            self._clock.sleep(POLL_S)
        return ""


class PortalWatch:
    """The watchdog of the portal. ``turn`` is called every FT_WATCHDOG_INTERVAL_S."""

    def __init__(self, control: PortalControl, *, config: NodeConfig, ports: Ports) -> None:
        self._control, self._settings, self._clock = control, ports.settings, ports.clock
        self._lan, self._log = ports.lan, ports.log
        self._limits = Limits(restarts_max=config.watchdog_restarts_max, window_s=config.watchdog_window_s)
        self._trouble = Trouble()
        self._stopped_looks = 0

    def turn(self) -> None:
        """One look; restarts the portal when it is dead, which takes as long as that takes."""
        condition, detail = self._condition()
        now_s = self._clock.now_s()
        self._trouble, verb = judge(self._trouble, condition, now_s=now_s, limits=self._limits)
        if verb:
            sentence = self._sentence(verb, detail, now_s)
            self._log.report("watchdog", sentence)
            if verb == "give up":
                self._log.event("alarm", text=sentence)
        if verb == "restart":
            self._restart()

    def _restart(self) -> None:
        found = self._control.restart(Times.of(self._settings.current()[1]).portal_limit_s)
        self._stopped_looks = 0
        told = found.problem or "it answers again"
        self._log.report("watchdog", f"portal restarted, {found.duration_s:.1f} s: {told}")
        facts = {"ok": not found.problem, "duration_s": round(found.duration_s, 3), "detail": found.problem}
        self._log.event("portal_restart", **facts)
        if found.problem:
            self._log.event("alarm", text=f"the restart of the portal has failed: {found.problem}")

    def _condition(self) -> tuple[Condition, str]:
        """(condition, what is wrong)."""
        settings = self._settings.current()[1]
        timing, grace_s = Timing.of(settings), Times.of(settings).portal_limit_s
        now_s, seen_s, begun_s = self._clock.now_s(), self._control.seen_s(), self._control.begun_s
        was_up = seen_s is not None and seen_s >= begun_s
        silent_s = now_s - max(begun_s, seen_s or begun_s)
        if was_up and silent_s <= ANSWERS_MISSED * timing.portal_period_s + timing.network_s:
            self._stopped_looks = 0
            return Condition.WELL, ""
        if self._lan.reading().carrier is Tri.NO:
            return Condition.OPEN, ""  # the own address is away: nobody could tell that it answers
        if not was_up and silent_s < grace_s:
            return Condition.OPEN, "it has not come up yet"
        reading = self._control.status()
        if reading is None:
            return Condition.OPEN, "it is being restarted"
        self._stopped_looks = self._stopped_looks + 1 if reading.state in STOPPED else 0
        said = f"{reading.state} {reading.detail}".rstrip()
        detail = f"no answer from /live for {silent_s:.0f} s, its controller says {said}"
        if self._stopped_looks >= LOOKS:
            return Condition.WRONG, f"no answer from /live for {silent_s:.0f} s, and it does not run"
        return (Condition.WRONG if silent_s >= grace_s else Condition.OPEN), detail

    def _sentence(self, verb: str, detail: str, now_s: float) -> str:
        limits, trouble = self._limits, self._trouble
        if verb == "recovered":
            return f"the portal was well for {limits.window_s:.0f} s: its fault is over"
        if verb == "give up":
            again_s = trouble.next_s - now_s
            return (
                f"the portal is dead ({detail}) after {limits.restarts_max} restarts in {limits.window_s:.0f} s: given up, "
                f"look at it; it is tried again in {again_s:.0f} s, then at growing gaps"
            )
        if trouble.given_up:
            return f"the portal is dead ({detail}): given up, restarting it once more (try {trouble.tries})"
        return f"the portal is dead ({detail}): restarting it ({len(trouble.restarts_s)} of {limits.restarts_max})"
