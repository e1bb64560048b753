"""The guard with real Redis, frozen Redis and control APIs: it demotes when, and only when, it must."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Iterator, Sequence

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers import guard as guard_module
from workers.adapters.plain_redis import PlainRedis
from workers.adapters.services import build
from workers.guard import Guard, GuardStore, LeaseFile

from .conftest import RedisProcess, Server, answer, wait_until

CLOCK = SystemClock()
STOP_S, POLL_S = 0.1, 0.1


class Owner:
    """A service that is active until it is demoted, and remembers when that was."""

    def __init__(self, state: str = "active", stop_s: float = STOP_S, order: list[Any] | None = None) -> None:
        self.state, self.stop_s, self.epoch, self.order = state, stop_s, 4, order if order is not None else []
        self.free_s: float | None = None
        self.stopping_s = 0.0

    def __call__(self, connection: socket.socket, request: bytes, number: int) -> bool:
        if self.state == "stopping" and time.monotonic() - self.stopping_s >= self.stop_s:
            self.state, self.free_s = "standby", CLOCK.now_s()
        if b"POST /demote" in request:
            self.epoch = json.loads(request.partition(b"\r\n\r\n")[2])["epoch"]
            if self.state == "active":
                self.order.append(self)
                self.state, self.stopping_s = "stopping", time.monotonic()
        connection.sendall(answer(json.dumps({"state": self.state}).encode()))
        return True


class Scene:
    def __init__(self, redis_process: RedisProcess, folder: pathlib.Path, serve: Callable[..., Server]) -> None:
        self.redis, self.folder, self.serve = redis_process, folder, serve
        self.store = RuntimeStore(connect(redis_process.url), Keys())
        self.lines: list[str] = []
        self.guards: list[tuple[Guard, threading.Thread]] = []

    def role(self, role: Role = Role.ACTIVE, left_s: float = 0.8, **more: Any) -> float:
        deadline_s = CLOCK.now_s() + left_s
        record = RoleRecord(role=role, **{"epoch": 4, "boot_id": CLOCK.boot_id, "deadline_s": deadline_s, **more})
        assert self.store.write_role(record)
        return deadline_s

    def start(self, *owners: Owner, stop_limit_s: float = 1.0) -> Guard:
        tables = [
            {"name": f"s{i}", "kind": "http", "url": self.serve(owner).url, "stop_limit_s": stop_limit_s}
            for i, owner in enumerate(owners)
        ]
        return self.watch(build(tables))

    def guard(self, services: Sequence[Any]) -> Guard:
        return Guard(
            store=lambda limit_s: GuardStore(PlainRedis(self.redis.url), Keys(), limit_s),
            services=services,
            clock=CLOCK,
            lease_file=LeaseFile(self.folder / "guard.lease"),
            report=lambda source, text: self.lines.append(f"{source} : {text}"),
        )

    def watch(self, services: Sequence[Any]) -> Guard:
        guard = self.guard(services)
        thread = threading.Thread(target=guard.run, daemon=True)
        self.guards.append((guard, thread))
        thread.start()
        return guard

    def stop(self) -> None:
        for guard, thread in self.guards:
            guard.stop()
            thread.join(5)
        self.guards.clear()


@pytest.fixture
def scene(redis_process: RedisProcess, tmp_path: pathlib.Path, serve: Callable[..., Server]) -> Iterator[Scene]:
    made = Scene(redis_process, tmp_path, serve)
    yield made
    made.stop()


def freed(owner: Owner) -> float:
    wait_until(lambda: owner.state == "standby", 6, "the service owns nothing")
    assert owner.free_s is not None
    return owner.free_s


def test_nobody_renews_services_are_free_soon_after_the_deadline(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role()
    scene.start(owner)
    free_s = freed(owner)
    assert deadline_s <= free_s <= deadline_s + POLL_S + STOP_S + 0.25
    record = wait_until(lambda: (r := scene.store.read_role()) and r.clear and r)
    assert record.epoch == owner.epoch == 4
    assert "ran out" in scene.lines[0] and "owns nothing" in scene.lines[-1]


def test_frozen_redis_delays_nothing(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role()
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.freeze()
    free_s = freed(owner)
    assert deadline_s <= free_s <= deadline_s + POLL_S + STOP_S + 0.25
    scene.redis.resume()
    wait_until(lambda: (r := scene.store.read_role()) and r.clear, 5, "told once Redis is back")


def test_renewed_lease_is_left_alone(scene: Scene) -> None:
    owner = Owner()
    scene.role(left_s=0.4)
    scene.start(owner)
    for _ in range(15):
        assert scene.store.renew(4, CLOCK.now_s() + 0.4, CLOCK.boot_id, 0.0) == "ok"
        time.sleep(0.1)
    assert owner.state == "active" and not scene.lines


def test_wiped_redis_waits_for_the_last_deadline_read(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role(left_s=1.0)
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.client().flushall()
    free_s = freed(owner)
    assert deadline_s <= free_s <= deadline_s + POLL_S + STOP_S + 0.25


def test_killed_guard_knows_the_lease_again_while_redis_is_frozen(scene: Scene, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard_module, "FILE_GRACE_S", 0.5)
    owner = Owner()
    deadline_s = scene.role(left_s=1.2)
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.freeze()
    scene.stop()
    scene.start(owner)
    assert deadline_s <= freed(owner) <= deadline_s + POLL_S + STOP_S + 0.5


def test_fresh_guard_without_any_answer_demotes_nothing(scene: Scene) -> None:
    owner = Owner()
    scene.redis.freeze()
    scene.start(owner)
    time.sleep(1.0)
    assert owner.state == "active" and not scene.lines


def test_service_that_owns_on_a_standby_node_is_demoted_but_not_while_a_switch_runs(scene: Scene) -> None:
    owner = Owner()
    scene.role(Role.STANDBY, phase=Phase.STOPPING)
    scene.start(owner)
    time.sleep(1.5)
    assert owner.state == "active"
    scene.role(Role.STANDBY, phase=Phase.READY, clear=True)
    freed(owner)
    assert "standby" in scene.lines[0]


def test_record_without_role_and_an_owning_service_is_cleared_after_a_while(scene: Scene, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard_module, "NO_ROLE_GRACE_S", 0.6)
    owner, started_s = Owner(), CLOCK.now_s()
    scene.start(owner)
    assert freed(owner) > started_s + 0.6


def test_active_role_of_another_boot_is_void(scene: Scene) -> None:
    owner = Owner()
    scene.role(boot_id="another boot", left_s=1e6)
    scene.start(owner)
    freed(owner)
    assert "earlier boot" in scene.lines[0]


def test_services_stop_in_reverse_order_and_the_rest_side_by_side_past_a_limit(scene: Scene) -> None:
    order: list[Owner] = []
    first, second, stuck = Owner(order=order), Owner(order=order), Owner(stop_s=1.5, order=order)
    deadline_s = scene.role(left_s=0.3)
    scene.start(first, second, stuck, stop_limit_s=0.4)
    assert max(freed(first), freed(second)) <= deadline_s + POLL_S + 0.4 + 2 * STOP_S + 0.4
    assert order[0] is stuck
    freed(stuck)
    wait_until(lambda: any("not demoted yet" in line for line in scene.lines))


def test_lease_renewed_while_demoting_stops_the_guard(scene: Scene) -> None:
    stuck = Owner(stop_s=1e6)
    scene.role(left_s=0.2)
    scene.start(stuck, stop_limit_s=0.3)
    wait_until(lambda: stuck.state == "stopping")
    scene.store.renew(4, CLOCK.now_s() + 60, CLOCK.boot_id, 0.0)
    wait_until(lambda: any("renewed meanwhile" in line for line in scene.lines))
    record = scene.store.read_role()
    assert record is not None and not record.clear


def test_resumed_lease_takes_back_the_word_that_nothing_is_owned(scene: Scene) -> None:
    scene.role(left_s=30.0, clear=True)
    scene.start(Owner())
    wait_until(lambda: (r := scene.store.read_role()) and not r.clear)


# --- an active record past its deadline, after the guard has demoted


def demoted_once(scene: Scene, owner: Owner) -> None:
    scene.role(left_s=0.3)
    scene.start(owner)
    freed(owner)
    wait_until(lambda: (r := scene.store.read_role()) and r.clear, 5, "Redis is told")
    wait_until(lambda: any("owns nothing" in line for line in scene.lines))


@pytest.mark.parametrize("phase", [Phase.READY, Phase.STARTING])
def test_service_that_owns_after_the_guard_demoted_is_demoted_again(scene: Scene, phase: Phase) -> None:
    owner = Owner()
    demoted_once(scene, owner)
    scene.store.set_progress(4, phase, CLOCK.now_s())
    for _ in range(2):
        owner.state, owned_s = "active", CLOCK.now_s()
        assert freed(owner) - owned_s < 2.5
    assert any("past its lease, but s0 owns" in line for line in scene.lines)


def test_service_that_owns_after_the_guard_demoted_and_redis_fell_silent(scene: Scene) -> None:
    owner = Owner()
    demoted_once(scene, owner)
    scene.redis.freeze()
    owner.state, owner.epoch = "active", 0
    freed(owner)
    assert owner.epoch == 4


def test_newer_deadline_after_the_guard_demoted_is_left_alone(scene: Scene) -> None:
    owner = Owner()
    demoted_once(scene, owner)
    scene.role(left_s=60.0, epoch=6)
    owner.state = "active"
    time.sleep(2.5)
    assert owner.state == "active"


def test_start_of_another_process_at_the_end_of_the_lease_never_owns(scene: Scene, tmp_path: pathlib.Path) -> None:
    flag = tmp_path / "running"
    table = {
        "name": "asterisk",
        "kind": "command",
        "start": ["/bin/sh", "-c", f"sleep 1.5; touch {flag}"],
        "stop": ["rm", "-f", str(flag)],
        "status": ["/bin/sh", "-c", f"test -e {flag} || exit 3"],
    }
    switch, guards = build([table], tmp_path)[0], build([table], tmp_path)
    scene.role(left_s=0.6)
    scene.watch(guards)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    assert switch.promote(4, 0.6).state is ServiceState.STARTING
    wait_until(lambda: (r := scene.store.read_role()) and r.clear, 5, "the guard has demoted")
    time.sleep(1.8)
    assert not flag.exists() and switch.status().state is not ServiceState.ACTIVE
    assert not any("past its lease" in line for line in scene.lines)


# --- services that hang or flap


class Strange:
    """A service whose status says what it is told to; "hang" never answers."""

    stop_limit_s = 0.5

    def __init__(self, name: str, *says: str, hang_demote: bool = False) -> None:
        self.name, self.says, self.asked, self.demoted = name, says, 0, 0
        self.hang_demote, self.released = hang_demote, threading.Event()

    def status(self) -> ServiceReading:
        word = "standby" if self.demoted else self.says[self.asked % len(self.says)]
        self.asked += 1
        if word == "hang":
            self.released.wait(30)
        return ServiceReading(name=self.name, state=ServiceState(word if word != "hang" else "unknown"))

    def demote(self, epoch: int) -> ServiceReading:
        if self.hang_demote:
            self.demoted += 1
            self.released.wait(30)
        self.demoted += 1
        return ServiceReading(name=self.name, state=ServiceState.STANDBY)


def test_status_that_hangs_delays_neither_the_poll_nor_the_other_services(scene: Scene) -> None:
    hung, stray = Strange("hung", "hang"), Strange("stray", "active")
    scene.role(Role.STANDBY, clear=True)
    guard = scene.guard([hung, stray])
    longest_s, end_s = 0.0, time.monotonic() + 6
    while not stray.demoted and time.monotonic() < end_s:
        started_s = time.monotonic()
        guard.poll()
        longest_s = max(longest_s, time.monotonic() - started_s)
        time.sleep(0.05)
    assert stray.demoted and hung.asked == 1
    assert longest_s < 0.5
    hung.released.set()


def test_service_that_flaps_is_demoted_all_the_same(scene: Scene) -> None:
    flaps = Strange("flaps", "active", "unknown", "standby")
    scene.role(Role.STANDBY, clear=True)
    scene.watch([flaps])
    wait_until(lambda: flaps.demoted, 8, "demoted though it denies in between")


def test_demotion_that_hangs_keeps_no_thread_from_the_others(scene: Scene) -> None:
    hung, other = Strange("hung", "standby", hang_demote=True), Owner()
    scene.role(left_s=0.3)
    http = build([{"name": "http", "kind": "http", "url": scene.serve(other).url, "stop_limit_s": 1.0}])
    scene.watch([hung, *http])
    freed(other)
    wait_until(lambda: any("has not ended" in line or "no answer" in line for line in scene.lines))
    time.sleep(3.0)
    assert hung.demoted == 1, "asked once, not once a round"
    hung.released.set()
    wait_until(lambda: hung.demoted >= 2 and (r := scene.store.read_role()) and r.clear)


# --- the process


def environment(scene: Scene, services: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(pathlib.Path(guard_module.__file__).parents[1]),
        "FT_REDIS_URL": scene.redis.url,
        "FT_INSTANCE_DIR": str(scene.folder / "instance"),
        "FT_SECRET_KEYS": json.dumps(["0123456789abcdef0123456789abcdef"]),
        "FT_SERVICES": json.dumps(services),
    }


def test_process_demotes_reports_and_is_small(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role(left_s=2.5)
    services: list[dict[str, Any]] = [{"name": "cti", "kind": "http", "url": scene.serve(owner).url}]
    stopped = {"start": ["true"], "stop": ["true"], "status": ["/bin/sh", "-c", "exit 3"]}
    services.append({"name": "a", "kind": "command", **stopped})
    process = subprocess.Popen([sys.executable, "-m", "workers.guard"], env=environment(scene, services))
    try:
        wait_until(lambda: (scene.folder / "instance" / "guard.lease").exists())
        assert (scene.folder / "instance" / "command-a.start").exists(), "shared with the switch worker"
        rollup = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        pss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        assert pss_kib < 20_000
        assert deadline_s <= freed(owner) <= deadline_s + POLL_S + STOP_S + 0.3
        logs = wait_until(lambda: list((scene.folder / "instance" / "logs").glob("FT_REPORT_*.txt")))
        wait_until(lambda: "guard : every service owns nothing" in logs[0].read_text())
        process.terminate()
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait(5)


def test_process_says_what_is_wrong_with_its_configuration(scene: Scene) -> None:
    argv = [sys.executable, "-m", "workers.guard"]
    environ = environment(scene, [{"name": "cti", "kind": "magic"}])
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "kind" in done.stderr and "Traceback" not in done.stderr


def test_guard_imports_nothing_heavy() -> None:
    heavy = ["celery", "kombu", "sqlalchemy", "flask", "requests", "werkzeug", "jinja2", "redis", "asyncio"]
    code = f"import sys, workers.guard; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "[]"
