"""The portal's own health checks, run in the background by one of its processes.

    @ft.health_check("billing", timeout=5)
    def billing():                      # None, "" or True: well; text, False or an exception: failed; Degraded(text)
        return "" if queue_length() < 1000 else Degraded("the queue grows")

Each process of the portal has one thread, started by the first request that it serves, so that it lives behind the fork of a
pre-forking server. The threads claim the checks in the node's Redis: one process runs them, another takes over within
seconds when it has gone. A claim ends on CLOCK_BOOTTIME; its TTL only cleans up. Who has lost it can publish nothing more.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import redis
from flask import Flask

from ftplugin.state import health_period_s

from .checks import Check, Checker, Record, document
from .reading import PORTAL_HEALTH
from .tables import name_problem, timeout_of

if TYPE_CHECKING:
    from ftplugin.extension import Portal

HealthHook = Callable[[], Any]
SOURCE = "portal"
CLAIM_MARGIN_S = 2.0  # over one period, after which the next turn is due
POLL_S = 2.0  # of a process that does not have the claim
CLEANUP_S = 86_400
CLOSE_LIMIT_S = 2.0
logger = logging.getLogger(__name__)

# KEYS: claim, document. ARGV: owner, now, until, boot_id, document or "", seconds until clean-up.
_CLAIM = """
local held = redis.call('HMGET', KEYS[1], 'owner', 'until_s', 'boot_id')
if held[1] and held[1] ~= ARGV[1] and held[3] == ARGV[4] and tonumber(held[2]) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until_s', ARGV[3], 'boot_id', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[6])
if ARGV[5] ~= '' then redis.call('SET', KEYS[2], ARGV[5], 'EX', ARGV[6]) end
return 1
"""
_RELEASE = "if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class HealthHooks:
    """The checks that a portal has added, in their order."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, hook: HealthHook, *, timeout_s: float, shared: bool) -> None:
        """Raises ValueError for a name that is wrong or taken, or a limit outside its bounds."""
        if problem := name_problem(name):
            raise ValueError(f"health check name {name!r} {problem}")
        if name in self._checks:
            raise ValueError(f"health check name {name!r} is taken: each check needs a name of its own")
        try:
            limit_s = timeout_of(timeout_s)
        except ValueError as error:
            raise ValueError(f"timeout={timeout_s!r} of health check {name!r} {error}") from None
        self._checks[name] = Check(name=name, call=hook, timeout_s=limit_s, shared=shared)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._checks)

    @property
    def slowest_s(self) -> float:
        return max((check.timeout_s for check in self._checks.values()), default=0.0)

    def checks(self, app: Flask) -> list[Check]:
        """Each in an application context of ``app``."""
        return [
            Check(name=c.name, call=_within(app, c.call), timeout_s=c.timeout_s, shared=c.shared)
            for c in self._checks.values()
        ]


def _within(app: Flask, call: HealthHook) -> HealthHook:
    def inside() -> Any:
        with app.app_context():
            return call()

    return inside


class PortalHealth:
    """The thread of one process of the portal."""

    def __init__(self, app: Flask, ft: Portal, hooks: HealthHooks) -> None:
        self.hooks = hooks
        self._app, self._ft = app, ft
        self._claim = ft.runtime.client.register_script(_CLAIM)
        self._release = ft.runtime.client.register_script(_RELEASE)
        self._lock = threading.Lock()
        self._pid, self._thread = 0, threading.Thread()

    def ensure(self) -> None:
        """Called before each request: there is a thread in this process, unless there is nothing to check."""
        if self._pid == os.getpid() or not self.hooks.names:
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._owner, self._bell, self._stopped = secrets.token_urlsafe(9), threading.Event(), False
            self._holding, self._said = False, ""
            self._checker = Checker(lambda: self.hooks.checks(self._app), self._ft.clock.now_s, self._bell.set)
            self._thread = threading.Thread(target=self._run, name="ft-health", daemon=True)
            self._thread.start()
            self._pid = os.getpid()

    def close(self) -> None:
        """End the thread, and let another process take over at once."""
        if self._pid != os.getpid():
            return
        self._stopped = True
        self._bell.set()
        self._thread.join(CLOSE_LIMIT_S)
        try:
            self._release(keys=[self._ft.keys.health_claim], args=[self._owner])
        except (redis.RedisError, OSError):
            logger.debug("the claim of the health checks ends by itself")

    def _run(self) -> None:
        while not self._stopped:
            wait_s = POLL_S
            try:
                wait_s = self._turn()
                self._said = ""
            except Exception as error:  # the checks must go on, whatever one turn met
                if repr(error) != self._said:
                    self._said = repr(error)
                    logger.exception("the health checks of the portal failed; they go on")
            self._bell.wait(wait_s)
            self._bell.clear()

    def _turn(self) -> float:
        """One turn of the checks if this process has the claim; seconds until the next."""
        ft = self._ft
        period_s = health_period_s(ft.settings.cached()[1].interval_s)
        if not self._holding:
            if not self._claimed("", period_s):
                return min(POLL_S, period_s)
            self._holding = True
            self._checker.seed(_records(ft.runtime.fetch(PORTAL_HEALTH), ft.clock.boot_id))
        self._checker.turn(period_s)
        found = document(self._checker.records, checked_s=ft.clock.now_s(), boot_id=ft.clock.boot_id)
        self._holding = self._claimed(json.dumps(found), period_s)
        for text in self._checker.changes():
            ft.report.line(SOURCE, text)
        return self._checker.wait_s(period_s) if self._holding else min(POLL_S, period_s)

    def _claimed(self, text: str, period_s: float) -> bool:
        """Claim, and publish ``text`` if there is one, in one step. False: another process has it, or Redis is silent."""
        now_s = self._ft.clock.now_s()
        until_s = now_s + period_s + CLAIM_MARGIN_S
        keys = [self._ft.keys.health_claim, self._ft.keys.document(PORTAL_HEALTH)]
        arguments: list[str | int] = [self._owner, repr(now_s), repr(until_s), self._ft.clock.boot_id, text, CLEANUP_S]
        try:
            return bool(self._claim(keys=keys, args=arguments) == 1)
        except (redis.RedisError, OSError):
            return False


def _records(stored: Mapping[str, Any] | None, boot_id: str) -> list[Record]:
    """What the process before has published since this boot."""
    rows = stored.get("checks") if stored and stored.get("boot_id") == boot_id else None
    return [record for row in rows if (record := Record.of_json(row))] if isinstance(rows, list) else []
