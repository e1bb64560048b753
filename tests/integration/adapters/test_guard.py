"""The guard with real Redis, frozen Redis and control APIs: it demotes when, and only when, it must."""

from __future__ import annotations

import pathlib
import threading
import time
from typing import Any, Callable, Iterator

import pytest

from ftplugin.core.terms import Phase, Role, ServiceState
from ftplugin.core.view import ServiceReading
from workers import guard as guard_module
from workers import guard_watch
from workers.adapters.services import build
from workers.guard_watch import PERIOD_S

from .conftest import RedisProcess, Server, nothing_for, wait_until
from .guard_scene import CLOCK, POLL_S, START_S, STOP_S, Owner, Scene, freed

SHORT_LEASE_S = 0.5  # about that of T = 0.5, N = 3: so long Redis may have promised before it fell silent


@pytest.fixture
def scene(redis_process: RedisProcess, tmp_path: pathlib.Path, serve: Callable[..., Server]) -> Iterator[Scene]:
    with Scene(redis_process, tmp_path, serve) as made:
        yield made


def test_nobody_renews_services_are_free_soon_after_the_deadline(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role()
    scene.start(owner)
    free_s = freed(owner)
    assert deadline_s <= free_s <= deadline_s + POLL_S + STOP_S + 0.25
    record = wait_until(lambda: (r := scene.store.read_role()) and r.clear and r)
    assert record.epoch == owner.epoch == 4
    wait_until(lambda: "ran out" in scene.lines[0] and "owns nothing" in scene.lines[-1])  # told after it is done


def test_frozen_redis_delays_nothing(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role()
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.freeze()
    free_s = freed(owner)
    assert deadline_s <= free_s <= deadline_s + POLL_S + STOP_S + 0.25
    scene.redis.thaw()
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


def test_killed_guard_knows_the_lease_again_while_redis_is_frozen(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role(left_s=1.2)
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.freeze()
    scene.stop()
    scene.start(owner)
    assert deadline_s <= freed(owner) <= deadline_s + POLL_S + STOP_S + 0.5


def test_guard_killed_until_after_the_deadline_demotes_soon_while_redis_is_frozen(scene: Scene) -> None:
    """The lease may have been renewed meanwhile, but a silent Redis renews it no more: it asks for a few polls only."""
    owner = Owner()
    deadline_s = scene.role(left_s=0.6)
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.redis.freeze()
    scene.stop()
    wait_until(lambda: CLOCK.now_s() > deadline_s)
    started_s = CLOCK.now_s()
    scene.start(owner)
    assert freed(owner) <= started_s + SHORT_LEASE_S + POLL_S + STOP_S + 0.5


def test_guard_killed_until_after_the_deadline_leaves_a_lease_alone_that_was_renewed(scene: Scene) -> None:
    owner = Owner()
    deadline_s = scene.role(left_s=0.6)
    scene.start(owner)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    scene.stop()
    assert scene.store.renew(4, CLOCK.now_s() + 60, CLOCK.boot_id, 0.0) == "ok"
    wait_until(lambda: CLOCK.now_s() > deadline_s)
    scene.start(owner)
    nothing_for(guard_module.FILE_GRACE_S + 5 * POLL_S)
    assert owner.state == "active" and not scene.lines


def test_fresh_guard_without_any_answer_demotes_nothing(scene: Scene) -> None:
    owner = Owner()
    scene.redis.freeze()
    scene.start(owner)
    nothing_for(10 * POLL_S)
    assert owner.state == "active" and not scene.lines


def test_service_that_owns_on_a_standby_node_is_demoted_but_not_while_a_switch_runs(scene: Scene) -> None:
    owner = Owner()
    scene.role(Role.STANDBY, phase=Phase.STOPPING)
    scene.start(owner)
    nothing_for(PERIOD_S + 5 * POLL_S)  # in which it would have been asked twice
    assert owner.state == "active"
    scene.role(Role.STANDBY, phase=Phase.READY, clear=True)
    freed(owner)
    assert "standby" in scene.lines[0]


def test_record_without_role_and_an_owning_service_is_cleared_after_a_while(scene: Scene, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard_module, "NO_ROLE_GRACE_S", 0.6)
    owner, started_s = Owner(), CLOCK.now_s()
    scene.start(owner)
    assert freed(owner) > started_s + 0.6


def idle(monkeypatch: Any) -> None:
    monkeypatch.setattr(guard_module, "NO_ROLE_GRACE_S", 0.2)
    monkeypatch.setattr(guard_watch, "PERIOD_S", 0.1)
    monkeypatch.setattr(guard_watch, "FREE_S", 0.4)


def test_where_the_agent_never_came_up_the_guard_says_that_nothing_is_owned(scene: Scene, monkeypatch: Any) -> None:
    """The other server's fence has been seen here, and that server waits for this word."""
    idle(monkeypatch)
    assert scene.store.see_epoch(7)
    owner = Owner(state="standby")
    scene.start(owner)
    record = wait_until(lambda: (r := scene.store.read_role()) and r.clear and r)
    assert (record.role, record.seen_epoch, owner.order) == (Role.UNDECIDED, 7, [])
    wait_until(lambda: any("said by the guard" in line for line in scene.lines))


@pytest.mark.parametrize("word", ["unknown", "hang"])
def test_what_may_own_something_is_not_called_free(scene: Scene, monkeypatch: Any, word: str) -> None:
    idle(monkeypatch)
    scene.role(Role.STANDBY)
    doubtful = Strange("doubtful", "standby", word)
    scene.watch([Strange("free", "standby"), doubtful])
    nothing_for(0.8)
    record = scene.store.read_role()
    assert record is not None and not record.clear
    doubtful.released.set()


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
    record = wait_until(lambda: (r := scene.store.read_role()) and not r.clear and r)
    assert (record.role, record.epoch) == (Role.ACTIVE, 4) and not scene.lines


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
    wait_until(lambda: any("past its lease, but s0 owns" in line for line in scene.lines))


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
    nothing_for(2 * PERIOD_S + 5 * POLL_S)
    assert owner.state == "active"


def test_start_of_another_process_at_the_end_of_the_lease_never_owns(scene: Scene, tmp_path: pathlib.Path) -> None:
    flag = tmp_path / "running"
    table = {
        "name": "asterisk",
        "kind": "command",
        "start": ["/bin/sh", "-c", f"sleep {START_S}; touch {flag}"],
        "stop": ["rm", "-f", str(flag)],
        "status": ["/bin/sh", "-c", f"test -e {flag} || exit 3"],
    }
    switch, guards = build([table], tmp_path)[0], build([table], tmp_path)
    scene.role(left_s=0.6)
    scene.watch(guards)
    wait_until(lambda: (scene.folder / "guard.lease").exists())
    assert switch.promote(4, 0.6).state is ServiceState.STARTING
    wait_until(lambda: (r := scene.store.read_role()) and r.clear, 5, "the guard has demoted")
    nothing_for(START_S + 3 * POLL_S)
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
    assert flaps.demoted == 1 and "standby" in scene.lines[0]


def test_demotion_that_hangs_keeps_no_thread_from_the_others(scene: Scene) -> None:
    hung, other = Strange("hung", "standby", hang_demote=True), Owner()
    scene.role(left_s=0.3)
    http = build([{"name": "http", "kind": "http", "url": scene.serve(other).url, "stop_limit_s": 1.0}])
    scene.watch([hung, *http])
    freed(other)
    wait_until(lambda: any("has not ended" in line or "no answer" in line for line in scene.lines))
    nothing_for(3 * (Strange.stop_limit_s + guard_module.ROUND_PAUSE_S))
    assert hung.demoted == 1, "asked once, not once a round"
    hung.released.set()
    wait_until(lambda: hung.demoted >= 2 and (r := scene.store.read_role()) and r.clear)
