"""What one process of a node holds: its lock, its agent with the ports, and the threads beside the task pool."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Protocol, Sequence

from ftplugin.config import NodeConfig
from ftplugin.core.settings import Settings
from ftplugin.store.keys import Keys

from . import locks
from .dispatch import CeleryDispatch
from .ports import DispatchPort, LogPort, Reply, Runner, RuntimePort, ServicePort

if TYPE_CHECKING:
    from celery import Celery

    from ftplugin.core.futures import Now

    from .alerting import Alerting
    from .background import Periodic
    from .daily import Daily
    from .portal_watch import PortalWatch

RETRY_S = 1.0
SAY_AGAIN_S = 30.0
logger = logging.getLogger(__name__)


class NotReady(RuntimeError):
    """Something the agent needs cannot be reached yet; the message names it with its password masked."""


class AgentLike(Protocol):
    """What the tasks need of ``workers.agent.Agent``."""

    on_tick: Callable[[Now], None] | None

    def tick(self, *, early: bool = False) -> Any: ...

    def probe_vip(self) -> Any: ...

    def watch_services(self) -> Any: ...

    def renew_lease(self) -> Any: ...

    def renew_period_s(self) -> float: ...

    def run_order(self, order: dict[str, Any]) -> dict[str, Any]: ...

    def handle_demote(self, sender: Any, epoch: Any, nonce: Any, signature: Any) -> Any: ...

    def recover(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """An agent and those of its ports that the process itself uses. ``check_database``: "" or what is wrong with it.
    ``peer_status``: asks the peer, within so many seconds, what its own page shows of it. ``rival``: "" or which other
    instance uses the same names in this Redis. ``daily``, ``portal``, ``alerting``: of the tick worker; no portal watch
    without FT_PORTAL, no alerting without targets.
    """

    agent: AgentLike | None
    runtime: RuntimePort
    settings: Callable[[], Settings]
    log: LogPort
    runner: Runner | None
    services: Sequence[ServicePort]
    check_database: Callable[[], str]
    peer_status: Callable[[float], Reply] | None = None
    daily: Daily | None = None
    alerting: Alerting | None = None
    portal: PortalWatch | None = None
    rival: Callable[[], str] = lambda: ""
    start: Callable[[], None] = lambda: None
    stop: Callable[[], None] = lambda: None


MakeParts = Callable[[NodeConfig, str, DispatchPort], Parts]


class Node:
    """One process of the node. ``role`` is "tick", "switch" or "beat" once it is started."""

    def __init__(self, config: NodeConfig, app: Celery, make_parts: MakeParts | None) -> None:
        self.config, self.app, self.keys = config, app, Keys(config.prefix)
        self.role = ""
        self.beat_embedded = False
        self.last_tick_s = time.monotonic()
        self.tick_started_s: float | None = None
        self.skipped: dict[str, int] = {}
        self._make_parts = make_parts
        self._parts: Parts | None = None
        self._running: dict[str, threading.Lock] = {}
        self._failed: dict[str, str] = {}
        self._threads: list[Periodic] = []
        self._early: threading.Timer | None = None
        self._stopped = False
        self._lock_fd: int | None = None
        self.dispatch = CeleryDispatch(app, self.keys.queue("switch"))

    @property
    def parts(self) -> Parts:
        if self._parts is None:
            raise RuntimeError("the node is not started: tasks run in a worker, see 'python -m workers --help'")
        return self._parts

    @property
    def agent(self) -> AgentLike:
        agent = self.parts.agent
        if agent is None:
            raise RuntimeError(f"a {self.role} process has no agent")
        return agent

    def settings(self) -> Settings:
        """The settings in force, re-read when they have changed."""
        return self.parts.settings()

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self, role: str, *, keep_waiting: Callable[[], None] = lambda: None) -> None:
        """Take the lock, build the agent (for ever, until what it needs answers) and start the threads.

        keep_waiting is called between attempts and raises to give up. Raises locks.LockTaken.
        """
        self.role = role
        if role != "beat":
            self._lock_fd = locks.take(locks.lock_path(self.config.instance_dir, role))
        self._parts = self._build(keep_waiting)
        self._parts.start()
        settle_memory()
        if role != "beat":
            from .background import threads_of

            self._threads = threads_of(self)
        self.last_tick_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        if role == "tick":  # a restarted worker decides at once: waiting for beat could cost it its lease (C0)
            threading.Thread(target=self.heartbeat, name="first tick", daemon=True).start()

    def _build(self, keep_waiting: Callable[[], None]) -> Parts:
        make = self._make_parts or _real_parts()
        said, said_s = "", 0.0
        while True:
            try:
                return make(self.config, self.role, self.dispatch)
            except NotReady as error:
                if str(error) != said or time.monotonic() - said_s > SAY_AGAIN_S:
                    said, said_s = str(error), time.monotonic()
                    logger.error("%s Trying again until it can be used.", error)
            keep_waiting()
            time.sleep(RETRY_S)

    def stop(self) -> None:
        self._stopped = True
        if self._early is not None:
            self._early.cancel()
        for thread in self._threads:
            thread.stop()
        if self._parts is not None:
            self._parts.stop()

    # --- work of the tasks ----------------------------------------------------------------------------------------

    def run_once(self, name: str, work: Callable[[], Any], wait_s: float = 0.0) -> bool:
        """Run ``work`` unless the same work is still running here after ``wait_s``: then return False and count it.

        What it raises is logged when it changes and counted, so that one bad tick does not fill the log.
        """
        lock = self._running.setdefault(name, threading.Lock())
        if not (lock.acquire(timeout=wait_s) if wait_s > 0 else lock.acquire(blocking=False)):
            self.skipped[name] = self.skipped.get(name, 0) + 1
            self.parts.log.event("overlap", task=name, count=self.skipped[name])
            return False
        try:
            work()
            self._failed.pop(name, None)
            return True
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if self._failed.get(name) != text:
                self._failed[name] = text
                logger.exception("%s failed", name)
                self.parts.log.report("workers", f"{name} failed: {text}")
            self.parts.log.event("task_failed", task=name)
            return True
        finally:
            lock.release()

    def heartbeat(self, *, early: bool = False) -> None:
        """One tick, never two at once. With t = T and a dead peer each tick takes a whole interval: the next one is then
        due a moment before this one ends and waits for it, since a skipped tick would double the failover time.

        early: asked for by the tick before, in suspect mode. It waits for none, since the one that runs asks again.
        """
        if early:
            self.run_once("heartbeat", lambda: self.tick(early=True))
        else:
            self.run_once("heartbeat", self.tick, wait_s=self.settings().interval_s / 2)

    def tick(self, *, early: bool = False) -> None:
        """One heartbeat; remembers when it was completed, for the liveness check."""
        if self._early is not None:
            self._early.cancel()
        self.tick_started_s = time.monotonic()
        try:
            decision = self.agent.tick(early=True) if early else self.agent.tick()
            self.last_tick_s = time.monotonic()
        finally:
            self.tick_started_s = None
        self._ask_again(getattr(decision, "again_in_s", None))

    def _ask_again(self, in_s: float | None) -> None:
        """Suspect mode: the next tick after so many seconds. A timer of this process: beat keeps its grid, and a wish
        that dies with the process only means that the grid's next tick is the next one."""
        if in_s is None or self._stopped:
            return
        self._early = threading.Timer(in_s, self.heartbeat, kwargs={"early": True})
        self._early.name, self._early.daemon = "suspect", True
        self._early.start()

    def refuse(self, cause: str, what: str) -> None:
        """Log a message that is refused, and count it (the log port does); nothing else happens."""
        self.parts.log.event("refused", cause=cause, what=what)
        self.parts.log.report("workers", f"refused, {cause}: {what}")


def settle_memory() -> None:
    """Give back what importing used up, and let the collector leave alone what lives as long as the process."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # absent in C libraries other than glibc
    if trim is not None:
        trim(0)


def _real_parts() -> MakeParts:
    from .build import build_parts

    return build_parts


def order_problem(order: Any) -> str:
    """What is wrong with the form of a switch order, or ""."""
    if not isinstance(order, Mapping):
        return f"a switch order must be an object, not {type(order).__name__}"
    if not isinstance(order.get("kind"), str):
        return "a switch order must name its kind"
    return ""
