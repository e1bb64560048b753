"""The switch worker with a real Redis: steps that can be seen, demotions beside a running switch, and bad messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftplugin.config import NodeConfig
from ftplugin.core.terms import Designation
from ftplugin.protocol import make_demote, new_nonce
from workers.app import create_app

from .node_process import KEY, NodeProcesses, wait_for

START_S = 20.0


@pytest.fixture
def sender(node: NodeProcesses) -> Any:
    node.start_redis()
    node.start("switch")
    wait_for("recovery", lambda: node.calls("recover"), START_S)
    config = NodeConfig.of({"FT_REDIS_URL": node.url, "FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(node.folder)})
    return create_app(config)


def demote(sender: Any, /, **arguments: Any) -> None:
    sender.send_task("workers.demote", kwargs=arguments, queue="ft-switch", retry=False, expires=5, ignore_result=True)


def test_switch_task_shows_its_step_and_then_its_result(node: NodeProcesses, sender: Any) -> None:
    assert sender.node.dispatch.switch({"kind": "promote", "rule": "F1", "epoch": 2})
    wait_for("the order runs", lambda: node.calls("run_order"), 5)
    keys = wait_for("its state", lambda: node.client.keys("ft:celery-task-meta-*"), 5)
    result = sender.AsyncResult(keys[0].removeprefix("ft:celery-task-meta-"))
    wait_for("the step", lambda: result.state == "PROGRESS", 5)
    assert result.info == {"step": "fence peer", "detail": "asking server2"}
    (node.folder / "order-may-end").touch()
    wait_for("the end", lambda: result.state == "SUCCESS", 5)
    assert result.info == {"outcome": "done"}


def test_demotion_runs_while_a_promotion_still_runs(node: NodeProcesses, sender: Any) -> None:
    assert sender.node.dispatch.switch({"kind": "promote", "rule": "F1", "epoch": 2})
    wait_for("the order runs", lambda: node.calls("run_order"), 5)
    demote(sender, **make_demote([KEY], Designation.SERVER2, 3, new_nonce()))
    wait_for("the demotion", lambda: node.calls("demote"), 3)


@pytest.mark.parametrize(
    "arguments, cause",
    [
        ({}, "unreadable"),
        ({"sender": "server2"}, "unreadable"),
        ({"sender": "server2", "epoch": "x", "nonce": "n", "signature": "s"}, "unreadable"),
        ({"sender": "server2", "epoch": 3, "nonce": "n", "signature": "wrong"}, "unsigned"),
        (make_demote(["another key, also long enough"], Designation.SERVER2, 3, "nonce-nonce"), "unsigned"),
        (make_demote([KEY], Designation.SERVER1, 2, "nonce-nonce"), "unsigned"),
        ({**make_demote([KEY], Designation.SERVER2, 3, "nonce-nonce"), "extra": 1}, "unreadable"),
    ],
)
def test_bad_demote_message_is_refused_and_counted(
    node: NodeProcesses, sender: Any, arguments: dict[str, Any], cause: str
) -> None:
    demote(sender, **arguments)
    wait_for("the count", lambda: node.client.hgetall("ft:refused") == {cause: "1"}, 5)
    assert not node.calls("demote")
    assert any(call["text"].startswith(f"refused, {cause}") for call in node.calls("report"))
    demote(sender, **make_demote([KEY], Designation.SERVER2, 3, new_nonce()))
    wait_for("the next good one", lambda: node.calls("demote"), 3)


@pytest.mark.parametrize("order", [None, 7, [], {}, {"kind": 1}])
def test_order_without_form_is_refused_and_counted(node: NodeProcesses, sender: Any, order: Any) -> None:
    sender.send_task("workers.switch", [order], queue="ft-switch", retry=False, expires=5)
    wait_for("the count", lambda: node.client.hgetall("ft:refused") == {"unreadable": "1"}, 5)
    assert not node.calls("run_order")


@pytest.mark.parametrize(
    "raw",
    [
        "no JSON at all",
        "[]",
        "7",
        json.dumps({"body": "AAAA"}),
        json.dumps({"body": "bm8=", "properties": {}, "headers": {}}),
        json.dumps(
            {
                "body": "bm90IGpzb24=",
                "content-type": "application/json",
                "content-encoding": "utf-8",
                "headers": {"task": "workers.demote", "id": "1"},
                "properties": {"delivery_tag": "1", "delivery_info": {}, "body_encoding": "base64"},
            }
        ),
    ],
)
def test_garbled_message_on_the_wire_does_not_stop_the_worker(node: NodeProcesses, sender: Any, raw: str) -> None:
    node.client.lpush("ft-switch", raw)
    demote(sender, **make_demote([KEY], Designation.SERVER2, 3, new_nonce()))
    wait_for("the next good one", lambda: node.calls("demote"), 5)
    wait_for("the count", lambda: node.client.hgetall("ft:refused"), 5)
