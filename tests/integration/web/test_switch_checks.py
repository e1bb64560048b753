"""What is checked before a switchover is ordered, on the page (M1)."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest

from ftplugin import FaultTolerance
from ftplugin.core.terms import Role
from ftplugin.prechecks import Blocked

from .conftest import MakeSite, Site
from .status_site import peer_status
from .test_admin import ADMIN, EVIL, Browser, browser
from .test_switching import TARGET, order, publish_switch

__all__ = ["browser"]  # fixtures


def check(page: str, name: str) -> str:
    """The line of one check as text."""
    row = re.search(rf"<tr id=\"ft-check-\d+\"><th scope=\"row\">{re.escape(name)}</th>(.*?)</tr>", page, re.S)
    assert row is not None, page
    return " ".join(re.sub(r"<[^>]+>", " ", row[1]).split())


def seen(site: Site, **changes: Any) -> None:
    """The agent's last view with other facts of the peer's signed state."""
    view = site.portal.runtime.fetch("view") or {}
    view["peer"]["state"] |= changes
    assert site.portal.runtime.publish("view", view)


def test_every_check_is_listed_and_a_healthy_pair_has_no_warning(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    page = browser.page(TARGET)
    for name in ("order", "heard", "drained", "switch", "settings", "services", "lan", "time"):
        assert check(page, name).startswith("ok"), check(page, name)
    assert "server1 is active" in check(page, "order") and "Expected time without service" in check(page, "time")
    assert "Switch now" in page


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"eligible": False}, "drained", "Server #2 is drained. End its drain"),
        ({"healthy": False}, "heard", "Server #2 says that its own monitor is not OK"),
    ],
)
def test_what_blocks_hides_the_button_and_refuses_the_order(
    browser: Browser, change: dict[str, Any], name: str, said: str
) -> None:
    browser.site.role(Role.ACTIVE)
    token = browser.token(TARGET)
    seen(browser.site, **change)
    page = browser.page(TARGET)
    assert check(page, name).startswith(f"blocks {said}") and "Switch now" not in page
    data = {"csrf_token": token, "target": "server2", "expected_active": "server1", "reason": "kept words"}
    answer = browser.client.post(ADMIN + "switch", data=data)
    assert answer.status_code == 409 and browser.site.orders() == 0
    assert "kept words" in answer.text, "what was typed is kept"


def test_a_target_that_is_not_heard_blocks(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    browser.site.peer(cause="connection error")
    page = browser.page(TARGET)
    assert check(page, "heard").startswith("blocks Server #2 does not answer well: connection error")


def test_a_standby_server_that_cannot_ask_the_dead_active_one_is_told_of_f1_and_force(browser: Browser) -> None:
    browser.site.role(Role.STANDBY)
    browser.site.peer(cause="connection error")
    page = browser.page(ADMIN + "switch?target=server1")
    assert "rule F1 takes over" in check(page, "heard") and 'href="/ft/admin/force"' in page


def test_settings_that_differ_and_a_pause_warn_but_do_not_block(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    seen(site, settings_revision=7)
    site.portal.pause("ann", "new rack", None)
    page = browser.page(TARGET)
    assert check(page, "settings").startswith("warning The settings differ: revision 7 on Server #2, 1 on the other")
    assert check(page, "pause").startswith("warning Paused by ann: new rack")
    assert order(browser).status_code == 302 and site.orders() == 1


def test_a_running_switch_blocks(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    publish_switch(browser.site, outcome="running", step="fence")
    assert check(browser.page(TARGET), "switch").startswith("blocks A switch is running (M1, step fence)")


def test_the_others_switch_blocks_while_its_word_is_young_and_not_for_ever(browser: Browser) -> None:
    """The other server is asked for its word only while somebody looks: the last one may be from yesterday."""
    browser.site.role(Role.ACTIVE)
    told = {"rule": "M1", "kind": "switchover", "step": "service cti", "elapsed_s": 1.0}
    peer_status(browser.site, switch=told)
    assert check(browser.page(TARGET), "switch").startswith("blocks A switch is running (M1, step service cti)")
    peer_status(browser.site, switch=told, age_s=60.0)
    assert check(browser.page(TARGET), "switch").startswith("ok No switch is running")


@pytest.fixture
def hooked(make_site: MakeSite) -> Browser:
    """A portal whose FaultTolerance object is at hand."""
    site = make_site()
    site.configure()
    site.agent()
    site.peer()
    site.role(Role.ACTIVE)
    return Browser(site)


def test_the_portal_s_own_checks_warn_block_and_may_break(hooked: Browser) -> None:
    ft: FaultTolerance = hooked.site.fault_tolerance
    asked: list[tuple[str, str]] = []

    @ft.precheck("calls")
    def calls(target: str, status: dict[str, Any]) -> str | None:
        asked.append((target, status["active"]))
        return f"12 calls in progress {EVIL}"

    @ft.precheck("sick")
    def sick(target: str, status: dict[str, Any]) -> str | None:
        raise KeyError("no such table")

    ft.precheck("fine")(lambda target, status: None)
    page = hooked.page(TARGET)
    assert asked == [("server2", "server1")]
    assert check(page, "calls").startswith("warning 12 calls in progress") and EVIL not in page
    assert "warning check &#39;sick&#39; failed: KeyError" in check(page, "sick")
    assert check(page, "fine") == "ok" and "Switch now" in page
    ft.precheck("backup")(lambda target, status: Blocked("the backup runs until 4"))
    assert check(hooked.page(TARGET), "backup") == "blocks the backup runs until 4"
    assert order(hooked).status_code == 409 and hooked.site.orders() == 0
    with pytest.raises(ValueError, match="'calls' is empty or taken"):
        ft.precheck("calls")(lambda target, status: None)


def test_a_check_that_hangs_is_a_warning_after_two_seconds_and_is_not_asked_again(hooked: Browser) -> None:
    release, begun = threading.Event(), []

    def hang(target: str, status: dict[str, Any]) -> None:
        begun.append(1)
        release.wait(30)

    hooked.site.fault_tolerance.precheck("calls")(hang)
    began_s = time.monotonic()
    assert "no answer within 2 s" in check(hooked.page(TARGET), "calls")
    assert 1.9 < time.monotonic() - began_s < 4
    began_s = time.monotonic()
    assert "it still hangs" in check(hooked.page(TARGET), "calls")
    assert time.monotonic() - began_s < 1.5 and begun == [1]
    release.set()
