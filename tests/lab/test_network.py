"""The LAN fails: cut for one node, for both, between the two, one way, from the balancer, the reference host, the witness."""

from __future__ import annotations

import time
from typing import Callable

import pytest

from ftplugin.core.timing import both_active_bound_s
from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import MACHINE_S, control, moves, nothing_switches, settles, takes_over, watch
from .site import HOSTS, Site
from .timeline import ACTIVE

SPLIT_S = 2.0  # the length of a split, once both are active
BYTES_PER_S = 60_000  # heartbeats, votes, checks and samples of a node take about a third of it
BALANCER_S = 1.5  # HAProxy's own checks, at inter 0.5 s, until it sees what has changed


# --- faults that must not switch anything


def crooked(site: Site) -> float:
    """Frames come twice, late, and through a narrow pipe."""
    site.duplicate(1, 30)
    site.reorder(1, 30, 0.05)
    return site.limit_rate(1, BYTES_PER_S)


HARMLESS: dict[str, Callable[[Site], float]] = {
    "standby cut": lambda site: site.cut(2),
    "balancer cut from the active node": lambda site: site.cut_between("balancer", 1),
    "frames twice, late, and few": crooked,
}


def harmless(site: Site, name: str) -> None:
    """One of them, as long as a failover would take, and its end."""
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    HARMLESS[name](site)
    watch(site)
    site.heal()
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)


def test_faults_of_the_lan_beside_the_active_node_switch_nothing(site: Site) -> None:
    for name in HARMLESS:
        harmless(site, name)
        assert site.cluster.active() == ["server1"], name
    control(site)


# --- who is cut from the LAN


def test_both_nodes_cut_nobody_is_active_and_after_healing_one_is(site: Site) -> None:
    both_cut(site)
    assert len(site.cluster.active()) == 1


def both_cut(site: Site) -> None:
    at_s = site.cut(1)
    site.cut(2)
    eventually(lambda: site.cluster.active() == [], site.pair.timing.hold_s + SLACK_S, site.pair.story)
    watch(site)
    assert moves(site, at_s) == ["server1"], "the isolated standby node has promoted itself"
    stopped_s = site.timeline.last(1, ACTIVE)
    assert stopped_s is not None and stopped_s - at_s <= site.pair.timing.hold_s, "an isolated server stops by (N-1)*T"
    healed_s = site.heal()
    bound_s = (
        site.pair.failover_bound_s() + site.pair.timing.threshold * site.pair.timing.interval_s
    )  # 2 N: server2's wait
    eventually(lambda: any(site.pair.active_on(n) for n in site.nodes), bound_s + SLACK_S, site.pair.story)
    assert site.timeline.none_active_s(healed_s).longest_s <= bound_s + MACHINE_S
    settles(site)


@pytest.mark.parametrize("way", ["cannot send", "cannot hear"])
def test_active_node_cut_one_way_stops_before_the_other_starts(site: Site, way: str) -> None:
    one_way(site, way)
    assert site.cluster.active() == ["server2"]


def one_way(site: Site, way: str) -> None:
    """Node1 and all other hosts, one direction only."""
    at_s = time.monotonic()
    for host in (name for name in HOSTS if name != "node1"):
        site.cut_between(*((1, host) if way == "cannot send" else (host, 1)), one_way=True)
    takes_over(site, 2, at_s)
    stopped_s, started_s = site.timeline.last(1, ACTIVE), site.timeline.first(2, ACTIVE, at_s)
    assert stopped_s is not None and started_s is not None and stopped_s < started_s
    site.heal()
    site.pair.wait_healthy(2)
    assert moves(site, at_s) == ["server1", "server2"]


# --- the link between the two

LINKS = {"both ways": (1, 2, False), "from the active": (1, 2, True), "from the standby": (2, 1, True)}


def cut_link(site: Site, link: str) -> float:
    a, b, one_way = LINKS[link]
    return site.cut_between(a, b, one_way=one_way)


def test_link_and_balancer_fail_without_witness_and_vip_test_both_are_active_until_it_heals(site: Site) -> None:
    assert split_until_healed(site, "both ways") >= SPLIT_S, "seconds in which both were active"
    assert len(site.cluster.active()) == 1


def split(site: Site, link: str) -> float:
    """Nothing is left by which the two hear of each other: no link, and no VIP that answers for the other."""
    at_s = site.freeze("balancer", "haproxy")
    eventually(lambda: site.served() != "server1 ACTIVE", SLACK_S, "the VIP is silent")
    eventually(lambda: vip_lost(site), SLACK_S, lambda: f"both see it so: {site.pair.story()}")  # else it still counts
    cut_link(site, link)
    both = ["server1", "server2"]
    eventually(lambda: site.cluster.active() == both, site.pair.failover_bound_s() + SLACK_S, site.pair.story)
    return at_s


def vip_lost(site: Site) -> bool:
    return all(site.pair.status(node)["vip"] in ("nobody", "unknown") for node in site.nodes)


def split_until_healed(site: Site, link: str) -> float:
    """Seconds in which both were active."""
    assert both_active_bound_s(site.pair.settings()) is None and site.pair.status(1)["both_active_bound_s"] is None
    with site.on(1):
        assert "until healed" in site.pair.browser(1).get("/ft/admin/status").text
    site.both_active_bound_s = float("inf")  # as printed: until healed; the time after that is measured here
    at_s = split(site, link)
    alarmed(site)
    time.sleep(SPLIT_S)
    healed_s = site.heal()
    one_yields(site, healed_s)
    eventually(lambda: not any(site.pair.status(n)["dual_owners"] for n in site.nodes), SLACK_S, "the alarm is over")
    site.thaw("balancer", "haproxy")
    return site.timeline.both_active_s(at_s).total_s


def alarmed(site: Site) -> None:
    """The call manager grants both what they ask for; each server says so on its page and in its log."""
    for node, other in ((1, "server2"), (2, "server1")):
        with site.on(node):
            browser = site.pair.browser(node)
            told = f"Alarm: two owners.</b> Service cti: port 7101, port 7102, port 7103: also owned by {other}"
            eventually(lambda: told in browser.get("/ft/admin/status").text, SLACK_S, site.pair.story)
        assert f"also owned by {other}" in site.pair.report(node)


def one_yields(site: Site, since_s: float) -> None:
    """X1: one of the two stops within a tick, an answer and its services' stop; the services are owned once then."""
    timing = site.pair.timing
    settles(site)
    both = site.timeline.both_active_s(since_s)
    bound_s = 2 * timing.interval_s + 2 * timing.timeout_s + timing.stop_s + MACHINE_S
    assert (
        both.total_s <= bound_s
    ), f"both active {both.total_s:.2f} s after the end of the split, bound {bound_s:.2f} s"
    assert not [o for o in site.timeline.owners_doubled(since_s + bound_s)], "a port has two owners still"


@pytest.mark.site(vip_test=True)
def test_link_cut_with_vip_test_the_answer_at_the_vip_is_a_heartbeat_and_ends_a_split(site: Site) -> None:
    link_cut_with_vip(site, "both ways")
    site.pair.wait_healthy(1)
    assert site.cluster.active() == ["server1"], "the answer at the VIP is a heartbeat"
    split_until_the_vip_decides(site)  # the control as well: without the VIP the other one takes over
    assert len(site.cluster.active()) == 1, "the VIP has decided"


def link_cut_with_vip(site: Site, link: str) -> None:
    """The VIP leads to the active node, and its signed answer there counts (5): nobody is ever active beside it."""
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    eventually(
        lambda: site.pair.status(2)["vip"] == "peer", 10, lambda: f"server2: VIP is {site.pair.status(2)['vip']}"
    )
    cut_link(site, link)
    watch(site)
    site.heal()
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)


def split_until_the_vip_decides(site: Site) -> float:
    """Seconds in which both were active after the VIP was back, the link still cut; within the bound that is printed."""
    printed_s = site.pair.status(1)["both_active_bound_s"]
    assert printed_s == both_active_bound_s(site.pair.settings()) and printed_s is not None
    site.both_active_bound_s = float("inf")  # with no VIP nothing can decide; counted from its return, below
    split(site, "both ways")
    back_s = site.thaw("balancer", "haproxy")
    bound_s = printed_s + BALANCER_S + MACHINE_S
    eventually(lambda: len(site.cluster.active()) == 1, bound_s + SLACK_S, site.pair.story)
    watch(site)
    both = site.timeline.both_active_s(back_s)
    assert both.total_s <= bound_s, f"both active {both} after the VIP was back, printed bound {printed_s:.2f} s"
    site.heal()
    settles(site)
    return both.total_s


@pytest.mark.site(witness=True)
def test_link_cut_each_way_with_a_witness_never_makes_two_active(site: Site) -> None:
    for link in ("from the active", "from the standby"):
        link_cut_with_witness(site, link)
        site.heal()
        site.pair.wait_healthy(1)
    link_cut_with_witness(site, "both ways")
    assert site.cluster.active() == ["server1"]
    active_dies(site)


def link_cut_with_witness(site: Site, link: str) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    assert site.pair.status(1)["both_active_bound_s"] == 0.0
    cut_link(site, link)
    watch(site)
    nothing_switches(site, began_s, epoch)


def active_dies(site: Site) -> None:
    takes_over(site, 2, site.power_off(1), names="F1")  # the control, the link still cut: two voters are left


# --- the witness


@pytest.mark.site(witness=True)
def test_witness_cut_switches_nothing_and_two_voters_carry_a_failover(site: Site) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    site.cut("witness")
    watch(site)
    nothing_switches(site, began_s, epoch)
    takes_over(site, 2, site.freeze(1, "tick"), agent_only=True)  # the Redis of node1 still votes
    site.thaw(1, "tick")


@pytest.mark.site(witness=True)
def test_witness_and_active_node_dead_nobody_is_promoted_until_one_voter_is_back(site: Site) -> None:
    site.freeze("witness", "witness")
    at_s = site.power_off(1)
    watch(site)
    watch(site)
    assert ACTIVE not in site.timeline.words(2, at_s), "promoted by one vote of three"
    back_s = site.thaw("witness", "witness")
    eventually(lambda: site.pair.active_on(2), site.pair.failover_bound_s() + SLACK_S, site.pair.story)
    said_s = site.timeline.first(2, ACTIVE, back_s)
    assert said_s is not None and said_s - back_s <= site.pair.failover_bound_s() + MACHINE_S
