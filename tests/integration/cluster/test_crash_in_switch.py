"""kill -9 of the switch worker in the middle of a promotion: after its restart the switch is resumed or undone (I-G)."""

from __future__ import annotations

import time
from typing import Any, Iterator

import pytest

from .harness import SLACK_S, Pair, eventually

SLOW = 5.0  # times 200 ms a port: 3 s for the three ports


@pytest.fixture
def slow_start(pair: Pair) -> Iterator[Pair]:
    """Server2's CTI server takes 3 s to start; restored afterwards."""
    file = pair.cluster.config.directory / "node2" / "supervisord.conf"
    before = file.read_text()
    scale = f"--scale {pair.cluster.config.cti_scale}"
    assert before.count(scale) == 1
    restart_with(pair, before.replace(scale, f"--scale {SLOW}"))
    yield pair
    file.write_text(before)
    if 2 not in pair.down:
        pair.stop_node(2)


def restart_with(pair: Pair, text: str) -> None:
    pair.stop_node(2)
    (pair.cluster.config.directory / "node2" / "supervisord.conf").write_text(text)
    pair.start(2)
    pair.wait_healthy(1)


def running(pair: Pair, node: int, step: str) -> dict[str, Any] | None:
    """The node's running promotion, once it is at that step."""
    document = pair.document(node, "switch")
    at = document.get("outcome") == "running" and document.get("kind") == "promote"
    return document if at and str(document.get("step", "")).startswith(step) else None


def row(pair: Pair, node: int, switch_id: str) -> dict[str, Any]:
    return next(s for s in pair.journal(node, 20) if s["switch_id"] == switch_id)


def test_killed_while_the_service_starts_the_promotion_is_resumed(slow_start: Pair) -> None:
    pair, begun_s = slow_start, time.monotonic()
    pair.order_switch(2)
    eventually(lambda: running(pair, 2, "service"), 15, pair.story)
    eventually(lambda: pair.cluster.cti_status(2).get("state") == "starting", 5, "the CTI server is starting")
    pair.cluster.kill(2, "switch")
    document = pair.document(2, "switch")
    killed = row(pair, 2, document["switch_id"])
    assert killed["ended_wall_s"] is None and killed["steps"], "killed too late: the promotion had ended"
    pair.wait_active(2, pair.failover_bound_s() + SLOW * pair.start_s + 2 * SLACK_S)
    pair.wait_healthy_whatever_held(2)
    ended = row(pair, 2, document["switch_id"])
    assert ended["ended_wall_s"] is not None and ended["outcome"] in ("done", "undone"), ended
    if ended["outcome"] == "done":
        assert ended["epoch"] == document["epoch"], "the same promotion went on"
        assert "resumed after a crash" in ended["detail"]
    else:
        assert "interrupted by a crash" in ended["detail"]
    assert len([w for w in pair.watcher.words(2, begun_s) if w == "ACTIVE"]) <= 2


def test_killed_while_it_fences_a_frozen_peer_the_promotion_is_undone_and_tried_again(pair: Pair) -> None:
    pair.cluster.freeze(1)
    document = eventually(lambda: running(pair, 2, "fence"), pair.failover_bound_s() + SLACK_S, pair.story)
    pair.cluster.kill(2, "switch")
    killed = row(pair, 2, document["switch_id"])
    if killed["ended_wall_s"] is not None:
        pytest.skip("the fence had ended before the kill on this machine")
    eventually(lambda: row(pair, 2, document["switch_id"])["ended_wall_s"], 20, "the switch is closed at the restart")
    closed = row(pair, 2, document["switch_id"])
    assert closed["outcome"] == "undone" and "interrupted by a crash" in closed["detail"]
    pair.wait_active(2, 2 * pair.failover_bound_s() + 2 * SLACK_S)
    assert pair.status(2)["last_switch"]["epoch"] > closed["epoch"], "the next try has a higher epoch"
    pair.cluster.thaw(1)
    pair.wait_healthy(2)
