"""Pause, resume, release and acknowledgement reach a server that was away: real HTTP, real databases, the real worker part."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from ftplugin import standing
from ftplugin.switching import telling
from ftplugin.clock import SystemClock
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.store.database import Database
from ftplugin.store.journal import SqlJournal
from workers.adapters.peer_http import PeerHttp
from workers.telling import Telling, tell

from .conftest import KEY, Site
from .test_admin import ADMIN, Browser, browser
from .test_maintenance import order_bodies, post

__all__ = ["browser"]


@dataclass
class Server2:
    """The other server's database and workers; its peer is the served portal of server1."""

    journal: SqlJournal
    ports: Any
    lines: list[str]
    orders: list[dict[str, Any]]
    address: list[str] = field(default_factory=list)
    url: str = ""

    def reach(self, there: bool) -> None:
        """Whether server1 can be reached."""
        self.address[0] = self.url if there else "http://127.0.0.1:1"

    def order(self, command: str, **facts: Any) -> dict[str, Any]:
        """What its portal does with a click; the order for its switch worker."""
        clock = self.ports.clock
        now = {"now_s": clock.now_s(), "boot_id": clock.boot_id}
        if command == "pause":
            document = standing.order("ben", facts["reason"], facts.get("minutes"), wall_s=clock.wall_s(), **now)
            assert self.journal.set_standing("pause", document)
        elif command == "resume":
            assert self.journal.set_standing("pause", None)
        topic = telling.TOPICS[command]
        made = telling.notice((self.journal.notices() or {}).get(topic), command, "ben", **now, **facts)
        assert self.journal.set_notice(topic, made)
        return {"kind": "tell_peer", "topic": topic, **made}

    def tell(self, order: dict[str, Any]) -> dict[str, Any]:
        return tell(self.ports, order, Settings(), 2.0)

    def tick(self, *, heard: bool) -> list[dict[str, Any]]:
        """One look of its tick worker; the orders that it hands over."""
        before = len(self.orders)
        view: Any = SimpleNamespace(now_s=self.ports.clock.now_s(), peer=SimpleNamespace(good=heard))
        self.telling.look(view)
        return self.orders[before:]

    def __post_init__(self) -> None:
        self.telling = Telling(self.ports)


@pytest.fixture
def server2(served: tuple[Site, str, int], tmp_path: pathlib.Path) -> Iterator[tuple[Site, Server2]]:
    site, host, port = served
    address = [f"http://{host}:{port}"]
    adapter = PeerHttp(
        keys=[KEY],
        designation=lambda: Designation.SERVER2,
        peer_url=lambda: address[0],
        own_url=lambda: "",
        settings=Settings,
        url_prefix="/ft",
        clock=SystemClock(),
    )
    database = Database(f"sqlite:///{tmp_path}/server2.sqlite3")
    journal = SqlJournal(database)
    lines: list[str] = []
    orders: list[dict[str, Any]] = []
    ports = SimpleNamespace(
        clock=SystemClock(),
        journal=journal,
        peer=adapter,
        log=SimpleNamespace(report=lambda source, text: lines.append(text)),
        dispatch=SimpleNamespace(switch=lambda order: orders.append(dict(order)) or True),
    )
    made = Server2(journal, ports, lines, orders)
    made.address, made.url = address, f"http://{host}:{port}"
    yield site, made
    adapter.close()
    database.close()


def paused(site: Site) -> str:
    return str((site.portal.journal.standing() or {}).get("pause", {}).get("reason", ""))


def test_a_pause_set_while_the_other_one_is_away_is_told_when_it_is_heard(server2: tuple[Site, Any]) -> None:
    site, two = server2
    two.reach(False)
    assert two.tell(two.order("pause", reason="rack", minutes=90))["outcome"] == "failed"
    assert "it is told when it is heard again" in two.lines[-1] and paused(site) == ""
    assert two.tick(heard=False) == []
    two.reach(True)
    (order,) = two.tick(heard=True)
    assert two.tell(order)["outcome"] == "done"
    assert paused(site) == "rack" and (site.portal.journal.standing() or {})["pause"]["duration_s"] == 5400
    two.tick(heard=False)
    assert two.tick(heard=True) == [], "told once"


def test_a_pause_that_was_ended_meanwhile_does_not_come_back(server2: tuple[Site, Any]) -> None:
    site, two = server2
    late = two.order("pause", reason="rack")
    two.order("resume")
    (order,) = two.tick(heard=True)
    assert order["command"] == "resume" and two.tell(order)["outcome"] == "done"
    assert two.tell(late)["detail"] == "a newer notice has taken its place" and paused(site) == ""


def test_a_late_message_of_the_network_changes_nothing(server2: tuple[Site, Any]) -> None:
    site, two = server2
    body = {"actor": "ben", "reason": "rack", "minutes": None}
    assert two.ports.peer.command("pause", body | {"revision": 1}, 2.0).body == {"taken": True, "error": ""}
    assert two.ports.peer.command("resume", body | {"revision": 2}, 2.0).body["taken"]
    late = two.ports.peer.command("pause", body | {"revision": 1}, 2.0)
    assert late.body["taken"] and late.body["revision"] == 2 and paused(site) == ""


def test_of_a_pause_and_a_resume_made_apart_the_pause_wins_on_both(server2: tuple[Site, Any]) -> None:
    site, two = server2
    body = {"actor": "ben", "reason": "mine", "minutes": None}
    assert two.ports.peer.command("resume", body | {"revision": 3}, 2.0).body["taken"]
    assert two.ports.peer.command("pause", body | {"revision": 3}, 2.0).body == {"taken": True, "error": ""}
    assert paused(site) == "mine"
    assert two.ports.peer.command("resume", body | {"revision": 3}, 2.0).body["revision"] == 3
    assert paused(site) == "mine"


def test_a_fresh_order_of_a_server_that_lost_its_database_still_counts(server2: tuple[Site, Any]) -> None:
    site, two = server2
    assert two.ports.peer.command("resume", {"actor": "a", "reason": "", "revision": 9}, 2.0).body["taken"]
    assert two.tell(two.order("pause", reason="new disk"))["detail"] == "told again as revision 10"
    assert two.tell(two.orders[-1])["outcome"] == "done" and paused(site) == "new disk"


def test_a_pause_that_is_over_is_not_told_any_more(server2: tuple[Site, Any]) -> None:
    site, two = server2
    order = two.order("pause", reason="rack", minutes=1)
    document = (two.journal.standing() or {})["pause"]
    two.journal.set_standing("pause", document | {"until_s": 0.0})
    assert two.tell(order)["detail"] == "the pause is over" and paused(site) == ""
    assert two.tick(heard=True) == []


def test_release_and_acknowledgement_are_told_later_too(server2: tuple[Site, Any]) -> None:
    site, two = server2
    site.portal.journal.set_manual_hold(True)
    two.order("release_hold")
    two.order("acknowledge_freeze")
    for order in two.tick(heard=True):
        assert two.tell(order)["outcome"] == "done"
    assert not site.portal.journal.manual_hold() and site.portal.runtime.fetch("ack_freeze")["actor"] == "ben"


def test_a_hold_of_a_later_switchover_is_not_released_by_an_old_notice(server2: tuple[Site, Any]) -> None:
    site, two = server2
    order = two.order("release_hold")
    two.journal.set_manual_hold(True)
    site.portal.journal.set_manual_hold(True)
    assert two.tell(order)["detail"] == "a later switchover holds again" and site.portal.journal.manual_hold()


@pytest.mark.parametrize("revision", [-1, True, "7", 2**60, 1.5])
def test_a_revision_that_is_none_is_refused(server2: tuple[Site, Any], revision: object) -> None:
    site, two = server2
    body = {"actor": "ben", "reason": "rack", "minutes": None, "revision": revision}
    reply = two.ports.peer.command("pause", body, 2.0)
    assert not reply.body["taken"] and "revision must be a whole number" in reply.body["error"] and paused(site) == ""


def test_a_newer_notice_is_not_marked_as_told_by_the_older_one(server2: tuple[Site, Any]) -> None:
    _, two = server2
    two.order("pause", reason="rack")
    two.order("resume")
    assert not two.journal.told("pause", 1) and two.journal.told("pause", 2)
    assert (two.journal.notices() or {})["pause"]["told"]


def test_the_page_says_what_the_other_server_does_not_know_yet(browser: Browser) -> None:
    assert post(browser, "pause", reason="rack").status_code == 302
    page = browser.page(ADMIN + "switching")
    assert "The other server does not know yet of: the pause" in page
    assert '"revision": 1' in order_bodies(browser.site)[0]
    assert browser.site.portal.journal.told("pause", 1)
    assert "does not know yet" not in browser.page(ADMIN + "switching")
