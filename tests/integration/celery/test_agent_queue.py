"""The agent queue of a real switch worker: whoever may write there can order a signed demotion and nothing else."""

from __future__ import annotations

import base64
import copy
import json
import pathlib
import pickle
from typing import Any

import pytest

from ftplugin.core.terms import Designation
from ftplugin.protocol import make_demote, new_nonce
from workers.adapters.agent_message import cleaned, message

from .node_process import KEY, NodeProcesses, wait_for

QUEUE = "ft-agent"
START_S = 30.0
ORDER = {"task": "workers.switch", "args": [{"kind": "manual", "target": "server2"}], "kwargs": {}, "options": {}}


def demote() -> dict[str, Any]:
    return message(make_demote([KEY], Designation.SERVER2, 3, new_nonce()), QUEUE)


def with_body(*parts: Any) -> dict[str, Any]:
    found = demote()
    found["body"] = base64.b64encode(json.dumps(parts).encode()).decode()
    return found


def smuggled(what: str) -> dict[str, Any]:
    """A demote message with one thing more."""
    found = copy.deepcopy(demote())
    _, kwargs, embed = json.loads(base64.b64decode(found["body"]))
    if what in embed:
        embed[what] = [ORDER] if what != "chord" else ORDER
        found["body"] = base64.b64encode(json.dumps([[], kwargs, embed]).encode()).decode()
    elif what == "eta":
        found["headers"] |= {"eta": "2999-01-01T00:00:00", "expires": "1999-01-01T00:00:00"}
    elif what == "reply":
        found["properties"] |= {"reply_to": "ft-switch", "correlation_id": "x"}
        found["headers"] |= {"ignore_result": False, "id": "../../x"}
    return found


@pytest.fixture
def worker(node: NodeProcesses) -> NodeProcesses:
    node.start_redis()
    node.start("switch")
    wait_for("recovery", lambda: node.calls("recover"), START_S)
    return node


def pickled(path: pathlib.Path) -> dict[str, Any]:
    """A message whose mere reading would make a file, if anything but JSON were accepted."""

    class Evil:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (path,)

    found = demote()
    found["body"] = base64.b64encode(pickle.dumps(([], {"evil": Evil()}, {}))).decode()
    return found | {"content-type": "application/x-python-serialize", "content-encoding": "binary"}


def test_only_a_demote_gets_through_whatever_hangs_on_it(worker: NodeProcesses, tmp_path: pathlib.Path) -> None:
    node = worker
    count = 0
    for what in ("chain", "callbacks", "errbacks", "chord", "eta", "reply"):
        node.client.lpush(QUEUE, json.dumps(smuggled(what)))
        count += 1
        wait_for(what, lambda: len(node.calls("demote")) == count, 10)
    others = [
        {**demote(), "headers": {**demote()["headers"], "task": task}} for task in ("workers.switch", "workers.recover")
    ]
    others += [with_body([1], {}, {}), with_body([], {"sender": "server2"}, {}), with_body(), {"body": 7}, [], "x"]
    for other in others:
        node.client.lpush(QUEUE, json.dumps(other))
    node.client.lpush(QUEUE, b"\x00\xff")
    wait_for("the refusals", lambda: node.client.hgetall("ft:refused") == {"unreadable": str(len(others) + 1)}, 20)
    for queue in (QUEUE, "ft-switch"):  # Celery's own form with Python objects in it
        node.client.lpush(queue, json.dumps(pickled(tmp_path / "done")))
    wait_for("both taken from their queues", lambda: not any(map(node.client.llen, (QUEUE, "ft-switch"))), 20)
    node.client.lpush(QUEUE, json.dumps(demote()))
    wait_for("the next good one", lambda: len(node.calls("demote")) == count + 1, 10)
    assert not node.calls("run_order"), "nothing but demotions was done"
    assert not (tmp_path / "done").exists(), "no object of a message is made"
    assert not [
        key for key in node.client.keys("*") if "celery-task-meta" in key
    ], "no result is kept for a stranger's id"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["headers"].update(task="workers.switch"),
        lambda m: m.update(body=None),
        lambda m: m.update(body="x" * 5000),
        lambda m: m.update(body="%%%"),
        lambda m: m.update(headers=None),
        lambda m: m.pop("headers"),
    ],
)
def test_what_is_no_demote_is_refused(change: Any) -> None:
    found = demote()
    change(found)
    with pytest.raises(ValueError):
        cleaned(found, QUEUE)


@pytest.mark.parametrize(
    "field, value", [("epoch", "3"), ("epoch", True), ("nonce", 7), ("sender", "x" * 201), ("more", 1)]
)
def test_fields_of_another_type_or_size_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError):
        cleaned(message({**make_demote([KEY], Designation.SERVER2, 3, "nonce-nonce"), field: value}, QUEUE), QUEUE)
