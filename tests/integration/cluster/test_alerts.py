"""What a webhook hears of a real pair: a server that dies, comes back, and gets its role back by hand."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator

import pytest

from demo.cluster import Cluster
from tests.integration.adapters.alert_receivers import Silent, Webhook

from .harness import SLACK_S, Pair, eventually, quick_config

pytestmark = pytest.mark.full
TOLD_S = 90.0  # 30 s until a loss counts as over; a process for each delivery, on a machine that is shared


@pytest.fixture
def hook() -> Iterator[Webhook]:
    receiver = Webhook()
    yield receiver
    receiver.close()


@pytest.fixture
def pair(hook: Webhook, tmp_path: pathlib.Path) -> Iterator[Pair]:
    """With two targets on both nodes: one that takes, one that hangs."""
    silent = Silent()
    config = quick_config(tmp_path / "alerts", node_keys={"FT_ALERT_URLS": [hook.url, silent.url]})
    with Cluster(config) as cluster:
        made = Pair(cluster)
        try:
            made.wait_healthy(1)
            yield made
        finally:
            made.watcher.stop()
            silent.close()


def test_a_dead_server_its_return_and_a_switchover_are_told_once_each_and_no_target_delays_them(
    pair: Pair, hook: Webhook
) -> None:
    def told() -> list[str]:
        return [title.removeprefix("[Hot Standby ") for title in hook.titles]

    def lasts() -> list[str]:
        answers = [pair.ft(node, "alerts", "show", "--json").stdout for node in (1, 2)]
        return [row["title"] for answer in answers for row in json.loads(answer)["open"]]

    eventually(lambda: not lasts(), TOLD_S, "who was started first misses the other one for a while")
    hook.got.clear()
    pair.stop_node(1)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    eventually(lambda: len(told()) >= 2, TOLD_S, lambda: f"{told()}\n{pair.story()}")
    pair.start(1)
    pair.wait_healthy(2)
    eventually(lambda: len(told()) >= 3, TOLD_S, lambda: f"{told()}\n{pair.story()}")
    pair.order_switch(1)
    pair.wait_active(1, 60)
    eventually(lambda: len(told()) >= 4, TOLD_S, lambda: f"{told()}\n{pair.story()}")
    pair.ticks_pass(10)
    assert len(told()) == 4, [body["message"] for body in hook.got]
    assert sorted(told()[:2]) == ["server2] Failover: server2 is active", "server2] server1 does not answer"]
    assert told()[2:] == ["server2] Over: server1 does not answer", "server1] Switchover: server1 is active"]
    lost = next(body["message"] for body in hook.got if "does not answer" in body["title"])
    over = hook.got[2]["message"]
    assert re.findall("Incident: (.*)", lost) == re.findall("Incident: (.*)", over)
    browser = pair.browser(2)  # the end of a loss takes the place of its begin, and is then being sent for 30 s
    said = "no answer within 30 s"
    shown = eventually(
        lambda: said in (t := browser.get("/ft/admin/alerts").text) and t, TOLD_S, "the next try is told"
    )
    assert "Not delivered yet" in shown, "the target that hangs is tried again"
    assert "hook-secret" not in shown
