"""The status page as an administrator reads it at night: facts, reasons, age; small, and without a socket to the peer."""

from __future__ import annotations

import gzip
import html
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ftplugin.core.policy import RULES
from ftplugin.core.terms import Role
from ftplugin.status import status_of
from tests.core.ticks import A, PAUSE, S

from .conftest import OWN, PEER, MakeSite, Site
from .status_site import SERVICES, decided, fullest, heartbeats, peer_status, view_of
from .test_admin import ADMIN, EVIL, Browser, server

WIRE_BYTES_MAX = 5_000


@pytest.fixture
def browser(site: Site) -> Browser:
    site.role(Role.STANDBY)
    site.agent(version="1.0.0", settings_revision=1)
    view_of(site)
    return Browser(site)


def text_of(page: str) -> str:
    """What is read, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def why(page: str, designation: str) -> str:
    part = page[page.index(f'id="ft-why-{designation}"') :]
    return text_of(part[: part.index('id="ft-why-', 10)] if 'id="ft-why-' in part[10:] else part)


# --- facts ---------------------------------------------------------------------------------------------------------


def test_each_card_tells_what_is_known_of_its_server(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE, epoch=6, lease_s=60.0)
    browser.site.portal.runtime.publish("services", SERVICES)
    heartbeats(browser.site, bad=2)
    page = browser.page()
    own, other = text_of(server(page, 1)), text_of(server(page, 2))
    assert "Server #1 this server" in own and "Status: Active (Primary)" in own and f"{OWN} · server1" in own
    assert "Epoch 6" in own and re.search(r"Lease left 5\d\.\d s", own) and "Settings revision 1" in own
    assert re.search(r"Agent ticked \d\.\d s ago", own) and "LAN up" in own and "VIP leads to Server #1" in own
    assert "Voter server1 lease of server1, epoch 6" in own and "Voter witness does not answer" in own
    assert "Voter server2 lease of server1, epoch 6, locked by server2" in own
    assert "cti : starting 3/48 port 3 of 48" in own and "asterisk : dead" in own
    assert "38 good, 2 bad · last 13.7 ms, median 11.9 ms" in own
    assert "1 × connection error, last at" in own and "1 × agent has not ticked, last at" in own
    assert "Status: Standby (Backup)" in other and f"{PEER} · server2" in other
    assert "Epoch 7" in other and "Clock +0.42 s" in other and "Version 1.0.0" in other


def test_the_strip_tells_each_heartbeat_and_not_by_colour_alone(browser: Browser) -> None:
    site = browser.site
    heartbeats(site, bad=1, count=5)
    stored = site.portal.runtime.fetch("heartbeats")
    stored["beats"].insert(2, [stored["beats"][2][0], 0, "", False])
    site.portal.runtime.publish("heartbeats", stored)
    card = server(browser.page(), 1)
    bars = re.findall(r'<rect class="ft-beat-(\w+)"[^>]* y="(\d+)" height="(\d+)"><title>([^<]*)</title>', card)
    assert [bar[0] for bar in bars] == ["good", "good", "none", "good", "good", "bad"]
    assert len({(y, height) for _, y, height, _ in bars}) == 3, "good, bad and no data have three heights"
    assert re.fullmatch(r"\d\d:\d\d:\d\d connection error, 10 ms", bars[5][3])
    assert 'aria-label="The last 6 heartbeats: 4 good, 1 bad."' in card


def test_the_other_server_s_own_word_is_shown_with_its_age(browser: Browser) -> None:
    site = browser.site
    assert "has not been asked yet" in text_of(server(browser.page(), 2))
    site.portal.runtime.publish("services", SERVICES)
    heartbeats(site, bad=3)
    decided(site, S)
    peer_status(site, age_s=3.0)
    decided(site, A)
    page = browser.page()
    other = text_of(server(page, 2))
    assert "Its own word: 3 s old." in other and "asterisk : dead" in other and "37 good, 3 bad" in other
    assert "LAN up" in other and "VIP leads to Server #2" in other, "where the VIP leads is told by name"
    assert "standby: the peer is active" in why(page, "server2") and "If the next 5 heartbeats are bad" in why(
        page, "server2"
    )
    assert "active: nothing to do" in why(page, "server1")


@pytest.mark.parametrize("problem", ["", "no complete answer within the limit"])
def test_an_old_word_of_the_other_server_is_shown_as_old(browser: Browser, problem: str) -> None:
    decided(browser.site, S)
    peer_status(browser.site, age_s=120.0, problem=problem)
    page = browser.page()
    assert "Its own word: 120 s old. Old." in text_of(server(page, 2))
    assert problem in text_of(server(page, 2))
    said = why(page, "server2")
    assert "Old: S0 standby: the peer is active" in said and "If the next" not in said, "no promise from old data"
    assert re.search(r'id="ft-why-server2" class="ft-why ft-old"', page)


def test_a_word_from_before_a_reboot_is_none(browser: Browser) -> None:
    peer_status(browser.site)
    stored = browser.site.portal.runtime.fetch("peer_status")
    browser.site.portal.runtime.publish("peer_status", stored | {"boot_id": "before"})
    assert "has not been asked yet" in text_of(server(browser.page(), 2))


def test_the_lease_of_the_other_server_shrinks_with_the_age_of_its_heartbeat(browser: Browser) -> None:
    view_of(browser.site, Role.ACTIVE, lease_left_s=88.0)
    browser.site.agent(age_s=30.0)
    found = status_of(browser.site.portal)["servers"][1]["figures"]
    assert found["lease_left_s"] == pytest.approx(58.0, abs=1.0)
    assert found["agent_age_s"] == pytest.approx(31.5, abs=1.0)


def test_the_page_reached_through_the_vip_names_the_server_that_answers(browser: Browser) -> None:
    """Guide 4.6."""
    browser.site.configure(vip_address="http://10.1.1.245:8080")
    at = {"Host": "10.1.1.245:8080"}
    for path in ("", "status"):
        page = text_of(browser.client.get(ADMIN + path, headers=at).text)
        assert f"asked for at the VIP address http://10.1.1.245:8080; Server #1 ({OWN}) answers." in page
    page = text_of(browser.client.get(ADMIN, headers={"Host": OWN}).text)
    assert f"Server #1 ({OWN}) answers." in page and "asked for at the VIP" not in page


# --- why -----------------------------------------------------------------------------------------------------------


def test_why_says_streaks_prospects_and_every_refused_row(browser: Browser) -> None:
    decided(browser.site, S, pause=PAUSE)
    said = why(browser.page(), "server1")
    assert "If the next heartbeats are bad: nothing (paused by anna: new switch in the rack)." in said
    assert "What else was weighed, and why not" in said
    assert "B1 server #1 may become active again failback is off" in said
    assert "the other server answers well; paused by anna" in said


def test_an_outlook_of_another_tick_promises_nothing(browser: Browser) -> None:
    """Decision and outlook are written one after the other; between the two the old outlook must not be shown."""
    decided(browser.site, S)
    stored = browser.site.portal.runtime.fetch("decision")
    browser.site.portal.runtime.publish("decision", stored | {"tick_s": stored["tick_s"] + 30, "sentence": "new"})
    said = why(browser.page(), "server1")
    assert "new" in said and "If the next" not in said


def test_time_that_has_passed_is_taken_off_a_promise(browser: Browser) -> None:
    decided(browser.site, S)
    first = status_of(browser.site.portal)["servers"][0]["why"]["prospects"][-1]
    browser.site.agent(age_s=20.0)
    later = status_of(browser.site.portal)["servers"][0]["why"]["prospects"][-1]
    seconds = [float(re.search(r"in about ([\d.]+) s", text)[1]) for text in (first, later)]
    assert seconds[0] - seconds[1] == pytest.approx(20.0, abs=0.5)


# --- live update ---------------------------------------------------------------------------------------------------


def test_a_live_update_in_the_fullest_state_stays_small(browser: Browser) -> None:
    fullest(browser.site)
    answer = browser.client.get(ADMIN + "status", headers={"Accept-Encoding": "gzip, br"})
    page = gzip.decompress(answer.data).decode()
    for part in (
        "ft-running",
        "ft-paused",
        "ft-drained",
        "ft-held",
        "ft-frozen",
        "ft-refused-server1",
        "ft-refused-server2",
    ):
        assert f'id="{part}"' in page, part
    assert page.count("<rect") == 80 and page.count('<td data-label="Result">ok</td>') == 9
    head = sum(len(f"{name}: {value}\r\n") for name, value in answer.headers)
    assert len(answer.data) + head < WIRE_BYTES_MAX, (len(answer.data), head, len(page))
    assert answer.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer.headers["Vary"]


def test_a_browser_without_gzip_gets_plain_text(browser: Browser) -> None:
    for header in ({}, {"Accept-Encoding": "gzip;q=0"}):
        answer = browser.client.get(ADMIN + "status", headers=header)
        assert "Content-Encoding" not in answer.headers and "Status: Standby" in answer.text


def test_a_live_update_can_be_told_from_a_log_in_page(browser: Browser) -> None:
    """ft.js believes only what has the mark: a portal may answer 200 with its log-in form."""
    assert browser.client.get(ADMIN + "status").headers["X-FT-Status"] == "1"
    assert "X-FT-Status" not in browser.client.get(ADMIN).headers
    script = browser.client.get(f"{ADMIN}static/ft.js").text
    assert 'headers.get("X-FT-Status")' in script


def test_role_changes_alone_are_announced(browser: Browser) -> None:
    """Nothing in the refreshed part is a live region; ft.js puts this text into the one beside it when it changes."""
    fullest(browser.site)
    part = browser.page(ADMIN + "status")
    assert "aria-live" not in part and 'role="alert"' not in part and 'role="status"' not in part
    roles = re.search(r'id="ft-roles" hidden data-text="([^"]*)"', part)[1]
    assert roles == "Server #1: Active (Primary). Server #2: Active (Primary). "
    page = browser.page()
    assert page.index('id="ft-announce"') < page.index('id="ft-status"')


def test_blocks_that_come_and_go_have_their_own_ids(browser: Browser) -> None:
    """So that what stands between them keeps focus and what was typed when one appears."""
    fullest(browser.site)
    part = browser.page(ADMIN + "status")
    ids = re.findall(r'\sid="([^"]+)"', part)
    assert len(ids) == len(set(ids)), sorted(ids)
    assert all("id=" in tag for tag in re.findall(r'<(?:p|form)[^>]*class="ft-note[^>]*>', part))
    assert all("id=" in tag for tag in re.findall(r"<(?:details|button)[^>]*>", part))


def test_who_looks_is_noted_once_in_five_seconds(browser: Browser) -> None:
    runtime, clock = browser.site.portal.runtime, browser.site.portal.clock
    assert runtime.fetch("viewer") is None
    browser.page(ADMIN + "status")
    noted = runtime.fetch("viewer")
    assert noted["boot_id"] == clock.boot_id and clock.now_s() - noted["at_s"] < 2
    browser.page(ADMIN + "status")
    assert runtime.fetch("viewer") == noted
    runtime.publish("viewer", noted | {"at_s": noted["at_s"] - 6})
    browser.page(ADMIN + "status")
    assert runtime.fetch("viewer")["at_s"] >= noted["at_s"]


# --- what it costs, what it withstands ------------------------------------------------------------------------------


class Sockets:
    """Addresses that this process connects to while ``on``. An audit hook cannot be taken away again."""

    def __init__(self) -> None:
        self.on, self.addresses = False, set[Any]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
            self.addresses.add(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0])


@pytest.fixture(scope="module")
def hook() -> Sockets:
    return Sockets()


@pytest.fixture
def sockets(hook: Sockets) -> Iterator[Sockets]:
    hook.on = True
    hook.addresses.clear()
    yield hook
    hook.on = False


@pytest.mark.parametrize("path", ["", "status", "rules"])
def test_no_socket_but_that_of_the_own_redis(browser: Browser, sockets: Sockets, path: str) -> None:
    """The peer's address is set, VIP and witness too; nobody answers at any of them."""
    site = browser.site
    site.configure(vip_address="10.1.1.245", vip_test=True, witness="10.1.1.9:6379")
    site.portal.runtime.client.connection_pool.disconnect()
    sockets.addresses.clear()
    assert browser.client.get(ADMIN + path).status_code == 200
    assert {address for address in sockets.addresses if address[1:2] != (site.redis.port,)} <= {"127.0.0.1"}
    assert ("127.0.0.1", site.redis.port) in sockets.addresses, "the hook hears"


def test_hostile_texts_of_the_other_server_are_shown_as_text(browser: Browser) -> None:
    row = ["F1", EVIL, EVIL, [EVIL]]
    outlook = {"role": EVIL, "why": EVIL, "streaks": [[EVIL, EVIL, EVIL, EVIL]], "rows": [row, row]}
    outlook["prospects"] = [{"supposed": EVIL, "rule": EVIL, "then": EVIL, "in_s": 1, "held": [EVIL]}]
    beats = {"causes": [EVIL, 'x"onload="alert(1)'], "beats": [[1, 1, 0, 0], [1, 1, 1, 0]]}
    service = {EVIL: {"state": EVIL, "detail": EVIL}}
    around = {"lan": EVIL, "vip": EVIL, "voters": [[EVIL, EVIL]]}
    peer_status(
        browser.site, problem=EVIL, decision={"rule": EVIL, "sentence": EVIL}, outlook=outlook, heartbeats=beats,
        services=service, surroundings=around, switch={"rule": EVIL, "step": EVIL},
    )  # fmt: skip
    for path in (ADMIN, ADMIN + "status"):
        page = browser.page(path)
        assert EVIL not in page and html.escape(EVIL) in page and ' onload="' not in page


@pytest.mark.parametrize(
    "junk", [5, "x", [], [1], {}, {"x": 1}, None, [[]], {"beats": "x"}, {"beats": [5, [1, 2, 3, 4]]}]
)
def test_documents_of_another_version_break_no_page(browser: Browser, junk: Any) -> None:
    runtime, clock = browser.site.portal.runtime, browser.site.portal.clock
    names = (
        "kind",
        "redis",
        "agent_age_s",
        "stale",
        "decision",
        "services",
        "switch",
        "surroundings",
        "heartbeats",
        "outlook",
    )
    status = dict.fromkeys(names, junk)
    runtime.publish("peer_status", {"at_s": clock.now_s(), "boot_id": clock.boot_id, "status": status})
    for name in ("heartbeats", "outlook", "services", "view", "decision"):
        runtime.publish(
            name, {"beats": junk, "streaks": junk, "prospects": junk, "rows": junk, "cti": junk, "votes": junk}
        )
    assert browser.client.get(ADMIN).status_code == 200
    assert browser.client.get(ADMIN + "rules").status_code == 200
    view_of(browser.site)
    peer_status(browser.site, surroundings={"voters": junk})
    assert browser.client.get(ADMIN).status_code == 200


# --- rules ---------------------------------------------------------------------------------------------------------


def test_the_rules_page_has_every_rule_and_marks_the_one_that_holds(browser: Browser) -> None:
    decided(browser.site, S, pause=PAUSE)
    page = browser.page(ADMIN + "rules")
    for rule in RULES:
        assert f">{rule.id}" in page and rule.why in html.unescape(page), rule
        assert all(str(action) in html.unescape(page) for action in rule.actions)
    assert page.count('id="ft-rule-now"') == 1
    now = text_of(page[page.index('id="ft-rule-now"') :].split("</tr>")[0])
    assert "S0 now" in now and "the peer is active" in now
    assert ">M2<" in page and "forced takeover by an administrator" in text_of(page)
    assert "5 bad probes in a row" in text_of(page) and "automatic switching is not paused" in text_of(page)


def test_no_row_is_marked_from_old_data(browser: Browser) -> None:
    decided(browser.site, S)
    browser.site.agent(age_s=61.0)
    page = browser.page(ADMIN + "rules")
    assert "ft-rule-now" not in page and "has not ticked for 61 s" in text_of(page)


def test_the_rules_can_be_read_before_anything_is_configured(make_site: MakeSite) -> None:
    assert make_site().client.get(ADMIN + "rules").status_code == 200
