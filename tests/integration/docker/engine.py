"""Stands in for a container engine: what docker/compose.yml describes, from network namespaces and mounts of this machine.

Real: every start command, its user (where it may read this Python), its environment, a read-only root, files, addresses,
routes, cuts. Not here: images, health checks, restart policies, published ports, the firewall rules of an engine.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from typing import Any, Callable, Mapping

import yaml

from tests.parts import eventually

ROOT = pathlib.Path(__file__).parents[3]
DOCKER = ROOT / "docker"
UID = "10011"
HOST = "host"  # the namespace that has the bridges
MOUNTS = """
set -e
mount -t tmpfs tmpfs /opt
mkdir -p /opt/ft/venv /opt/ft/demo/demo
mount --bind "$VENV" /opt/ft/venv
mount --bind "$ROOT/demo" /opt/ft/demo/demo
cp "$ROOT/docker/setup.py" /opt/ft/demo/setup.py
cp "$ROOT/deploy/flowerconfig.py" /opt/ft/flowerconfig.py
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/ft
mount --bind "$VOLUME" /var/lib/ft
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
mount -o remount,bind,ro /
cd /var/lib/ft
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
HOLDER = ("setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs")


def user_id() -> str:
    """The image's user; root without its capabilities where this Python is hidden from other users."""
    places = [pathlib.Path(sys.executable).resolve(), pathlib.Path(sys.prefix), ROOT]
    hidden = [p for place in places for p in (place, *place.parents) if not p.stat().st_mode & 0o001]
    return "0" if hidden else UID


def wait_for(what: str, condition: Callable[[], Any], limit_s: float) -> Any:
    return eventually(condition, limit_s, what, 0.2)


def environment() -> dict[str, str]:
    """docker/.env as docker/make-env makes it."""
    made = subprocess.run([str(DOCKER / "make-env")], capture_output=True, text=True, check=True, timeout=20).stdout
    return dict(line.split("=", 1) for line in made.splitlines())


def compose(env: Mapping[str, str]) -> dict[str, Any]:
    """compose.yml with its variables replaced."""

    def value(found: re.Match[str]) -> str:
        name, operator = found["name"], found["operator"]
        if operator == ":?" and not env.get(name):
            raise AssertionError(f"compose.yml: {name} is needed and not set")
        return env.get(name, "")

    def replaced(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: replaced(item) for key, item in node.items()}
        if isinstance(node, list):
            return [replaced(item) for item in node]
        if isinstance(node, str):
            return re.sub(r"\$\{(?P<name>\w+)(?P<operator>:\?|:-)[^}]*\}", value, node)
        return node

    return dict(replaced(yaml.safe_load((DOCKER / "compose.yml").read_text())))


def image_environment() -> dict[str, str]:
    """What the Dockerfile's ENV lines set, in the order of their stages."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    pairs = [pair for line in re.findall(r"^ENV (.*)$", text, re.M) for pair in line.split()]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def image_command(word: str = "CMD") -> list[str]:
    """The Dockerfile's last CMD, as a list."""
    (found,) = re.findall(rf"^{word} (\[.*\])$", (DOCKER / "Dockerfile").read_text(), re.M)
    return list(yaml.safe_load(found))


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Engine:
    """``up`` starts every service; ``cut`` and ``join`` are ``docker network disconnect`` and ``connect``."""

    def __init__(self, folder: pathlib.Path, env: Mapping[str, str]) -> None:
        self.folder, self.file = folder, compose(env)
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        self.holders = [name for name, service in self.services.items() if "networks" in service]
        self._tag = f"fd{os.getpid()}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._bridges = {name: f"br{number}" for number, name in enumerate(self.file["networks"])}

    def namespace(self, holder: str) -> str:
        return f"{self._tag}-{holder}"

    # --- networks

    def make_networks(self) -> None:
        for name in (HOST, *self.holders):
            ip("netns", "add", self.namespace(name))
            ip("-n", self.namespace(name), "link", "set", "lo", "up")
            self._sysctl(name, "net.ipv4.ping_group_range=0 2147483647")  # as an engine sets it
        for name, bridge in self._bridges.items():
            (config,) = self.file["networks"][name]["ipam"]["config"]
            mac = f"02:00:00:00:00:0{bridge[-1]}"  # its own, as with an engine: else it is that of a port, and changes
            ip("-n", self.namespace(HOST), "link", "add", bridge, "address", mac, "type", "bridge")
            ip("-n", self.namespace(HOST), "address", "add", config["gateway"] + "/24", "dev", bridge)
            ip("-n", self.namespace(HOST), "link", "set", bridge, "up")
        for holder in self.holders:
            for key, value in self.services[holder].get("sysctls", {}).items():
                self._sysctl(holder, f"{key}={value}")
            for network in self.services[holder]["networks"]:
                self.join(network, holder)

    def _sysctl(self, name: str, setting: str) -> None:
        command = ["ip", "netns", "exec", self.namespace(name), "sysctl", "-q", "-w", setting]
        subprocess.run(command, check=True, timeout=20)

    def _link(self, network: str, holder: str) -> str:
        return f"{holder}-{self._bridges[network]}"

    def join(self, network: str, holder: str) -> None:
        own, outer, device = self.namespace(holder), self._link(network, holder), f"eth{self._bridges[network][-1]}"
        address = self.services[holder]["networks"][network]["ipv4_address"]
        host = self.namespace(HOST)
        ip("-n", host, "link", "add", outer, "type", "veth", "peer", "name", device, "netns", own)
        ip("-n", host, "link", "set", outer, "master", self._bridges[network], "up")
        ip("-n", own, "address", "add", f"{address}/24", "dev", device)
        ip("-n", own, "link", "set", device, "up")
        if network == next(iter(self.services[holder]["networks"])):
            (config,) = self.file["networks"][network]["ipam"]["config"]
            ip("-n", own, "route", "add", "default", "via", config["gateway"])

    def cut(self, network: str, holder: str) -> None:
        ip("-n", self.namespace(HOST), "link", "delete", self._link(network, holder))

    # --- services

    def up(self) -> None:
        self.make_networks()
        for name in self.holders:
            self.start(name)
        for name in [name for name in self.services if name.endswith("-setup")]:
            self.start(name)
            code = self._processes.pop(name).wait(120)
            assert code == 0, f"{name}: {self.log(name)}"
        for name in self.services:
            if name not in self.holders and not name.endswith("-setup"):
                self.start(name)

    def start(self, name: str) -> None:
        command = self.services[name].get("command") or image_command()
        self._processes[name] = self._spawn(name, [word.replace("$$", "$") for word in command])

    def run(self, name: str, *command: str) -> int:
        """``docker compose exec``, or ``run``: exit code of one more program of that service."""
        return self._spawn(name, list(command)).wait(180)

    def kill(self, name: str) -> None:
        """``docker kill``, which restarts nothing; ``start`` does."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def pause(self, name: str) -> None:
        os.killpg(self._processes[name].pid, signal.SIGSTOP)

    def unpause(self, name: str) -> None:
        os.killpg(self._processes[name].pid, signal.SIGCONT)

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        service = self.services[name]
        if command[0] == "redis-server":  # not the one that a test's package may have put beside Python
            command[0] = shutil.which(command[0]) or command[0]
        holder = name if name in self.holders else service["network_mode"].removeprefix("service:")
        environ = {"PATH": os.environ["PATH"]}
        prefix = ["ip", "netns", "exec", self.namespace(HOST if holder == "none" else holder)]
        if name in self.holders:
            prefix += HOLDER
        else:
            environ |= self._environment(service)
            prefix += ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNTS, "sh"]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*prefix, *command],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        (mount,) = service["volumes"]
        volume, _, target = mount.partition(":")
        assert target == "/var/lib/ft" and volume in self.file["volumes"] and service["read_only"] is True
        assert service["user"] == UID and service["cap_drop"] == ["ALL"]
        folder = self.folder / volume
        if not folder.exists():
            folder.mkdir()
            shutil.chown(folder, int(user_id()), int(user_id()))
        values = image_environment() | {key: str(value) for key, value in service.get("environment", {}).items()}
        values["PATH"] = f"/opt/ft/venv/bin:/usr/sbin:{os.environ['PATH']}"
        values["PYTHONPATH"] += f":{ROOT}"  # in the image ftplugin and workers are installed
        values |= {"VENV": sys.prefix, "ROOT": str(ROOT), "VOLUME": str(folder), "USER_ID": user_id()}
        return values

    def look_after(self) -> None:
        """``restart: unless-stopped``."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None and name not in self.holders:
                self.start(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-1500:]

    def get(self, holder: str, url: str) -> str:
        """Body of a GET from inside the network of ``holder``; empty when nobody answers well."""
        self.look_after()
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=2).read().decode(), end='')"
        command = ["ip", "netns", "exec", self.namespace(holder), sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    def down(self) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        for name in (HOST, *self.holders):
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], capture_output=True, timeout=20)
