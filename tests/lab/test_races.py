"""Two things at once: orders, failovers, failbacks, healing cables and saved settings."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from sqlalchemy import select

from ftplugin.core.timing import Timing
from ftplugin.store.tables import EVENT
from tests.integration.cluster.harness import SLACK_S, boottime_s, eventually

from .checks import MACHINE_S, moves, settles, takes_over
from .site import Site
from .test_crashes import still_open
from .timeline import ACTIVE

SEED = 7
KILL_S = (-0.3, 1.0)  # the active node dies between so many seconds before and after the order
SAMPLE_S = 0.02


def running(site: Site, node: int, *steps: str) -> dict[str, Any] | None:
    """The node's running promotion, once it is at one of those steps."""
    document = site.pair.document(node, "switch")
    if document.get("outcome") != "running" or document.get("kind") != "promote":
        return None
    return document if str(document.get("step", "")).startswith(steps) else None


def await_step(site: Site, node: int, *steps: str) -> None:
    """Looks without a pause, since most steps take milliseconds."""
    end_s = time.monotonic() + site.pair.failover_bound_s(agent_only=True) + SLACK_S
    while running(site, node, *steps) is None:
        assert time.monotonic() < end_s, f"no promotion of server{node} at {steps}: {site.pair.story()}"


# --- switchover against failover


def test_switchover_ordered_around_the_death_of_the_active_node(site: Site) -> None:
    switch_against_failover(site, random.Random(SEED).uniform(*KILL_S))
    assert site.cluster.active() == ["server2"]


def switch_against_failover(site: Site, killed_after_s: float) -> None:
    """The order to server2, and the death of node1 so many seconds after it, or before it."""
    at_s = site.note(f"node1 dies {killed_after_s:+.3f} s after the order")
    if killed_after_s < 0:
        site.kill_node(1)
        time.sleep(-killed_after_s)
        site.pair.order_switch(2)
    else:
        site.pair.order_switch(2)
        time.sleep(killed_after_s)
        site.kill_node(1)
    # an order that is refused because the peer died in it costs at most its own fence before the failover begins
    bound_s = site.pair.failover_bound_s() + site.pair.timing.fence_s + site.pair.timing.stop_s
    site.pair.wait_active(2, bound_s + MACHINE_S + SLACK_S)
    none = site.timeline.none_active_s(at_s)
    assert none.longest_s <= bound_s + MACHINE_S, f"nobody was active: {none}"
    assert moves(site, at_s) in (["server1", "server2"], ["server2"]), moves(site, at_s)
    site.start_node(1)
    eventually(lambda: not still_open(site), SLACK_S, lambda: f"open in a journal: {still_open(site)}")


# --- failback against a second failure


def test_failback_and_the_node_that_goes_dies_in_it(site: Site) -> None:
    failback_against_death(site, "the one that goes")
    assert site.cluster.active() == ["server1"]


def failback_against_death(site: Site, dies: str) -> None:
    """B1 is running when a node dies; the other one is active in the end."""
    site.pair.wait_live(site.pair.save(1, {"failback": True}))
    takes_over(site, 2, site.kill_node(1))
    site.start_node(1)
    await_step(site, 1, "lock", "epoch", "fence", "own", "role", "portal", "service")
    dead = 1 if dies == "the one that comes" else 2
    at_s = site.kill_node(dead)
    bound_s = site.pair.failover_bound_s() + site.pair.timing.threshold * site.pair.timing.interval_s
    site.pair.wait_active(3 - dead, bound_s + MACHINE_S + SLACK_S)
    none = site.timeline.none_active_s(at_s)
    assert none.longest_s <= bound_s + MACHINE_S, f"nobody was active: {none}, bound {bound_s:.2f} s"
    assert f"server{dead}" not in moves(site, at_s + 0.5), "a dead server said ACTIVE"
    site.start_node(dead)


# --- healing in a promotion


def test_cable_heals_while_the_other_node_is_being_promoted(site: Site) -> None:
    heal_in_promotion(site, "service")
    assert site.cluster.active() == ["server2"], "it had the role already"


def heal_in_promotion(site: Site, step: str) -> None:
    at_s = site.cut(1)
    await_step(site, 2, step)
    site.heal()
    active = settles(site)
    assert moves(site, at_s) in (["server1"], ["server1", "server2"]), moves(site, at_s)
    if step == "service":
        assert active == 2 and moves(site, at_s) == ["server1", "server2"]
    assert site.timeline.none_active_s(at_s).longest_s <= 2 * site.pair.failover_bound_s() + MACHINE_S


# --- settings


def test_settings_saved_on_both_nodes_during_a_switch_are_live_on_both(site: Site) -> None:
    settings_in_a_switch(site)


def settings_in_a_switch(site: Site) -> None:
    """One change on each node, while the role moves: none is lost, and none is live on one node alone."""
    before = site.pair.settings().to_json()
    site.pair.order_switch(2)
    await_step(site, 2, "lock", "epoch", "fence", "own", "role", "portal", "service")
    first = site.pair.save(1, {"flap_budget": 90, "interval_s": 0.6})
    eventually(lambda: site.pair.settings_revision(2) >= first, SLACK_S, "server2 has the first change")
    second = site.pair.save(2, {"flap_window_s": 1800.0})
    site.pair.wait_live(second)
    wanted = before | {"flap_budget": 90, "interval_s": 0.6, "flap_window_s": 1800.0}
    assert [site.pair.settings(node).to_json() for node in site.nodes] == [wanted, wanted]
    site.pair.wait_active(2, site.pair.failover_bound_s() + SLACK_S)


@pytest.mark.site(witness=True)
def test_settings_saved_on_both_sides_of_a_split_the_later_wins_and_the_other_is_kept(site: Site) -> None:
    settings_on_both_sides(site)


def settings_on_both_sides(site: Site) -> None:
    events = {node: conflicts(site, node) for node in site.nodes}
    began = site.pair.settings_revision(1)
    site.cut_between(1, 2)
    assert site.pair.save(1, {"flap_budget": 70}) == began + 1
    assert site.pair.save(2, {"flap_budget": 80}) == began + 1, "the same number for another edit"
    site.heal()
    site.pair.wait_live(began + 1)
    assert [site.pair.settings(node).flap_budget for node in site.nodes] == [80, 80], "the later one wins on both"
    lost = [c for c in conflicts(site, 1) if c not in events[1]]
    assert [c["replaced"]["values"]["flap_budget"] for c in lost] == [
        70
    ], "the edit that lost is kept where it was made"
    assert conflicts(site, 2) == events[2]


def conflicts(site: Site, node: int) -> list[dict[str, Any]]:
    with site.pair.portals[node].journal.database.transaction() as connection:
        query = select(EVENT.c.facts).where(EVENT.c.name == "settings_conflict").order_by(EVENT.c.id)
        return [dict(row.facts) for row in connection.execute(query)]


@pytest.mark.site(witness=True)
def test_longer_interval_saved_while_cut_off_the_active_stops_by_the_shorter_until_both_have_it(site: Site) -> None:
    longer_while_cut_off(site)


def longer_while_cut_off(site: Site) -> None:
    """Until the other acknowledges, this node's lease is the shorter one; an isolation in that time is no split."""
    old = Timing.of(site.pair.settings())
    site.cut_between(1, 2)
    revision = site.pair.save(1, {"interval_s": 1.0})
    eventually(lambda: site.pair.document(1, "agent").get("settings_revision") == revision, SLACK_S, "it acts by it")
    assert longest_lease_s(site, 2 * old.interval_s) <= old.lease_s + 0.01, "it stops by the old, shorter lease"
    site.heal()
    site.pair.wait_live(revision)
    new = Timing.of(site.pair.settings())
    assert new.lease_s > old.lease_s
    eventually(lambda: longest_lease_s(site, 0.2) > old.lease_s, 5.0, "the longer lease is live when both have it")


@pytest.mark.site(witness=True)
def test_shorter_interval_saved_while_cut_off_the_standby_waits_by_the_longer_until_both_have_it(site: Site) -> None:
    shorter_while_cut_off(site)


def shorter_while_cut_off(site: Site) -> None:
    """The standby node has shorter times than the active one knows of: it must not take over by them."""
    site.pair.wait_live(site.pair.save(1, {"interval_s": 1.0}))
    old = Timing.of(site.pair.settings())
    site.cut_between(1, 2)
    revision = site.pair.save(2, {"interval_s": 0.5})
    eventually(lambda: site.pair.document(2, "agent").get("settings_revision") == revision, SLACK_S, "it acts by it")
    at_s = site.cut(1)
    eventually(lambda: site.timeline.first(2, ACTIVE, at_s), site.pair.failover_bound_s() + SLACK_S, site.pair.story)
    stopped_s, started_s = site.timeline.last(1, ACTIVE), site.timeline.first(2, ACTIVE, at_s)
    assert stopped_s is not None and started_s is not None and stopped_s < started_s
    assert (
        started_s - at_s >= old.hold_s
    ), f"took over after {started_s - at_s:.2f} s, the longer hold is {old.hold_s} s"
    site.heal()
    site.pair.wait_live(revision)


def longest_lease_s(site: Site, seconds: float) -> float:
    """The longest time that the active node's lease had left, seen within so many seconds."""
    end_s, longest_s = time.monotonic() + seconds, 0.0
    while time.monotonic() < end_s:
        record = site.pair.role(1)
        longest_s = max(longest_s, record.deadline_s - boottime_s() if record is not None else 0.0)
        time.sleep(SAMPLE_S)
    return longest_s
