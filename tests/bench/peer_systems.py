"""The systems that ``make bench-peers`` holds side by side, each on hosts of the lab."""

from __future__ import annotations

import abc
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from types import TracebackType
from typing import Protocol, Self

from demo.oracle import read_history
from ftplugin.core.rules import check, smallest_threshold
from ftplugin.core.settings import Settings
from ftplugin.core.timing import service_start_s, worst_failover_s
from tests.lab.lan import Lan
from tests.lab.site import HOSTS, VIP, Site
from tests.lab.timeline import PERIOD_S, SERVED_BY, Track

from .figures import BenchError
from .report import ROOT
from .site import wait_for

PORT = 8080
LIMIT_S = 40.0
STOP_S = 0.1  # stop time of the service in the fastest setting; the demo's takes some milliseconds
KILL, NODE, FREEZE, CUT = "kill", "node", "freeze", "cut"
SAID = "the other node said `ACTIVE`"
_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """One column of speed: ours, and what stands beside it. Seconds."""

    interval_s: float
    timeout_s: float
    threshold: int
    stop_s: float
    haproxy_inter_s: float
    advert_s: float
    script_s: float


def fastest() -> Pace:
    """The one of T >= 0.2 s and t >= 0.1 s whose worst failover is shortest while no rule refuses it (I-D)."""
    sets = []
    for interval_ms in range(200, 501, 50):
        for timeout_ms in range(100, interval_ms + 1, 50):
            base = Settings(interval_s=interval_ms / 1000, timeout_s=timeout_ms / 1000, service_stop_s=STOP_S)
            base = replace(base, release_delay_s=0.0, cti_connect_s=0.0)
            sets.append(replace(base, threshold=smallest_threshold(base)))
    allowed = [one for one in sets if not any(problem.severity == "error" for problem in check(one))]
    best = min(allowed, key=worst_failover_s)
    return Pace(
        interval_s=best.interval_s,
        timeout_s=best.timeout_s,
        threshold=best.threshold,
        stop_s=STOP_S,
        haproxy_inter_s=0.2,
        advert_s=0.1,
        script_s=0.2,
    )


PACES = {
    "0.5 s": Pace(
        interval_s=0.5, timeout_s=0.5, threshold=3, stop_s=0.3, haproxy_inter_s=0.5, advert_s=0.5, script_s=0.5
    ),
    "fastest": fastest(),
}


class System(Protocol):
    """One of those measured, a context manager."""

    lan: Lan
    path: str
    interval_s: float

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def calm(self) -> None:
        """Wait until both are healthy. BenchError or AssertionError when that takes too long."""

    def fault(self, kind: str) -> float:
        """Do it to the node that is active. When."""

    def heal(self) -> None:
        """Take it back."""

    def extra(self, since_s: float) -> dict[str, float]:
        """Further figures of a run."""


class Ours:
    """The lab's site; its VIP is a HAProxy that follows the role. The service behind the VIP is the active node's portal."""

    path = "/ft/monitor?mod=FT"

    def __init__(self, pace: Pace) -> None:
        self.interval_s = pace.interval_s
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-peers-"))
        self._site = Site(
            self._directory,
            interval_s=pace.interval_s,
            timeout_s=pace.timeout_s,
            threshold=pace.threshold,
            service_stop_s=pace.stop_s,
            settings={"flap_budget": 1000, "rtt_ms": 20},
        )
        self.lan = self._site.lan
        self._active, self._kind = 1, ""

    def __enter__(self) -> Self:
        self._site.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._site.__exit__(kind, error, trace)
        self._site.remove_files()

    @property
    def start_s(self) -> float:
        return service_start_s(self._site.pair.settings())

    def calm(self) -> None:
        pair = self._site.pair
        self._active = wait_for(lambda: next((n for n in (1, 2) if pair.healthy(n)), 0), LIMIT_S, "both are healthy")

    def fault(self, kind: str) -> float:
        self._kind = kind
        if kind == KILL:
            return self._site.kill_for_good(self._active, "portal")
        verbs = {NODE: self._site.kill_node, FREEZE: self._site.freeze, CUT: self._site.cut}
        return verbs[kind](self._active)

    def heal(self) -> None:
        site = self._site
        verbs = {KILL: site.restart_killed, NODE: site.start_node, FREEZE: site.thaw, CUT: site.heal}
        verbs[self._kind](self._active)

    def extra(self, since_s: float) -> dict[str, float]:
        other = f"server{3 - self._active}"
        owned = {i.port: i.from_s for i in read_history(self._site.history) if i.owner == other and i.from_s > since_s}
        if len(owned) < self._site.cluster.config.cti_ports:
            raise BenchError(f"{other} does not own every port: {sorted(owned)}; see {self._directory}")
        said_s = self._site.timeline.first(3 - self._active, "ACTIVE", since_s)
        return {
            SAID: (said_s or time.monotonic()) - since_s,
            "its service owns every port": max(owned.values()) - since_s,
            "both said `ACTIVE`": self._site.timeline.both_active_s(since_s).total_s,
            "ports with two owners": len(self._site.timeline.owners_doubled(since_s)),
        }


class Plain(abc.ABC):
    """Two plain servers, the first preferred, and what moves clients between them: HAProxy alone, or keepalived."""

    path = "/bare"

    def __init__(self, *, balancer: bool) -> None:
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="ft-peers-"))
        extra = {"balancer": (VIP,)} if balancer else {}
        self.lan = Lan(f"peer{next(_numbers)}", {h: HOSTS[h] for h in ("node1", "node2", "balancer", "client")}, extra)
        self._kind, self._undo = "", ExitStack()
        self._programs: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(self.lan)
            undo.callback(self._end)
            for node in ("node1", "node2"):
                self._serve(node)
            self._start_movers()
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()
        if kind is None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @abc.abstractmethod
    def calm(self) -> None: ...

    def fault(self, kind: str) -> float:
        at_s, self._kind = time.monotonic(), kind
        if kind == KILL:
            self._programs["node1", "server"].kill()
            return at_s
        if kind == NODE:
            self._signal_node1(signal.SIGKILL)
            return at_s
        self.lan.cut("node1")
        if kind == FREEZE:
            self._signal_node1(signal.SIGSTOP)
        return at_s

    def heal(self) -> None:
        if self._kind in (KILL, NODE):
            self._programs["node1", "server"].wait(5)
            self._serve("node1")
        if self._kind == NODE:
            self._start_mover("node1")
        elif self._kind == FREEZE:
            self._signal_node1(signal.SIGCONT)
        self.lan.heal("node1")

    def extra(self, since_s: float) -> dict[str, float]:
        return {}

    @abc.abstractmethod
    def _start_movers(self) -> None: ...

    def _start_mover(self, node: str) -> None:
        """What ``_start_movers`` has started on that node, where it has."""

    def _serve(self, node: str) -> None:
        self._start(node, "server", sys.executable, "-m", "tests.bench.bare", f"0.0.0.0:{PORT}")

    def _start(self, host: str, name: str, *command: str) -> None:
        with (self._directory / f"{host}-{name}.log").open("ab") as log:
            self._programs[host, name] = subprocess.Popen(
                [*self.lan.prefix(host), *command],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _signal_node1(self, number: int) -> None:
        for (host, _), program in self._programs.items():
            if host == "node1":
                os.killpg(program.pid, number)

    def _end(self) -> None:
        for program in self._programs.values():
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGKILL)
            program.wait(5)


class HAProxy(Plain):
    """HAProxy alone in front of two plain servers, the second a backup."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(balancer=True)
        self.interval_s = pace.haproxy_inter_s

    def calm(self) -> None:
        wait_for(lambda: self._server() == "server1", LIMIT_S, f"HAProxy chooses server1; see {self._directory}")

    def _server(self) -> str:
        """Which one HAProxy chooses for a client now."""
        connection = http.client.HTTPConnection(VIP, PORT, timeout=1.0)
        try:
            with self.lan.inside("client"):
                connection.request("GET", self.path)
                return connection.getresponse().headers.get(SERVED_BY, "")
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def _start_movers(self) -> None:
        inter_ms = round(1000 * self.interval_s)
        path = self._directory / "haproxy.cfg"
        path.write_text(
            "global\n    maxconn 256\n    nbthread 1\n\n"
            "defaults\n    mode http\n    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n"
            "    option http-server-close\n"  # else hundreds of kept connections outlive each cut at the plain server
            f"    timeout check {inter_ms}ms\n\n"
            f"frontend vip\n    bind {VIP}:{PORT}\n    default_backend nodes\n"
            f"    http-response set-header {SERVED_BY} %[srv_name]\n\n"
            f"backend nodes\n    option httpchk GET {self.path}\n    default-server check inter {inter_ms}ms fall 3 rise 1\n"
            f"    server server1 {HOSTS['node1']}:{PORT}\n    server server2 {HOSTS['node2']}:{PORT} backup\n"
        )
        self._start("balancer", "haproxy", shutil.which("haproxy") or "haproxy", "-db", "-f", str(path))


class Keepalived(Plain):
    """keepalived on both nodes moves the VIP between two plain servers; it also asks its own one."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(balancer=False)
        self.interval_s, self._pace = pace.advert_s, pace
        self._stop = threading.Event()
        self._holds = {node: Track(node, PERIOD_S) for node in ("node1", "node2")}
        self._threads: list[threading.Thread] = []

    def calm(self) -> None:
        wait_for(
            lambda: [t.runs[-1].word for t in self._holds.values()] == ["held", ""],
            LIMIT_S,
            f"node1 has the VIP; see {self._directory}",
        )

    def extra(self, since_s: float) -> dict[str, float]:
        one, two = ([run.proven for run in t.since(since_s) if run.word] for t in self._holds.values())
        both = (min(a[1], b[1]) - max(a[0], b[0], since_s) for a in one for b in two)
        return {"the VIP on both nodes": sum(max(0.0, length_s) for length_s in both)}

    def _start_movers(self) -> None:
        for number, node in enumerate(self._holds, 1):
            pathlib.Path(self._files(node)[0]).write_text(self._config(number))
            pathlib.Path(self._files(node)[0]).chmod(0o600)
            self._start_mover(node)
            self._watch(node)
        wait_for(lambda: all(t.runs for t in self._holds.values()), LIMIT_S, "the addresses of both nodes can be read")

    def _files(self, node: str) -> list[str]:
        return [str(self._directory / f"{node}{end}") for end in (".conf", ".pid", ".vrrp")]

    def _start_mover(self, node: str) -> None:
        if (former := self._programs.get((node, "keepalived"))) is not None:
            former.wait(5)
            flush = ("ip", "address", "flush", "dev", "eth0", "to", f"{VIP}/32")  # as on a host that has booted
            subprocess.run([*self.lan.prefix(node), *flush], check=True, timeout=5)
        files = self._files(node)
        pids = ("-p", files[1], "-r", files[2])
        program = shutil.which("keepalived") or "keepalived"
        self._start(node, "keepalived", program, "--dont-fork", "--log-console", "--vrrp", "-f", files[0], *pids)

    def _config(self, number: int) -> str:
        own, peer, pace = HOSTS[f"node{number}"], HOSTS[f"node{3 - number}"], self._pace
        ask = f"{shutil.which('curl')} -fsS -m {pace.script_s:g} -o /dev/null http://{own}:{PORT}{self.path}"
        return (
            f"global_defs {{\n    router_id server{number}\n    script_user root\n    enable_script_security\n"
            "    vrrp_version 3\n}\n\n"
            f'vrrp_script server {{\n    script "{ask}"\n    interval {pace.script_s:g}\n    timeout 1\n    rise 1\n'
            "    fall 3\n}\n\n"
            f"vrrp_instance vip {{\n    state BACKUP\n    interface eth0\n    virtual_router_id 51\n"
            f"    priority {102 - number}\n    advert_int {pace.advert_s:g}\n    unicast_src_ip {own}\n"
            f"    unicast_peer {{\n        {peer}\n    }}\n    virtual_ipaddress {{\n        {VIP}/32 dev eth0\n    }}\n"
            "    track_script {\n        server\n    }\n}\n"
        )

    def _watch(self, node: str) -> None:
        def work() -> None:
            with self.lan.inside(node):
                self._holds[node].follow(_has_vip, self._stop)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(1.0)
        super()._end()


def _has_vip() -> str:
    """Of the calling thread's host."""
    return "held" if f"-- {VIP}\n" in pathlib.Path("/proc/thread-self/net/fib_trie").read_text() else ""


SYSTEMS: dict[str, Callable[[Pace], System]] = {"HAProxy": HAProxy, "keepalived": Keepalived, "ours": Ours}
NAMES: Sequence[str] = tuple(SYSTEMS)
