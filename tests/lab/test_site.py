"""The real stack on real hosts: a node that dies, and one that is cut from the LAN in silence."""

from __future__ import annotations

import pathlib

import pytest

from demo.oracle import read_history
from tests.integration.cluster.harness import SLACK_S, eventually

from .site import VIP_LIMIT_S, Site


def wait_served(site: Site, server: int, deadline_s: float) -> None:
    eventually(lambda: site.served() == f"server{server} ACTIVE", deadline_s, lambda: f"VIP: {site.served()}")


def test_active_node_dies_and_the_client_of_the_vip_is_served_by_the_other(site: Site) -> None:
    bound_s = site.pair.failover_bound_s() + SLACK_S
    at_s = site.kill_node(1)
    site.pair.wait_active(2, bound_s)
    wait_served(site, 2, VIP_LIMIT_S)
    assert site.timeline.words(1, at_s)[-1] == "no answer"
    assert site.timeline.words(2, at_s) == ["STANDBY", "ACTIVE"]
    assert site.timeline.outage_s(at_s).times == 1 and site.timeline.outage_s(at_s).longest_s <= bound_s
    site.start_node(1)
    site.pair.wait_healthy(2)
    assert "ACTIVE" not in site.timeline.words(1, at_s)[1:], "failback is off"


@pytest.mark.parametrize("way", ["silent", "no carrier"])
def test_active_node_cut_from_the_lan_has_stopped_before_the_other_starts(site: Site, way: str) -> None:
    at_s = site.cut(1, carrier=way == "no carrier")
    eventually(lambda: site.timeline.first(2, "ACTIVE", at_s), site.pair.failover_bound_s() + SLACK_S, site.pair.story)
    stopped_s, started_s = site.timeline.last(1, "ACTIVE"), site.timeline.first(2, "ACTIVE", at_s)
    assert stopped_s is not None and started_s is not None and stopped_s < started_s
    assert stopped_s - at_s <= site.pair.timing.hold_s, "an isolated server stops by (N-1)*T"
    assert site.cluster.cti_status(1).get("state") == "standby", "its service has let go too"
    wait_served(site, 2, VIP_LIMIT_S)
    site.heal()
    site.pair.wait_healthy(2)
    assert site.timeline.words(1, stopped_s + 0.1) == ["STANDBY"], "it comes back as standby"
    assert site.timeline.words(2, at_s) == ["STANDBY", "ACTIVE"]


@pytest.mark.site(witness=True)
def test_with_a_witness_the_cut_node_stops_and_the_majority_goes_on(site: Site) -> None:
    at_s = site.cut(1)
    eventually(lambda: site.timeline.first(2, "ACTIVE", at_s), site.pair.failover_bound_s() + SLACK_S, site.pair.story)
    stopped_s, started_s = site.timeline.last(1, "ACTIVE"), site.timeline.first(2, "ACTIVE", at_s)
    assert stopped_s is not None and started_s is not None and stopped_s < started_s
    site.heal()
    site.pair.wait_healthy(2)
    assert site.timeline.words(1, stopped_s + 0.1) == ["STANDBY"]


@pytest.mark.site(floating=True)
def test_own_floating_address_follows_the_role_and_its_holder_cannot_tell_where_it_leads(site: Site) -> None:
    site.pair.wait_live(site.pair.save(1, {"vip_test": True}))
    eventually(lambda: site.pair.status(1)["vip"] == "unknown", 10, "who holds the VIP always reaches itself (5.3)")
    eventually(lambda: site.pair.status(2)["vip"] == "peer", 10, lambda: f"server2: {site.pair.status(2)['vip']}")
    at_s = site.power_off(1)
    site.pair.wait_active(2, site.pair.failover_bound_s() + SLACK_S)
    wait_served(site, 2, VIP_LIMIT_S)
    assert site.timeline.words(2, at_s) == ["STANDBY", "ACTIVE"]


def test_frozen_node_is_silent_and_gives_up_when_it_goes_on(site: Site) -> None:
    at_s = site.freeze(1)
    site.pair.wait_active(2, site.pair.failover_bound_s() + SLACK_S)
    thawed_s = site.thaw(1)
    site.pair.wait_healthy(2)
    assert "ACTIVE" not in site.timeline.words(1, thawed_s), "it said ACTIVE with a lease that had run out"
    assert site.timeline.words(2, at_s) == ["STANDBY", "ACTIVE"]


@pytest.mark.site(disk_bytes=70_000_000)
def test_active_nodes_disk_is_full_and_its_health_says_so(site: Site) -> None:
    site.fill_disk(1)
    with pytest.raises(OSError, match="No space left"):
        (site.cluster.config.instance_directory(1) / "more").write_bytes(b"x")
    eventually(lambda: "disk" in site.cluster.monitor(1, "IPSWS"), 15, lambda: site.cluster.monitor(1, "IPSWS"))
    site.free_disk(1)
    site.pair.wait_healthy(1)


def test_monitor_of_the_active_node_answers_badly_and_the_other_names_the_cause(site: Site) -> None:
    for manner, cause in {"wrong": "node state missing", "redirect": "redirect", "huge": "answer too large"}.items():
        site.misbehave(1, manner)
        seen = {"cause": ""}

        def named() -> bool:
            seen.update(site.pair.document(2, "view").get("peer") or {})
            return seen["cause"] == cause

        eventually(named, 10, lambda: f"{manner}: server2 says {seen['cause']}")
        site.behave(1)  # before the third bad probe in a row, which would rightly cost server1 the role
        site.pair.wait_healthy(1)


def test_timeline_of_a_run_can_be_read(site: Site, tmp_path: pathlib.Path) -> None:
    at_s = site.kill(1, "cti")
    eventually(lambda: any(i.from_s > at_s for i in read_history(site.history)), 15, "the service owns its ports again")
    site.timeline.write(tmp_path / "run.txt", at_s)
    text = (tmp_path / "run.txt").read_text()
    assert "--- FAULT           kill -9 cti of node1" in text and "port 7101 is server1's" in text
    assert "both active 0.000 s (0 times)" in text
