"""The threads beside the task pool: lease timer, health checks, and the check that ticks still run."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import redis

from ftplugin.store.runtime import connect

if TYPE_CHECKING:
    from ftplugin.core.futures import Now

    from .node import Node

LIVENESS_POLL_S = 1.0
LIVENESS_S_MIN = 5.0
LIVENESS_INTERVALS = 4
STALL_S = 3.0  # a poll this late means that this process itself was stopped: the count starts again
EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h: the supervisor restarts us
logger = logging.getLogger(__name__)


class Periodic(threading.Thread):
    """Calls ``work`` at a fixed rate of the monotonic clock; ``period_s`` is asked again before each wait.

    A call that takes longer than its period is followed at once by one call, never by several. What ``work`` raises is
    logged when it changes, and the loop goes on. ``wake``: the next call comes at once.
    """

    def __init__(self, name: str, work: Callable[[], Any], period_s: Callable[[], float]) -> None:
        super().__init__(name=name, daemon=True)
        self._work, self._period_s = work, period_s
        self._bell, self._stopped = threading.Event(), False
        self._said = ""

    def run(self) -> None:
        due_s = time.monotonic()
        period_s = 1.0
        while True:
            woken = self._bell.wait(max(0.0, due_s - time.monotonic()))
            if self._stopped:
                return
            self._bell.clear()
            if woken:
                due_s = time.monotonic()
            try:
                self._work()
                period_s = self._period_s()
                self._said = ""
            except Exception as error:
                if repr(error) != self._said:
                    self._said = repr(error)
                    logger.exception("%s failed; it goes on", self.name)
            due_s = max(due_s + max(0.01, period_s), time.monotonic())

    def wake(self) -> None:
        self._bell.set()

    def stop(self) -> None:
        self._stopped = True
        self._bell.set()


class Liveness:
    """Ends the process when ticks have stopped although Redis answers, so that its supervisor starts it afresh.

    Time without Redis is no failure, nor is time in which nobody sends heartbeats (a beat beside this process is dead).
    """

    def __init__(self, node: Node, *, leave: Callable[[int], Any] = os._exit) -> None:
        self._node, self._leave = node, leave
        self._client = connect(node.config.redis_url)
        self._counting_since_s = self._polled_s = time.monotonic()

    def check(self) -> None:
        now_s = time.monotonic()
        stalled = now_s - self._polled_s > STALL_S
        self._polled_s = now_s
        if not stalled and now_s - self._node.last_tick_s < LIVENESS_S_MIN / 2:
            return  # alive: no need to ask Redis
        limit_s = max(LIVENESS_INTERVALS * self._node.settings().interval_s, LIVENESS_S_MIN)
        if stalled or not self._expected():
            self._counting_since_s = time.monotonic()
            return
        silent_s = time.monotonic() - max(self._counting_since_s, self._node.last_tick_s)
        if silent_s > limit_s:
            text = f"no heartbeat was completed for {silent_s:.1f} s although Redis answers; this worker exits"
            text += ", to be restarted by its supervisor"
            logger.critical(text)
            self._node.parts.log.report("workers", text)
            self._leave(EXIT_CODE)

    def _expected(self) -> bool:
        """True when Redis answers and heartbeats are being sent or stuck."""
        try:
            self._client.ping()
            if self._node.beat_embedded:
                return True
            waiting = self._client.llen(self._node.keys.queue("tick"))
        except (redis.RedisError, OSError):
            return False
        started_s = self._node.tick_started_s
        return bool(waiting) or started_s is not None


def threads_of(node: Node) -> list[Periodic]:
    """The threads of a started worker: all of them in the tick worker, none in the switch worker."""
    if node.role != "tick":
        return []
    from .health import Health
    from .page_feed import POLL_S, PageFeed

    agent, health, liveness, feed = node.agent, Health(node), Liveness(node), PageFeed.of(node)
    page = Periodic("page", feed.turn, lambda: POLL_S)

    checks = Periodic("health", health.turn, health.wait_s)
    health.wake = checks.wake

    daily, portal, alerting = node.parts.daily, node.parts.portal, node.parts.alerting
    alerts = [] if alerting is None else [Periodic("alerts", alerting.turn, alerting.period_s)]

    def ticked(last: Now) -> None:
        health.ticked(last)
        if daily is not None:
            daily.ticked(last)
        feed.ticked(last)
        page.wake()
        if alerting is not None:
            alerting.ticked(last)

    agent.on_tick = ticked
    restarts = [] if daily is None else [Periodic("daily restart", daily.turn, lambda: daily.period_s)]
    if portal is not None:
        restarts.append(Periodic("portal watch", portal.turn, lambda: node.config.watchdog_interval_s))
    return [
        page,
        Periodic("lease", agent.renew_lease, agent.renew_period_s),
        checks,
        Periodic("liveness", liveness.check, lambda: LIVENESS_POLL_S),
        *restarts,
        *alerts,
    ]
