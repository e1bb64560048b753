"""A portal that answers slowly, wrongly, never, with a redirect, with 10 MB, a drop at a time: each is a bad probe, and
its cause is shown and logged."""

from __future__ import annotations

import pytest

from ftplugin.core.terms import ProbeCause
from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import control, nothing_switches, takes_over, watch
from .faults import FILLER
from .site import HOSTS, Site
from .timeline import ACTIVE

SLOW_S, TOO_SLOW_S, DRIP_S = 0.15, 1.0, 0.05  # t is 0.5 s
DISK_BYTES, ROOM_BYTES = 96_000_000, 60_000_000
CHECKS_S = 2.0 + 3.0  # until the health checks have found it, at the latest: period and limit of a check
CAUSES = {
    "slow": ProbeCause.TIMEOUT,
    "wrong": ProbeCause.NO_STATE,
    "truncated": ProbeCause.CONNECT,
    "hanging": ProbeCause.TIMEOUT,
    "redirect": ProbeCause.REDIRECT,
    "huge": ProbeCause.TOO_LARGE,
    "drip": ProbeCause.TIMEOUT,
}


def misbehave(site: Site, node: int, manner: str, only: str = "mod=IPSWS") -> float:
    return site.misbehave(node, manner, only=only, delay_s=DRIP_S if manner == "drip" else TOO_SLOW_S)


def wait_cause(site: Site, node: int, cause: ProbeCause) -> None:
    """The status of the node shows why it does not hear its peer."""
    peer = 2 - node  # its place in the list of both

    def shown() -> str:
        return str(site.pair.status(node)["servers"][peer]["detail"])

    eventually(lambda: shown() == cause, SLACK_S, lambda: f"{cause} expected, shown {shown()!r}; {site.pair.story()}")


def test_portal_of_the_standby_node_misbehaves_and_nothing_switches(site: Site) -> None:
    """The active node shows and logs the cause of each."""
    epoch = site.pair.status(1)["epoch"]
    began_s = site.behave(2)
    for manner, cause in CAUSES.items():
        lines = len(site.pair.report(1).splitlines())
        misbehave(site, 2, manner)
        wait_cause(site, 1, cause)
        logged = site.pair.report(1).splitlines()[lines:]
        assert any(f"Check server2 : {cause}" in line for line in logged), logged
        site.behave(2)
        eventually(lambda: site.pair.status(1)["servers"][1]["word"] == "standby", SLACK_S, site.pair.story)
    nothing_switches(site, began_s, epoch)
    control(site)


@pytest.mark.parametrize("manner", ["wrong", "truncated", "drip"])  # one for each class of causes
def test_portal_of_the_active_node_misbehaves_and_the_other_takes_over(site: Site, manner: str) -> None:
    """Only the question of the heartbeat is answered so: its agent, and the node API, can still be told to stop."""
    at_s = misbehave(site, 1, manner)
    takes_over(site, 2, at_s)
    assert f"Check server1 : {CAUSES[manner]}" in site.pair.report(2)
    healed_s = site.behave(1)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, healed_s)


def test_portal_of_the_active_node_hangs_for_every_request_and_the_agent_channel_is_left(site: Site) -> None:
    at_s = misbehave(site, 1, "hanging", only="")
    takes_over(site, 2, at_s)
    healed_s = site.behave(1)
    site.pair.wait_healthy(2)
    assert ACTIVE not in site.timeline.words(1, healed_s)


def test_portal_that_is_slow_but_within_t_is_a_good_one(site: Site) -> None:
    began_s, epoch = site.behave(1), site.pair.status(1)["epoch"]
    for node in site.nodes:
        site.misbehave(node, "slow", delay_s=SLOW_S)
    watch(site)
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)
    control(site)


@pytest.mark.site(disk_bytes=DISK_BYTES)
def test_application_error_of_the_active_node_alone_is_a_reason_to_switch(site: Site) -> None:
    site.pair.wait_live(site.pair.save(1, {"application_error": True}))
    at_s = take_room(site, 1)
    takes_over(site, 2, at_s, more_s=CHECKS_S, names="F1")
    assert f"Check server1 : {ProbeCause.BODY}" in site.pair.report(2)
    site.free_disk(1)
    site.pair.wait_healthy(2)


@pytest.mark.site(disk_bytes=DISK_BYTES)
def test_application_error_of_both_nodes_is_none_and_neither_is_a_call_manager_that_is_down(site: Site) -> None:
    """What both miss, as a third party that is down, is no reason to switch: no ping-pong (5.6, 9)."""
    site.pair.wait_live(site.pair.save(1, {"application_error": True}))
    began_s, epoch = site.freeze("callmanager", "callmanager"), site.pair.status(1)["epoch"]
    take_room(site, 2)
    eventually(lambda: "disk:" in site.cluster.monitor(2, "IPSWS"), 15, "IPSWS of server2 names its disk")
    take_room(site, 1)
    eventually(lambda: "the own check fails as well" in sentence(site, 2), 20, lambda: sentence(site, 2))
    watch(site)
    nothing_switches(site, began_s, epoch)
    for node in site.nodes:
        site.free_disk(node)
    site.thaw("callmanager", "callmanager")
    site.pair.wait_healthy(1)
    nothing_switches(site, began_s, epoch)
    control(site)


def take_room(site: Site, node: int) -> float:
    """Less than the 50 MiB are free that the health checks ask for; the node still writes. When."""
    (site.cluster.config.instance_directory(node) / FILLER).write_bytes(bytes(ROOM_BYTES))
    return site.note(f"little room on the disk of node{node}")


def sentence(site: Site, node: int) -> str:
    return str(site.pair.document(node, "decision").get("sentence"))


# --- the balancer's silence

PROBERS = {"name": "balancer", "kind": "probers", "addresses": [HOSTS["balancer"]], "silent_s": 3.0}


@pytest.mark.site(node_keys={"FT_HEALTH": [PROBERS]}, settings={"application_error": True}, threshold=10)
def test_balancer_reaches_the_standby_alone_and_that_one_takes_over_but_a_dead_balancer_is_no_reason(
    site: Site,
) -> None:
    """Silence on one server is evidence that this one is cut off; silence on both is the balancer's own fault. (N-1)*T is
    longer than the checks need to see on both that it is back."""
    epoch = site.pair.status(1)["epoch"]
    dead_s = site.freeze("balancer", "haproxy")
    for node in site.nodes:
        eventually(lambda n=node: "balancer:" in site.cluster.monitor(n, "IPSWS"), 15, "IPSWS names the balancer")
    watch(site)
    nothing_switches(site, dead_s, epoch)
    site.thaw("balancer", "haproxy")
    site.pair.wait_healthy(1)
    at_s = site.cut_between("balancer", 1)
    takes_over(site, 2, at_s, more_s=PROBERS["silent_s"] + CHECKS_S, names="F1")
    site.heal()
    site.pair.wait_healthy(2)
