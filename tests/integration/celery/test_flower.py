"""A real Flower beside the workers of one node, through its HTTP API: a switch can be followed, ticks do not flood it."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any, Iterator

import pytest

from ftplugin.config import NodeConfig
from workers.app import create_app

from .node_process import KEY, NodeProcesses, free_port, wait_for

pytestmark = pytest.mark.timeout(240)
pytest.importorskip("flower", reason="needs the extra 'flower'")

ROOT = pathlib.Path(__file__).parents[3]
CONFIG = ROOT / "deploy" / "flowerconfig.py"
USER, PASSWORD = "night", "a password for the night"
START_S = 40.0
ORDER = {"kind": "promote", "rule": "F1", "epoch": 2, "reason": "peer is dead"}


class Flower:
    """Its API on loopback."""

    def __init__(self, node: NodeProcesses) -> None:
        self.port = free_port()
        node.environ |= {"FT_FLOWER_USER": USER, "FT_FLOWER_PASSWORD": PASSWORD, "FT_FLOWER_PORT": str(self.port)}
        self.process = node.start_celery("flower", f"--conf={CONFIG}")

    def ask(self, path: str, login: str = f"{USER}:{PASSWORD}", data: bytes | None = None) -> tuple[int, Any]:
        """(status, JSON or text); (0, why) while nobody listens."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                text = answer.read().decode()
                return answer.status, json.loads(text) if text[:1] in "{[" else text
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def tasks(self) -> dict[str, dict[str, Any]]:
        status, found = self.ask("/api/tasks")
        assert status == 200, found
        return dict(found)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcesses]:
    """One for all tests here: Flower takes long to start."""
    processes = NodeProcesses(tmp_path_factory.mktemp("flower"))
    processes.set(interval_s=0.5, timeout_s=0.5, threshold=3)
    try:
        yield processes
    finally:
        processes.close()


@pytest.fixture(scope="module")
def flower(node: NodeProcesses) -> Flower:
    node.start_redis()
    made = Flower(node)
    # by Celery's own command a worker sends the events of every task, unless the task says otherwise
    node.start_celery("worker", "-Q", "ft-tick", "-n", "tick@%h", "--without-gossip", "--without-mingle")
    node.start("beat")
    node.start("switch")
    wait_for("Flower answers", lambda: made.ask("/api/tasks")[0] == 200, START_S)
    wait_for("recovery", lambda: node.calls("recover"), START_S)
    return made


def sender(node: NodeProcesses) -> Any:
    values = {"FT_REDIS_URL": node.url, "FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(node.folder)}
    return create_app(NodeConfig.of(values))


def ticks(app: Any) -> int:
    """How many heartbeats the tick worker has run, by its own count."""
    found = app.control.inspect(timeout=2).stats() or {}
    return max([facts["total"].get("workers.heartbeat", 0) for facts in found.values()], default=0)


def test_switch_is_followed_by_its_steps_and_ticks_do_not_flood(node: NodeProcesses, flower: Flower) -> None:
    wait_for(
        "Flower hears the switch worker", lambda: "switch@" in str(flower.ask("/api/workers?status=1")[1]), START_S
    )
    app = sender(node)
    app.control.enable_events()  # as a Flower without our configuration asks every five seconds
    before = ticks(app)
    assert app.node.dispatch.switch(ORDER)
    (task_id,) = wait_for(
        "the switch", lambda: [k for k, t in flower.tasks().items() if t["name"] == "workers.switch"], 20
    )
    wait_for("its step is the state", lambda: flower.tasks()[task_id]["state"] == "FENCE-PEER", 20)
    task = flower.tasks()[task_id]
    assert "'rule': 'F1'" in task["args"] and "peer is dead" in task["args"]
    assert flower.ask(f"/api/task/info/{task_id}")[1]["state"] == "FENCE-PEER"
    assert flower.ask(f"/api/task/result/{task_id}")[1]["state"] == "PROGRESS"

    (node.folder / "order-may-end").touch()
    wait_for("its end", lambda: flower.tasks()[task_id]["state"] == "SUCCESS", 20)
    status, result = flower.ask(f"/api/task/result/{task_id}")
    assert result["state"] == "SUCCESS" and result["result"] == {"outcome": "done"}
    wait_for("more ticks", lambda: ticks(app) >= before + 4, START_S)
    names = {task["name"] for task in flower.tasks().values()}
    assert names <= {"workers.switch", "workers.recover"}, "beat's three tasks are not there"


def switch_worker(flower: Flower) -> str:
    """Its name; a worker that answers late is missing in one answer of Flower and is there in the next."""

    def listed() -> list[str]:
        return [n for n in flower.ask("/api/workers?refresh=1")[1] if n.startswith("switch@")]

    (name,) = wait_for("Flower lists the switch worker", listed, START_S)
    return str(name)


def test_flower_answers_only_to_its_password_and_orders_nothing(node: NodeProcesses, flower: Flower) -> None:
    for login in ("", f"{USER}:wrong", f"admin:{PASSWORD}"):
        for path in ("/api/tasks", "/api/workers", "/", "/tasks"):
            assert flower.ask(path, login)[0] == 401, (login, path)
    orders = len(node.calls("run_order"))
    order = json.dumps({"args": [ORDER]}).encode()
    for path in ("/api/task/async-apply/workers.switch", "/api/task/send-task/workers.switch"):
        assert flower.ask(path, data=order)[0] in (401, 403, 405), path
    name = switch_worker(flower)
    assert flower.ask(f"/api/worker/shutdown/{name}", data=b"")[0] in (401, 403, 405)
    assert len(node.calls("run_order")) == orders
    assert sender(node).control.ping(timeout=2), "the workers are still there"


def test_flower_shows_no_password(node: NodeProcesses, flower: Flower) -> None:
    name = switch_worker(flower)

    def configuration() -> str:
        text = json.dumps(flower.ask("/api/workers?refresh=1")[1])
        return text if "SwitchResults" in text else ""

    shown = wait_for("the workers' configurations", configuration, START_S)
    assert "redis://:" in shown, "the addresses are there"
    for text in (
        shown,
        flower.ask(f"/worker/{name}")[1],
        flower.ask("/broker")[1],
        node.log("flower.log"),
        node.log("worker.log"),
    ):
        assert ":secret@" not in text


@pytest.mark.parametrize("password", ["", "short"])
def test_flower_does_not_start_without_a_password(password: str) -> None:
    environ = {**os.environ, "FT_FLOWER_PASSWORD": password}
    command = [sys.executable, "-c", f"exec(open({str(CONFIG)!r}).read())"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "FT_FLOWER_PASSWORD" in done.stderr and "ft key" in done.stderr
