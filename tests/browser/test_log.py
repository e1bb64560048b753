"""After a switchover its story is read: in the log of either server, and in the history of both."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.integration.cluster.harness import SLACK_S, Nodes

from .axe import serious_violations
from .conftest import Visit
from .test_every_page import TOO_WIDE

TOOK_OVER = "SWITCH THIS SERVER TO PRIMARY, M1"


def test_switchover_is_found_in_the_logs_of_both_servers_and_in_the_history(pair: Nodes, visit: Visit) -> None:
    reason = "night shift 4711"
    assert pair.ft(1, "switch", "server2", "--expect", "server1", "--reason", reason).returncode == 0
    pair.wait_active(2, pair.failover_bound_s() + SLACK_S)
    pair.wait_healthy_whatever_held(2)
    page = visit(1).open()
    page.get_by_role("link", name="Logs").first.click()
    log = page.get_by_role("region", name=re.compile("FT_REPORT"))
    expect(log).to_contain_text("server2 asks this server to demote")
    page.get_by_label("Server", exact=True).select_option(label="the other server")
    page.get_by_label("Search", exact=True).fill("to primary, m1")
    page.get_by_role("button", name="View").click()
    expect(log).to_contain_text(TOOK_OVER)
    lines = log.inner_text().splitlines()
    assert all("to primary, m1" in line.lower() for line in lines), lines
    page.get_by_role("link", name="History").first.click()
    page.get_by_role("row", name=re.compile("M1")).first.get_by_role("link").click()
    expect(page.get_by_text(reason).first).to_be_visible()
    both = page.get_by_role("region", name="Log of both servers")
    expect(both).to_contain_text("server1")
    expect(both).to_contain_text(TOOK_OVER)
    found = serious_violations(page) + page.evaluate(TOO_WIDE)
    assert not found, found


def test_logs_are_zipped_for_support(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open("/log")
    with page.expect_download(timeout=60_000) as begun:
        page.get_by_role("button", name="Zip logs").click()
    assert begun.value.suggested_filename.endswith(".zip")
    assert begun.value.path().read_bytes()[:2] == b"PK"
