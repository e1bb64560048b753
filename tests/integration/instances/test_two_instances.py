"""Two instances on both servers share each server's Redis and instance folder: what happens to one is nothing to the other."""

from __future__ import annotations

import pathlib
import re
import time
from dataclasses import replace
from itertools import groupby
from typing import Iterator

import pytest

from demo.cluster import Cluster, ClusterConfig, free_config

from ..cluster.harness import SLACK_S, Pair, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
START_S = 90.0  # of two clusters at once, on a machine that others use too

X = "x-2"
BINDINGS = "_kombu.binding_deadlines"  # one for all users of a Redis; what is in it has the names of exchanges


@pytest.fixture
def both(tmp_path: pathlib.Path) -> Iterator[tuple[Pair, Pair]]:
    """The instance without a prefix and the instance ``X``, each with server1 active and both servers healthy."""
    first = free_config(
        ClusterConfig(
            directory=tmp_path,
            threshold=3,
            cti_scale=0.5,
            mode="dynamic",
            balancer=False,
            settings={"flap_budget": 100},
            further=(X,),
        )
    )
    second = replace(
        first, instance=X, further=(), portal_port=8081, cti_port=9011, call_manager_port=7011, lan_port=7012
    )
    with Cluster(first) as one, Cluster(second, beside=one) as two:
        pairs = Pair(one), Pair(two)
        try:
            for pair in pairs:
                pair.wait_healthy(1, START_S)
            yield pairs
        finally:
            for pair in pairs:
                pair.watcher.stop()


def test_one_of_two_instances_is_stopped_and_switched_and_the_other_stays_where_it_was(both: tuple[Pair, Pair]) -> None:
    one, two = both
    started_s, epoch = time.monotonic(), one.status(1)["epoch"]
    assert two.status(1)["instance"] == X and f"instance {X}\n" in two.ft(2, "status").stdout
    two.stop_node(1)
    two.wait_active(2, two.failover_bound_s() + SLACK_S)
    eventually(lambda: two.status(2)["last_switch"].get("rule") == "F1", 10, two.story)
    two.start(1)
    two.wait_healthy(2, START_S)
    assert one.healthy(1) and one.status(1)["epoch"] == epoch, one.problems(1)

    taken = two.status(2)["epoch"]
    one.order_switch(2)
    one.wait_active(2, 40)
    one.wait_healthy_whatever_held(2)
    assert two.healthy(2) and two.status(2)["epoch"] == taken, two.problems(2)
    said = [word for word, _ in groupby(filter(None, (s.word for s in one.watcher.since(started_s) if s.node == 1)))]
    assert said == ["ACTIVE", "STANDBY"], "switched once, by the administrator; a late answer is no other role"
    assert [switch["rule"] for switch in one.journal(2) if switch["kind"] == "promote"] == ["M1"], one.journal(2)
    for pair in both:
        assert not pair.watcher.doubles(started_s) and not pair.overlaps(), pair.story()

    client, folders = one.redis_of(1), [pair.portals[1].config.instance_dir for pair in both]
    names = [str(key) for key in client.keys() if key != BINDINGS] + [
        str(name) for name in client.zrange(BINDINGS, 0, -1)
    ]
    strangers = [name for name in names if not re.match(r"(_kombu\.binding(_permanent)?\.)?ft[:.-]", name)]
    assert not strangers, "what does not say of which instance it is"
    workers = {str(each["name"]).split("@")[0] for each in client.client_list() if each["name"]}
    assert {"ft-tick", "ft-switch", f"ft-{X}-tick", f"ft-{X}-switch"} <= workers
    assert folders[1] == folders[0] / X
    for name in ("agent.lock", "switch.lock", "guard.lease", "ft.sqlite3", "logs"):
        assert all((folder / name).exists() for folder in folders), name
