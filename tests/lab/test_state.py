"""What a node keeps and what it runs: Redis in mid-switch, a full disk, a locked database, a service that will not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import MACHINE_S, control, moves, nothing_switches, settles, takes_over, watch
from .site import Site
from .timeline import ACTIVE

START_S = 2.0  # longer start of the service, so that a fault meets the switch in its middle
SLOW_S = 4.0  # longer than a failover
STALL_S = 10.0  # a start without any progress for so long has failed (``core.diagnosis.STALL_S_MIN``)
DISK_BYTES = 96_000_000  # with less than 50 MiB free the health checks warn
NOT_WRITTEN = "the journal cannot be written, so nothing may be promoted"


def promoting(site: Site, node: int) -> dict[str, Any] | None:
    """The node's running promotion, once its service is starting."""
    document = site.pair.document(node, "switch")
    running = document.get("outcome") == "running" and document.get("kind") == "promote"
    return document if running and str(document.get("step", "")).startswith("service") else None


def wait_promoting(site: Site, node: int) -> None:
    eventually(lambda: promoting(site, node), site.pair.failover_bound_s() + SLACK_S, site.pair.story)


def wait_closed(site: Site, deadline_s: float = SLACK_S) -> None:
    """No journal holds an unfinished switch (I-G)."""

    def unfinished() -> list[str]:
        return [s.switch_id for portal in site.pair.portals.values() for s in portal.journal.unfinished()]

    eventually(lambda: not unfinished(), deadline_s, lambda: f"open in a journal: {unfinished()}")


# --- Redis in the middle of a switch


@pytest.mark.parametrize("node,way", [(2, "wiped"), (2, "restarted"), (1, "restarted")])
def test_redis_in_the_middle_of_a_switchover_and_one_node_is_active_afterwards(site: Site, node: int, way: str) -> None:
    """Resumed or undone: who is active depends on the step; that one is, with everything closed, does not."""
    site.trouble(2, start_s=START_S)
    began_s = site.note("switchover to server2")
    site.pair.order_switch(2)
    wait_promoting(site, 2)
    site.wipe_redis(node) if way == "wiped" else site.restart_redis(node)
    wait_closed(site, 20 + START_S)  # until then the switchover may still end well, and hold
    eventually(lambda: site.pair.active_on(1) or site.pair.active_on(2), 20 + START_S, site.pair.story)
    site.trouble(2)
    site.pair.release_hold()
    settles(site)
    wait_closed(site)
    assert len(moves(site, began_s)) <= 3, f"to and fro: {moves(site, began_s)}"


@pytest.mark.parametrize("way", ["wiped", "restarted"])
def test_redis_in_the_middle_of_a_failover_and_the_survivor_is_active(site: Site, way: str) -> None:
    site.trouble(2, start_s=START_S)
    at_s = site.kill_node(1)
    wait_promoting(site, 2)
    again_s = site.wipe_redis(2) if way == "wiped" else site.restart_redis(2)
    site.pair.wait_active(2, 2 * site.pair.failover_bound_s() + 2 * START_S + SLACK_S)
    wait_closed(site)
    assert moves(site, at_s)[-1] == "server2"
    assert site.timeline.none_active_s(again_s).longest_s <= site.pair.failover_bound_s() + START_S + MACHINE_S


# --- disk and database


@pytest.mark.site(disk_bytes=DISK_BYTES)
def test_disk_of_the_active_node_is_full_and_nothing_switches(site: Site) -> None:
    full_and_quiet(site, 1)
    control(site)
    started_s = site.start_node(1)  # with its disk still full
    watch(site)
    assert ACTIVE not in site.timeline.words(1, started_s) and site.pair.active_on(2)
    site.free_disk(1)
    site.pair.wait_healthy(2)


@pytest.mark.site(disk_bytes=DISK_BYTES)
def test_disk_of_the_standby_node_is_full_and_it_cannot_be_promoted_until_it_is_free(site: Site) -> None:
    """An epoch is durable before acting (I-E), so a failover waits; IPSWS of the standby says so before, its status then."""
    full_and_quiet(site, 2)
    killed_s = site.kill_node(1)
    wait_refused(site, killed_s)
    assert site.cluster.active() == []
    takes_over(site, 2, site.free_disk(2), names="F1")


def full_and_quiet(site: Site, node: int) -> None:
    """The node's disk is full: its IPSWS names it, and server1 stays active under its epoch."""
    epoch = site.pair.status(1)["epoch"]
    began_s = site.fill_disk(node)
    eventually(lambda: "disk:" in site.cluster.monitor(node, "IPSWS"), 15, "IPSWS names the disk")
    watch(site)
    nothing_switches(site, began_s, epoch)


def test_database_of_the_active_node_is_locked_and_nothing_switches(site: Site) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    with site.lock_database(1):
        watch(site)
        nothing_switches(site, began_s, epoch)
        assert site.cluster.active() == ["server1"]
        control(site)


def test_database_of_the_standby_node_is_locked_and_it_cannot_be_promoted_until_it_is_not(site: Site) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    with site.lock_database(2):
        watch(site)
        nothing_switches(site, began_s, epoch)
        killed_s = site.kill_node(1)
        wait_refused(site, killed_s)
        assert site.cluster.active() == []
    takes_over(site, 2, site.note("database is free"), names="F1")


def wait_refused(site: Site, killed_s: float) -> None:
    """Server2 tries to take over, is not promoted, and says why on status and command line."""

    def why() -> str:
        return str(site.pair.status(2)["failed_attempt"].get("detail"))

    eventually(lambda: NOT_WRITTEN in why(), site.pair.failover_bound_s() + SLACK_S, lambda: f"status says {why()!r}")
    assert ACTIVE not in site.timeline.words(2, killed_s)
    eventually(lambda: NOT_WRITTEN in site.pair.ft(2, "status").stdout, SLACK_S, "ft status says why")


# --- the service


def test_service_that_will_not_stop_blocks_promotion_elsewhere_until_it_has(site: Site) -> None:
    site.trouble(1, no_stop=True)
    began_s = site.note("switchover to server2")
    site.pair.order_switch(2)
    detail = eventually(
        lambda: site.pair.status(2)["failed_attempt"].get("detail"), site.pair.failover_bound_s() + SLACK_S, "given up"
    )
    assert "did not confirm that it stopped" in detail
    eventually(lambda: "not stopped: cti" in site.pair.report(1), SLACK_S, site.pair.story)
    watch(site)
    assert ACTIVE not in site.timeline.words(2, began_s), "server1 still owns the ports"
    site.trouble(1)
    site.pair.release_hold()
    active = settles(site)
    wait_closed(site)
    control(site, dead=active)


def test_service_that_will_not_start_gives_the_role_back_under_a_new_epoch(site: Site) -> None:
    epoch = site.pair.status(1)["epoch"]
    site.trouble(2, no_start=True)
    began_s = site.note("switchover to server2")
    site.pair.order_switch(2)
    wait_promoting(site, 2)
    site.pair.wait_active(1, STALL_S + 2 * site.pair.failover_bound_s() + SLACK_S)
    failed = eventually(lambda: failure(site, 2), SLACK_S, lambda: f"journal: {site.pair.journal(2)}")
    assert "cti" in failed["detail"], failed
    assert site.pair.status(1)["epoch"] > failed["epoch"] > epoch, "every change of role takes a new epoch"
    site.trouble(2)
    site.pair.release_hold()
    site.pair.wait_healthy(1)
    wait_closed(site)
    assert moves(site, began_s) == ["server1", "server2", "server1"]


def failure(site: Site, node: int) -> dict[str, Any] | None:
    """The newest promotion of the node, if it failed."""
    newest = next((s for s in site.pair.journal(node) if s["kind"] == "promote"), None)
    return newest if newest is not None and newest["outcome"] == "failed" else None


def test_service_that_starts_slower_than_a_failover_is_waited_for(site: Site) -> None:
    """The node counts as active while it starts; the other one, back meanwhile, takes nothing."""
    site.trouble(2, start_s=SLOW_S)
    at_s = site.kill_node(1)
    wait_promoting(site, 2)
    started_s = site.start_node(1)
    shown = eventually(lambda: site.pair.status(2)["servers"][1]["detail"], SLACK_S, "the page shows the start")
    assert shown.startswith("starting"), shown
    takes_over(site, 2, at_s, more_s=SLOW_S, names="F1")
    assert site.timeline.last(2, ACTIVE, at_s) is not None
    site.trouble(2)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, started_s)
