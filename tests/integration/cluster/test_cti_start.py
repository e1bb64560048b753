"""The start of the CTI server against both modes of the call manager: a long wait for a release, and a silent second owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.cti_line import CallManagerLink

from .harness import SETTLE_S, SLACK_S, Pair, eventually

RELEASE_S = 14.0  # above the 10 s after which a start that does not move is given up
LIVE_S = 12.0  # keepalive while a test holds a port with a client that says nothing
ASKED_S = LIVE_S / 4  # so often the CTI server asks who else owns its ports


@contextmanager
def held_port(pair: Pair, port: int) -> Iterator[CallManagerLink]:
    """Somebody who is no server of the pair has this port."""
    config = pair.cluster.config
    link = CallManagerLink((config.address("callmanager"), config.call_manager_port), "desk")
    try:
        assert link.call(op="register", port=port)["ok"]
        yield link
    finally:
        link.close()


@pytest.fixture
def manager(pair: Pair) -> Iterator[Pair]:
    """The call manager's limits and mode are as before after the test."""
    now = {key: pair.cluster.call_manager(op="set")[key] for key in ("mode", "release_delay_s", "keepalive_s")}
    yield pair
    assert pair.cluster.call_manager(op="set", **now)["ok"]


def test_a_start_that_waits_for_a_release_is_shown_and_not_given_up(manager: Pair) -> None:
    pair = manager
    pair.cluster.call_manager(op="set", mode="dynamic", keepalive_s=LIVE_S)
    with held_port(pair, 7102):
        eventually(lambda: pair.status(1)["dual_owners"], ASKED_S + SLACK_S, "seen on the active one")
        pair.cluster.call_manager(op="set", mode="static", release_delay_s=RELEASE_S)
    pair.order_switch(2)  # the port's other owner is gone now, but its port is not free yet
    waits = "waiting for release of port 7102 (held by desk, "
    page = pair.browser(2)
    eventually(lambda: waits in page.get("/ft/admin/status").text, SLACK_S, pair.story)
    shown = page.get("/ft/admin/status").text
    assert "Active (Primary)" in shown and "starting 1/3" in shown and "expected 0.3 s" in shown, shown
    assert waits in pair.ft(2, "status").stdout
    pair.wait_active(2, RELEASE_S + pair.failover_bound_s() + SLACK_S)
    eventually(lambda: pair.status(2)["last_switch"]["outcome"] == "done", SLACK_S, pair.story)
    eventually(lambda: pair.status(2)["measured_switch"].get("rule") == "M1", SLACK_S, pair.story)
    start = pair.status(2)["servers"][1]["service_list"][0]["start"]
    assert start["waited_s"] > 10.0 and start["took_s"] > start["waited_s"] and not start["slow"], start
    assert [s["outcome"] for s in pair.status(2)["last_switch"]["steps"] if s["step"] == "service cti"] == ["ok"]
    pair.wait_healthy_whatever_held(2)


def test_a_silent_second_owner_is_alarmed_and_switches_nothing(pair: Pair) -> None:
    before = pair.status(1)["epoch"]
    with held_port(pair, 7101) as link:

        def alarmed() -> bool:
            link.call(op="heartbeat")
            return bool(pair.status(1)["dual_owners"])

        eventually(alarmed, SLACK_S, pair.story)
        told = "Service cti: port 7101: also owned by desk"
        assert told in pair.browser(1).get("/ft/admin/status").text
        assert "ALARM: service cti: port 7101: also owned by desk" in pair.report(1)
        shown = pair.ft(1, "status").stdout
        assert "ALARM, two owners: service cti: port 7101: also owned by desk" in shown
        assert pair.cluster.monitor(1, "IPSWS") == "IPSWS=OK"
    eventually(lambda: not pair.status(1)["dual_owners"], SLACK_S, pair.story)
    assert "service cti is not owned twice any more" in pair.report(1)
    assert pair.status(1)["epoch"] == before
    pair.wait_healthy(1, SETTLE_S)
