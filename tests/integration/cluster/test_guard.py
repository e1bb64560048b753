"""Workers and Redis of the active node are frozen: the guard alone gives the ports back in time."""

from __future__ import annotations

import time

from demo.oracle import read_history

from .harness import SLACK_S, Pair

GUARD_SLACK_S = 0.5


def test_ports_are_released_at_the_call_manager_within_lease_stop_and_poll(pair: Pair) -> None:
    frozen_s = time.monotonic()
    for program in ("tick", "switch", "redis"):
        pair.cluster.freeze(1, program)
    pair.wait_active(2, pair.failover_bound_s(agent_only=True) + SLACK_S)
    owned = [i for i in read_history(pair.cluster.history) if i.owner == "server1" and i.end_s() > frozen_s]
    assert len(owned) == pair.cluster.config.cti_ports and all(i.from_s < frozen_s for i in owned)
    bound_s = pair.timing.lease_s + pair.timing.stop_s + pair.timing.guard_poll_s + GUARD_SLACK_S
    for interval in owned:
        assert interval.ended_by == "release", "the call manager had to miss it: nobody demoted the service"
        assert interval.end_s() - frozen_s <= bound_s, f"port {interval.port}: {interval.end_s() - frozen_s:.2f} s"
    assert "demoting cti by itself" in pair.report(1)
    for program in ("redis", "tick", "switch"):
        pair.cluster.thaw(1, program)
    pair.wait_healthy(2)


def test_guard_killed_in_the_fault_is_restarted_and_still_knows_the_lease(pair: Pair) -> None:
    """The remembered lease is in a file: a guard that starts while Redis is frozen acts all the same."""
    frozen_s = time.monotonic()
    for program in ("tick", "switch", "redis"):
        pair.cluster.freeze(1, program)
    pair.cluster.kill(1, "guard")
    pair.wait_active(2, pair.failover_bound_s(agent_only=True) + SLACK_S)
    owned = [i for i in read_history(pair.cluster.history) if i.owner == "server1" and i.end_s() > frozen_s]
    assert {i.ended_by for i in owned} == {"release"}
    for program in ("redis", "tick", "switch"):
        pair.cluster.thaw(1, program)
    pair.wait_healthy(2)
