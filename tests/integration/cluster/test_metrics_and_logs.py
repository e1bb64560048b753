"""What Prometheus and a collector of logs see of a switchover: both servers, every process, one story."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tests.integration.web.metrics_site import Scrape

from .harness import SLACK_S, Pair, eventually


def scraped(pair: Pair, node: int) -> Scrape:
    cluster = pair.cluster
    status, text = cluster.get(cluster.address(node), f"{cluster.config.url_prefix}/metrics", 10.0)
    assert status == 200, text
    return Scrape(text)


def lines(pair: Pair) -> list[dict[str, Any]]:
    """Of the one file that all processes of both servers write."""
    path = pathlib.Path(pair.cluster.config.node_keys["FT_LOG_JSON"])
    return [json.loads(line) for line in path.read_text().splitlines()]


def switchovers(pair: Pair, node: int) -> float:
    return scraped(pair, node)("ft_switches_total", kind="promote", rule="M1", outcome="done") or 0.0


def test_a_switchover_as_prometheus_and_the_log_collector_see_it(pair: Pair) -> None:
    before, told = switchovers(pair, 2), len(lines(pair))
    assert [scraped(pair, node)("ft_active") for node in (1, 2)] == [1, 0]
    said = pair.ft(1, "switch", "server2", "--expect", "server1", "--reason", "to be seen")
    assert said.returncode == 0, said.stderr
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    eventually(lambda: switchovers(pair, 2) == before + 1, SLACK_S, pair.story)
    eventually(lambda: scraped(pair, 1).now("ft_peer_role", "role") == ["active"], SLACK_S, pair.story)
    eventually(
        lambda: scraped(pair, 2).now("ft_service_state", "state", service="cti") == ["active"], SLACK_S, pair.story
    )
    one, two = (scraped(pair, node) for node in (1, 2))
    assert (one("ft_active"), two("ft_active")) == (0, 1) and one("ft_peer_epoch") == two("ft_epoch")
    for found in (one, two):
        assert (found("ft_heartbeats_total") or 0) > 0 and (found("ft_probe_latency_seconds_count") or 0) > 0
        assert found("ft_two_active_seconds_total") == 0
    new = lines(pair)[told:]
    (ended,) = [line for line in new if line.get("rule") == "M1" and line.get("outcome") == "done"]
    assert (ended["server"], ended["process"], ended["epoch"]) == ("server2", "switch", two("ft_epoch"))
    of_switch = [line["event"] for line in new if line.get("switch_id") == ended["switch_id"]]
    assert any("SWITCH THIS SERVER TO PRIMARY" in text for text in of_switch), of_switch
    fenced = [line for line in new if line.get("rule") == "fence" and line["server"] == "server1"]
    assert [line["epoch"] for line in fenced] == [ended["epoch"]], "the epoch joins what both servers did"
