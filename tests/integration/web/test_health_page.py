"""Health on the status page and in ``ft status``: each check with its state, age and duration; old is never shown as new."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from ftplugin.cli.status import status_lines
from ftplugin.core.terms import Role
from ftplugin.status import status_of

from .conftest import Site
from .test_admin import Browser


def row(
    site: Site, name: str, state: str, detail: str = "", *, age_s: float = 1.0, took_s: float = 0.25
) -> dict[str, Any]:
    checked_s = site.portal.clock.now_s() - age_s
    shown = {"name": name, "state": state, "detail": detail, "checked_s": checked_s}
    return shown | {"duration_s": took_s, "timeout_s": 7.0, "shared": False}


def publish(site: Site, *rows: dict[str, Any], age_s: float = 1.0) -> None:
    clock = site.portal.clock
    lines = {s: [f"{r['name']}: {r['detail']}" for r in rows if r["state"] == s] for s in ("failed", "degraded")}
    document = {"ok": not lines["failed"], "checked_s": clock.now_s() - age_s, "boot_id": clock.boot_id, "checks": rows}
    assert site.portal.runtime.publish("health", document | lines)


@pytest.fixture
def browser(site: Site) -> Browser:
    site.role(Role.STANDBY)
    site.agent()
    site.peer()
    return Browser(site)


def section(page: str) -> str:
    part = page[page.index('id="ft-health"') : page.index('id="ft-facts"')]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_each_check_is_listed_with_state_age_and_duration(browser: Browser) -> None:
    site = browser.site
    publish(
        site,
        row(site, "database", "ok", took_s=0.01),
        row(site, "cucm", "degraded", "throttled: it answers HTTP 503", age_s=12.0, took_s=1.5),
    )
    shown = section(browser.page())
    assert "IPSWS=OK 1 degraded" in shown
    assert "database ok 1 s ago 0.01 s" in shown
    assert "cucm degraded 12 s ago 1.50 s throttled: it answers HTTP 503" in shown


def test_what_failed_stands_on_top_by_name(browser: Browser) -> None:
    site = browser.site
    publish(site, row(site, "cucm", "failed", "user or password is wrong (HTTP 401)"))
    assert "IPSWS=KO cucm: user or password is wrong (HTTP 401)" in section(browser.page())


def test_old_checks_are_shown_as_old(browser: Browser) -> None:
    site = browser.site
    publish(site, row(site, "cucm", "ok", age_s=400.0), age_s=400.0)
    page = browser.page()
    assert "IPSWS=KO health checks are stale: the last one is 400 s old" in section(page)
    assert '<tr class="ft-old"><th scope="row">cucm</th>' in page and "Old: ok 400 s ago" in section(page)


def test_what_a_check_says_cannot_bring_markup_into_the_page(browser: Browser) -> None:
    site = browser.site
    publish(site, row(site, "cucm", "failed", "<script>alert(1)</script>"))
    assert "<script>alert" not in browser.page()


def test_the_command_line_shows_the_same(browser: Browser) -> None:
    site = browser.site
    publish(site, row(site, "cucm", "failed", "connection refused", took_s=0.5), row(site, "disk", "ok", age_s=90.0))
    lines = status_lines(status_of(site.portal))
    assert "health: IPSWS=KO, cucm: connection refused" in lines
    assert "    check cucm: failed: connection refused (1 s ago, took 0.50 s)" in lines
    assert "    old: check disk: ok (90 s ago, took 0.25 s)" in lines


def test_without_an_agent_the_page_says_that_nothing_was_checked(browser: Browser) -> None:
    assert "IPSWS=KO no health check has run" in section(browser.page())
