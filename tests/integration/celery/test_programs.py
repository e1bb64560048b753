"""The real agent under both ways to start it, and what an administrator reads when something it needs is missing."""

from __future__ import annotations

import json
import pathlib
import signal
import threading
import time
from typing import Any, Iterator

import pytest

from ftplugin.config import NodeConfig
from ftplugin.core.settings import Settings
from workers.app import create_app
from workers.settings_feed import SettingsFeed

from .node_process import KEY, NodeProcesses, wait_for

START_S = 20.0
WORKER = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")


@pytest.fixture
def real(tmp_path: pathlib.Path) -> Iterator[NodeProcesses]:
    processes = NodeProcesses(tmp_path, "workers")
    try:
        yield processes
    finally:
        processes.close()


def report(node: NodeProcesses) -> str:
    return "".join(path.read_text() for path in (node.folder / "logs").glob("FT_REPORT_*.txt"))


def test_celery_commands_start_the_same_workers_and_both_answer_inspect(real: NodeProcesses) -> None:
    real.start_redis()
    real.start_celery("worker", "-Q", "ft-tick", "-n", "tick@%h", *WORKER)
    real.start_celery("worker", "-Q", "ft-switch", "-n", "switch@%h", *WORKER)
    real.start_celery("beat")
    wait_for("a tick of the real agent", lambda: "not configured" in report(real), START_S)
    app = create_app(NodeConfig.of({"FT_REDIS_URL": real.url, "FT_SECRET_KEYS": [KEY]}))
    names = {"tick", "switch"}
    wait_for("both answer", lambda: names <= {n.split("@")[0] for r in app.control.ping(timeout=1) for n in r}, 10)
    assert (real.folder / "agent.lock").exists() and (real.folder / "switch.lock").exists()


def test_worker_without_its_queue_is_told_which(real: NodeProcesses) -> None:
    real.start_redis()
    worker = real.start_celery("worker", *WORKER)
    assert worker.wait(START_S) == 64
    assert "start it with -Q ft-tick or ft-switch" in real.log("worker.log")


def test_database_away_at_start_is_named_and_tried_again(real: NodeProcesses) -> None:
    real.start_redis()
    in_the_way = real.folder / "no-folder"
    in_the_way.write_text("a file where a folder should be")
    real.environ["FT_DATABASE_URL"] = f"sqlite:///{in_the_way}/ft.sqlite3"
    real.start("tick", "--beat")
    wait_for("the message", lambda: "Trying again until it can be used" in real.log("tick.log"), START_S)
    assert f"FT_DATABASE_URL: database sqlite:///{in_the_way}/ft.sqlite3" in real.log("tick.log")
    assert "Traceback" not in real.log("tick.log")
    in_the_way.unlink()
    wait_for("a tick of the real agent", lambda: "not configured" in report(real), 10)


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("FT_SERVICES", json.dumps([{"name": "x", "kind": "y"}]), "FT_SERVICES[1].kind: must be one of"),
        ("FT_LOG_DAYS", "many", "FT_LOG_DAYS='many': must be JSON"),
    ],
)
def test_wrong_configuration_ends_with_a_message_not_a_traceback(
    real: NodeProcesses, name: str, value: str, message: str
) -> None:
    real.start_redis()
    real.environ[name] = value
    assert real.start("tick").wait(START_S) == 78
    assert message in real.log("tick.log") and "Traceback" not in real.log("tick.log")


@pytest.mark.parametrize("redis", ["dead", "frozen"])
def test_order_to_a_redis_that_does_not_answer_fails_within_a_second(real: NodeProcesses, redis: str) -> None:
    if redis == "frozen":
        real.start_redis()
        assert real.redis is not None
        real.redis.send_signal(signal.SIGSTOP)
    app = create_app(NodeConfig.of({"FT_REDIS_URL": real.url, "FT_SECRET_KEYS": [KEY]}))
    begun_s = time.monotonic()
    assert app.node.dispatch.switch({"kind": "promote"}) is False
    assert time.monotonic() - begun_s < 1.0


class StuckStore:
    """A settings store over a database that is locked for as long as the test wants."""

    def __init__(self) -> None:
        self.free, self.asked = threading.Event(), threading.Event()
        self.free.set()

    def current(self) -> tuple[int, Settings]:
        if not self.free.is_set():
            self.asked.set()
        self.free.wait(10)
        return 1, Settings(interval_s=2.0)

    def previous(self) -> Settings | None:
        return None

    def acknowledged(self, revision: int) -> None:
        self.free.wait(10)

    def adopt(self, document: Any) -> None:
        raise AssertionError("nothing to adopt")


def test_locked_database_does_not_delay_who_asks_for_the_settings() -> None:
    store = StuckStore()
    feed = SettingsFeed(store, reread_s=0.01)
    store.free.clear()
    feed.start()
    assert store.asked.wait(10), "its thread waits for the database"
    begun_s = time.monotonic()
    assert feed.settings().interval_s == 2.0 and feed.previous() is None
    feed.acknowledged(1)
    assert time.monotonic() - begun_s < 2.0 and not store.free.is_set(), "the database keeps whoever asks it for 10 s"
    store.free.set()
    feed.stop()
