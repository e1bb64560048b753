"""A two-node cluster on loopback addresses. ``python -m demo.cluster`` is ``make run``; tests use ``Cluster``.

with Cluster(free_config(ClusterConfig(directory=tmp_path))) as cluster:
    cluster.wait_active("server1", 30)
    cluster.kill(1, "portal")
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import socket
import sys
import time
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Self

from ftplugin.config import NodeConfig
from ftplugin.store.database import Database
from ftplugin.store.settings_store import SettingsStore

from . import clock, disk
from .config import ClusterConfig, Secrets, SetupError
from .layout import (
    Group,
    check_ports,
    clock_env,
    free_config,
    node_group,
    outside_groups,
)
from .processes import ProcessError, Supervision
from .watch import announce, watch

__all__ = ["Cluster", "ClusterConfig", "ProcessError", "SetupError", "free_config"]

ASK_LIMIT_S = 0.5
READY_LIMIT_S = 90.0
OUR_DIRECTORIES = ("node1", "node2", "outside", "callmanager", "witness", "balancer")


class Cluster:
    """Two nodes, the call manager, the LAN reference and, if configured, witness and balancer.

    Nodes are numbered 1 and 2; ``node`` may also be the string "outside" (programs callmanager, lan, witness, haproxy),
    or, with separate hosts, "callmanager", "witness" or "balancer".
    Programs of a node: redis, cti, portal, guard, tick, switch; beat with ``separate_beat``, keepalived with ``floating``.
    ``beside``: the running cluster whose Redis a further ``instance`` uses; its groups have the prefix in their names.
    """

    def __init__(self, config: ClusterConfig, beside: Cluster | None = None) -> None:
        self.config, self.secrets = config, Secrets(**({"password": config.password} if config.password else {}))
        if beside is not None:
            self.secrets = replace(self.secrets, redis=beside.secrets.redis, peer=beside.secrets.peer)
        self._groups: dict[int | str, Supervision] = {}
        self.history = config.directory.resolve() / config.home("callmanager") / "call_manager.jsonl"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- life ---

    def prepare(self) -> None:
        """Write every file anew and seed both databases. Raises SetupError when a port is taken or Redis is missing."""
        config = self.config
        check_ports(config)
        self._unmount()
        for name in OUR_DIRECTORIES:
            shutil.rmtree(config.directory / config.group(name), ignore_errors=True)
        for group in outside_groups(config, self.secrets):
            self._add(group.name, group)
        for number in (1, 2):
            if config.disk_bytes:
                disk.mount(config.instance_directory(number), config.disk_bytes)
            self._add(number, node_group(config, self.secrets, number))
        self._seed()

    def _add(self, node: int | str, group: Group) -> None:
        self._groups[node] = Supervision(group.name, group.config, group.write(), group.env, group.prefix)

    def _unmount(self) -> None:
        if self.config.disk_bytes:
            for number in (1, 2):
                disk.unmount(self.config.instance_directory(number))

    def _seed(self) -> None:
        """The same settings at the same revision in both databases, as after a replication."""
        first = self.settings_store(1)
        first.save(self.config.seed(), "demo", override_reason="short times, so that something can be seen")
        self.settings_store(2).adopt(first.document())
        first.acknowledged(first.current()[0])

    def start(self) -> None:
        """Prepare and start everything; returns when the supervisors answer, not when a node is active."""
        try:
            self.prepare()
            for node in self._groups:
                self.node(node).start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process; nothing is left. Raises ProcessError naming what survived."""
        for group in reversed(self._groups.values()):  # the nodes first, so that the call manager sees them go
            group.ask_to_stop()
        errors = []
        for group in self._groups.values():
            try:
                group.stop()
            except ProcessError as error:
                errors.append(str(error))
        if errors:
            raise ProcessError("; ".join(errors))
        if self.config.keep_logs and self.config.disk_bytes:
            for number in (1, 2):
                kept = self.config.node_directory(number) / "disk-kept"
                shutil.copytree(self.config.instance_directory(number), kept, dirs_exist_ok=True)
        self._unmount()
        if self.config.clock_offset_s:
            clock.clean_up()

    # --- parts ---

    @property
    def groups(self) -> list[int | str]:
        """What has a supervisor of its own: the nodes by number, the rest by name."""
        return list(self._groups)

    def node(self, node: int | str) -> Supervision:
        """The supervision of node 1, 2 or "outside": ``node(1).pid("portal")``."""
        return self._groups[node]

    def kill(self, node: int | str, program: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one program; its supervisor restarts what ends. The pid it went to."""
        return self.node(node).kill(program, number)

    def stop_supervision(self, node: int | str) -> None:
        """kill -9 for everything of a node, its supervisor first, so that nothing restarts."""
        self.node(node).kill_everything()

    def start_node(self, node: int | str) -> None:
        """Start a node again after ``stop_supervision``; its files are as they were left."""
        self.node(node).start()

    def freeze(self, node: int | str, program: str | None = None) -> None:
        """SIGSTOP for one program, or for the whole node with its supervisor."""
        if program is None:
            self.node(node).freeze()
        else:
            self.kill(node, program, signal.SIGSTOP)

    def thaw(self, node: int | str, program: str | None = None) -> None:
        if program is None:
            self.node(node).thaw()
        else:
            with contextlib.suppress(ProcessLookupError):  # it has just ended, and its supervisor has not noticed yet
                self.kill(node, program, signal.SIGCONT)

    def set_clock(self, node: int, offset_s: float) -> None:
        """Step the wall clock of a node's programs to the host's plus ``offset_s``. ValueError without an own clock."""
        if node not in self.config.clock_offset_s:
            raise ValueError(f"node {node} has no clock of its own: name it in clock_offset_s, with 0 to begin with")
        clock.set_offset(self.config.clock_file(node), offset_s)

    def trouble(self, node: int, **trouble: Any) -> None:
        """What is wrong with the node's CTI server from now on, as ``start_s=5.0``; without words: nothing.

        See ``demo.cti_line.Trouble`` for the words.
        """
        file = self.config.trouble_file(node)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(trouble))
        fresh.replace(file)

    # --- questions ---

    def address(self, node: int) -> str:
        return f"{self.config.address(f'node{node}')}:{self.config.portal_port}"

    def config_file(self, node: int) -> pathlib.Path:
        """The node's FT_CONFIG_FILE."""
        return self.config.node_directory(node) / "node.toml"

    def environment(self, node: int) -> dict[str, str]:
        """What a program needs in its environment to be one of the node's: its FT_CONFIG_FILE, and its clock."""
        return self.node(node).env | clock_env(self.config, node)

    def node_config(self, node: int) -> NodeConfig:
        return NodeConfig.from_environment({"FT_CONFIG_FILE": str(self.config_file(node))})

    def settings_store(self, node: int) -> SettingsStore:
        config = self.node_config(node)
        return SettingsStore(Database(config.database_url), config.own_address)

    def get(self, address: str, path: str, limit_s: float = ASK_LIMIT_S) -> tuple[int, str]:
        """(status, body) of one GET; (0, "") when nobody answers within the limit."""
        connection = http.client.HTTPConnection(address, timeout=limit_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def monitor(self, node: int, mod: str = "FT") -> str:
        """Body of the monitor URL, or "" when the portal does not answer."""
        return self.get(self.address(node), f"{self.config.url_prefix}/monitor?mod={mod}")[1].strip()

    def active(self) -> list[str]:
        """Designations that answer ACTIVE now; more than one is a split-brain."""
        return [f"server{n}" for n in (1, 2) if self.monitor(n) == "ACTIVE"]

    def wait_active(self, designation: str, deadline_s: float) -> float:
        """Seconds until that server, and it alone, is active with its service. ProcessError after the deadline."""
        start_s = time.monotonic()
        while True:
            if self.active() == [designation] and self.cti_status(int(designation[-1])).get("state") == "active":
                return time.monotonic() - start_s
            if time.monotonic() - start_s > deadline_s:
                states = {n: (self.monitor(n) or "no answer", self.cti_status(n)) for n in (1, 2)}
                where = f"see the logs in {self.config.directory}"
                raise ProcessError(f"{designation} is not active after {deadline_s:g} s: {states}; {where}")
            time.sleep(0.05)

    def cti_status(self, node: int) -> dict[str, Any]:
        """The CTI server's own status; empty when it does not answer."""
        address = f"{self.config.address(f'node{node}')}:{self.config.cti_port}"
        connection = http.client.HTTPConnection(address, timeout=ASK_LIMIT_S)
        try:
            connection.request("GET", "/status", headers={"Authorization": f"Bearer {self.secrets.cti}"})
            return dict(json.loads(connection.getresponse().read()))
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()

    def call_manager(self, **request: Any) -> dict[str, Any]:
        """One control request, as ``op="owners"`` or ``op="set", mode="dynamic"``; empty without an answer."""
        address = (self.config.address("callmanager"), self.config.call_manager_port)
        with contextlib.suppress(OSError, ValueError), socket.create_connection(address, ASK_LIMIT_S) as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                return dict(json.loads(answers.readline()))
        return {}


def arguments(argv: list[str] | None = None) -> ClusterConfig:
    """The command line as a ClusterConfig. Ends the process with exit code 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m demo.cluster", description="A two-node cluster on this machine.")
    defaults = ClusterConfig()
    parser.add_argument("--directory", "--dir", type=pathlib.Path, default=defaults.directory, help="work directory")
    parser.add_argument("--net", default=defaults.net, help="first three numbers of the addresses (default 127.0.0)")
    for name in ("portal", "redis", "cti", "vip", "call_manager", "lan", "witness"):
        default = getattr(defaults, f"{name}_port")
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=int, default=default, help=f"default {default}")
    parser.add_argument("--interval", type=float, dest="interval_s", default=defaults.interval_s, help="T in seconds")
    parser.add_argument("--timeout", type=float, dest="timeout_s", default=defaults.timeout_s, help="t in seconds")
    parser.add_argument("--threshold", type=int, default=defaults.threshold, help="N")
    parser.add_argument("--cti-ports", type=int, default=defaults.cti_ports, help="ports the CTI server registers")
    parser.add_argument("--cti-devices", type=int, default=defaults.cti_devices)
    parser.add_argument("--cti-scale", type=float, default=defaults.cti_scale, help="of 200 ms a port and device")
    parser.add_argument("--release-delay", type=float, dest="release_delay_s", default=defaults.release_delay_s)
    parser.add_argument("--mode", choices=("static", "dynamic"), default="static", help="of the call manager")
    parser.add_argument("--check-lease", action="store_true", help="the CTI server checks its lease itself")
    parser.add_argument("--witness", action="store_true", help="also a witness Redis")
    parser.add_argument("--no-balancer", dest="balancer", action="store_false", default=None, help="also with haproxy")
    parser.add_argument("--separate-beat", action="store_true", help="Celery beat as a process of its own")
    parser.add_argument("--password", default="", help="of the portal's user admin; made at random without")
    options = parser.parse_args(argv)
    names = [f.name for f in fields(ClusterConfig) if hasattr(options, f.name)]
    return ClusterConfig(**{name: getattr(options, name) for name in names})


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Run the demo until Ctrl-C. 0: ended as asked; 1: something did not start or end; 2: it cannot start here."""
    config = arguments(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    cluster, code = Cluster(config), 0
    try:
        print("Starting the two nodes …", flush=True)
        cluster.start()
        print("Waiting until server #1 is active …", flush=True)
        print(f"It is, after {cluster.wait_active('server1', READY_LIMIT_S):.1f} s.")
        announce(cluster)
        watch(cluster)
    except KeyboardInterrupt:
        print("\nEnding every process …", flush=True)
    except (SetupError, ValueError) as error:
        print(f"The demo cannot start: {error}", file=sys.stderr)
        return 2
    except ProcessError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        code = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            cluster.stop()
            print("Every process of the demo has ended.", flush=True)
        except ProcessError as error:
            print(f"Not everything ended: {error}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
