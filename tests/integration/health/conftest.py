"""The AXL stand-in as a process of its own, and tables as an administrator writes them."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from ftplugin.health.checks import Record
from ftplugin.health.tables import read_tables
from tests.integration.web.conftest import free_port
from workers.check_health import ask

ROOT = pathlib.Path(__file__).parents[3]
USER, PASSWORD = "axl user", "s3cret-of-axl"
START_S = 30.0


class AxlProcess:
    """``demo.axl_server`` on free ports."""

    def __init__(self, folder: pathlib.Path, listen: str = "127.0.0.1", users: Sequence[str] = (USER,)) -> None:
        self.port, self.control_port, self.ca_file = free_port(), free_port(), folder / "ca.pem"
        command = [sys.executable, "-m", "demo.axl_server", "--listen", f"{listen}:{self.port}"]
        command += ["--control-port", str(self.control_port), "--folder", str(folder)]
        command += ["--user", *users, "--password", PASSWORD]
        self.url = f"https://{listen}:{self.port}"
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        end_s = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end_s, "the AXL stand-in did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(self.set())
        except OSError:
            return False

    def set(self, **values: Any) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.control_port), 5) as connection:
            connection.sendall(json.dumps(values).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        assert "error" not in answer, answer
        return answer

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="module")
def axl_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AxlProcess]:
    server = AxlProcess(tmp_path_factory.mktemp("axl"))
    yield server
    server.close()


@pytest.fixture
def axl(axl_process: AxlProcess) -> AxlProcess:
    """As it was at its start."""
    axl_process.set(mode="ok", delay_s=0.0, forbidden=[])
    return axl_process


Ask = Callable[..., Record]


@pytest.fixture
def ask_axl(axl: AxlProcess) -> Ask:
    """The outcome of one check of the stand-in, as the workers make it from a table."""

    def one(**changes: Any) -> Record:
        table = {"name": "cucm", "kind": "axl", "url": axl.url, "user": USER, "password": PASSWORD}
        table |= {"ca_file": str(axl.ca_file), "timeout_s": 7.0}
        return outcome(table | changes)

    return one


def outcome(table: dict[str, Any]) -> Record:
    """What one table's check answers."""
    return ask(read_tables([table]), dict.fromkeys)[0]
