"""Signals to the portal: this server became active, became standby, or could not do a switch (blinker, as Flask's own).

    from ftplugin.signals import became_active

    @became_active.connect_via(app)
    def warm_up(sender, designation, epoch, **more): ...

Sent with ``sender=app`` by one of the portal's processes, once for each change of this node: the first process that sees
it claims it in the node's Redis. It is seen when the monitor, the heartbeat or a page is served, from what that request
has read anyway; claim and receivers run in a thread of their own, in an application context, so that no receiver delays
an answer. A receiver that raises is logged and changes nothing. The role is the one that the agent has written: when a
lease runs out while the agent is dead the monitor says STANDBY at once, the signal comes with the next written role.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import redis
from blinker import NamedSignal, Namespace
from flask import Flask

from .core.records import RoleRecord
from .core.terms import Role
from .store.keys import Keys

if TYPE_CHECKING:
    from .extension import Portal

_names = Namespace()
became_active: NamedSignal = _names.signal("became-active", "designation, epoch: this server owns the services")
became_standby: NamedSignal = _names.signal("became-standby", "designation, epoch: this server owns nothing")
switch_failed: NamedSignal = _names.signal(
    "switch-failed",
    "designation, switch_id, kind, rule, actor, epoch, outcome, step, detail: a switch could not be done",
)

FAILED = ("failed", "aborted")
FAILURE_AGE_S_MAX = 600.0  # a process that starts later does not report an old failure
CLAIM_CLEANUP_S = 86_400
CLOSE_LIMIT_S = 2.0
# KEYS: the last announced role. ARGV: role, rank, 1 when this process has not seen another role before. A role is announced
# once; ranks grow with the epoch, and standby comes after active within one, so a late process announces nothing old.
_CLAIM = """
local known = redis.call('HMGET', KEYS[1], 'role', 'rank')
local rank = tonumber(known[2] or '-1')
if tonumber(ARGV[2]) <= rank then return 0 end
redis.call('HSET', KEYS[1], 'role', ARGV[1], 'rank', ARGV[2])
if not known[1] and ARGV[3] == '1' then return 0 end
if known[1] == ARGV[1] then return 0 end
return 1
"""
logger = logging.getLogger(__name__)


class Announcer:
    """One process's eye on the role and the switches of its node."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._claim = client.register_script(_CLAIM)
        self._role: tuple[Role, int] | None = None
        self._failure = ""
        self._lock = threading.Lock()
        self._telling: set[threading.Thread] = set()

    def close(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Wait for the claims and receivers that are under way, ``limit_s`` at most: they use the node's Redis."""
        with self._lock:
            telling = list(self._telling)
        end_s = time.monotonic() + limit_s
        for thread in telling:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _start(self, call: Callable[..., None], *arguments: Any) -> None:
        def run() -> None:
            try:
                call(*arguments)
            finally:
                with self._lock:
                    self._telling.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="ft-signal", daemon=True)
        with self._lock:
            self._telling.add(thread)
        thread.start()

    def see_role(self, app: Flask, ft: Portal, record: RoleRecord | None) -> None:
        """Told of each role record that a request has read; costs nothing while it is the same."""
        if record is None or record.role is Role.UNDECIDED:
            if record is not None and self._role is None:
                self._role = (Role.UNDECIDED, 0)
            return
        now = (record.role, record.epoch)
        if now == self._role:
            return
        with self._lock:
            before, self._role = self._role, now
        if before == now:
            return
        facts = {"designation": str(ft.designation() or ""), "epoch": record.epoch}
        signal = became_active if record.role is Role.ACTIVE else became_standby
        self._start(self._tell_role, app, signal, facts, record, before is None)

    def see_switch(self, app: Flask, ft: Portal, document: Mapping[str, Any] | None) -> None:
        """Told of each "switch" document that a request has read."""
        if not document or document.get("outcome") not in FAILED or document.get("boot_id") != ft.clock.boot_id:
            return
        switch_id, updated_s = str(document.get("switch_id", "")), document.get("updated_s")
        recent = isinstance(updated_s, (int, float)) and ft.clock.now_s() - updated_s <= FAILURE_AGE_S_MAX
        with self._lock:
            if not recent or switch_id == self._failure:
                return
            self._failure = switch_id
        names = ("switch_id", "kind", "rule", "actor", "epoch", "outcome", "detail")
        facts = {name: document.get(name) for name in names} | {"designation": str(ft.designation() or "")}
        steps = document.get("steps")
        failed = [s["step"] for s in steps if s.get("outcome") == "failed"] if isinstance(steps, list) else []
        self._start(self._tell_failure, app, facts | {"step": failed[-1] if failed else ""})

    def _tell_role(
        self, app: Flask, signal: NamedSignal, facts: dict[str, Any], record: RoleRecord, first: bool
    ) -> None:
        rank = 2 * record.epoch + (record.role is Role.STANDBY)
        try:
            mine = self._claim(keys=[self._keys.announced], args=[str(record.role), rank, int(first)]) == 1
        except (redis.RedisError, OSError):
            with self._lock:
                self._role = None if first else (Role.UNDECIDED, 0)  # seen again at the next request
            return
        if mine:
            _send(app, signal, facts)

    def _tell_failure(self, app: Flask, facts: dict[str, Any]) -> None:
        try:
            key = self._keys.failure_prefix + str(facts["switch_id"])
            mine = self._client.set(key, "1", nx=True, ex=CLAIM_CLEANUP_S)
        except (redis.RedisError, OSError):
            with self._lock:
                self._failure = ""
            return
        if mine:
            _send(app, switch_failed, facts)


def _send(app: Flask, signal: NamedSignal, facts: dict[str, Any]) -> None:
    """Each receiver for itself: one that raises must not keep the others from being told."""
    with app.app_context():
        for receiver in list(signal.receivers_for(app)):
            try:
                receiver(app, **facts)
            except Exception:  # code of others
                logger.exception("a receiver of %s failed", signal.name)
