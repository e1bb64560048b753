"""The demo's cluster as the benchmarks use it, and a client that polls ``mod=FT``."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from demo.cluster import Cluster, ClusterConfig, free_config
from ftplugin.core.terms import Role
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect

from .figures import BenchError

START_LIMIT_S = 60.0
SETTLE_LIMIT_S = 40.0
POLL_LIMIT_S = 0.5


@contextlib.contextmanager
def cluster_of(interval_s: float, timeout_s: float, threshold: int, **changes: Any) -> Iterator[Cluster]:
    """A running cluster without balancer, server1 active and both settled. Its files go when all went well."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-bench-"))
    values: dict[str, Any] = {"interval_s": interval_s, "timeout_s": timeout_s, "threshold": threshold}
    values |= {"balancer": False, "settings": {"flap_budget": 1000}} | changes
    with Cluster(free_config(ClusterConfig(directory=directory, **values))) as cluster:
        cluster.wait_active("server1", START_LIMIT_S)
        settle(cluster, 1)
        yield cluster
    shutil.rmtree(directory)


def wait_for(condition: Callable[[], Any], limit_s: float, what: str) -> Any:
    """The first true value. Raises BenchError after the limit."""
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise BenchError(f"not within {limit_s:g} s: {what}")
        time.sleep(0.05)
    return value


def settle(cluster: Cluster, active: int) -> None:
    """Wait until one is active with its service, the other standby, both healthy and hearing each other; then 2 T."""
    cluster.wait_active(f"server{active}", SETTLE_LIMIT_S)
    for number, role in ((active, Role.ACTIVE), (3 - active, Role.STANDBY)):
        with runtime_of(cluster, number) as runtime:
            what = f"server{number} healthy as {role}, hearing its peer; see {cluster.config.directory}"
            wait_for(lambda: _calm(runtime, role, cluster.config.interval_s), SETTLE_LIMIT_S, what)
    time.sleep(2 * cluster.config.interval_s)


@contextlib.contextmanager
def runtime_of(cluster: Cluster, number: int) -> Iterator[RuntimeStore]:
    config = cluster.node_config(number)
    client = connect(config.redis_url)
    try:
        yield RuntimeStore(client, Keys(config.prefix))
    finally:
        client.close()


def _calm(runtime: RuntimeStore, role: Role, interval_s: float) -> bool:
    record, agent = runtime.read_role(), runtime.fetch("agent") or {}
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    fresh = all(now_s - (agent.get(name) or 0.0) < 2 * interval_s for name in ("tick_s", "peer_heard_s"))
    return record is not None and record.role is role and fresh and bool(agent.get("healthy"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One poll, CLOCK_MONOTONIC: the word was true at some moment between asking and the answer. Empty: no answer."""

    asked_s: float
    answered_s: float
    word: str


class Poller:
    """A client on one kept connection that asks a node ``mod=FT`` every ``period_s`` seconds until it is closed."""

    def __init__(self, address: str, period_s: float) -> None:
        self.looks: list[Look] = []
        self._address, self._period_s = address, period_s
        self._connection: http.client.HTTPConnection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(2 * POLL_LIMIT_S + self._period_s)

    def first(self, word: str, after_s: float) -> Look | None:
        """The first answer with that word that was asked for after a moment."""
        return next((look for look in list(self.looks) if look.word == word and look.asked_s >= after_s), None)

    def last(self, word: str) -> Look | None:
        return next((look for look in reversed(list(self.looks)) if look.word == word), None)

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            asked_s = time.monotonic()
            word = self._ask()
            self.looks.append(Look(asked_s=asked_s, answered_s=time.monotonic(), word=word))
            due_s = max(due_s + self._period_s, time.monotonic())
        if self._connection is not None:
            self._connection.close()

    def _ask(self) -> str:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=POLL_LIMIT_S)
        try:
            self._connection.request("GET", "/ft/monitor?mod=FT")
            return self._connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return ""
