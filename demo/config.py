"""What a cluster of the demo is made of: addresses, ports, times, hosts; and the secrets made anew for each."""

from __future__ import annotations

import pathlib
import secrets
import shutil
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

STEP_S = 0.2  # guide 6.2: 200 ms a port and a device
ADDRESS_STOP_S = 1.0  # of the agent that carries the VIP: a shell script, so slower than the CTI server


class SetupError(RuntimeError):
    """The demo cannot start here; the message says why and the way out."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What a cluster is made of. Two with different ``net`` or different ports run side by side.

    ``net``: first three numbers of the addresses used: .1 outside, .11 and .12 the nodes, .100 the VIP.
    ``settings``: further settings of spec 4, over those that ``seed`` sets; with ``lan_references`` among them the
    demo's own LAN reference is not started. ``keepalive_s`` None: as T, t and N ask.

    For parts on hosts of their own: ``separate_hosts`` gives call manager, witness and balancer a supervisord each,
    ``addresses`` names the address of node1, node2, callmanager, witness or vip where ``net`` is not meant, ``prefix``
    what each group's supervisord is started with, as ("ip", "netns", "exec", "node1").

    ``floating``: keepalived on both nodes moves the VIP, instead of HAProxy; with ``floating_agent`` too the OCF agent
    IPaddr2 does, as a service of the pair. ``interface``: the nodes' own, for that.
    ``clock_offset_s``: node number -> seconds by which the wall clock of its programs is off (libfaketime); only the
    nodes named there can be stepped later. ``disk_bytes``: size of a tmpfs for what each node keeps (needs root);
    0: an ordinary folder. ``keep_logs``: no log is ever rotated away, and a small disk is copied at the end.
    ``further``: prefixes of further instances that may use the Redis of this cluster's nodes. ``instance``: this is such a
    one, with ports of its own beside the cluster that has the Redis, in the same ``directory``; its FT_PREFIX.
    ``portal_control``: FT_PORTAL names the portal's program, so that the agent restarts it, when it is dead and daily.
    ``node_keys``: further FT_* keys of both nodes' configuration.
    """

    directory: pathlib.Path = pathlib.Path("instance/demo")
    net: str = "127.0.0"
    portal_port: int = 8080
    redis_port: int = 2011
    cti_port: int = 9001
    vip_port: int = 8080
    call_manager_port: int = 7001
    lan_port: int = 7002
    witness_port: int = 2012
    interval_s: float = 1.0
    timeout_s: float = 1.0
    threshold: int = 3
    cti_ports: int = 3
    cti_devices: int = 0
    cti_scale: float = 1.0
    connect_s: float = 0.0
    service_stop_s: float = 0.3
    release_delay_s: float = 1.0
    keepalive_s: float | None = None
    mode: str = "static"
    check_lease: bool = False
    witness: bool = False
    balancer: bool | None = None
    separate_beat: bool = False
    password: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    prefix: Mapping[str, Sequence[str]] = field(default_factory=dict)
    separate_hosts: bool = False
    floating: bool = False
    floating_agent: bool = False
    interface: str = "eth0"
    clock_offset_s: Mapping[int, float] = field(default_factory=dict)
    disk_bytes: int = 0
    keep_logs: bool = False
    further: Sequence[str] = ()
    instance: str = ""
    portal_control: bool = False
    node_keys: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stop_s(self) -> float:
        """How long the services of a node may take to stop, one after another."""
        return self.service_stop_s + (ADDRESS_STOP_S if self.floating_agent else 0.0)

    @property
    def start_expected_s(self) -> float:
        """Start of a CTI server, in seconds (guide 6.2), by the demo's scale."""
        return round(self.connect_s + STEP_S * self.cti_scale * (self.cti_ports + self.cti_devices), 3)

    @property
    def outside(self) -> str:
        return f"{self.net}.1"

    @property
    def with_balancer(self) -> bool:
        """HAProxy; None means: where it is on the PATH."""
        if self.floating:
            return False
        return shutil.which("haproxy") is not None if self.balancer is None else self.balancer

    @property
    def with_lan_reference(self) -> bool:
        return "lan_references" not in self.settings

    def address(self, part: str) -> str:
        """IP address of node1, node2, callmanager, witness or vip."""
        last = {"node1": 11, "node2": 12, "vip": 100}.get(part, 1)
        return self.addresses.get(part, f"{self.net}.{last}")

    @property
    def vip(self) -> str:
        """With an own floating address the VIP is an address of the portal itself."""
        return f"{self.address('vip')}:{self.portal_port if self.floating else self.vip_port}"

    def group(self, name: str) -> str:
        """Group "node1", "node2" or of what is on neither node, apart from those of other instances."""
        return f"{name}-{self.instance}" if self.instance else name

    @property
    def url_prefix(self) -> str:
        """FT_URL_PREFIX."""
        return self.group("/ft")

    def peer_user(self, instance: str) -> str:
        """As whom the other node's part of ``instance`` logs in at a node's Redis."""
        return f"peer-{instance}" if instance else "peer"

    def node_directory(self, number: int) -> pathlib.Path:
        return self.directory.resolve() / self.group(f"node{number}")

    def instance_directory(self, number: int) -> pathlib.Path:
        """FT_INSTANCE_DIR, one for all instances: database, leases, epochs. The small disk, if there is one."""
        directory = self.directory.resolve() / f"node{number}"
        return directory / "disk" if self.disk_bytes else directory

    def clock_file(self, number: int) -> pathlib.Path:
        """Holds the offset of the node's wall clock as libfaketime reads it; not on the disk that may be full."""
        return self.node_directory(number) / "clock"

    def trouble_file(self, number: int) -> pathlib.Path:
        """What is wrong with the node's CTI server, see ``demo.cti_line``; absent: nothing."""
        return self.node_directory(number) / "cti.trouble"

    def home(self, program: str) -> str:
        """Group in which a program runs that is on neither node: callmanager, lan, witness or haproxy."""
        if not self.separate_hosts:
            return self.group("outside")
        return {"lan": "callmanager", "haproxy": "balancer"}.get(program, program)

    @property
    def client_limit_s(self) -> float:
        """Silence after which the call manager misses a client: sooner than a failover, so that it delays none."""
        failover_s = self.threshold * self.interval_s + self.timeout_s
        return self.keepalive_s if self.keepalive_s is not None else min(3.0, 0.6 * failover_s)

    def seed(self) -> dict[str, Any]:
        """The replicated settings that the cluster starts with."""
        values: dict[str, Any] = {
            "server1_address": f"{self.address('node1')}:{self.portal_port}",
            "server2_address": f"{self.address('node2')}:{self.portal_port}",
            "enabled": True,
            "interval_s": self.interval_s,
            "timeout_s": self.timeout_s,
            "threshold": self.threshold,
            "failback": False,
            "portal_restart_s": 1.0,
            "release_delay_s": self.release_delay_s,
            "service_stop_s": self.stop_s,
            "cti_connect_s": self.connect_s,
            "cti_ports": round(self.cti_ports * self.cti_scale),
            "cti_devices": round(self.cti_devices * self.cti_scale),
            "lan_references": [f"tcp:{self.address('lan')}:{self.lan_port}"],
            "rtt_ms": 100,
            "agent_port": self.redis_port,
            "flap_budget": 20,
            "balancer_kind": "floating" if self.floating else "external" if self.with_balancer else "none",
        }
        if self.with_balancer or self.floating:
            values["vip_address"] = self.vip
        if self.witness:
            values["witness"] = f"{self.address('witness')}:{self.witness_port}"
        return values | dict(self.settings)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Made anew for each cluster."""

    key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    portal_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(6))
    redis: str = field(default_factory=lambda: secrets.token_hex(16))
    peer: str = field(default_factory=lambda: secrets.token_hex(16))
    witness: str = field(default_factory=lambda: secrets.token_hex(16))
    cti: str = field(default_factory=lambda: secrets.token_hex(16))
