"""The guard's word to systemd, over a real datagram socket: it is ready, it is alive, and silent when its loop hangs."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import Callable, Iterator

import pytest

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Role, ServiceState
from ftplugin.core.view import ServiceReading
from workers.guard import Guard, LeaseFile
from workers.guard_lease import Lease
from workers.guard_notify import Notifier

from .conftest import RedisProcess, Server, wait_until
from .guard_scene import CLOCK, Owner, Scene, freed
from .test_guard_process import environment

LIMIT_S = 30.0


class Listener:
    """What systemd hears, each with the moment (monotonic clock)."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self.heard: list[tuple[float, str]] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while words := self._socket.recv(4096).decode():
            self.heard.append((time.monotonic(), words))

    def count(self, word: str) -> int:
        return sum(word in words.splitlines() for _, words in self.heard)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self.path)
        self._socket.close()


@pytest.fixture
def listener(tmp_path: pathlib.Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "notify")
    yield made
    made.close()


class HangingStore:
    """Answers until ``hang`` is set; then never."""

    def __init__(self) -> None:
        self.hang, self.hangs, self.go_on = threading.Event(), threading.Event(), threading.Event()

    def read_role(self) -> RoleRecord | None:
        if self.hang.is_set():
            self.hangs.set()
            self.go_on.wait(LIMIT_S)
        return RoleRecord()

    def set_clear(self, epoch: int, clear: bool) -> bool:
        return True

    def fetch(self, name: str) -> None:
        return None


class LateStore(HangingStore):
    """Answers what it is given, the last one again and again."""

    def __init__(self, records: list[RoleRecord | None]) -> None:
        super().__init__()
        self._records = records

    def read_role(self) -> RoleRecord | None:
        return self._records.pop(0) if len(self._records) > 1 else self._records[0]


class TwiceAsked:
    """A service that lets go at the second demotion."""

    name, stop_limit_s = "job", 1.0

    def __init__(self) -> None:
        self.asked = 0

    def demote(self, epoch: int) -> ServiceReading:
        self.asked += 1
        return ServiceReading(name=self.name, state=ServiceState.STANDBY if self.asked > 1 else ServiceState.UNKNOWN)

    def status(self) -> ServiceReading:
        return ServiceReading(name=self.name, state=ServiceState.UNKNOWN)


def test_words_stop_when_the_loop_hangs_and_go_on_after_it(listener: Listener, tmp_path: pathlib.Path) -> None:
    store, notifier = HangingStore(), Notifier(listener.path, watchdog_s=0.4)
    guard = Guard(
        store=lambda limit_s: store,
        services=[],
        clock=CLOCK,
        lease_file=LeaseFile(tmp_path / "guard.lease"),
        report=lambda source, text: None,
        alive=notifier.alive,
    )
    thread = threading.Thread(target=guard.run, daemon=True)
    thread.start()
    wait_until(lambda: listener.count("WATCHDOG=1") >= 3, LIMIT_S, "the guard is alive")
    store.hang.set()
    assert store.hangs.wait(LIMIT_S)
    said = listener.count("WATCHDOG=1")
    hung_s = time.monotonic()
    while time.monotonic() < hung_s + 3 * 0.4:  # systemd would have acted after 0.4 s
        assert listener.count("WATCHDOG=1") <= said + 1, "at most one that was on its way"
        time.sleep(0.05)
    store.hang.clear()
    store.go_on.set()
    wait_until(lambda: listener.count("WATCHDOG=1") >= said + 3, LIMIT_S, "it is alive again")
    guard.stop()
    thread.join(LIMIT_S)


def test_stop_of_a_service_that_takes_longer_than_the_period_makes_the_period_longer(listener: Listener) -> None:
    notifier = Notifier(listener.path, watchdog_s=10.0)
    notifier.ready(step_s=30.0)
    notifier.alive()
    wait_until(lambda: len(listener.heard) == 2, LIMIT_S)
    assert listener.heard[0][1] == "READY=1\nWATCHDOG_USEC=60000000" and listener.heard[1][1] == "WATCHDOG=1"


def test_guard_without_systemd_tells_nobody() -> None:
    notifier = Notifier.of({"WATCHDOG_USEC": "1000000"})
    notifier.ready(1.0)
    notifier.alive()
    notifier.stopping()
    assert Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})._watchdog_s == 0, "meant for another process"


def test_socket_that_is_gone_stops_no_guard(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "nobody"), watchdog_s=0.001)
    for _ in range(3):
        notifier.alive()
        time.sleep(0.002)
    assert [record.message for record in caplog.records] == [
        "systemd (NOTIFY_SOCKET) was not told WATCHDOG=1: [Errno 2] No such file or directory"
    ]


@pytest.fixture
def scene(redis_process: RedisProcess, tmp_path: pathlib.Path, serve: Callable[..., Server]) -> Iterator[Scene]:
    with Scene(redis_process, tmp_path, serve) as made:
        yield made


def test_process_says_ready_alive_and_stopping(scene: Scene, listener: Listener) -> None:
    environ = environment(scene, []) | {"NOTIFY_SOCKET": listener.path, "WATCHDOG_USEC": "20000000"}
    process = subprocess.Popen([sys.executable, "-m", "workers.guard"], env=environ)
    try:
        wait_until(lambda: listener.count("WATCHDOG=1"), LIMIT_S, "the guard is alive")
        assert listener.heard[0][1] == "READY=1"
        process.terminate()
        assert process.wait(LIMIT_S) == 0
        wait_until(lambda: listener.count("STOPPING=1"), LIMIT_S)
    finally:
        process.kill()
        process.wait(LIMIT_S)


def release(scene: Scene, services: list[dict[str, object]], *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workers.release", *more]
    environ = environment(scene, services)
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def test_release_demotes_inside_a_valid_lease_what_only_knows_start_and_stop(scene: Scene) -> None:
    scene.role(left_s=600.0)
    owned, owner = scene.folder / "owned", Owner()
    owned.touch()
    commands = {"start": ["touch", str(owned)], "stop": ["rm", "-f", str(owned)]}
    commands["status"] = ["/bin/sh", "-c", f"test -e {owned} || exit 3"]
    services = [
        {"name": "cti", "kind": "http", "url": scene.serve(owner).url},
        {"name": "a", "kind": "command", **commands},
    ]
    done = release(scene, services)
    assert done.returncode == 0, done.stderr
    assert not owned.exists() and freed(owner)
    record = scene.store.read_role()
    assert record is not None and record.clear, "a worker that is started again must promote the services anew"
    (log,) = (scene.folder / "instance" / "logs").glob("FT_REPORT_*.txt")
    assert "this server is stopped; demoting cti, a by itself" in log.read_text()


def test_release_asks_systemd_for_as_long_as_the_services_may_take(scene: Scene, listener: Listener) -> None:
    slow = {"name": "slow", "kind": "command", "start": ["true"], "stop": ["true"], "status": ["sh", "-c", "exit 3"]}
    environ = environment(scene, [{**slow, "stop_limit_s": 50.0}]) | {"NOTIFY_SOCKET": listener.path}
    command = [sys.executable, "-m", "workers.release"]
    assert subprocess.run(command, env=environ, capture_output=True, timeout=60).returncode == 0
    wait_until(lambda: listener.heard, LIMIT_S)
    assert [words for _, words in listener.heard] == ["EXTEND_TIMEOUT_USEC=115000000"], "twice 50 s, and the end"


def test_release_goes_on_when_redis_tells_of_a_later_lease(tmp_path: pathlib.Path) -> None:
    """Redis was silent at first, and the service needs a second try: the later lease is no reason to leave it owning."""
    service, now_s = TwiceAsked(), CLOCK.now_s()
    later = RoleRecord(role=Role.ACTIVE, epoch=4, boot_id=CLOCK.boot_id, deadline_s=now_s + 600.0)
    file = LeaseFile(tmp_path / "guard.lease")
    file.save(Lease(boot_id=CLOCK.boot_id, epoch=4, deadline_s=now_s + 500.0))
    guard = Guard(
        store=lambda limit_s: LateStore([None, later]),
        services=[service],
        clock=CLOCK,
        lease_file=file,
        report=lambda source, text: None,
    )
    assert guard.release("this server is stopped") and service.asked == 2


def test_release_names_what_did_not_stop(scene: Scene) -> None:
    stuck = {"name": "stuck", "kind": "command", "start": ["true"], "stop": ["false"], "status": ["true"]}
    began_s = time.monotonic()
    done = release(scene, [{**stuck, "stop_limit_s": 0.5}], "--limit", "2")
    assert done.returncode == 1 and "may still own something after 2 s: stuck" in done.stderr
    assert time.monotonic() - began_s < 30


def test_release_is_refused_while_a_worker_runs(scene: Scene) -> None:
    from workers import locks

    descriptor = locks.take(locks.lock_path(scene.folder / "instance", "switch"))
    try:
        done = release(scene, [])
    finally:
        os.close(descriptor)
    assert done.returncode == 75 and f"(pid {os.getpid()})" in done.stderr
