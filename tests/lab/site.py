"""A whole site on a LAN of its own: two nodes, witness, balancer, client, call manager and gateway, each a host.

    with Site(tmp_path, witness=True) as site:
        site.bring_back()
        site.kill_node(1)
        site.pair.wait_active(2, site.pair.failover_bound_s() + SLACK_S)

The faults are the site's own methods, see ``tests.lab.faults``; who was active when is in ``site.timeline``. Questions
about a node are asked on its own host, so that a cut LAN hides nothing.
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
from types import TracebackType
from typing import Any, Callable, Collection, ContextManager, Iterator, Mapping, Self

from demo.cluster import Cluster, ClusterConfig
from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.status import status_of
from tests.integration.cluster.harness import ROOT, Nodes, eventually

from .faults import Faults
from .lan import Lan
from .timeline import Asker, Timeline

NET = "10.77.0"
HOSTS = {
    "gateway": f"{NET}.1",  # answers pings: the LAN reference
    "node1": f"{NET}.11",
    "node2": f"{NET}.12",
    "witness": f"{NET}.13",
    "balancer": f"{NET}.14",
    "client": f"{NET}.20",
    "callmanager": f"{NET}.21",
}
VIP = f"{NET}.100"
VIP_LIMIT_S = 15.0
FT_LIMIT_S = 60.0
_numbers = itertools.count(1)


class LabCluster(Cluster):
    """The demo's cluster; every part is asked on its own host, the VIP by the client."""

    def __init__(self, config: ClusterConfig, lan: Lan) -> None:
        super().__init__(config)
        self.lan = lan
        self._host = {address: host for host, address in HOSTS.items()}

    def get(self, address: str, path: str, limit_s: float = 0.5) -> tuple[int, str]:
        with self.lan.inside(self._host.get(address.rpartition(":")[0], "client")):
            return super().get(address, path, limit_s)

    def cti_status(self, node: int) -> dict[str, Any]:
        with self.lan.inside(f"node{node}"):
            return super().cti_status(node)

    def call_manager(self, **request: Any) -> dict[str, Any]:
        with self.lan.inside("callmanager"):
            return super().call_manager(**request)


class NodeClock(SystemClock):
    """A node's clock, read by a test that has the host's. ``offset_s``: of that node now."""

    def __init__(self, offset_s: Callable[[], float]) -> None:
        self._offset_s = offset_s

    def wall_s(self) -> float:
        return super().wall_s() + self._offset_s()


class LabNodes(Nodes):
    """The questions of the cluster's tests, asked on the node's own host and by its own clock.

    :param offset_s: of a node's wall clock. :param stood_in: programs of a node that something else stands in for.
    """

    def __init__(
        self, cluster: LabCluster, offset_s: Callable[[int], float], stood_in: Callable[[int], Collection[str]]
    ) -> None:
        self._lan, self._stood_in = cluster.lan, stood_in
        super().__init__(cluster)
        for node, portal in self.portals.items():
            portal.clock = NodeClock(functools.partial(offset_s, node))

    def processes(self, node: int) -> Iterator[tuple[str, str]]:
        return ((name, state) for name, state in super().processes(node) if name not in self._stood_in(node))

    def status(self, node: int) -> dict[str, Any]:
        with self._lan.inside(f"node{node}"):
            return status_of(self.portals[node])

    def role(self, node: int) -> RoleRecord | None:
        with self._lan.inside(f"node{node}"):
            return super().role(node)

    def document(self, node: int, name: str) -> dict[str, Any]:
        with self._lan.inside(f"node{node}"):
            return super().document(node, name)

    def order_switch(self, target: int) -> None:
        with self._lan.inside(f"node{target}"):
            super().order_switch(target)

    def ft(self, node: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **self.cluster.environment(node)}
        command = [*self._lan.prefix(f"node{node}"), sys.executable, "-m", "ftplugin.cli", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=FT_LIMIT_S)


class Site(Faults):
    """The site as a context manager; nothing of it is left after the exit.

    :param directory: takes every file and log. With LAB_KEEP in the environment, a folder below that one instead.
    :param interval_s, timeout_s, threshold: T, t and N of nodes and balancer.
    :param floating: keepalived on both nodes moves the VIP; without: HAProxy on the balancer follows ``/ft/active``.
    :param own_clocks: each node's wall clock can be stepped.
    :param settings: further settings of spec 4.
    :param more: further fields of ``ClusterConfig``, as ``check_lease=True``; ``disk_bytes``, of which the health check
        wants 50 MiB free.
    """

    nodes = (1, 2)

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        interval_s: float = 0.5,
        timeout_s: float = 0.5,
        threshold: int = 3,
        witness: bool = False,
        failback: bool = False,
        vip_test: bool = False,
        floating: bool = False,
        own_clocks: bool = False,
        settings: Mapping[str, Any] = {},
        **more: Any,
    ) -> None:
        super().__init__()
        number = next(_numbers)
        keep = os.environ.get("LAB_KEEP", "")
        self.directory = pathlib.Path(keep, f"{os.getpid()}-{number}") if keep else directory
        self.lan = Lan(f"s{number}", HOSTS, {} if floating else {"balancer": (VIP,)})
        hosts = {"gateway", "client", *(() if floating else ("balancer",))}
        first = {"flap_budget": 100, "failback": failback, "vip_test": vip_test, "lan_references": [HOSTS["gateway"]]}
        values: dict[str, Any] = {"cti_scale": 0.5, "mode": "dynamic", "balancer": not floating} | more
        config = ClusterConfig(
            directory=self.directory,
            interval_s=interval_s,
            timeout_s=timeout_s,
            threshold=threshold,
            witness=witness,
            floating=floating,
            clock_offset_s=dict.fromkeys(self.nodes, 0.0) if own_clocks else {},
            settings=first | dict(settings),
            addresses={**{k: v for k, v in HOSTS.items() if k not in hosts}, "vip": VIP},
            separate_hosts=True,
            prefix={host: self.lan.prefix(host) for host in HOSTS},
            keep_logs=bool(keep),
            **values,
        )
        self.cluster: LabCluster = LabCluster(config, self.lan)
        self.pair: LabNodes
        self.timeline: Timeline
        self.both_active_bound_s = 0.0  # what a test declares for itself, where the spec lets two be active (I-C)

    # --- life

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lan.__enter__()
        try:
            self.cluster.start()
            self.pair = LabNodes(self.cluster, self._offset_s.__getitem__, self.stood_in)
            self.pair.down = self.down
            self.timeline = Timeline(self)
            self.timeline.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.timeline.stop()
        finally:
            self._close()

    def _close(self) -> None:
        try:
            for node in self.nodes:
                self._end_impostors(node)
                self._filler(node).unlink(missing_ok=True)  # what is kept of the disk is kept without it
            self.cluster.stop()
        finally:
            self.lan.__exit__(None, None, None)

    def bring_back(self) -> None:
        """To "server1 active, both healthy, the VIP leads there", whatever was before. AssertionError if that fails."""
        self.repair()
        self.pair.bring_back()
        eventually(lambda: self.served() == "server1 ACTIVE", VIP_LIMIT_S, lambda: f"VIP: {self.served()}")
        self.both_active_bound_s = 0.0

    # --- places

    def on(self, node: int | str) -> ContextManager[None]:
        """The calling thread is on that host's network, for questions of a test's own."""
        return self.lan.inside(self.host(node))

    @property
    def history(self) -> pathlib.Path:
        """The call manager's."""
        return self.cluster.history

    @property
    def vip(self) -> str:
        return self.cluster.config.vip

    def portal(self, node: int) -> str:
        return self.cluster.address(node)

    def server_at(self, address: str) -> str:
        """By the ARP table of the calling thread's host; a host's MAC address ends with its IP address."""
        for line in pathlib.Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[0] == address:
                last = int(fields[3].rpartition(":")[2], 16)
                return next((f"server{n}" for n in self.nodes if HOSTS[f"node{n}"].endswith(f".{last}")), "")
        return ""

    # --- questions

    def served(self) -> str:
        """What a client gets at the VIP on a new connection: ``server1 ACTIVE``, ``HTTP 503``, ``no answer``."""
        with self.on("client"):
            asker = Asker(self.vip)
            try:
                return self.timeline.served(asker.ask())
            finally:
                asker.close()

    def remove_files(self) -> None:
        """After the exit."""
        shutil.rmtree(self.directory, ignore_errors=True)
