"""A server run by its systemd units, as a real systemd understands them: what ``systemctl stop`` does to its services.

The services are of the kind that only knows start and stop: nobody but agent and guard ends them. The other server is one of
the demo. Not here: User=, and what hides the folders that the test needs.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

from demo.cluster import Cluster, ClusterConfig, free_config
from demo.layout import toml
from tests.parts import eventually

from ..services.real_systemd import RealSystemd, started
from .installed import ROOT, install

pytestmark = [pytest.mark.lab, pytest.mark.cluster, pytest.mark.timeout(300)]

LIMIT_S = 60.0
TARGET = "ftplugin.target"
SERVICES = ("leave", "portal", "tick", "switch", "guard", "release")
NOT_HERE = ("User=", "Group=", "StateDirectory", "PrivateTmp=", "RemoveIPC=", "Wants=network", "Nice=")
# an instance of systemd for a user may not do these in a container
NOT_HERE += ("ProtectHome=", "ProtectKernelTunables=", "ProtectKernelLogs=")


def wait_for(what: str, condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    return eventually(condition, limit_s, what, 0.05)


class Pair:
    """Server #1 under systemd, server #2 under the demo's supervisord. ``log``: each start and stop of the service."""

    def __init__(self, folder: pathlib.Path, systemd: RealSystemd) -> None:
        self.systemd, self.folder, self.log = systemd, folder, folder / "log"
        self.log.touch()
        times: dict[str, Any] = {"interval_s": 1.0, "timeout_s": 1.0, "threshold": 3, "service_stop_s": 1.0}
        self.cluster = Cluster(free_config(ClusterConfig(directory=folder / "cluster", balancer=False, **times)))
        self.cluster.prepare()
        for number in (1, 2):
            self._own_service(number)
        etc = folder / "etc"
        etc.mkdir()
        home = self.cluster.config_file(1).parent
        (etc / "node.toml").symlink_to(self.cluster.config_file(1))
        (etc / "redis.conf").symlink_to(home / "redis.conf")
        (etc / "node.env").write_text(f"PORTAL_LISTEN={self.cluster.address(1)}\nPORTAL_APP=demo.portal:create_app\n")
        self._units()

    def _own_service(self, number: int) -> None:
        owned = self.owned(number)
        shell = {
            "start": f"echo start {number} >>{self.log}; touch {owned}",
            "stop": f"test -e {owned} && echo stop {number} >>{self.log}; rm -f {owned}",
            "status": f"test -e {owned} || exit 3",
        }
        service = {"name": "job", "kind": "command", **{k: ["/bin/sh", "-c", text] for k, text in shell.items()}}
        file = self.cluster.config_file(number)
        line = toml({"FT_SERVICES": [{**service, "stop_limit_s": 1.0}]})
        file.write_text(re.sub(r"^FT_SERVICES = .*\n", lambda _: line, file.read_text(), flags=re.M))

    def _units(self) -> None:
        """The installed units, with the paths of the test, into the folder of this systemd."""
        units = install(self.folder / "dest", str(pathlib.Path(sys.executable).parents[1]))
        for path in sorted(path for path in units.rglob("*") if path.is_file()):
            lines = [line for line in path.read_text().splitlines() if not line.startswith(NOT_HERE)]
            text = "\n".join(lines).replace("/etc/ft/", f"{self.folder}/etc/").replace("/var/lib/ft", str(self.folder))
            if path.suffix == ".conf":
                text += f"\nReadWritePaths={self.folder}\nEnvironment=PYTHONPATH={ROOT}"
                text += f"\nStandardOutput=append:{self.folder}/%n.log\nStandardError=inherit"
            file = self.systemd.units / path.relative_to(units)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text + "\n")
        self.systemd.tell("daemon-reload")
        self.systemd.tell("enable", TARGET, "ftplugin@node.target")

    def owned(self, number: int) -> pathlib.Path:
        return self.folder / f"owned-{number}"

    def words(self) -> list[str]:
        return self.log.read_text().splitlines()

    def owner(self, number: int) -> bool:
        return self.cluster.active() == [f"server{number}"] and self.owned(number).exists()

    def report(self) -> str:
        folder = self.cluster.config.instance_directory(1)
        return "".join(path.read_text() for path in folder.rglob("FT_REPORT_*.txt"))

    def state(self, unit: str) -> str:
        return self.systemd.tell("show", "--property=ActiveState", "--value", unit).strip()

    def ready_to_leave(self) -> bool:
        """Whether a switchover to server #2 would be ordered now."""
        environ = {**os.environ, "FT_CONFIG_FILE": str(self.cluster.config_file(1)), "PYTHONPATH": str(ROOT)}
        check = [sys.executable, "-m", "ftplugin.cli", "switch", "server2", "--check"]
        return subprocess.run(check, env=environ, timeout=60, capture_output=True).returncode == 0

    def end(self) -> None:
        self.systemd.end()
        self.cluster.stop()


@pytest.fixture
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    systemd = started(tmp_path_factory.mktemp("systemd"))
    try:
        made = Pair(tmp_path_factory.mktemp("p"), systemd)
    except BaseException:
        systemd.end()
        raise
    yield made
    made.end()


@pytest.mark.full
def test_stop_hands_the_services_over_before_anything_ends(pair: Pair) -> None:
    pair.cluster.node("outside").start()
    pair.systemd.tell("start", TARGET)
    pair.cluster.node(2).start()
    wait_for("server #1 is active, alone", lambda: pair.owner(1))
    wait_for("server #2 is standby and fit", lambda: pair.ready_to_leave())
    pair.systemd.tell("stop", TARGET)
    assert pair.owner(2), "at the moment at which systemctl returns"
    assert pair.words() == ["start 1", "stop 1", "start 2"], "one after the other"
    assert all(pair.state(f"ftplugin-{name}@node.service") == "inactive" for name in SERVICES), pair.report()[-600:]


@pytest.mark.full
def test_stop_ends_the_services_when_nobody_is_there_to_take_over(pair: Pair) -> None:
    pair.cluster.node("outside").start()
    pair.systemd.tell("start", TARGET)
    wait_for("server #1 is active, alone", lambda: pair.owner(1))
    pair.systemd.tell("stop", TARGET)
    assert pair.words() == ["start 1", "stop 1"] and not pair.owned(1).exists()
    assert pair.state("ftplugin-leave@node.service") == "failed", "it says that nobody has taken over"
    assert "this server is stopped; demoting job by itself" in pair.report()
    pair.systemd.tell("start", TARGET)
    wait_for("server #1 is active again", lambda: pair.owner(1))
    assert pair.words() == ["start 1", "stop 1", "start 1"]
    pair.systemd.tell("restart", TARGET)
    wait_for("and once more, whose lease may have been valid all the time", lambda: pair.owner(1))
    assert pair.words() == ["start 1", "stop 1"] * 2 + ["start 1"]


@pytest.mark.full
def test_frozen_guard_is_killed_and_started_anew(pair: Pair) -> None:
    unit = "ftplugin-guard@node.service"
    pair.systemd.tell("start", unit)
    frozen = pair.systemd.pid(unit)
    os.kill(frozen, signal.SIGSTOP)
    wait_for("another one runs", lambda: pair.systemd.pid(unit) not in (0, frozen))
    wait_for("it is ready", lambda: pair.state(unit) == "active")
    refused = subprocess.run(
        [str(pair.systemd.bin / "systemctl"), "stop", unit], capture_output=True, text=True, timeout=60
    )
    assert refused.returncode != 0 and "refused" in refused.stderr, "it is stopped with its target only"
