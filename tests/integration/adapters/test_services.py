"""HTTP and command services, good and hostile."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import sys
import time
from typing import Any, Callable

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build

from .conftest import Server, answer, free_port, wait_until

Make = Callable[..., Server]


class Cti:
    """A control API whose stop takes a while."""

    def __init__(self, stop_s: float = 0.2) -> None:
        self.state, self.epoch, self.stop_s, self.stops_s, self.renewed = "standby", 0, stop_s, 0.0, []  # type: ignore

    def __call__(self, connection: socket.socket, request: bytes, number: int) -> bool:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path = head.decode().split(" ")[:2]
        self.head = head.decode()
        said = json.loads(body) if body else {}
        if self.state == "stopping" and time.monotonic() > self.stops_s:
            self.state = "standby"
        if method == "POST" and said.get("epoch", self.epoch) < self.epoch:
            connection.sendall(answer(b'{"detail": "epoch is lower"}', status="409 Conflict"))
            return True
        self.epoch = said.get("epoch", self.epoch)
        if path == "/promote":
            self.state = "starting"
        elif path == "/demote" and self.state != "standby":
            self.state, self.stops_s = "stopping", time.monotonic() + self.stop_s
        elif path == "/renew":
            self.renewed.append(said["lease_s"])
        status = {"state": self.state, "progress": 2, "total": 9, "epoch": self.epoch, "detail": "registering"}
        connection.sendall(answer(json.dumps(status).encode()))
        return True


def http_service(url: str, **more: Any) -> Any:
    return build([{"name": "cti", "kind": "http", "url": url, "stop_limit_s": 0.8, **more}])[0]


def test_http_service_is_promoted_watched_and_demoted(serve: Make) -> None:
    cti = Cti()
    service = http_service(serve(cti).url, token="t0ken")
    reading = service.promote(4, 3.0)
    assert (reading.state, reading.progress, reading.total) == (S.STARTING, 2, 9)
    assert "Authorization: Bearer t0ken" in cti.head
    cti.state = "active"
    assert service.status().state is S.ACTIVE
    service.renew(4, 2.5)
    assert cti.renewed == [2.5]
    started_s = time.monotonic()
    assert service.demote(5).state is S.STANDBY
    assert 0.15 < time.monotonic() - started_s < 0.6


def test_lower_epoch_is_refused_by_the_service(serve: Make) -> None:
    cti = Cti()
    service = http_service(serve(cti).url)
    service.promote(6, 3.0)
    for reading in (service.promote(4, 3.0), service.demote(4)):
        assert reading.state is S.UNKNOWN and "409" in reading.detail and "lower" in reading.detail


def test_service_that_does_not_stop_is_left_at_its_limit(serve: Make) -> None:
    cti = Cti(stop_s=60)
    service = http_service(serve(cti).url)
    service.promote(4, 3.0)
    started_s = time.monotonic()
    assert service.demote(5).state is S.STOPPING
    assert 0.7 < time.monotonic() - started_s < 1.0


def test_dead_and_frozen_http_services_are_told_apart(serve: Make) -> None:
    assert http_service(f"http://127.0.0.1:{free_port()}").status().state is S.DEAD
    frozen = http_service(serve(lambda c, r, n: True).url)
    started_s = time.monotonic()
    assert frozen.demote(4).state is S.UNKNOWN
    assert time.monotonic() - started_s < 1.0
    assert http_service(serve(lambda c, r, n: bool(c.sendall(answer(b"hello")))).url).status().state is S.UNKNOWN


# --- commands

SCRIPT = """
import os, pathlib, subprocess, sys, time
folder, word = pathlib.Path(sys.argv[1]), sys.argv[2]
flag = folder / "running"
if word == "start":
    given = os.environ
    (folder / "environ").write_text(f"{given['FT_EPOCH']} {given['FT_LEASE_S']} {'FT_SECRET_KEYS' in given}")
    time.sleep(float((folder / "start_s").read_text()) if (folder / "start_s").exists() else 0)
    flag.touch()
elif word == "stop":
    if (folder / "hang").exists():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (folder / "child").write_text(str(child.pid))
        time.sleep(60)
    flag.unlink(missing_ok=True)
elif word == "status":
    sys.exit(int((folder / "exit").read_text()) if (folder / "exit").exists() else 0 if flag.exists() else 3)
"""


def command_service(folder: pathlib.Path, **more: Any) -> Any:
    script = folder / "control.py"
    script.write_text(SCRIPT)
    argv = {word: [sys.executable, str(script), str(folder), word] for word in ("start", "stop", "status")}
    limits = {"start_limit_s": 3.0, "stop_limit_s": 1.0}
    return build([{"name": "asterisk", "kind": "command", **argv, **limits, **more}])[0]


def test_command_service_starts_and_its_standby_is_stopped(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FT_SECRET_KEYS", '["secret"]')
    service = command_service(tmp_path)
    assert service.status().state is S.STANDBY
    service.promote(4, 2.5)
    wait_until(lambda: service.status().state is S.ACTIVE)
    assert (tmp_path / "environ").read_text() == "4 2.500 False"
    assert service.promote(6, 2.5).state is S.ACTIVE, "it runs: nothing is started again"
    assert service.promote(4, 2.5).state is S.UNKNOWN
    assert service.demote(7).state is S.STANDBY


def test_hanging_stop_is_killed_as_a_group_at_its_limit(tmp_path: pathlib.Path) -> None:
    service = command_service(tmp_path)
    (tmp_path / "running").touch()
    (tmp_path / "hang").touch()
    started_s = time.monotonic()
    reading = service.demote(4)
    assert reading.state is S.ACTIVE and "killed after its limit" in reading.detail
    assert time.monotonic() - started_s < 1.6
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not _alive(child), 2, "the stop command's child is gone too")


def _alive(pid: int) -> bool:
    try:
        return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_slow_start_is_starting_and_a_demote_ends_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "start_s").write_text("30")
    service = command_service(tmp_path)
    started_s = time.monotonic()
    assert service.promote(4, 2.5).state is S.STARTING
    assert service.status().state is S.STARTING
    assert service.demote(5).state is S.STANDBY
    assert time.monotonic() - started_s < 2.0
    assert not (tmp_path / "running").exists()


def test_start_is_killed_at_its_limit_and_the_reason_stays(tmp_path: pathlib.Path) -> None:
    (tmp_path / "start_s").write_text("30")
    (tmp_path / "exit").write_text("1")
    service = command_service(tmp_path, start_limit_s=0.5)
    assert service.promote(4, 2.5).state is S.STARTING
    reading = wait_until(lambda: (r := service.status()).state is S.DEAD and r, 3)
    assert "killed after its limit" in reading.detail


def test_any_other_exit_is_dead_and_a_missing_program_is_unknown(tmp_path: pathlib.Path) -> None:
    (tmp_path / "exit").write_text("1")
    assert command_service(tmp_path).status().state is S.DEAD
    reading = command_service(tmp_path, status=["/no/such/program"]).status()
    assert reading.state is S.UNKNOWN and "/no/such/program" in reading.detail


@pytest.mark.parametrize(
    "table, words",
    [
        ({"kind": "http", "url": "http://127.0.0.1:1"}, ["name"]),
        ({"name": "x", "kind": "magic"}, ["kind", "magic", "http, command"]),
        ({"name": "x", "kind": "http"}, ["url", "missing"]),
        ({"name": "x", "kind": "http", "url": "cti:80"}, ["url", "cti:80"]),
        ({"name": "x", "kind": "http", "url": "http://127.0.0.1", "port": 3}, ["port", "no key"]),
        ({"name": "x", "kind": "http", "url": "http://127.0.0.1", "stop_limit_s": 0}, ["stop_limit_s", "0"]),
        ({"name": "x", "kind": "command", "start": ["a"], "stop": ["b"]}, ["status", "missing"]),
        ({"name": "x", "kind": "command", "start": "a b", "stop": ["b"], "status": ["c"]}, ["start", "list", "a b"]),
    ],
)
def test_wrong_table_is_refused_with_its_field(table: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ServiceError) as caught:
        build([table])
    assert all(word in str(caught.value) for word in words), caught.value
    assert os.sep + "tmp" not in str(caught.value)
