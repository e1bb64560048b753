"""What the open status page shows by itself while roles move, and when what it shows is old."""

from __future__ import annotations

import statistics
import time

from playwright.sync_api import Locator, Page, expect

from tests.integration.cluster.harness import SLACK_S, Nodes

from .conftest import Visit

ACTIVE, STANDBY, ERROR = "Active (Primary)", "Standby (Backup)", "Error"
CONTACT_LOST_S = 15.0  # the page's own limit for an answer, its period, and the machine's slack
DEAD_PEER_FACTOR_MAX = 1.2
NOISE_MS = 15.0


def server(page: Page, number: int) -> Locator:
    """What the page shows of a server, found by its heading."""
    return page.locator("section").filter(has=page.get_by_role("heading", name=f"Server #{number}"))


def shows(page: Page, number: int, word: str, deadline_s: float) -> None:
    expect(server(page, number)).to_contain_text(word, timeout=deadline_s * 1000)


def mark(page: Page) -> None:
    """Something that a reload would lose."""
    page.evaluate("window.openedOnce = true")


def not_reloaded(page: Page) -> bool:
    return bool(page.evaluate("window.openedOnce === true"))


def test_failover_shows_on_the_open_page_of_the_other_server_without_a_reload(pair: Nodes, visit: Visit) -> None:
    page = visit(2).open()
    shows(page, 1, ACTIVE, SLACK_S)
    shows(page, 2, STANDBY, SLACK_S)
    mark(page)
    pair.stop_node(1)
    shows(page, 2, ACTIVE, pair.failover_bound_s() + 2 * SLACK_S)
    shows(page, 1, ERROR, SLACK_S)
    expect(page.get_by_text("F1").first).to_be_visible()
    assert not_reloaded(page)
    pair.start(1)
    shows(page, 1, STANDBY, 2 * SLACK_S)
    assert not_reloaded(page), "and the server that came back"


def test_server_of_the_open_page_killed_the_page_says_since_when_it_knows_nothing(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open()
    shows(page, 1, ACTIVE, SLACK_S)
    contact = page.get_by_role("alert").filter(has_text="Contact with this server is lost")
    expect(contact).to_be_hidden()
    pair.stop_node(1)
    expect(contact).to_be_visible(timeout=CONTACT_LOST_S * 1000)
    expect(contact).to_contain_text(":")  # the time of what is shown
    said = contact.inner_text()
    page.wait_for_timeout(2500)
    assert contact.inner_text() == said, "old data must keep the time at which it was true"
    pair.start(1)
    expect(contact).to_be_hidden(timeout=CONTACT_LOST_S * 1000)


def test_portal_of_the_open_page_frozen_the_page_says_that_contact_is_lost(pair: Nodes, visit: Visit) -> None:
    page = visit(2).open()
    pair.cluster.freeze(2, "portal")
    try:
        lost = page.get_by_role("alert").filter(has_text="Contact with this server is lost")
        expect(lost).to_be_visible(timeout=CONTACT_LOST_S * 1000)
    finally:
        pair.cluster.thaw(2, "portal")
    expect(lost).to_be_hidden(timeout=CONTACT_LOST_S * 1000)


def test_peer_frozen_the_page_says_so_and_stays_as_quick_as_before(pair: Nodes, visit: Visit) -> None:
    admin = visit(1)
    page = admin.open()
    shows(page, 2, STANDBY, SLACK_S)
    with_peer_ms = part_ms(page)
    pair.cluster.freeze(2)
    shows(page, 2, ERROR, pair.failover_bound_s() + SLACK_S)
    expect(server(page, 2)).to_contain_text("timeout")
    without_peer_ms = part_ms(page)
    assert without_peer_ms <= DEAD_PEER_FACTOR_MAX * with_peer_ms + NOISE_MS, (with_peer_ms, without_peer_ms)
    begun_s = time.monotonic()
    admin.open()
    assert time.monotonic() - begun_s < 2.0, "a page with a black hole for a peer"


def part_ms(page: Page) -> float:
    """Median time of the part of the page that refreshes itself, as the browser sees it, milliseconds."""
    script = """async () => {
      const url = document.getElementById("ft-status").dataset.url, begun = performance.now();
      await (await fetch(url, {cache: "no-store"})).text();
      return performance.now() - begun;
    }"""
    return statistics.median(float(page.evaluate(script)) for _ in range(15))


def test_session_that_ends_is_said_and_what_was_shown_is_marked_old(pair: Nodes, visit: Visit) -> None:
    admin = visit(1)
    page = admin.open()
    shows(page, 1, ACTIVE, SLACK_S)
    admin.log_out_elsewhere()
    expect(page.get_by_role("alert").filter(has_text="logged out")).to_be_visible(timeout=CONTACT_LOST_S * 1000)
    page.reload()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
