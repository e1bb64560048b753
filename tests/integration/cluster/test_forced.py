"""A forced takeover on two real nodes (M2), and a pause that a server learns of when it is back."""

from __future__ import annotations

import json

from .harness import SLACK_S, Pair, eventually


def test_a_paused_pair_with_a_dead_active_server_is_taken_over_by_force_and_the_pause_is_told_later(pair: Pair) -> None:
    pair.stop_node(1)
    assert pair.ft(2, "pause", "--reason", "rack").returncode == 0
    ordered = pair.ft(2, "force", "--reason", "server1 is dead", "--yes-i-know", "server2", "--json")
    assert ordered.returncode == 0, ordered.stderr
    pair.wait_active(2, 2 * pair.failover_bound_s() + SLACK_S)
    followed = pair.ft(2, "follow", json.loads(ordered.stdout)["switch_id"], "--limit", "20")
    assert followed.returncode == 0 and "own: ok" in followed.stdout, followed.stdout
    last = pair.status(2)["last_switch"]
    assert (last["rule"], last["reason"], last["outcome"]) == ("M2", "server1 is dead", "done")
    pair.start(1)
    eventually(lambda: pair.status(1)["pause"].get("reason") == "rack", 40, pair.story)
    assert pair.active_on(2)
    assert pair.ft(1, "resume").returncode == 0  # ends it on both, also for the tests that follow on this cluster
    eventually(lambda: not pair.status(1)["pause"] and not pair.status(2)["pause"], 20, pair.story)
