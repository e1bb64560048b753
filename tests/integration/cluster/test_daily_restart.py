"""The daily restart of a whole cluster. It takes minutes, so it is not in every run."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import pytest

from demo.cluster import Cluster, ClusterConfig, free_config

from .harness import Pair, eventually

SETTINGS = {"interval_s": 2.0, "timeout_s": 2.0, "threshold": 8, "portal_restart_s": 5.0, "flap_budget": 100}
ROUND_S = 3 * 60 + 40  # the last turn opens 3 min after the set time
pytestmark = [pytest.mark.full, pytest.mark.timeout(540)]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair whose portals are under the agents' control."""
    config = ClusterConfig(
        directory=tmp_path_factory.mktemp("d"),
        interval_s=2.0,
        timeout_s=2.0,
        threshold=8,
        cti_scale=0.5,
        mode="dynamic",
        settings=SETTINGS,
        portal_control=True,
    )
    with Cluster(free_config(config)) as cluster:
        pair = Pair(cluster)
        try:
            pair.wait_healthy(1, 90)
            yield pair
        finally:
            pair.watcher.stop()


def soon() -> tuple[str, float]:
    """(a set time one to two minutes ahead as HH:MM, when that is)."""
    moment = datetime.datetime.now() + datetime.timedelta(seconds=75)
    moment = moment.replace(second=0, microsecond=0)
    return moment.strftime("%H:%M"), moment.timestamp()


def test_both_servers_are_restarted_in_order_and_nothing_switches(watched: Pair) -> None:
    pair = watched
    before = {node: pair.pid(node, "portal") for node in (1, 2)}
    epoch, begun_s = pair.status(1)["epoch"], time.monotonic()
    text, set_s = soon()
    pair.wait_live(pair.save(1, {"daily_restart": text}), 30)
    assert pair.status(2)["daily"]["next"]["standby_portal"] == text

    changed: dict[int, float] = {}

    def look() -> bool:
        for node in (1, 2):
            if node not in changed and pair.pid(node, "portal") not in (0, before[node]):
                changed[node] = time.time()
        return all("services restarted" in pair.report(node) for node in (1, 2))

    eventually(look, set_s - time.time() + ROUND_S, lambda: f"{changed}; {pair.story()}")
    assert set_s <= changed[2] < set_s + 60 and set_s + 120 <= changed[1], (changed, set_s)
    for node in (1, 2):
        said = [line.split(" : ", 1)[1] for line in pair.report(node).splitlines() if " daily restart : " in line]
        assert [line.split(",")[0] for line in said if "restarted" in line] == [
            "portal restarted",
            "services restarted",
        ]
        assert not any("failed" in line or "skipped" in line for line in said), said
        assert pair.status(node)["daily"]["last"]["ok"]
    pair.wait_healthy(1, 60)
    assert pair.status(1)["epoch"] == epoch, "no promotion, no re-assertion"
    assert "ACTIVE" not in pair.watcher.words(2, begun_s)
    assert pair.watcher.doubles(begun_s) == [] and pair.overlaps() == []
    assert "is dead: restarting" not in pair.report(1) + pair.report(2), "the watchdog does not count it"
    pair.save(1, {"daily_restart": ""})
