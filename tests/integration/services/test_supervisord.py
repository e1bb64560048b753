"""The supervisord controller against a real supervisord, over its Unix socket and over TCP; and against hostile ones."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Iterator

import pytest

from ftplugin.core.terms import ServiceState as S
from workers.adapters.services import ServiceError, build

from ..adapters.conftest import free_port, wait_until
from .conftest import alive, becomes

CONFIG = """
[unix_http_server]
file={folder}/s
[inet_http_server]
port=127.0.0.1:{port}
username=ft
password=secret
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command=/bin/sh -c {command}
autostart={autostart}
autorestart=false
startsecs={startsecs}
startretries=0
stopwaitsecs={stopwaitsecs}
stopasgroup=true
killasgroup={killasgroup}
"""
STUBBORN = "\"trap '' TERM; while :; do sleep 0.2; done\""


def program(name: str, command: str = '"exec sleep 600"', **changes: Any) -> str:
    values = {"autostart": "false", "startsecs": 0, "stopwaitsecs": 1, "killasgroup": "true"} | changes
    return PROGRAM.format(name=name, command=command, **values)


class Supervisord:
    """One supervisord with the programs of these tests."""

    def __init__(self, folder: pathlib.Path, more: str = "") -> None:
        self.folder, self.port = folder, free_port()
        text = CONFIG.format(folder=folder, port=self.port) + "".join(
            [
                program("beat"),
                program("slow", startsecs=2),
                program("stubborn", STUBBORN),
                program("short", '"exit 3"', startsecs=1),
                program("boots", '"exit 0"', autostart="true"),
                program("patient", stopwaitsecs=30),
                program("orphans", killasgroup="false").replace("stopasgroup=true", "stopasgroup=false"),
                program("member"),
                "\n[group:pair]\nprograms=member\n",
                more,
            ]
        )
        (folder / "supervisord.conf").write_text(text)
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(folder / "supervisord.conf")]
        self.process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens, 15, "supervisord listens")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5):
            return (self.folder / "s").exists()
        return False

    def service(self, name: str, url: str = "", /, **more: Any) -> Any:
        table = {"name": name, "kind": "supervisord", "program": name, "url": url or f"unix://{self.folder}/s"}
        return build([table | {"start_limit_s": 5.0, "stop_limit_s": 3.0} | more], self.folder)[0]

    def pid(self, service: Any) -> int:
        return int(service._supervisor.call("getProcessInfo", service._program, limit_s=2.0)["pid"])

    def end(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.terminate()
        self.process.wait(15)


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisord]:
    made = Supervisord(tmp_path_factory.mktemp("s"))
    yield made
    made.end()


@pytest.mark.parametrize("way", ["unix socket", "TCP with a password"])
def test_program_is_started_killed_restarted_and_stopped(supervisord: Supervisord, way: str) -> None:
    login = {"url": f"http://127.0.0.1:{supervisord.port}", "user": "ft", "password": "secret"}
    service = supervisord.service("beat", **({} if way == "unix socket" else login), name=f"beat over {way}")
    assert service.status().state is S.STANDBY
    assert service.promote(4, 2.5).state in (S.ACTIVE, S.STARTING)
    becomes(service, S.ACTIVE)
    assert service.promote(4, 2.5).state is S.ACTIVE, "it runs: nothing is started again"
    assert service.promote(2, 2.5).state is S.UNKNOWN
    os.kill(supervisord.pid(service), signal.SIGKILL)
    becomes(service, S.DEAD)
    service.restart(True)
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid = supervisord.pid(service)
    assert service.demote(5).state is S.STANDBY and not alive(pid)
    assert service.promote(4, 2.5).state is S.UNKNOWN, "4 is below the demotion's 5"


def test_member_of_a_group_is_named_with_it(supervisord: Supervisord) -> None:
    service = supervisord.service("pair:member")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    assert service.demote(5).state is S.STANDBY


def test_slow_start_is_starting_and_a_demotion_ends_it(supervisord: Supervisord) -> None:
    service = supervisord.service("slow")
    assert service.promote(4, 2.5).state is S.STARTING
    assert service.demote(5).state is S.STANDBY


def test_program_that_ignores_the_signal_is_killed_within_the_stop_limit(supervisord: Supervisord) -> None:
    service = supervisord.service("stubborn")
    service.promote(4, 2.5)
    becomes(service, S.ACTIVE)
    pid, began_s = supervisord.pid(service), time.monotonic()
    assert service.demote(5).state is S.STANDBY and not alive(pid)
    assert time.monotonic() - began_s < 3.2


def test_program_that_ends_at_once_is_dead_while_it_is_to_own_and_standby_else(supervisord: Supervisord) -> None:
    service = supervisord.service("short")
    service.promote(4, 2.5)
    reading = becomes(service, S.DEAD)
    assert "FATAL" in reading.detail or "EXITED" in reading.detail
    assert service.demote(5).state is S.STANDBY, "nothing of it runs: it owns nothing"


def test_demotion_in_mid_promotion_wins(supervisord: Supervisord, monkeypatch: Any) -> None:
    switch, guard = supervisord.service("beat", name="twice"), supervisord.service("beat", name="twice")
    call = switch._supervisor.call

    def interrupted(method: str, *arguments: Any, **more: Any) -> Any:
        if method == "startProcess":  # the switch worker stood still just before its order went out
            monkeypatch.undo()
            assert guard.demote(4).state is S.STANDBY
        return call(method, *arguments, **more)

    monkeypatch.setattr(switch._supervisor, "call", interrupted)
    reading = switch.promote(4, 2.5)
    assert reading.state is S.UNKNOWN and "demoted meanwhile" in reading.detail
    assert guard.status().state is S.STANDBY


@pytest.mark.parametrize(
    "change, words",
    [
        ({"program": "nobody"}, ["program", "no 'nobody'", "beat, boots"]),
        ({"program": "pair:*"}, ["program", "pair:*"]),
        ({"program": "boots"}, ["program", "autostart=false", "both servers"]),
        ({"program": "orphans"}, ["program", "killasgroup=true"]),
        ({"program": "patient"}, ["stop_limit_s", "stopwaitsecs", "30"]),
        ({"url": "/run/supervisor.sock"}, ["url", "unix:///run/supervisor.sock"]),
        ({"url": "unix:run"}, ["url", "unix:run"]),
        ({"url": "https://127.0.0.1"}, ["url", "https"]),
        ({"url": 9001}, ["url", "9001"]),
        ({"user": "a\nb"}, ["user", "line of text"]),
    ],
)
def test_wrong_table_is_refused_with_its_field(
    supervisord: Supervisord, change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ServiceError) as caught:
        supervisord.service("beat", **change)
    assert all(word in str(caught.value) for word in ["FT_SERVICES[1].", "service beat", *words]), caught.value


def test_wrong_password_is_unknown_and_not_shown(supervisord: Supervisord, caplog: Any) -> None:
    url = f"http://127.0.0.1:{supervisord.port}"
    reading = supervisord.service("beat", url, user="ft", password="wr0ng").status()
    assert reading.state is S.UNKNOWN and "refuses user and password" in reading.detail
    assert "wr0ng" not in reading.detail and "wr0ng" not in caplog.text


def test_frozen_supervisord_is_unknown_within_the_limits(supervisord: Supervisord) -> None:
    service = supervisord.service("beat", status_limit_s=0.5, stop_limit_s=1.5)
    os.kill(supervisord.process.pid, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        assert service.status().state is S.UNKNOWN
        assert time.monotonic() - began_s < 1.0
        began_s = time.monotonic()
        reading = service.demote(1 << 20)
        assert reading.state is S.UNKNOWN and "stop failed" in reading.detail
        assert time.monotonic() - began_s < 2.2
    finally:
        os.kill(supervisord.process.pid, signal.SIGCONT)
    becomes(service, S.STANDBY)


def test_supervisord_that_is_not_there_is_unknown_and_refuses_no_start(tmp_path: pathlib.Path) -> None:
    table = {"name": "x", "kind": "supervisord", "program": "x", "url": f"unix://{tmp_path}/none"}
    reading = build([table], tmp_path)[0].status()
    assert reading.state is S.UNKNOWN and "nobody listens" in reading.detail


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><methodResponse>&b;</methodResponse>'
)


@pytest.mark.parametrize("body", [b"hello", BOMB, b"<methodResponse/>", b"", b"\xff\xfe", b"x" * 3_000_000])
def test_hostile_answer_is_unknown(tmp_path: pathlib.Path, body: bytes) -> None:
    with answering(body) as port:
        table = {"name": "x", "kind": "supervisord", "program": "x", "url": f"http://127.0.0.1:{port}"}
        began_s = time.monotonic()
        assert build([table], tmp_path)[0].status().state is S.UNKNOWN
        assert time.monotonic() - began_s < 3.0


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[int]:
    """A server that answers every request with ``body``; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                    connection.sendall(head.encode() + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
