"""Two instances at one Redis: with prefixes they do not hear each other; without, the second one is refused."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Iterator

import pytest

from ftplugin.config import NodeConfig
from ftplugin.store.runtime import connect
from workers.app import create_app
from workers.rivals import client_name, rival

from .node_process import KEY, NodeProcesses, wait_for

START_S = 30.0


@pytest.fixture
def two(tmp_path: pathlib.Path) -> Iterator[tuple[NodeProcesses, NodeProcesses]]:
    """Two nodes with the real agent, each with its own folder; the second uses the Redis of the first."""
    first, second = (NodeProcesses(tmp_path / name, "workers") for name in ("first", "second"))
    for node in (first, second):
        node.folder.mkdir()
    second.url = first.url
    try:
        yield first, second
    finally:
        second.close()
        first.close()


def config(node: NodeProcesses, **more: str) -> NodeConfig:
    own = {"FT_REDIS_URL": node.url, "FT_SECRET_KEYS": [KEY], "FT_INSTANCE_DIR": str(node.folder)}
    return NodeConfig.of(own | {"FT_OWN_ADDRESS": "127.0.0.1:18001"} | more)


def connected(node: NodeProcesses, name: str) -> bool:
    return any(str(each.get("name", "")).startswith(f"{name}@") for each in node.client.client_list())


def test_second_worker_with_the_same_prefix_is_refused_and_the_first_goes_on(
    two: tuple[NodeProcesses, NodeProcesses],
) -> None:
    first, second = two
    first.start_redis()
    worker = first.start("tick")
    wait_for("the first one is there", lambda: connected(first, "ft-tick"), START_S)
    refused = second.start("tick")
    assert refused.wait(START_S) == 75
    said = second.log("tick.log")
    assert "FT_PREFIX='': another tick worker with this prefix uses the Redis of FT_REDIS_URL" in said
    assert "127.0.0.1:18001 in another FT_INSTANCE_DIR" in said and "Traceback" not in said
    assert worker.poll() is None
    first.kill(worker)
    again = second.start("tick", log="again.log")
    wait_for("nothing is left of a killed one", lambda: connected(first, "ft-tick"), START_S)
    assert again.poll() is None, second.log("again.log")


def test_redis_that_was_frozen_at_the_start_is_asked_when_it_answers(two: tuple[NodeProcesses, NodeProcesses]) -> None:
    first, second = two
    first.start_redis()
    assert first.redis is not None
    with connect(first.url, client_name=client_name(config(first), "tick")) as client:
        client.ping()
        first.redis.send_signal(signal.SIGSTOP)
        refused = second.start("tick")
        wait_for("it waits for Redis", lambda: "cannot be reached" in second.log("tick.log"), START_S)
        first.redis.send_signal(signal.SIGCONT)
        assert refused.wait(START_S) == 75
    assert "another tick worker with this prefix" in second.log("tick.log")


def test_of_two_that_start_together_the_one_that_connected_first_goes_on(node: NodeProcesses) -> None:
    node.start_redis()
    one, other = config(node), config(node, FT_INSTANCE_DIR=str(node.folder / "other"))
    first = connect(node.url, client_name=client_name(one, "tick"))
    assert rival(first, one, "tick") == ""
    second = connect(node.url, client_name=client_name(other, "tick"))
    assert "FT_PREFIX=''" in rival(second, other, "tick")
    assert rival(first, one, "tick") == ""
    assert rival(second, other, "switch") == "", "another kind of worker"
    with_prefix = config(node, FT_INSTANCE_DIR=str(node.folder / "other"), FT_PREFIX="x")
    third = connect(node.url, client_name=client_name(with_prefix, "tick"))
    assert rival(third, with_prefix, "tick") == ""
    for client in (first, second, third):
        client.close()


def test_remote_control_of_one_instance_does_not_reach_the_other(two: tuple[NodeProcesses, NodeProcesses]) -> None:
    """A "shutdown" from Flower or by ``celery control`` is for the workers of one instance."""
    first, second = two
    second.environ["FT_PREFIX"] = "x"
    first.start_redis()
    apps = {"": create_app(config(first)), "x": create_app(config(second, FT_PREFIX="x"))}
    first.start("switch")
    second.start("switch")
    for prefix, name in (("", "switch"), ("x", "switch-x")):
        wait_for(f"{name} answers", lambda: apps[prefix].control.ping(timeout=1), START_S)
        answers = [node.split("@")[0] for reply in apps[prefix].control.ping(timeout=2) for node in reply]
        assert answers == [name]
    assert (second.folder / "x" / "switch.lock").exists() and not (second.folder / "switch.lock").exists()
