"""Heartbeats with a real Redis, worker and beat: at T, with a new T, and through every way Redis can go away."""

from __future__ import annotations

import pathlib
import signal
import statistics
import time

import pytest

from ftplugin.config import NodeConfig
from workers.app import create_app
from workers.background import LIVENESS_POLL_S, LIVENESS_S_MIN

from .node_process import KEY, NodeProcesses, wait_for

INTERVAL_S = 0.5
BACK_S_MAX = 3 * INTERVAL_S + 2.0  # spec: heartbeats resume within 3 intervals + 2 s of Redis being back
STALL_S = 10 * INTERVAL_S  # a worker that stands still so long
AWAY_S = LIVENESS_S_MIN + 2 * LIVENESS_POLL_S  # so long without a tick, and with Redis, the worker would have exited
SHORT_S = 0.5  # Redis is away so long, again and again
START_S = 20.0
BOTH = pytest.mark.parametrize("beat", ["embedded", "beside"])


def start(node: NodeProcesses, beat: str) -> None:
    node.start_redis()
    if beat == "embedded":
        node.start("tick", "--beat")
    else:
        node.start("tick")
        node.start("beat")
    wait_for("the first heartbeats", lambda: len(node.times("tick")) >= 3, START_S)


def assert_resumes(node: NodeProcesses, back_s: float) -> None:
    wait_for("heartbeats resume", lambda: len(node.times("tick", back_s)) >= 3, BACK_S_MAX + 2 * INTERVAL_S + 1)
    first_s = node.times("tick", back_s)[0] - back_s
    assert first_s <= BACK_S_MAX, f"first heartbeat {first_s:.2f} s after Redis was back"


def assert_no_pile(node: NodeProcesses, since_s: float) -> None:
    """After a stall at most one late heartbeat runs beside the regular ones."""
    times = node.times("tick", since_s)
    for index, first_s in enumerate(times):
        burst = [t for t in times[index:] if t < first_s + INTERVAL_S]
        assert len(burst) <= 3, f"{len(burst)} heartbeats within one interval"


@BOTH
def test_heartbeats_come_every_interval_and_each_task_runs(node: NodeProcesses, beat: str) -> None:
    start(node, beat)
    since_s = time.monotonic()
    wait_for("ten heartbeats", lambda: len(node.times("tick", since_s)) >= 11, 10)
    times = node.times("tick", since_s)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert statistics.median(gaps) == pytest.approx(INTERVAL_S, abs=0.03)
    assert (times[10] - times[0]) == pytest.approx(10 * INTERVAL_S, abs=0.25), "fixed rate: errors do not add up"
    for name in ("probe_vip", "watch_services", "renew_lease"):
        assert len(node.times(name)) >= 3, name


@BOTH
def test_new_interval_is_taken_without_a_restart(node: NodeProcesses, beat: str) -> None:
    start(node, beat)
    node.set(interval_s=0.2, timeout_s=0.2, threshold=3)
    since_s = time.monotonic() + 1.5
    wait_for("faster heartbeats", lambda: len(node.times("tick", since_s)) >= 10, 6)
    times = node.times("tick", since_s)
    assert statistics.median(b - a for a, b in zip(times, times[1:])) == pytest.approx(0.2, abs=0.03)


@BOTH
@pytest.mark.parametrize("away_s", [0.5, 6.0])
def test_heartbeats_resume_after_redis_was_killed(node: NodeProcesses, beat: str, away_s: float) -> None:
    start(node, beat)
    node.kill(node.redis)
    time.sleep(away_s)
    back_s = node.start_redis()
    assert_resumes(node, back_s)
    assert_no_pile(node, back_s)


@BOTH
@pytest.mark.parametrize("frozen_s", [3.0, 10.0])
def test_heartbeats_resume_after_redis_was_frozen(node: NodeProcesses, beat: str, frozen_s: float) -> None:
    start(node, beat)
    assert node.redis is not None
    node.redis.send_signal(signal.SIGSTOP)
    time.sleep(frozen_s)
    node.redis.send_signal(signal.SIGCONT)
    back_s = time.monotonic()
    assert_resumes(node, back_s)
    assert_no_pile(node, back_s)


@BOTH
def test_heartbeats_go_on_after_redis_was_wiped(node: NodeProcesses, beat: str) -> None:
    start(node, beat)
    node.client.flushall()
    assert_resumes(node, time.monotonic())


def test_redis_away_at_start_is_named_with_its_password_masked_and_tried_again(node: NodeProcesses) -> None:
    node.start("tick", "--beat")
    wait_for("a message", lambda: "cannot be reached" in node.log("tick.log"), START_S)
    log = node.log("tick.log")
    assert f"redis://:***@127.0.0.1:{node.port}/0 (FT_REDIS_URL)" in log and "secret" not in log
    assert "Traceback" not in log
    assert_resumes(node, node.start_redis())


def test_stalled_worker_runs_no_late_heartbeats(node: NodeProcesses) -> None:
    node.start_redis()
    worker = node.start("tick")
    node.start("beat")
    wait_for("the first heartbeats", lambda: len(node.times("tick")) >= 3, START_S)
    worker.send_signal(signal.SIGSTOP)
    time.sleep(STALL_S)
    worker.send_signal(signal.SIGCONT)
    back_s = time.monotonic()
    assert_resumes(node, back_s)
    late = [t for t in node.times("tick", back_s) if t < back_s + 0.4]
    assert len(late) <= 3, f"{len(late)} heartbeats at once; ten were sent while the worker stood still"


@BOTH
def test_a_tick_that_asks_for_the_next_one_soon_gets_it_and_the_grid_goes_on(node: NodeProcesses, beat: str) -> None:
    """Suspect mode: the extra ticks come from the tick worker itself, so beat may be a process beside it."""
    start(node, beat)
    assert not node.times("early tick")
    again = node.folder / "again"
    again.write_text("0.1")
    since_s = time.monotonic()
    wait_for("early ticks", lambda: len(node.times("early tick", since_s)) >= 12, 10)
    early = node.times("early tick", since_s)
    assert statistics.median(b - a for a, b in zip(early, early[1:])) == pytest.approx(0.1, abs=0.05)
    again.unlink()
    calm_s = time.monotonic() + 0.2
    wait_for("the grid alone", lambda: len(node.times("tick", calm_s)) >= 6, 6)
    assert not node.times("early tick", calm_s)
    regular = node.times("tick", since_s)
    gaps = [b - a for a, b in zip(regular, regular[1:])]
    assert statistics.median(gaps) == pytest.approx(INTERVAL_S, abs=0.05)
    assert not [c for c in node.calls("event") if c["name"] == "overlap"]


def test_ticks_as_long_as_the_interval_follow_each_other_without_a_hole(node: NodeProcesses) -> None:
    """A silent peer with t = T: a hole of 2 T would restart the streaks, and the failover with them (I-F)."""
    node.set(interval_s=INTERVAL_S, timeout_s=INTERVAL_S, threshold=3, vip_address="127.0.0.1")
    start(node, "embedded")
    (node.folder / "tick_s").write_text(str(INTERVAL_S + 0.005))
    since_s = time.monotonic()
    wait_for("twenty heartbeats", lambda: len(node.times("tick", since_s)) >= 20, 30)
    times = node.times("tick", since_s)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert max(gaps) < 1.6 * INTERVAL_S, f"a heartbeat was left out: {[round(gap, 3) for gap in gaps]}"


def test_long_tick_is_never_run_twice_at_a_time_and_the_skipped_ones_are_counted(node: NodeProcesses) -> None:
    start(node, "embedded")
    hang = node.folder / "hang"
    hang.touch()
    begun = len(node.times("tick"))
    wait_for("skipped ticks", lambda: [c for c in node.calls("event") if c["name"] == "overlap"], 5)
    assert len(node.times("tick")) <= begun + 1
    hang.unlink()
    assert_resumes(node, time.monotonic())


def test_worker_whose_ticks_hang_exits_and_says_why(node: NodeProcesses) -> None:
    node.start_redis()
    worker = node.start("tick", "--beat")
    wait_for("the first heartbeats", lambda: len(node.times("tick")) >= 3, START_S)
    (node.folder / "hang").touch()
    assert worker.wait(15) == 70
    assert any("no heartbeat was completed" in call["text"] for call in node.calls("report"))


def test_worker_does_not_exit_while_redis_is_away(node: NodeProcesses) -> None:
    node.start_redis()
    worker = node.start("tick", "--beat")
    wait_for("the first heartbeats", lambda: len(node.times("tick")) >= 3, START_S)
    node.kill(node.redis)
    time.sleep(AWAY_S)  # nothing may happen: the liveness thread must not take this for hung ticks
    assert worker.poll() is None
    assert_resumes(node, node.start_redis())
    assert worker.poll() is None


def test_worker_outlives_a_redis_that_dies_while_messages_are_on_their_way(node: NodeProcesses) -> None:
    node.start_redis()
    worker = node.start("tick", "--beat")
    wait_for("the first heartbeats", lambda: len(node.times("tick")) >= 3, START_S)
    app = create_app(NodeConfig.of({"FT_REDIS_URL": node.url, "FT_SECRET_KEYS": [KEY]}))
    for _ in range(5):
        for _ in range(60):
            app.send_task("workers.watchdog", queue="ft-tick", retry=False)
        node.kill(node.redis)
        time.sleep(SHORT_S)
        assert_resumes(node, node.start_redis())
        assert worker.poll() is None, node.log("tick.log")[-2000:]


def test_second_tick_worker_of_a_node_exits_and_names_the_first(node: NodeProcesses, tmp_path: pathlib.Path) -> None:
    start(node, "embedded")
    second = node.start("tick", "--beat", log="second.log")
    assert second.wait(20) == 75
    assert "another worker of this kind runs on this node" in node.log("second.log")


def test_health_document_names_the_dead_service(node: NodeProcesses) -> None:
    start(node, "embedded")
    wait_for("healthy", lambda: '"ok": true' in (node.client.get("ft:doc:health") or ""), 5)
    (node.folder / "service-dead").touch()
    wait_for("the fault", lambda: "service cti: dead: gone" in (node.client.get("ft:doc:health") or ""), 5)
