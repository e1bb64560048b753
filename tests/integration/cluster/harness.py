"""What the tests of a whole cluster share: a watcher that sees what a balancer sees, and questions as a user asks them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, TypeVar

import redis
import requests

from demo.cluster import Cluster, ClusterConfig, ProcessError, free_config
from demo.oracle import Overlap, overlaps, read_history
from demo.processes import session_members
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing, service_start_s, worst_failover_s
from ftplugin.extension import Portal
from ftplugin.status import new_order, status_of
from ftplugin.store.runtime import connect
from tests import parts
from tests.parts import nothing_for

ROOT = pathlib.Path(__file__).parents[3]
SLACK_S = 8.0  # over the configured bound: the machine is shared and may be loaded
SETTLE_S = 40.0
POLL_S = 0.05
T = TypeVar("T")


def eventually(condition: Callable[[], T | None], deadline_s: float, what: Callable[[], str] | str) -> T:
    """As ``tests.parts.eventually``, looking less often: a look is mostly a request to a node."""
    return parts.eventually(condition, deadline_s, what, POLL_S)


def quick_config(directory: pathlib.Path, **more: Any) -> ClusterConfig:
    """T = t = 1 s, N = 3: a lease of 1.5 s is long enough for a machine that others use too. The call manager is in dynamic
    mode: it grants a second owner silently, so that a double shows."""
    small: dict[str, Any] = {"cti_ports": 3, "cti_scale": 0.5, "mode": "dynamic", "settings": {"flap_budget": 100}}
    return free_config(ClusterConfig(directory=directory, interval_s=1.0, timeout_s=1.0, threshold=3, **small, **more))


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer of ``mod=FT``; times of CLOCK_MONOTONIC. ``word`` empty: the portal did not answer."""

    node: int
    asked_s: float
    answered_s: float
    word: str


class Watcher:
    """Asks both monitors in turn, as a balancer does, and keeps every answer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._stop = cluster, threading.Event()
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        path = f"{self._cluster.config.url_prefix}/monitor?mod=FT"
        while not self._stop.wait(0.02):
            for node in (1, 2):
                asked_s = time.monotonic()
                _, body = self._cluster.get(self._cluster.address(node), path, 0.3)
                sample = Sample(node=node, asked_s=asked_s, answered_s=time.monotonic(), word=body.strip())
                self.samples.append(sample)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def since(self, from_s: float) -> list[Sample]:
        return [s for s in self.samples if s.asked_s >= from_s]

    def words(self, node: int, from_s: float) -> list[str]:
        """What a node said since then, without repetitions."""
        found: list[str] = []
        for sample in self.since(from_s):
            if sample.node == node and (not found or found[-1] != sample.word):
                found.append(sample.word)
        return found

    def doubles(self, from_s: float) -> list[tuple[Sample, Sample, Sample]]:
        """Answers ACTIVE of one node between two answers ACTIVE of the other: both were active at one time.

        Two answers alone prove nothing, since the role may have moved between them.
        """
        active = [s for s in self.since(from_s) if s.word]
        triples = zip(active, active[1:], active[2:])
        return [t for t in triples if all(s.word == "ACTIVE" for s in t) and t[0].node == t[2].node != t[1].node]

    def longest_silence_s(self, node: int, from_s: float, word: str | None = None) -> float:
        """Longest time in which the node did not say ``word`` (None: did not say anything), seconds."""
        last_s, longest_s = from_s, 0.0
        for sample in self.since(from_s):
            if sample.node != node:
                continue
            longest_s = max(longest_s, sample.answered_s - last_s)
            if sample.word == word or (word is None and sample.word):
                last_s = sample.answered_s
        return longest_s


class Nodes:
    """The running cluster. Nodes are numbered; ``server1`` is node 1."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.portals = {n: Portal(cluster.node_config(n)) for n in (1, 2)}
        self.down: set[int] = set()
        self._first_settings = self.settings().to_json()

    # --- what is waited for

    def watch(self) -> None:
        """As long as a failover takes that is under way: one bad probe more than it needs, and the last one."""
        nothing_for(self.timing.watch_s + 2 * self.timing.timeout_s)

    def ticks_pass(self, count: int, *nodes: int) -> None:
        """Until each node, or each of those named, has decided so many ticks more: nothing may come of them."""
        seen: dict[int, set[float]] = {node: set() for node in nodes or (1, 2)}

        def passed() -> bool:
            for node, ticks in seen.items():
                ticks.add(self.tick_s(node))
                ticks.discard(0.0)
            return all(len(ticks) > count for ticks in seen.values())

        deadline_s = 2 * (count + 1) * self.settings().interval_s + SLACK_S
        eventually(passed, deadline_s, lambda: f"{count} more ticks: {seen}; {self.story()}")

    # --- what is configured

    def settings(self, node: int = 1) -> Settings:
        return self.portals[node].settings.current()[1]

    @property
    def timing(self) -> Timing:
        return Timing.of(self.settings())

    def failover_bound_s(self, *, agent_only: bool = False) -> float:
        """The bound of I-B with the services' start."""
        return worst_failover_s(self.settings(), agent_only=agent_only)

    @property
    def start_s(self) -> float:
        return service_start_s(self.settings())

    # --- what is seen

    def status(self, node: int) -> dict[str, Any]:
        """The document behind page and command line."""
        return status_of(self.portals[node])

    def role(self, node: int) -> RoleRecord | None:
        return self.portals[node].runtime.read_role()

    def document(self, node: int, name: str) -> dict[str, Any]:
        return self.portals[node].runtime.fetch(name) or {}

    def tick_s(self, node: int) -> float:
        """CLOCK_BOOTTIME of the agent's last decided tick; 0 when it is not known now."""
        return float(self.document(node, "agent").get("tick_s") or 0.0)

    def report(self, node: int) -> str:
        """FT_REPORT of the node, all days."""
        report = self.portals[node].report
        return "\n".join(report.read(day) for day in reversed(report.days()))

    def refused(self, node: int) -> dict[str, int]:
        found = self.status(node)["refused_messages"]
        return {str(cause): int(count) for cause, count in found.items()}

    def redis_of(self, node: int) -> redis.Redis:
        return connect(self.portals[node].config.redis_url, 1.0)

    def journal(self, node: int, count: int = 10) -> list[dict[str, Any]]:
        """The newest switches first."""
        return self.portals[node].journal.recent(count)

    def active_on(self, node: int) -> bool:
        """That node alone says ACTIVE, and its CTI server owns every port at the call manager, alone."""
        if self.cluster.active() != [f"server{node}"] or self.cluster.cti_status(node).get("state") != "active":
            return False
        return self.owners() == {f"server{node}"}

    def owners(self) -> set[str]:
        """Servers that own a port at the call manager now."""
        ports = self.cluster.call_manager(op="owners").get("owners", {})
        full = len([p for p in ports.values() if any(not o["vanished"] for o in p)]) == self.cluster.config.cti_ports
        return {o["node"] for p in ports.values() for o in p if not o["vanished"]} if full else set()

    def wait_active(self, node: int, deadline_s: float) -> float:
        """Seconds until the node, alone, is active and owns the service."""
        start_s = time.monotonic()
        eventually(lambda: self.active_on(node), deadline_s, lambda: f"server{node} active alone; {self.story()}")
        return time.monotonic() - start_s

    def overlaps(self) -> list[Overlap]:
        """Times at which both servers owned a port; a third owner that a test brings is none of theirs."""
        return [o for o in overlaps(read_history(self.cluster.history)) if set(o.owners) == {"server1", "server2"}]

    def story(self) -> str:
        """Everything about now, for a failing test."""
        lines = [f"answers ACTIVE: {self.cluster.active()}, owners {self.owners()}"]
        for node in (1, 2):
            lines.append(f"server{node}: {self.role(node)} cti {self.cluster.cti_status(node)}")
            lines.append(f"  decision {self.document(node, 'decision').get('sentence')}")
            lines += [f"  {line}" for line in self.report(node).splitlines()[-15:]]
        return "\n".join(lines)

    # --- a healthy pair

    def problems(self, active: int = 1) -> list[str]:
        """What keeps the pair from being "server ``active`` active, both healthy"; empty when nothing does."""
        found = []
        if not self.active_on(active):
            found.append(f"active {self.cluster.active()}, owners {self.owners()}, expected server{active}")
        for node in (1, 2):
            status, record = self.status(node), self.role(node)
            words = {s["designation"]: s["word"] for s in status["servers"]}
            wanted = {f"server{n}": "active" if n == active else "standby" for n in (1, 2)}
            if status["problem"] or words != wanted:
                found.append(f"status of server{node}: {status['problem']} {words}")
            if status["manual_hold"] or status["frozen"] or status["running_switch"]:
                found.append(f"server{node} is held, frozen or switching: {status['running_switch']}")
            if told := [card["designation"] for card in status["servers"] if card["switch"]]:
                found.append(f"server{node} was last told of a switch that runs on {told}")
            if record is None or (node != active and not (record.role == "standby" and record.clear)):
                found.append(f"role of server{node}: {record}")
            if record is not None and node == active and record.phase != "ready":
                found.append(f"phase of server{node}: {record.phase}")
            probe = self.document(node, "view").get("peer") or {}
            if probe.get("cause") != "ok":
                found.append(f"server{node} hears its peer: {probe.get('cause')}")
            if self.cluster.monitor(node, "IPSWS") != "IPSWS=OK":
                found.append(f"health of server{node}: {self.cluster.monitor(node, 'IPSWS')}")
            if self.cluster.cti_status(node).get("state") != ("active" if node == active else "standby"):
                found.append(f"CTI of server{node}: {self.cluster.cti_status(node)}")
            found += [f"server{node}: {name} is {state}" for name, state in self.processes(node) if state != "running"]
        return found

    def processes(self, node: int) -> Iterator[tuple[str, str]]:
        """(program, "running", "stopped" or "missing") of a node."""
        members = session_members(self.cluster.node(node).session)
        own = () if self.cluster.config.instance else ("redis",)
        for name in (*own, "cti", "portal", "guard", "tick", "switch"):
            state = members.get(self.pid(node, name), "")
            yield name, "missing" if not state else "stopped" if state == "T" else "running"

    def healthy(self, active: int = 1) -> bool:
        return not self.problems(active)

    def settings_revision(self, node: int) -> int:
        return int(self.portals[node].settings.current()[0])

    def wait_healthy_whatever_held(self, active: int) -> None:
        """As ``wait_healthy`` after a switchover, whose hold is released first."""
        eventually(lambda: self.status(active)["manual_hold"], 10, "the switchover left its hold")
        self.release_hold()
        self.wait_healthy(active)

    def wait_healthy(self, active: int = 1, deadline_s: float = SETTLE_S) -> None:
        eventually(lambda: self.healthy(active), deadline_s, lambda: f"{self.problems(active)}\n{self.story()}")

    def bring_back(self) -> None:
        """To "server1 active, both healthy", by what an administrator could do; AssertionError if that fails."""
        for node in (1, 2):
            if node in self.down:
                self.start(node)
            self.cluster.thaw(node)
        for name in ("haproxy",) if self.cluster.config.with_balancer else ():
            eventually(lambda: self._thawed(name), SETTLE_S, f"{name} is started again")
        end_s = time.monotonic() + SETTLE_S
        asked_s = float("-inf")
        if self.given_up():  # it holds failback back until the service has been well for a window in its role
            end_s += max(15.0, 40 * self.cluster.config.interval_s)
        while not self.healthy() or self.given_up():
            assert time.monotonic() < end_s, f"{self.problems()}\n{self.story()}"
            if self.cluster.active() == ["server2"] and time.monotonic() - asked_s > 6.0 and self.heard_each_other():
                asked_s = time.monotonic()
                self.order_switch(1)
            if self.cluster.active() == ["server1"]:
                self.release_hold()
            time.sleep(POLL_S)
        self.restore_settings()

    def _thawed(self, name: str) -> bool:
        """False while its supervisor is starting a program of a home of its own."""
        try:
            self.cluster.thaw(self.cluster.config.home(name), name)
        except ProcessError:
            return False
        return True

    def given_up(self) -> list[str]:
        """Services that the watchdog of their node has given up, and whose fault is not over."""
        own = (card for node in (1, 2) for card in self.status(node)["servers"] if card["here"])
        return [
            f"{card['designation']} {s['name']}"
            for card in own
            for s in card.get("service_list") or []
            if s["given_up"]
        ]

    def heard_each_other(self) -> bool:
        return all((self.document(n, "view").get("peer") or {}).get("cause") == "ok" for n in (1, 2))

    def order_switch(self, target: int) -> None:
        """A switchover as the page orders it."""
        status = self.status(target)
        order = new_order(Designation(f"server{target}"), status["active"], "test", "back to the start of a test")
        self.portals[target].producer.switch(order)

    def release_hold(self) -> None:
        for node in (1, 2):
            if self.portals[node].journal.manual_hold():
                self.portals[node].journal.set_manual_hold(False)

    def restore_settings(self) -> None:
        if self.settings().to_json() != self._first_settings:
            self.wait_live(self.save(1, self._first_settings))

    # --- what is done to it

    def save(self, node: int, values: Mapping[str, Any]) -> int:
        return self.portals[node].settings.save(values, "test", None, "short times for a test")

    def wait_live(self, revision: int, deadline_s: float = 15.0) -> None:
        """Until both agents act by this revision, acknowledged by each other."""

        def live() -> bool:
            agreed = all(self.document(n, "agent").get("settings_revision") == revision for n in (1, 2))
            return agreed and all(self.portals[n].settings.previous() is None for n in (1, 2))

        eventually(live, deadline_s, f"revision {revision} live on both servers")

    def kill_and_wait(self, node: int, program: str, deadline_s: float = 15.0) -> None:
        """kill -9 for one program; returns when its supervisor has started it again."""
        before = self.cluster.kill(node, program)
        eventually(
            lambda: self.pid(node, program) not in (0, before), deadline_s, f"{program} of server{node} restarted"
        )

    def pid(self, node: int, program: str) -> int:
        """0 while it does not run."""
        try:
            return self.cluster.node(node).pid(program)
        except ProcessError:
            return 0

    def stop_node(self, node: int) -> None:
        """kill -9 for everything of the node; nothing restarts it."""
        self.down.add(node)
        self.cluster.stop_supervision(node)

    def start(self, node: int) -> None:
        self.cluster.start_node(node)
        self.down.discard(node)

    def ft(self, node: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``ft …`` on that server."""
        env = {**os.environ, "FT_CONFIG_FILE": str(self.cluster.config_file(node))}
        command = [sys.executable, "-m", "ftplugin.cli", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    def ft_status(self, node: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ft(node, "status", "--json").stdout)
        return found

    def browser(self, node: int) -> Browser:
        return Browser(f"http://{self.cluster.address(node)}", self.cluster.secrets.password)


class Pair(Nodes):
    """The running cluster and its watcher."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self.watcher = Watcher(cluster)


class Browser:
    """An administrator at one portal: logs in, reads forms, posts them with their CSRF token."""

    def __init__(self, url: str, password: str) -> None:
        self.url, self.session = url, requests.Session()
        answer = self.post("/login", {"user": "admin", "password": password}, form="/login")
        assert answer.status_code == 200 and "Logged in as admin" in answer.text, answer.text

    def get(self, path: str) -> requests.Response:
        return self.session.get(self.url + path, timeout=10)

    def post(self, path: str, values: Mapping[str, str], *, form: str) -> requests.Response:
        """Post ``values`` with the token of the page ``form``; redirects are followed."""
        token = csrf_token(self.get(form).text)
        return self.session.post(self.url + path, data={**values, "csrf_token": token}, timeout=10)


def csrf_token(page: str) -> str:
    tag = next(t for t in re.findall(r"<input[^>]*>", page) if 'name="csrf_token"' in t)
    found = re.search(r'value="([^"]+)"', tag)
    assert found is not None, "the form has no CSRF token"
    return found[1]
