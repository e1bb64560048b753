"""The pair carries its own VIP: no balancer, no keepalived, but the OCF agent IPaddr2 as a service of the pair."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import MACHINE_S
from .site import VIP, VIP_LIMIT_S, Site
from .test_site import wait_served

AGENT_START_S = 0.5  # the settings know the start of the CTI server alone
AGENT = pathlib.Path("/usr/lib/ocf/resource.d/heartbeat/IPaddr2")

pytestmark = [
    pytest.mark.site(floating=True, floating_agent=True, interval_s=1.0, timeout_s=1.0, threshold=4),
    pytest.mark.skipif(not AGENT.exists(), reason="needs Debian's package resource-agents"),
]


def command(site: Site, node: int, *words: str) -> str:
    argv = [*site.lan.prefix(f"node{node}"), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout


def holds(site: Site, node: int) -> bool:
    """Whether the VIP is on that host's network card."""
    cards = json.loads(command(site, node, "ip", "-j", "addr", "show", "dev", "eth0"))
    return any(entry["local"] == VIP for entry in cards[0]["addr_info"])


def forget(site: Site, node: int) -> None:
    """What a power cut does to addresses, and a network namespace does not know."""
    command(site, node, "ip", "addr", "del", f"{VIP}/32", "dev", "eth0")


def known_at(site: Site) -> str:
    """The server whose network card the client takes for the VIP's."""
    with site.on("client"):
        return site.server_at(VIP)


def test_active_node_dies_and_a_client_sees_the_address_move_within_the_failover_bound(site: Site) -> None:
    assert holds(site, 1) and not holds(site, 2) and known_at(site) == "server1"
    bound_s = site.pair.failover_bound_s() + AGENT_START_S + MACHINE_S
    at_s = site.power_off(1)
    forget(site, 1)
    site.pair.wait_active(2, bound_s + SLACK_S)  # so late only to tell a slow failover from none
    wait_served(site, 2, VIP_LIMIT_S)
    outage = site.timeline.outage_s(at_s)
    site.note(f"the client was without an answer at the VIP: {outage}")
    assert outage.longest_s <= bound_s, f"{outage}, bound {bound_s} s"
    assert holds(site, 2) and known_at(site) == "server2", "the client has learned the new network card"
    site.start_node(1)
    site.pair.wait_healthy(2)
    assert not holds(site, 1) and site.served() == "server2 ACTIVE", "server1 comes back without the address"


def test_switchover_takes_the_address_along_and_leaves_none_behind(site: Site) -> None:
    at_s = site.note("switchover")
    site.pair.order_switch(2)
    site.pair.wait_active(2, 20)
    wait_served(site, 2, VIP_LIMIT_S)
    assert holds(site, 2) and not holds(site, 1) and known_at(site) == "server2"
    site.note(f"the client was without an answer at the VIP: {site.timeline.outage_s(at_s)}")


def test_isolated_active_node_has_given_up_the_address_before_the_other_takes_it(site: Site) -> None:
    site.cut(1)
    eventually(lambda: not holds(site, 1), site.pair.timing.hold_s + SLACK_S, "server1 gives up the address")
    assert not holds(site, 2), "two hosts had the address at a time"
    site.pair.wait_active(2, site.pair.failover_bound_s() + SLACK_S)
    wait_served(site, 2, VIP_LIMIT_S)
    site.heal()
    site.pair.wait_healthy(2)
    assert holds(site, 2) and not holds(site, 1)


def test_address_that_somebody_deletes_is_put_back_without_a_switch(site: Site) -> None:
    epoch = site.pair.status(1)["epoch"]
    forget(site, 1)
    eventually(lambda: holds(site, 1), 15, site.pair.story)
    wait_served(site, 1, VIP_LIMIT_S)
    assert site.pair.status(1)["epoch"] == epoch, "the watchdog restarts a service in its role (W1)"
