"""The guard: when the lease has run out, the services stop owning, whatever else on this node is frozen or dead.

A small process outside Celery, started by ``python -m workers.guard`` (spec 2, 5.4, 6). It reads the role record
every poll, remembers the last lease deadline it read, and demotes all services by itself once CLOCK_BOOTTIME has
passed it. Redis that answers nothing changes no deadline and delays none: a read may take one poll at most. The
remembered lease is also in a small file, so that a guard that is killed and started again while Redis is frozen
still knows it.

It never promotes. What it demotes when:
    a lease was read and its deadline has passed            whatever Redis says or does not say, unless it says "clear"
    the record's active role is of another boot             its deadline means nothing
    the record says standby, no switch is running           and a service says it owns: twice
    the record says active, but its deadline has passed     the same, until a newer deadline is read: also when it has
                                                            demoted already, and when Redis has fallen silent since
    Redis answers "no role", and no lease was ever read     the same, after a while in which an agent would write one

On a node that is not active it also says "owns nothing" for services that have said so for a while. The agent does that
too, but after a reboot it may not come up, and the other server may not take over before somebody has said it.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, Callable, Protocol, Sequence

from ftplugin.clock import SystemClock
from ftplugin.config import ConfigError, NodeConfig
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.report import Report
from ftplugin.store.keys import Keys
from ftplugin.store.role_record import CLEAR, LIMIT_S, document_of, record_of
from ftplugin.structured.sinks import SayingStream
from workers.adapters.plain_redis import PlainRedis
from workers.adapters.runner import DaemonPool, SideBySide
from workers.adapters.services import ServiceError, build
from workers.behind import Behind
from workers.guard_lease import Lease, LeaseFile
from workers.guard_notify import Notifier
from workers.guard_watch import FREE, OneDemotion, OwnerWatch, Service

POLL_S, POLL_S_MIN, POLL_S_MAX = 0.1, 0.05, 1.0
FAR_POLLS = 10  # a lease with more polls than this left is looked at every other poll
TIMING_PERIOD_S = 2.0  # how often the poll's length is read
NO_ROLE_GRACE_S = 5.0
# A lease known from the file alone may have been renewed while no guard ran: ask Redis so long, a few polls. A silent Redis
# renews nothing, so the true lease ends at most a lease after the start of this guard: not longer than the shortest lease.
FILE_GRACE_S = 0.5
SILENT_S = 2.0  # so long a silent Redis may yet tell of a newer lease
ROUND_PAUSE_S = 0.5
SAY_AGAIN_S = 60.0
LINES_MAX = 200  # that wait for a disk that hangs; past that they are on standard error alone
FINISH_S = 0.5
SOURCE = "guard"

_log = logging.getLogger("workers.guard")


class Store(Protocol):
    def read_role(self) -> RoleRecord | None: ...

    def set_clear(self, epoch: int, clear: bool) -> bool: ...

    def fetch(self, name: str) -> dict[str, Any] | None: ...


class Clock(Protocol):
    @property
    def boot_id(self) -> str: ...

    def now_s(self) -> float: ...


class GuardStore:
    """What the guard needs of RuntimeStore, each answer within ``limit_s`` seconds, without redis-py."""

    def __init__(self, redis: PlainRedis, keys: Keys, limit_s: float) -> None:
        self._redis, self._keys, self._limit_s = redis, keys, limit_s

    def read_role(self) -> RoleRecord | None:
        """None: Redis did not answer. A record with epoch 0 and role undecided: nothing is stored."""
        try:
            parts = self._redis.call(self._limit_s, "HGETALL", self._keys.role)
            return record_of(dict(zip(parts[::2], parts[1::2], strict=True)))
        except (OSError, ValueError):
            return None

    def set_clear(self, epoch: int, clear: bool) -> bool:
        """False: Redis did not answer, or holds a newer role."""
        try:
            return bool(self._redis.call(self._limit_s, "EVAL", CLEAR, 1, self._keys.role, epoch, int(clear)) == 1)
        except OSError:
            return False

    def fetch(self, name: str) -> dict[str, Any] | None:
        try:
            return document_of(self._redis.call(self._limit_s, "GET", self._keys.document(name)))
        except OSError:
            return None


class Guard:
    """Watches one node's lease. ``store`` gives up within one poll; ``report`` takes (source, text)."""

    def __init__(
        self,
        *,
        store: Callable[[float], Store],
        services: Sequence[Service],
        clock: Clock,
        lease_file: LeaseFile,
        report: Callable[[str, str], None],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """store: makes a store whose every answer takes at most the given seconds. alive: told at every turn."""
        self._make_store, self._services, self._clock = store, list(services), clock
        self._file, self._report, self._alive = lease_file, report, alive
        pool = DaemonPool(threads_max=3 * len(self._services) + 2)  # each may have a hung status and a hung demotion
        self._runner, self._watch = SideBySide(pool), OwnerWatch(self._services, pool)
        self._demotions = {s.name: OneDemotion(s) for s in self._services}
        self._poll_s = POLL_S
        self._store = store(POLL_S)
        self._stop_wanted = threading.Event()
        self._lease = lease_file.load(clock.boot_id)
        self._unread_until_s = clock.now_s() + FILE_GRACE_S
        self._record: RoleRecord | None = None
        self._last: RoleRecord | None = None
        self._read_s = 0.0
        self._no_role_since_s: float | None = None
        self._timing_due_s = 0.0
        self._said: dict[str, float] = {}
        self.left: list[str] = []  # of the last demotion: who may still own something

    @property
    def step_s(self) -> float:
        """The longest that passes between two calls of ``alive``, in seconds: a service that stops, and a few polls."""
        return max((s.stop_limit_s for s in self._services), default=0.0) + 2 * POLL_S_MAX

    def run(self) -> None:
        """Poll until ``stop``; the services are left as they are then."""
        due_s = time.monotonic()
        while not self._stop_wanted.wait(max(0.0, due_s - time.monotonic())):
            self.poll()
            due_s = max(due_s + self._wake_s(), time.monotonic())

    def stop(self) -> None:
        self._stop_wanted.set()

    def _wake_s(self) -> float:
        """Until the next poll: at the deadline and not later; at half the rate while nothing can be due soon."""
        if self._lease is None:
            record = self._record
            quiet = record is not None and record.role is Role.STANDBY and record.phase is Phase.READY
            return 2 * self._poll_s if quiet and not self._watch.suspects else self._poll_s
        left_s = self._lease.deadline_s - self._clock.now_s()
        if left_s <= 0:
            return self._poll_s
        return 2 * self._poll_s if left_s > FAR_POLLS * self._poll_s else min(self._poll_s, left_s)

    def poll(self) -> None:
        """One look, and what follows from it."""
        self._alive()
        self._learn(self._store.read_role())
        reason = self._reason()
        if reason:
            self._demote(reason)
        elif time.monotonic() >= self._timing_due_s:
            self._timing_due_s = time.monotonic() + TIMING_PERIOD_S
            self._read_timing()

    def release(self, reason: str) -> bool:
        """For a node whose agent is stopped: demote every service now, until ``stop``. Whether each owns nothing."""
        self.left = [s.name for s in self._services]
        self._learn(self._store.read_role())
        while self.left and not self._stop_wanted.is_set():
            self._demote(reason)  # ends early when Redis, silent before, tells of a later lease
        return not self.left

    @property
    def release_s(self) -> float:
        """How long ``release`` may take, in seconds: each service twice, one after the other."""
        return 2 * sum(s.stop_limit_s for s in self._services)

    def facts(self) -> dict[str, int | None]:
        """For structured lines of the log: the epoch that it watches, None while it knows none."""
        known = self._lease or self._record or self._last
        return {"epoch": None if known is None else known.epoch}

    # --- what is known

    def _learn(self, record: RoleRecord | None) -> None:
        self._record = record
        if record is None:
            return
        self._last, self._read_s = record, time.monotonic()
        self._unread_until_s = 0.0
        if record.epoch:
            self._no_role_since_s = None
        elif self._no_role_since_s is None:
            self._no_role_since_s = time.monotonic()
        if record.role is Role.ACTIVE and record.boot_id == self._clock.boot_id:
            lease = Lease(boot_id=record.boot_id, epoch=record.epoch, deadline_s=record.deadline_s)
            if lease != self._lease and (record.deadline_s > self._clock.now_s() or not record.clear):
                self._lease = lease
                self._file.save(lease)
            if record.clear and record.deadline_s > self._clock.now_s():
                self._store.set_clear(record.epoch, False)  # resumed after an own demotion: it may own again
        elif record.role is not Role.ACTIVE and record.epoch and record.clear and self._lease:
            self._forget()  # demoted and confirmed by the agent

    def _forget(self) -> None:
        self._lease = None
        self._file.save(None)

    def _reason(self) -> str:
        """Why the services must own nothing now; empty when they may, or when that cannot be told."""
        now_s, lease, record = self._clock.now_s(), self._lease, self._record
        if lease is not None:
            if now_s >= max(lease.deadline_s, self._unread_until_s):
                return f"the lease of epoch {lease.epoch} ran out {now_s - lease.deadline_s:.2f} s ago"
            return ""
        if record is None and self._last is not None and self._last.role is Role.ACTIVE:
            record = self._last if time.monotonic() - self._read_s >= SILENT_S else None
        if record is None:
            return ""
        if record.role is Role.ACTIVE and record.boot_id != self._clock.boot_id and not record.clear:
            return f"the active role of epoch {record.epoch} is of an earlier boot"
        return self._stray(record)

    def _stray(self, record: RoleRecord) -> str:
        """No lease is known, and yet a service owns something: on a standby node without a switch, or past the lease."""
        if record.role is not Role.ACTIVE and record.phase is not Phase.READY:
            self._watch.reset()
            return ""
        since_s = self._no_role_since_s
        if since_s is not None and time.monotonic() - since_s < NO_ROLE_GRACE_S:
            return ""
        owners = self._watch.owners((record.role, record.epoch, record.boot_id), self._poll_s)
        if not owners:
            if record.role is not Role.ACTIVE and not record.clear and self._watch.all_free:
                if self._store.set_clear(record.epoch, True):  # refused if a newer role has been written meanwhile
                    self._say("free", "every service owns nothing, and the agent has not said so; said by the guard")
            return ""
        what = "past its lease" if record.role is Role.ACTIVE else str(record.role)
        return f"this server is {what}, but {', '.join(owners)} owns"

    def _read_timing(self) -> None:
        value = (self._store.fetch("agent") or {}).get("guard_poll_s")
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return
        poll_s = min(POLL_S_MAX, max(POLL_S_MIN, float(value)))
        if poll_s != self._poll_s:
            self._poll_s = poll_s
            self._store = self._make_store(min(LIMIT_S, poll_s))

    # --- what is done

    def _demote(self, reason: str) -> None:
        """Demote every service until each says it owns nothing, or until a newer lease was read."""
        record, lease = self._record or self._last, self._lease
        epoch = max(lease.epoch if lease else 0, record.epoch if record else 0)
        started_s = time.monotonic()
        if record is not None and record.clear:
            self._store.set_clear(epoch, False)  # it owns something after all
        self._watch.reset()
        self._say("start", f"{reason}; demoting {', '.join(s.name for s in self._services) or 'nothing'} by itself")
        left, round_number = list(reversed(self._services)), 0
        self.left = [s.name for s in left]
        while left and not self._stop_wanted.is_set():
            readings = self._round(left, epoch, one_by_one=round_number == 0)
            left = [s for s in left if readings[s.name].state not in FREE]
            self.left = [s.name for s in left]
            if not left:
                break
            where = ", ".join(f"{s.name} is {readings[s.name].state} ({readings[s.name].detail})" for s in left)
            self._say("left", f"not demoted yet: {where}")
            if self._renewed(lease):
                self._say("renewed", "the lease was renewed meanwhile; the guard stops demoting")
                return
            round_number += 1
            epoch = max(epoch, self._record.epoch, self._record.seen_epoch) if self._record else epoch
            self._stop_wanted.wait(ROUND_PAUSE_S)
        if left:
            return
        if self._renewed(lease):
            self._say("renewed", "the lease was renewed while the guard demoted; the agent must promote again")
            return
        took_s = time.monotonic() - started_s
        told = self._store.set_clear(max(epoch, self._record.epoch) if self._record else epoch, True)
        untold = "" if told else "; Redis could not be told"
        self._say("done", f"every service owns nothing after {took_s:.2f} s{untold}")
        self._said.clear()
        self._forget()

    def _round(self, left: Sequence[Service], epoch: int, *, one_by_one: bool) -> dict[str, ServiceReading]:
        """In reverse order, each within its stop limit; once one has not ended, all that are left side by side."""
        readings: dict[str, ServiceReading] = {}
        waiting = list(left)
        while one_by_one and waiting:
            service = waiting.pop(0)
            readings |= self._side_by_side([service], epoch)
            if readings[service.name].state not in FREE:
                break
        return readings | self._side_by_side(waiting, epoch)

    def _side_by_side(self, services: Sequence[Service], epoch: int) -> dict[str, ServiceReading]:
        if not services:
            return {}
        self._alive()
        limit_s = max(s.stop_limit_s for s in services) + 0.1
        answers = self._runner.side_by_side([self._demotions[s.name].call(epoch) for s in services], limit_s)
        return {
            s.name: a or ServiceReading(name=s.name, state=ServiceState.UNKNOWN, detail="no answer in its stop limit")
            for s, a in zip(services, answers, strict=True)
        }

    def _renewed(self, lease: Lease | None) -> bool:
        """Whether a valid lease has been read since; reads Redis once."""
        self._learn(self._store.read_role())
        now = self._lease
        return now is not None and now != lease and now.deadline_s > self._clock.now_s()

    def _say(self, kind: str, text: str) -> None:
        """One line of FT_REPORT; while a demotion repeats, each kind of line once a minute."""
        now_s = time.monotonic()
        if now_s - self._said.get(kind, float("-inf")) < SAY_AGAIN_S:
            return
        self._said[kind] = now_s
        _log.warning("%s", text)
        self._report(SOURCE, text)


def _redis(url: str) -> PlainRedis:
    try:
        return PlainRedis(url)
    except ValueError as error:
        raise ConfigError(f"FT_REDIS_URL: {error}") from None


def make(config: NodeConfig, alive: Callable[[], None] = lambda: None) -> Guard:
    """The guard of this node. Raises ConfigError, or ServiceError naming the service."""
    services = build(config.services, config.instance_dir, config.prefix, ask_outside=False)
    redis, keys = _redis(config.redis_url), Keys(config.prefix)
    config.instance_dir.mkdir(parents=True, exist_ok=True)
    _log.info("watching %s", ", ".join(service.name for service in services) or "no service")
    report, behind = Report.of(config, SOURCE), Behind()

    def later(source: str, text: str) -> None:
        if behind.waiting < LINES_MAX:
            behind.run(lambda: report.line(source, text))

    atexit.register(behind.finish, FINISH_S)
    guard = Guard(
        store=lambda limit_s: GuardStore(redis, keys, limit_s),
        services=services,
        clock=SystemClock(),
        lease_file=LeaseFile(config.instance_dir / "guard.lease", behind.run),
        report=later,
        alive=alive,
    )
    report.about = guard.facts
    return guard


def main() -> int:
    """Run until SIGTERM or SIGINT. Exit code 2: the configuration is wrong."""
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=SayingStream())
    notifier = Notifier.of(os.environ)
    try:
        guard = make(NodeConfig.from_environment(), notifier.alive)
    except (ConfigError, ServiceError) as error:
        print(f"guard: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: guard.stop())
    notifier.ready(guard.step_s)
    guard.run()
    notifier.stopping()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
