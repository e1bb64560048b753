"""The portal as the peer's real HTTP adapter sees it: both ends of the protocol agree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, ProbeCause, Role
from workers.adapters.peer_http import PeerHttp

from .conftest import KEY, Site


@pytest.fixture
def peer(served: tuple[Site, str, int]) -> Iterator[tuple[Site, PeerHttp]]:
    site, host, port = served
    adapter = PeerHttp(
        keys=[KEY],
        designation=lambda: Designation.SERVER2,
        peer_url=lambda: f"http://{host}:{port}",
        own_url=lambda: "",
        settings=Settings,
        url_prefix="/ft",
        clock=SystemClock(),
    )
    yield site, adapter
    adapter.close()


def test_a_heartbeat_is_good_and_carries_the_role(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    site.role(Role.ACTIVE)
    site.agent()
    site.health()
    probe = adapter.probe(2.0, check_body=True)
    assert probe.cause is ProbeCause.OK, probe
    assert probe.state is not None and probe.state.is_active


def test_a_silent_agent_and_failed_checks_are_bad_probes(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    site.agent(age_s=70)
    assert adapter.probe(2.0, check_body=False).cause is ProbeCause.AGENT_STALE
    site.agent()
    assert adapter.probe(2.0, check_body=False).good
    assert adapter.probe(2.0, check_body=True).cause is ProbeCause.BODY


def test_a_frozen_redis_is_a_bad_probe_without_state(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    site.redis.freeze()
    assert adapter.probe(2.0, check_body=False).cause is ProbeCause.NO_STATE
    site.redis.thaw()


def test_a_fence_is_taken_and_its_state_believed(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    site.role(Role.ACTIVE, epoch=6)
    reply = adapter.command("demote", {"epoch": 9}, 2.0)
    assert reply.answered and reply.state is not None and reply.state.seen_epoch == 9, reply
    assert site.orders() == 1
    assert adapter.state(2.0).answered
    site.role(Role.STANDBY, epoch=12)
    stale = adapter.command("demote", {"epoch": 11}, 2.0)
    assert stale.detail.startswith("refused with HTTP status 409"), stale
    assert stale.body["error"] == "demote under 11, this server is at 12"
    assert stale.state is not None and stale.state.clear


def test_settings_travel_signed(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    reply = adapter.settings(2.0)
    assert reply.answered, reply
    assert reply.body["revision"] == 1 and reply.body["values"]["enabled"] is True
