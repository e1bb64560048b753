"""One process of a node is killed (kill -9; its supervisor restarts it) or frozen (SIGSTOP): what a user sees.

``tests/lab/test_processes.py`` shows the same on hosts of their own in every run; what is marked ``full`` here does it on
loopback, without root.
"""

from __future__ import annotations

import time

import pytest

from .harness import SLACK_S, Pair, eventually, nothing_for

PROGRAMS = ("portal", "tick", "switch", "cti", "redis", "guard")
# what has to answer again, at the latest after the lease, for a restart to stay without a failover
NEEDED = ("portal", "tick", "redis")


def test_the_pair_starts_with_server1_active_and_alone(pair: Pair) -> None:
    assert pair.cluster.active() == ["server1"] and pair.owners() == {"server1"}
    words = [(s["label"], s["status"]) for s in pair.ft_status(2)["servers"]]
    assert words == [("Server #1", "Active (Primary)"), ("Server #2", "Standby (Backup)")]


@pytest.mark.full
@pytest.mark.parametrize("program", PROGRAMS)
def test_killed_on_the_active_node_and_restarted_there_is_no_failover(pair: Pair, program: str) -> None:
    killed_s = time.monotonic()
    epoch = pair.status(1)["epoch"]
    pair.kill_and_wait(1, program)
    pair.watch()
    lost = pair.watcher.longest_silence_s(1, killed_s, "ACTIVE") >= pair.timing.lease_s
    if lost and program in NEEDED:  # the machine was too slow to restart it within the lease: then it must move cleanly
        eventually(
            lambda: len(pair.cluster.active()) == 1, pair.failover_bound_s(agent_only=True) + SLACK_S, pair.story
        )
        pytest.skip(f"{program} was not back within the lease of {pair.timing.lease_s} s on this machine")
    pair.wait_healthy(1)
    assert "ACTIVE" not in pair.watcher.words(2, killed_s)
    assert pair.status(1)["epoch"] == epoch, "the role was taken anew"


@pytest.mark.full
@pytest.mark.parametrize("program", ("switch", "guard"))
def test_frozen_without_a_switch_to_do_it_changes_nothing(pair: Pair, program: str) -> None:
    frozen_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    pair.cluster.freeze(1, program)
    pair.watch()
    assert pair.active_on(1), pair.story()
    pair.cluster.thaw(1, program)
    pair.wait_healthy(1)
    assert pair.watcher.words(2, frozen_s) == ["STANDBY"] and pair.status(1)["epoch"] == epoch


def test_frozen_service_is_reported_and_owns_again_when_it_goes_on(pair: Pair) -> None:
    """No peer would help against a service that hangs for a moment; the role stays, the health page names it."""
    frozen_s = time.monotonic()
    pair.cluster.freeze(1, "cti")
    eventually(lambda: "service cti" in pair.cluster.monitor(1, "IPSWS"), 15, "IPSWS names the service")
    assert pair.cluster.active() == ["server1"]
    pair.cluster.thaw(1, "cti")
    pair.wait_healthy(1)
    assert pair.watcher.words(2, frozen_s) == ["STANDBY"]


@pytest.mark.full
@pytest.mark.parametrize("program", ("portal", "tick", "redis"))
def test_frozen_on_the_active_node_the_other_takes_over_and_keeps_it_after_the_thaw(pair: Pair, program: str) -> None:
    frozen_s = time.monotonic()
    pair.cluster.freeze(1, program)
    pair.wait_active(2, pair.failover_bound_s(agent_only=True) + SLACK_S)
    assert pair.watcher.words(2, frozen_s) == ["STANDBY", "ACTIVE"]
    pair.cluster.thaw(1, program)
    pair.wait_healthy(2)
    pair.ticks_pass(2)
    assert pair.healthy(2), pair.problems(2)
    assert pair.watcher.words(2, frozen_s) == ["STANDBY", "ACTIVE"], "the role moved more than once"


@pytest.mark.full
def test_killed_one_after_the_other_on_the_standby_node_nobody_notices(pair: Pair) -> None:
    begun_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    for program in PROGRAMS:
        pair.kill_and_wait(2, program)
        assert "ACTIVE" not in pair.watcher.words(2, begun_s), f"after {program} was killed"
        pair.wait_healthy(1)
    pair.watch()
    assert pair.watcher.words(1, begun_s) == ["ACTIVE"] and "ACTIVE" not in pair.watcher.words(2, begun_s)
    assert pair.status(1)["epoch"] == epoch


@pytest.mark.full
def test_frozen_one_after_the_other_on_the_standby_node_nobody_notices(pair: Pair) -> None:
    begun_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    for program in PROGRAMS:
        pair.cluster.freeze(2, program)
        nothing_for(pair.timing.hold_s)
        assert pair.active_on(1), f"{program} frozen: {pair.story()}"
        pair.cluster.thaw(2, program)
        pair.wait_healthy(1)
    assert pair.watcher.words(1, begun_s) == ["ACTIVE"] and "ACTIVE" not in pair.watcher.words(2, begun_s)
    assert pair.status(1)["epoch"] == epoch


def test_service_killed_again_and_again_is_given_up_and_the_role_goes_over_once(pair: Pair) -> None:
    """§6.3.4.1: found within one watchdog interval and back in its role; past its restarts the other server has it (H1)."""
    killed_s = time.monotonic()
    pair.kill_and_wait(1, "cti")
    eventually(lambda: pair.active_on(1), pair.start_s + SLACK_S, pair.story)
    assert "ACTIVE" not in pair.watcher.words(2, killed_s), "the peer noticed"

    def killed() -> bool:
        if pair.cluster.active() == ["server1"] and pair.cluster.cti_status(1):
            pair.cluster.kill(1, "cti")
        return pair.active_on(2)

    eventually(killed, 30 + pair.start_s + SLACK_S, pair.story)
    pair.wait_healthy(2)
    assert [(s["rule"], s["outcome"]) for s in pair.journal(2, 1)] == [("H1", "done")], pair.story()
    assert "given up" in pair.report(1) and pair.overlaps() == []
    pair.ticks_pass(3)
    assert pair.healthy(2), pair.problems(2)
    assert pair.watcher.words(2, killed_s) == ["STANDBY", "ACTIVE"], "the role moved more than once"
