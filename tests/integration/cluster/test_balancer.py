"""Through the real HAProxy, which holds the VIP and follows ``/ft/active``: what a client sees."""

from __future__ import annotations

import shutil
import time

import pytest

from .harness import SLACK_S, Pair, eventually

pytestmark = [
    pytest.mark.haproxy,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not on the PATH"),
]


def through_vip(pair: Pair) -> str:
    """The word that a client of the VIP gets; empty without an answer, or with the balancer's own error page."""
    status, body = pair.cluster.get(pair.cluster.config.vip, "/ft/monitor?mod=FT", 1.0)
    return body.strip() if status == 200 else ""


def test_client_of_the_vip_sees_the_working_server_again_after_the_active_one_died(pair: Pair) -> None:
    eventually(lambda: through_vip(pair) == "ACTIVE", 15, "the VIP leads to server1")
    pair.stop_node(1)
    eventually(lambda: through_vip(pair) != "ACTIVE", 5, "the VIP lost server1")
    check_s = 2 * pair.settings().interval_s  # the balancer's own checks: rise 1, fall 2
    eventually(lambda: through_vip(pair) == "ACTIVE", pair.failover_bound_s() + check_s + SLACK_S, pair.story)
    assert pair.cluster.active() == ["server2"]
    pair.start(1)
    pair.wait_healthy(2)
    assert through_vip(pair) == "ACTIVE" and pair.cluster.active() == ["server2"]


def test_with_vip_test_both_servers_show_where_the_vip_leads_before_and_after_a_switchover(pair: Pair) -> None:
    revision = pair.save(1, {"vip_test": True})
    pair.wait_live(revision)
    shown = {1: "self", 2: "peer"}
    for node, word in shown.items():
        eventually(lambda: pair.ft_status(node)["vip"] == word, 20, lambda: f"server{node}: {pair.status(node)['vip']}")
    assert "this server" in pair.browser(1).get("/ft/admin/status").text
    begun_s = time.monotonic()
    pair.order_switch(2)
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    eventually(lambda: through_vip(pair) == "ACTIVE", 2 * pair.settings().interval_s + SLACK_S, "the VIP follows")
    for node, word in {1: "peer", 2: "self"}.items():
        eventually(lambda: pair.status(node)["vip"] == word, 20, lambda: f"server{node}: {pair.status(node)['vip']}")
    assert pair.watcher.words(2, begun_s) == ["STANDBY", "ACTIVE"]


def test_frozen_balancer_with_vip_test_moves_nothing(pair: Pair) -> None:
    """VIP unreachable never counts: neither for a switch nor against the one that is active."""
    pair.wait_live(pair.save(1, {"vip_test": True}))
    frozen_s, epoch = time.monotonic(), pair.status(1)["epoch"]
    pair.cluster.freeze("outside", "haproxy")
    eventually(lambda: pair.status(1)["vip"] in ("nobody", "unknown"), 20, "the VIP is known to be away")
    pair.ticks_pass(pair.timing.threshold + 1)
    assert pair.active_on(1) and pair.status(1)["epoch"] == epoch
    pair.cluster.thaw("outside", "haproxy")
    eventually(lambda: pair.status(1)["vip"] == "self", 20, "the VIP is back")
    assert "ACTIVE" not in pair.watcher.words(2, frozen_s)
