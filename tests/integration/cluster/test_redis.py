"""The node-local Redis of the active node is killed, frozen and wiped: the workers go on by themselves."""

from __future__ import annotations

import time

import redis

from .harness import SLACK_S, Pair, boottime_s, eventually, nothing_for

FREEZE_S = 3.0  # about the time of a failover


def answers(pair: Pair, node: int) -> bool:
    try:
        return bool(pair.redis_of(node).ping())
    except (redis.RedisError, OSError):
        return False


def resumes(pair: Pair, back_s: float) -> None:
    """Heartbeats of server1 go on within 3 T + 2 s of Redis being back (``back_s`` on CLOCK_BOOTTIME)."""
    bound_s = 3 * pair.settings().interval_s + 2.0
    tick_s = eventually(
        lambda: (t := pair.tick_s(1)) > back_s and t, bound_s + SLACK_S, lambda: f"no tick since; {pair.story()}"
    )
    assert tick_s - back_s <= bound_s + SLACK_S


def switches(pair: Pair) -> list[str]:
    return [s["switch_id"] for n in (1, 2) for s in pair.journal(n, 50)]


def test_killed_and_restarted_heartbeats_go_on_under_the_same_epoch(pair: Pair) -> None:
    before, epoch = switches(pair), pair.status(1)["epoch"]
    pair.kill_and_wait(1, "redis")
    eventually(lambda: answers(pair, 1), 15, "Redis is back")
    resumes(pair, boottime_s())
    pair.wait_healthy(1)
    assert switches(pair) == before and pair.status(1)["epoch"] == epoch
    assert "lost the role record; written again under the same epoch" in pair.report(1)


def test_frozen_for_3_s_heartbeats_go_on_and_one_node_is_active(pair: Pair) -> None:
    """So long takes a failover: who is active then depends on the phase of the ticks; that one is, does not."""
    frozen_s = time.monotonic()
    pair.cluster.freeze(1, "redis")
    time.sleep(FREEZE_S)
    pair.cluster.thaw(1, "redis")
    resumes(pair, boottime_s())
    eventually(lambda: pair.healthy(1) or pair.healthy(2), 30, lambda: f"{pair.problems(1)} {pair.problems(2)}")
    assert len(pair.cluster.active()) == 1
    moves = [w for w in pair.watcher.words(2, frozen_s) if w == "ACTIVE"]
    assert len(moves) <= 1, "the role moved to and fro"


def test_wiped_on_the_active_node_nothing_switches(pair: Pair) -> None:
    before, epoch, wiped_s = switches(pair), pair.status(1)["epoch"], time.monotonic()
    wiped_boot_s = boottime_s()
    pair.redis_of(1).flushall()
    resumes(pair, wiped_boot_s)
    pair.watch()
    pair.wait_healthy(1)
    assert switches(pair) == before and pair.status(1)["epoch"] == epoch
    assert "ACTIVE" not in pair.watcher.words(2, wiped_s)


def test_wiped_on_the_standby_node_nothing_switches(pair: Pair) -> None:
    before, wiped_s = switches(pair), time.monotonic()
    pair.redis_of(2).flushall()
    pair.watch()
    pair.wait_healthy(1)
    promoted = [s for s in pair.journal(2, 50) if s["switch_id"] not in before and s["kind"] == "promote"]
    assert not promoted and pair.watcher.words(1, wiped_s) == ["ACTIVE"]


def test_wiped_while_paused_it_stays_paused_and_nobody_is_promoted(pair: Pair) -> None:
    """The active server dies: without the pause the standby one would take over."""
    assert pair.portals[2].pause("ann", "new switch in the rack", None)
    try:
        pair.redis_of(2).flushall()
        eventually(lambda: pair.document(2, "pause").get("owner") == "ann", 10, "the copy is written again")
        for process in ("tick", "switch", "portal"):
            pair.cluster.freeze(1, process)
        held = "paused by ann: new switch in the rack"
        eventually(lambda: held in pair.document(2, "decision").get("sentence", ""), 20, pair.story)
        nothing_for(pair.failover_bound_s())
        assert not pair.cluster.active() and pair.status(2)["pause"]["owner"] == "ann"
        assert pair.portals[2].end("pause")
        pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    finally:
        pair.portals[2].end("pause")
        for process in ("tick", "switch", "portal"):
            pair.cluster.thaw(1, process)


def test_wiped_just_after_a_switchover_the_start_counts_as_ended(pair: Pair) -> None:
    """The agent may not have looked since the service was starting; a start that never ends would cost the role."""
    pair.order_switch(2)
    eventually(lambda: pair.status(2)["last_switch"].get("outcome") == "done" and pair.active_on(2), 20, pair.story)
    pair.redis_of(2).flushall()
    eventually(lambda: (record := pair.role(2)) and record.role == "active", 10, pair.story)
    eventually(lambda: (record := pair.role(2)) and record.phase == "ready", 3, pair.story)
    eventually(lambda: pair.document(2, "agent") and pair.active_on(2), 10, pair.story)
    assert pair.cluster.active() == ["server2"]
