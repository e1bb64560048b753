"""Each process alone, and whole nodes: killed (kill -9; its supervisor restarts it), frozen, powered off, rebooted.

The active node killed and frozen as a whole: ``test_site``.
Beat is a thread of the tick worker here: it dies and freezes with it. The database is a file: see ``test_state``.
"""

from __future__ import annotations

import time

import pytest

from tests.integration.cluster.harness import SLACK_S, eventually, nothing_for

from .checks import MACHINE_S, control, moves, nothing_switches, settles, takes_over, watch
from .site import Site
from .timeline import ACTIVE

PROGRAMS = ("portal", "tick", "switch", "guard", "redis", "cti")
FREEZE_S = 1.2  # of a program on the standby node: longer than a hold


# --- one program of the active node


def test_killed_without_a_part_in_the_lease_its_restart_is_no_switch(site: Site) -> None:
    """Switch worker, guard and service come back in their role (C0, W1); for all three nothing switches."""
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    for program in ("switch", "guard", "cti"):
        before = site.pair.pid(1, program)
        site.kill(1, program)
        eventually(lambda: site.pair.pid(1, program) not in (0, before), 15, f"{program} restarted")
        site.pair.wait_healthy(1)
    watch(site)
    nothing_switches(site, began_s, epoch)
    control(site)


@pytest.mark.parametrize("program", ["portal", "tick", "redis"])
def test_killed_and_restarted_it_keeps_the_role_or_the_other_takes_it_once(site: Site, program: str) -> None:
    """The lease is 0.55 s here: a restart that takes longer costs the role, whoever gets it then, once and in time."""
    epoch = site.pair.status(1)["epoch"]
    at_s = site.kill(1, program)
    watch(site)
    active = settles(site)
    bound_s = site.pair.failover_bound_s(agent_only=True) + MACHINE_S
    none = site.timeline.none_active_s(at_s)
    assert none.longest_s <= bound_s, f"nobody was active: {none}; {moves(site, at_s)}"
    assert moves(site, at_s) in (["server1"], ["server1", "server2"], ["server2"]), "to and fro"
    if none.longest_s < site.pair.timing.lease_s:
        assert active == 1 and site.pair.status(1)["epoch"] == epoch, "it was back within its lease"


@pytest.mark.parametrize("program", ["portal", "tick", "redis"])
def test_frozen_the_other_takes_over_and_keeps_the_role_after_the_thaw(site: Site, program: str) -> None:
    at_s = site.freeze(1, program)
    takes_over(site, 2, at_s, agent_only=True)
    thawed_s = site.thaw(1, program)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, thawed_s), "it said ACTIVE with a lease that had run out"
    assert moves(site, at_s)[-1] == "server2"


def test_frozen_without_a_part_in_the_lease_nothing_switches(site: Site) -> None:
    """A frozen service is not restarted: the health page names it, and it owns again when it goes on."""
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    for program in ("switch", "guard", "cti"):
        site.freeze(1, program)
    eventually(lambda: "service cti" in site.cluster.monitor(1, "IPSWS"), 15, "IPSWS names the service")
    watch(site)
    assert site.cluster.active() == ["server1"]
    for program in ("switch", "guard", "cti"):
        site.thaw(1, program)
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)
    control(site)


# --- the standby node


def test_on_the_standby_node_each_program_dies_and_freezes_and_nobody_notices(site: Site) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    for program in PROGRAMS:
        before = site.pair.pid(2, program)
        site.kill(2, program)
        eventually(lambda: site.pair.pid(2, program) not in (0, before), 15, f"{program} restarted")
        site.pair.wait_healthy(1)
        site.freeze(2, program)
        nothing_for(FREEZE_S)
        site.thaw(2, program)
        site.pair.wait_healthy(1)
        nothing_switches(site, began_s, epoch)
    control(site)


def test_standby_node_freezes_and_reboots_and_nobody_notices(site: Site) -> None:
    began_s, epoch = time.monotonic(), site.pair.status(1)["epoch"]
    site.freeze(2)
    watch(site)
    site.thaw(2)
    site.pair.wait_healthy(1)
    site.reboot(2, FREEZE_S)
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)
    assert moves(site, began_s) == ["server1"]


# --- the whole active node


def test_active_node_reboots_faster_than_a_failover_and_one_node_is_active(site: Site) -> None:
    """Its lease is of another life: who is active afterwards depends on the phase of the ticks; that one is, does not."""
    at_s = site.power_off(1)
    site.start_node(1)
    settles(site)
    none = site.timeline.none_active_s(at_s)
    assert none.longest_s <= site.pair.failover_bound_s(agent_only=True) + SLACK_S
    assert len(moves(site, at_s)) <= 2, moves(site, at_s)


def test_active_node_loses_its_power_and_comes_back_as_standby(site: Site) -> None:
    at_s = site.power_off(1)
    took_s = takes_over(site, 2, at_s, names="F1") - at_s
    assert took_s >= site.pair.timing.hold_s, "sooner than a silent active node has certainly stopped"
    started_s = site.start_node(1)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, started_s), "failback is off"
    assert moves(site, started_s) == ["server2"]


# --- both start


@pytest.mark.parametrize(
    "first,later_s", [(1, 0.0), (1, 1.5), (2, 1.5)], ids=["together", "server2 later", "server1 later"]
)
def test_both_boot_and_one_of_them_becomes_active_once(site: Site, first: int, later_s: float) -> None:
    """1.5 s are to T = 0.5 s what 90 s are to T = 30 s. Server1 is active, unless server2 was alone for 2 N ticks."""
    site.pair.order_switch(2)  # so that the role is not where it was before
    site.pair.wait_active(2, 20)
    site.power_off(1)
    site.power_off(2)
    at_s = site.start_node(first)
    time.sleep(later_s)
    site.start_node(3 - first)
    settles(site)
    assert site.timeline.none_active_s(at_s).times == 1, site.timeline.roles(at_s)
    who = moves(site, at_s)
    assert len(who) == 1, f"to and fro: {who}"
    if first == 1:
        assert who == ["server1"]
