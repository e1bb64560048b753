"""HTTP and command services, good and hostile."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable

import pytest

from ftplugin.core.terms import ServiceState as S
from tests.parts import alive
from workers.adapters.services import ServiceError, build
from workers.adapters.services import start_file as start_file_module
from workers.adapters.services.start_file import Slot, StartFile

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
        elif path == "/restart":
            self.state = "standby"
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


def command_service(folder: pathlib.Path, instance_dir: pathlib.Path | None = None, **more: Any) -> Any:
    script = folder / "control.py"
    script.write_text(SCRIPT)
    argv = {word: [sys.executable, str(script), str(folder), word] for word in ("start", "stop", "status")}
    limits = {"start_limit_s": 3.0, "stop_limit_s": 1.0}
    return build([{"name": "asterisk", "kind": "command", **argv, **limits, **more}], instance_dir)[0]


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
    # on a busy machine the status command may not answer in time either: then nobody knows, which blocks as well
    assert reading.state in (S.ACTIVE, S.UNKNOWN) and "killed after its limit" in reading.detail
    assert time.monotonic() - started_s < 1.6
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child), 2, "the stop command's child is gone too")


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
    for code in (4, 126, 127, 137):
        (tmp_path / "exit").write_text(str(code))
        assert command_service(tmp_path).status().state is S.UNKNOWN, "nobody could tell: it may own something"
    killed = ["/bin/sh", "-c", "kill -9 $$"]
    assert command_service(tmp_path, status=killed).status().state is S.UNKNOWN
    reading = command_service(tmp_path, status=["/no/such/program"]).status()
    assert reading.state is S.UNKNOWN and "/no/such/program" in reading.detail


def test_restart_of_an_http_service_leaves_it_standby(serve: Make) -> None:
    cti = Cti()
    cti.state = "active"
    service = http_service(serve(cti).url)
    assert service.restart(False).state is S.STANDBY and "POST /restart" in cti.head


@pytest.mark.parametrize("own", [True, False])
def test_restart_of_a_dead_command_service_starts_nothing(tmp_path: pathlib.Path, own: bool) -> None:
    service = command_service(tmp_path)
    (tmp_path / "running").touch()
    (tmp_path / "exit").write_text("1")
    assert service.status().state is S.DEAD
    service.restart(own)
    (tmp_path / "exit").unlink()
    assert service.status().state is S.STANDBY, "what was left of it is stopped"
    assert not (tmp_path / "environ").exists(), "nothing was started"


def test_restart_of_a_node_that_must_not_own_ends_a_start_and_else_leaves_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "start_s").write_text("30")
    service = command_service(tmp_path)
    assert service.promote(4, 2.5).state is S.STARTING
    assert service.restart(True).state is S.STARTING
    assert service.restart(False).state is S.STANDBY


# --- the same command service in another process of this node

OTHER = """
import json, pathlib, sys, time
from workers.adapters.services import build
from workers.adapters.services.start_file import StartFile
tables, instance_dir, death = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
if death == "gate":
    def starts(self, pid):
        (instance_dir / "gate").write_text(str(pid))
        time.sleep(60)
    StartFile.starts = starts
service = build(tables, instance_dir)[0]
print(service.promote(4, 2.5).state, flush=True)
time.sleep(60)
"""


class Other:
    """A process that promotes the service under epoch 4 with a start of 30 s, and stays."""

    def __init__(self, folder: pathlib.Path, death: str = "") -> None:
        (folder / "start_s").write_text("30")
        (folder / "instance").mkdir()
        self.service = command_service(folder, folder / "instance")
        tables = [{"name": "asterisk", "kind": "command", "start_limit_s": 60.0, "stop_limit_s": 1.0}]
        for word in ("start", "stop", "status"):
            tables[0][word] = [sys.executable, str(folder / "control.py"), str(folder), word]  # type: ignore
        argv = [sys.executable, "-c", OTHER, json.dumps(tables), str(folder / "instance"), death]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(pathlib.Path(__file__).parents[3])}
        self.process = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE)

    def promoted(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(5)
        self.service.demote(1 << 40)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def other(tmp_path: pathlib.Path) -> Any:
    made = Other(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("fate", ["lives", "frozen", "killed"])
def test_demote_ends_a_start_of_another_process_first(other: Other, tmp_path: pathlib.Path, fate: str) -> None:
    assert other.promoted() == "starting"
    wait_until(lambda: (tmp_path / "environ").exists(), 5, "the start command runs")
    pid = StartFile(tmp_path / "instance" / "command-asterisk.start", "asterisk").running()
    assert alive(pid)
    if fate != "lives":
        os.kill(other.process.pid, signal.SIGSTOP if fate == "frozen" else signal.SIGKILL)
    assert other.service.status().state is S.STARTING
    started_s = time.monotonic()
    assert other.service.demote(4).state is S.STANDBY
    assert time.monotonic() - started_s < 1.2
    assert not alive(pid) and not (tmp_path / "running").exists()
    assert other.service.status().state is S.STANDBY


def test_start_of_another_process_is_not_started_twice(other: Other, tmp_path: pathlib.Path) -> None:
    assert other.promoted() == "starting"
    wait_until(lambda: (tmp_path / "environ").exists(), 5, "the start command runs")
    (tmp_path / "environ").unlink()
    assert other.service.promote(6, 2.5).state is S.STARTING
    assert not (tmp_path / "environ").exists()


def test_promoter_killed_before_its_start_is_noted_starts_nothing(tmp_path: pathlib.Path) -> None:
    other = Other(tmp_path, "gate")
    try:
        gate = tmp_path / "instance" / "gate"
        pid = int(wait_until(lambda: gate.exists() and gate.read_text(), 5, "it waits at its gate"))
        other.process.kill()
        wait_until(lambda: not alive(pid), 5, "its start command is gone too")
        assert not (tmp_path / "environ").exists()
    finally:
        other.end()


def test_promote_below_a_demotion_of_another_process_is_refused(tmp_path: pathlib.Path) -> None:
    switch, guard = command_service(tmp_path, tmp_path), command_service(tmp_path, tmp_path)
    assert guard.demote(8).state is S.STANDBY
    reading = switch.promote(6, 2.5)
    assert reading.state is S.UNKNOWN and "6 is below 8" in reading.detail and "command-asterisk" in reading.detail
    assert not (tmp_path / "environ").exists()
    assert command_service(tmp_path, tmp_path).promote(6, 2.5).state is S.UNKNOWN, "nor by a process started since"
    assert switch.promote(8, 2.5).state in (S.STARTING, S.ACTIVE)


@pytest.mark.parametrize("noted", [False, True])
def test_demote_of_the_same_epoch_in_mid_promote_wins(tmp_path: pathlib.Path, monkeypatch: Any, noted: bool) -> None:
    switch, guard = command_service(tmp_path, tmp_path), command_service(tmp_path, tmp_path)
    starts = switch._shared.starts

    def interrupted(pid: int) -> bool:
        first = bool(starts(pid)) if noted else True
        assert guard.demote(4).state is S.STANDBY
        return first if noted else bool(starts(pid))

    monkeypatch.setattr(switch._shared, "starts", interrupted)
    reading = switch.promote(4, 2.5)
    assert reading.state is S.UNKNOWN and "demoted meanwhile" in reading.detail
    assert not (tmp_path / "environ").exists()
    monkeypatch.undo()
    assert switch.promote(4, 2.5).state in (S.STARTING, S.ACTIVE), "promoted again after it: allowed"


def test_process_that_got_the_pid_later_is_not_killed(tmp_path: pathlib.Path) -> None:
    service = command_service(tmp_path, tmp_path)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as innocent:
        try:
            with service._shared._turn() as descriptor:
                born = start_file_module._born(innocent.pid)
                service._shared._write(descriptor, 0, Slot(epoch=4, pid=innocent.pid, born=born - 1))
            assert service.demote(5).state is S.STANDBY
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_notes_of_another_boot_and_damaged_ones_do_not_count(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    service = command_service(tmp_path, tmp_path)
    monkeypatch.setattr(service._shared, "_boot", b"another boot")
    service.demote(40)
    monkeypatch.undo()
    assert command_service(tmp_path, tmp_path).promote(2, 2.5).state in (S.STARTING, S.ACTIVE)
    (tmp_path / "command-asterisk.start").write_bytes(b"x" * 500)
    assert command_service(tmp_path, tmp_path).demote(4).state is S.STANDBY


def test_start_that_cannot_be_noted_is_refused_but_a_stop_is_not(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    service = command_service(tmp_path, tmp_path / "file")
    (tmp_path / "running").touch()
    assert service.demote(4).state is S.STANDBY
    reading = service.promote(6, 2.5)
    assert reading.state is S.UNKNOWN and "cannot be written" in reading.detail
    assert not (tmp_path / "environ").exists()


def test_frozen_holder_of_the_lock_holds_up_no_demotion(tmp_path: pathlib.Path) -> None:
    service = command_service(tmp_path, tmp_path)
    with StartFile(tmp_path / "command-asterisk.start", "asterisk")._turn():
        started_s = time.monotonic()
        assert service.demote(4).state is S.STANDBY
        assert time.monotonic() - started_s < 1.0


def test_status_that_hangs_ends_at_its_limit(tmp_path: pathlib.Path) -> None:
    service = command_service(tmp_path, status=["sleep", "60"])
    started_s = time.monotonic()
    assert service.status().state is S.UNKNOWN
    assert time.monotonic() - started_s < 2.4


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
