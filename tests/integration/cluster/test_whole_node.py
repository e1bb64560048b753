"""A whole node dies, freezes, comes back; both start together."""

from __future__ import annotations

import time

from .harness import SLACK_S, Pair, eventually


def test_active_node_killed_the_other_takes_over_and_keeps_the_role_until_an_administrator_moves_it(pair: Pair) -> None:
    pair.stop_node(1)
    took_s = pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    assert took_s >= pair.timing.hold_s, "sooner than a silent active node has certainly stopped"
    eventually(lambda: pair.status(2)["last_switch"]["outcome"] == "done", 10, pair.story)
    status = pair.status(2)
    assert status["last_switch"]["rule"] == "F1"
    assert {s["designation"]: s["word"] for s in status["servers"]} == {"server1": "error", "server2": "active"}
    assert "SWITCH THIS SERVER TO PRIMARY, F1" in pair.report(2)
    pair.start(1)
    pair.wait_healthy(2)
    started_s = time.monotonic()
    pair.ticks_pass(pair.timing.threshold + 1)
    assert pair.watcher.words(1, started_s) == ["STANDBY"], "failback is off"
    assert pair.ft(1, "switch", "server1", "--expect", "server2", "--reason", "failback by hand").returncode == 0
    pair.wait_active(1, pair.failover_bound_s() + SLACK_S)
    eventually(lambda: pair.status(1)["last_switch"]["rule"] == "M1", 10, pair.story)


def test_active_node_frozen_as_a_whole_gives_up_when_it_goes_on(pair: Pair) -> None:
    frozen_s = time.monotonic()
    pair.cluster.freeze(1)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    thawed_s = time.monotonic()
    pair.cluster.thaw(1)
    pair.wait_healthy(2)
    assert "ACTIVE" not in pair.watcher.words(1, thawed_s), "it said ACTIVE with a lease that had run out"
    assert pair.watcher.words(2, frozen_s) == ["STANDBY", "ACTIVE"]


def test_standby_node_killed_and_started_the_active_one_goes_on(pair: Pair) -> None:
    killed_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    pair.stop_node(2)
    pair.watch()
    assert pair.active_on(1), pair.story()
    pair.start(2)
    pair.wait_healthy(1)
    assert pair.watcher.words(1, killed_s) == ["ACTIVE"] and pair.status(1)["epoch"] == epoch


def test_standby_node_frozen_takes_nothing_when_it_goes_on(pair: Pair) -> None:
    frozen_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    pair.cluster.freeze(2)
    pair.watch()
    pair.cluster.thaw(2)
    pair.wait_healthy(1)
    assert "ACTIVE" not in pair.watcher.words(2, frozen_s)
    assert pair.watcher.words(1, frozen_s) == ["ACTIVE"] and pair.status(1)["epoch"] == epoch


def test_both_restarted_together_server1_is_active_whoever_was_before(pair: Pair) -> None:
    pair.order_switch(2)
    pair.wait_active(2, 20)
    for node in (1, 2):
        pair.stop_node(node)
    started_s = time.monotonic()
    for node in (1, 2):
        pair.start(node)
    pair.wait_active(1, pair.failover_bound_s(agent_only=True) + 2 * SLACK_S)
    pair.wait_healthy(1)
    assert "ACTIVE" not in pair.watcher.words(2, started_s)
    assert pair.status(1)["last_switch"]["rule"] in ("C2", "C3")


def test_started_alone_after_an_outage_of_both_server2_takes_over_and_server1_joins_it(pair: Pair) -> None:
    for node in (1, 2):
        pair.stop_node(node)
    pair.start(2)
    seen_s = 2 * pair.settings().threshold * pair.settings().interval_s
    pair.wait_active(2, pair.failover_bound_s() + seen_s + 2 * SLACK_S)
    pair.start(1)
    eventually(lambda: pair.healthy(2), 30, lambda: f"{pair.problems(2)}")
    assert pair.cluster.active() == ["server2"]
