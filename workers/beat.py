"""The schedule: what is sent to the tick queue, how often, and how long it stays worth running.

Unlike Celery's schedulers this one counts on the monotonic clock (a wall clock set back 60 s stops those for 60 s),
keeps nothing on disk, and takes a new T within a second. Due times lie on a fixed grid. While Redis is away one message
per entry waits, here, and is replaced by the next: nothing piles up, and one goes out as soon as Redis is back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Mapping

from celery.beat import Scheduler
from celery.utils.log import get_logger

from ftplugin.core.settings import Settings

from .app import masked

REREAD_S = 1.0
STEP_S = 0.2
STEP_S_MAX = 1.0
NO_VIP_S = 15.0  # without a VIP there is nothing to ask: the task then only says so, and a tenth of the work is saved
EXPIRES_PERIODS = 1.5  # below two periods: a stalled worker then runs no late ones
SAY_AGAIN_S = 30.0
logger = get_logger(__name__)


@dataclass(kw_only=True)
class Entry:
    """One periodic task: its next due time and period in seconds (CLOCK_MONOTONIC)."""

    task: str
    period_s: float
    due_s: float

    def advance(self, now_s: float) -> None:
        """To the first point of the grid after ``now_s``."""
        periods = max(1, int((now_s - self.due_s) / self.period_s) + 1)
        self.due_s += periods * self.period_s

    def set_period(self, period_s: float, now_s: float) -> None:
        """Take a new period, counted from the last time this was due."""
        if period_s != self.period_s:
            self.due_s = max(now_s, self.due_s - self.period_s + period_s)
            self.period_s = period_s


def periods_s(settings: Settings, watchdog_s: float) -> Mapping[str, float]:
    """Task name to period in seconds."""
    interval_s = settings.interval_s
    return {
        "workers.heartbeat": interval_s,
        "workers.vip_destination": interval_s if settings.vip_address else max(interval_s, NO_VIP_S),
        "workers.watchdog": watchdog_s,
    }


class NodeScheduler(Scheduler):
    """Celery beat scheduler of one node; runs as a thread of the tick worker or as ``python -m workers beat``."""

    def __init__(self, app: Any, *args: Any, clock: Callable[[], float] = time.monotonic, **kwargs: Any) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._reread_s = 0.0
        self._link: Any = None
        self._out: Any = None  # the producer on that connection
        self._retry_s = 0.0
        self._step_s = STEP_S
        self._said_s: float | None = None
        super().__init__(app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """The entries come from the settings at each pass, not from a file or from ``beat_schedule``."""
        if not self.app.node.role:  # started as ``celery beat``, which has no boot steps
            self.app.node.start("beat")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due. Returns the seconds to wait until the next pass."""
        now_s = self._clock()
        if now_s >= self._reread_s:
            self._reread(now_s)
        blocked = now_s < self._retry_s
        for entry in self._entries.values():
            if entry.due_s <= now_s and not blocked:
                if self._send(entry):
                    entry.advance(self._clock())
                else:
                    blocked = True
        now_s = self._clock()
        wake_s = [self._reread_s]
        wake_s += [max(entry.due_s, self._retry_s if blocked else 0.0) for entry in self._entries.values()]
        return max(0.001, min(wake_s) - now_s)

    def _reread(self, now_s: float) -> None:
        self._reread_s = now_s + REREAD_S
        node = self.app.node
        for task, period_s in periods_s(node.settings(), node.config.watchdog_interval_s).items():
            entry = self._entries.setdefault(task, Entry(task=task, period_s=period_s, due_s=now_s))
            if entry.period_s != period_s:
                logger.warning("%s: every %g s instead of %g s", task, period_s, entry.period_s)
                entry.set_period(period_s, now_s)

    def _send(self, entry: Entry) -> bool:
        """Put one message into the queue; False when Redis did not take it."""
        try:
            if self._link is None:
                self._link = self.app.connection_for_write()
                self._link.connect()
                self._out = self.app.amqp.Producer(self._link, auto_declare=False)
            expires_s = EXPIRES_PERIODS * entry.period_s
            self.app.send_task(entry.task, producer=self._out, expires=expires_s, retry=False, ignore_result=True)
        except Exception as error:  # kombu, redis and socket errors share no base class; each means: not sent
            self._broken(error)
            return False
        self._step_s, self._retry_s = STEP_S, 0.0
        if self._said_s is not None:
            logger.warning("beat: Redis %s answers again", masked(self.app.conf.broker_url))
            self._said_s = None
        return True

    def _broken(self, error: Exception) -> None:
        now_s = self._clock()
        if self._said_s is None or now_s - self._said_s > SAY_AGAIN_S:
            url = masked(self.app.conf.broker_url)
            logger.error("beat: Redis %s (FT_REDIS_URL) does not take heartbeats: %r. Trying again.", url, error)
            self._said_s = now_s
        self._drop_link()
        self._retry_s = now_s + self._step_s
        self._step_s = min(STEP_S_MAX, self._step_s + STEP_S)

    def _drop_link(self) -> None:
        link, self._link, self._out = self._link, None, None
        if link is None:
            return
        try:
            link.collect(socket_timeout=0.1)
        except Exception as error:  # closing what is already broken
            logger.debug("beat: closing the broken connection: %r", error)

    def close(self) -> None:
        """Close the connection; there is nothing to save."""
        self._drop_link()
