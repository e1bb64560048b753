"""The publishing side: the ring of heartbeats, the outlook after a tick, and the question to a peer while somebody looks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from ftplugin.clock import SystemClock
from ftplugin.core.futures import Now
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, VipDestination
from ftplugin.status.beats import packed, strip, unpacked
from ftplugin.status.short import KIND
from tests.core.ticks import S2, A, S, Ticks
from tests.parts import eventually
from tests.sim.run import Result, build, finish, settings_of
from workers.adapters.peer_http import PeerHttp
from workers.background import Periodic
from workers.heartbeats import LENGTH, HeartbeatRing
from workers.page_feed import VIEWER_FRESH_S, PageFeed
from workers.ports import Reply

from .conftest import KEY, Site
from .status_site import decided, heartbeats
from .test_with_peer_adapter import peer

__all__ = ["peer"]  # the fixture

HURRIED = Settings(interval_s=1.0, timeout_s=1.0)


class Asked:
    """A peer that is asked: counts, and keeps the limit it was given."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.limits = reply, list[float]()

    def __call__(self, limit_s: float) -> Reply:
        self.limits.append(limit_s)
        return self.reply


GOOD = Reply(answered=True, body={"kind": KIND, "decision": {"sentence": "well"}})
SILENT = Reply(answered=False, detail="no complete answer within the limit")


class LateClock(SystemClock):
    """A clock that can be set ahead."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


def feed(site: Site, ask: Callable[[float], Reply] | None) -> tuple[PageFeed, LateClock]:
    clock = LateClock()
    return PageFeed(runtime=site.portal.runtime, settings=lambda: HURRIED, ask=ask, clock=clock), clock


def somebody_looks(site: Site, age_s: float = 0.0) -> None:
    clock = site.portal.clock
    assert site.portal.runtime.publish("viewer", {"at_s": clock.now_s() - age_s, "boot_id": clock.boot_id})


def test_the_peer_is_asked_only_while_somebody_looks(site: Site) -> None:
    asked = Asked(GOOD)
    page, clock = feed(site, asked)
    page.turn()
    somebody_looks(site, age_s=VIEWER_FRESH_S + 1)
    page.turn()
    site.portal.runtime.publish("viewer", {"at_s": clock.now_s(), "boot_id": "before"})
    page.turn()
    assert asked.limits == [] and site.portal.runtime.fetch("peer_status") is None
    somebody_looks(site)
    page.turn()
    assert asked.limits == [1.0], "within min(t, 2 s)"
    assert site.portal.runtime.fetch("peer_status")["status"]["decision"]["sentence"] == "well"


def test_the_peer_is_not_asked_again_within_two_seconds(site: Site) -> None:
    asked = Asked(GOOD)
    page, clock = feed(site, asked)
    somebody_looks(site)
    for _ in range(3):
        page.turn()
    assert len(asked.limits) == 1
    clock.ahead_s = 2.0
    page.turn()
    assert len(asked.limits) == 2


def test_what_a_silent_peer_last_said_stays_with_its_age_and_the_cause(site: Site) -> None:
    asked = Asked(GOOD)
    page, clock = feed(site, asked)
    somebody_looks(site)
    page.turn()
    first = site.portal.runtime.fetch("peer_status")
    asked.reply, clock.ahead_s = SILENT, 3.0
    page.turn()
    then = site.portal.runtime.fetch("peer_status")
    assert then["problem"] == SILENT.detail and then["at_s"] == first["at_s"] and then["status"] == first["status"]


@pytest.mark.parametrize("body", [{}, {"kind": "settings"}, {"revision": 3, "values": {}}])
def test_a_signed_answer_to_another_question_is_no_status(site: Site, body: dict[str, Any]) -> None:
    page, _ = feed(site, Asked(Reply(answered=True, body=body)))
    somebody_looks(site)
    page.turn()
    stored = site.portal.runtime.fetch("peer_status")
    assert "status" not in stored and stored["problem"] == "no status in the answer"


def test_the_outlook_of_the_newest_tick_is_published(site: Site) -> None:
    page, _ = feed(site, None)
    t = Ticks(S2, S)
    for _ in range(3):
        decision = t.tick(peer=lambda: t.good(A))
        view = t.view(peer=t.good(A))
        page.ticked(Now(view=view, decision=decision, settings=t.settings, stop_by=t.timing, wait_by=t.timing))
    page.turn()
    stored = site.portal.runtime.fetch("outlook")
    assert stored["tick_s"] == t.now_s and stored["prospects"][0]["rule"] == "F1"
    site.portal.runtime.forget("outlook")
    page.turn()
    assert site.portal.runtime.fetch("outlook") is None, "once for each tick"


def test_a_periodic_thread_that_is_woken_turns_at_once_and_then_keeps_its_period() -> None:
    turns: list[float] = []
    thread = Periodic("page", lambda: turns.append(time.monotonic()), lambda: 30.0)
    thread.start()
    try:
        for wanted in (1, 2, 3):
            eventually(lambda: len(turns) >= wanted, 5, lambda: turns, 0.005)
            assert len(turns) == wanted
            thread.wake()
    finally:
        thread.stop()
        thread.join(5)
    assert not thread.is_alive()


# --- with the real adapter and the real node API --------------------------------------------------------------------


def test_the_peer_s_own_word_travels_signed(peer: tuple[Site, PeerHttp]) -> None:
    site, adapter = peer
    site.agent()
    heartbeats(site, bad=2)
    decided(site, S)
    reply = adapter.status(2.0)
    assert reply.answered and reply.body["kind"] == KIND, reply
    assert reply.body["decision"]["sentence"] == "standby: the peer is active" and not reply.body["stale"]
    site.agent(age_s=70.0)
    assert adapter.status(2.0).body["stale"] is True
    site.redis.freeze()
    assert adapter.status(2.0).body["redis"] is False
    site.redis.thaw()


def test_a_peer_of_an_older_version_is_named_as_the_cause() -> None:
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    adapter = PeerHttp(
        keys=[KEY], designation=lambda: Designation.SERVER2, peer_url=lambda: url, own_url=lambda: "",
        settings=Settings, url_prefix="/ft", clock=SystemClock(),
    )  # fmt: skip
    reply = adapter.status(2.0)
    adapter.close()
    server.shutdown()
    server.server_close()
    assert not reply.answered and reply.detail.startswith("HTTP status")


# --- the ring --------------------------------------------------------------------------------------------------------


def ring_of(ticks: int, *, ring: HeartbeatRing | None = None, gap_s: float = 1.0, bad: bool = False) -> HeartbeatRing:
    t, found = Ticks(S2, S), ring or HeartbeatRing()
    for _ in range(ticks):
        t.now_s += gap_s
        found.add(t.view(peer=t.silent(0.5) if bad else t.good(A)), t.timing, 5000.0 + t.now_s)
    return found


def test_the_ring_keeps_the_last_forty_with_cause_and_latency() -> None:
    ring = ring_of(LENGTH + 5)
    beats = ring_of(1, ring=ring, bad=True, gap_s=LENGTH + 6.0).document("b")["beats"]
    assert len(beats) == LENGTH
    assert beats[-1][1:] == [500.0, "timeout", False] and beats[-2][1:] == [100.0, "ok", True]


def test_time_without_heartbeats_is_a_gap_in_the_ring() -> None:
    beats = ring_of(3, gap_s=10.0).document("b")["beats"]
    assert [beat[2] for beat in beats] == ["ok", "", "ok", "", "ok"]


def test_a_restarted_worker_goes_on_with_the_ring_and_a_reboot_leaves_a_gap() -> None:
    stored = ring_of(4).document("boot")
    for boot_id, causes in (("boot", ["ok"] * 5), ("other", ["ok"] * 4 + ["", "ok"])):
        ring = HeartbeatRing()
        ring.resume(stored, boot_id)
        t = Ticks(S2, S)
        t.now_s = stored["last_s"] + 1.0
        ring.add(t.view(peer=t.good(A)), t.timing, 1.0)
        assert [beat[2] for beat in ring.document(boot_id)["beats"]] == causes


@pytest.mark.parametrize("junk", [None, {}, {"beats": 5}, {"beats": [[1], 7, "x"], "last_s": "y", "boot_id": "boot"}])
def test_a_ring_of_another_version_is_left_out(junk: Any) -> None:
    ring = HeartbeatRing()
    ring.resume(junk, "boot")
    assert len(ring_of(2, ring=ring).document("boot")["beats"]) == 2


def test_a_peer_heard_through_the_vip_alone_is_a_good_heartbeat_with_its_story() -> None:
    t, ring = Ticks(S2, S), HeartbeatRing()
    said = t.good(A).state
    ring.add(t.view(peer=t.silent(), vip=t.vip(VipDestination.PEER, said)), t.timing, 1.0)
    assert ring.document("b")["beats"][0][2:] == ["timeout, but heard through the VIP", True]


def test_the_way_to_the_peer_loses_no_bar_and_no_cause() -> None:
    beats = [
        [100.0 - age, 12.0, cause, cause == "ok"] for age, cause in ((90, "ok"), (60, ""), (30, "timeout"), (0, "ok"))
    ]
    there = unpacked(packed({"beats": beats}, 100.0), 100.0)
    assert strip(there)["bars"] == strip({"beats": beats})["bars"]


def test_the_agent_writes_the_ring_with_each_tick_s_other_documents() -> None:
    """One write for all of them: a tick has not become slower by what the page shows. The agent runs in the simulator."""
    world = build(settings_of(random.Random(1)), 1)
    for node in world.nodes.values():
        world.kernel.at(0.0, node.boot)
    assert not finish(world, 30.0, Result(1)).violation
    for node in world.nodes.values():
        documents = node.redis.documents
        beats = documents["heartbeats"]["beats"]
        assert beats and beats[-1][2:] == ["ok", True]
        assert documents["heartbeats"]["last_s"] == documents["decision"]["tick_s"]
