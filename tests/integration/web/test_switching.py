"""Switchover on the page: the order, live steps, the end in plain words (M1)."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from ftplugin.core.records import StepResult
from ftplugin.core.terms import Phase, Role

from .conftest import Site
from .test_admin import ADMIN, EVIL, Browser, browser

__all__ = ["browser"]  # the fixture of the page's tests
TARGET = ADMIN + "switch?target=server2"


def order(browser: Browser, target: str = "server2", expected: str = "server1", reason: str = "upgrade") -> Any:
    path = f"{ADMIN}switch?target={target}"
    data = {"csrf_token": browser.token(path), "target": target, "expected_active": expected, "reason": reason}
    return browser.client.post(ADMIN + "switch", data=data)


def test_the_button_asks_then_orders(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    page = browser.page(ADMIN + "switch?target=server2")
    assert 'name="expected_active" type="hidden" value="server1"' in page and "Switch now" in page
    assert order(browser).status_code == 302
    assert browser.site.orders() == 1
    assert "switchover to server2 asked by administrator at 127.0.0.1: upgrade" in browser.site.log()


def test_another_active_than_expected_is_told_and_orders_nothing(browser: Browser) -> None:
    browser.site.role(Role.STANDBY)
    browser.site.peer(Role.ACTIVE)
    answer = order(browser)
    assert answer.status_code == 409
    assert "The active server is server2 now, not server1 as you expected" in answer.text
    assert browser.site.orders() == 0


def test_no_reason_no_switch(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    assert order(browser, reason="").status_code == 400
    assert order(browser, reason="x" * 501).status_code == 400
    assert browser.site.orders() == 0


def test_mode_off_still_takes_an_administrator_s_order(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    browser.site.configure(enabled=False)
    assert "Hot Standby mode is off" in browser.page()
    assert order(browser).status_code == 302
    assert browser.site.orders() == 1


def test_an_unknown_target_is_400(browser: Browser) -> None:
    assert browser.client.get(ADMIN + "switch?target=server3").status_code == 400


def test_frozen_broker_refuses_in_time(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    path = f"{ADMIN}switch?target=server2"
    data = {"csrf_token": browser.token(path), "target": "server2", "expected_active": "server1", "reason": "r"}
    browser.site.redis.freeze()
    began_s = time.monotonic()
    answer = browser.client.post(ADMIN + "switch", data=data)
    assert answer.status_code in (409, 503) and time.monotonic() - began_s < 3
    browser.site.redis.thaw()


def test_hold_is_released_and_freeze_acknowledged(browser: Browser) -> None:
    site = browser.site
    site.portal.journal.set_manual_hold(True)
    site.agent(frozen=True)
    page = browser.page()
    assert "Release the hold" in page and "Acknowledge" in page
    data = {"csrf_token": browser.token(ADMIN)}
    browser.client.post(ADMIN + "release-hold", data=data)
    browser.client.post(ADMIN + "acknowledge-freeze", data=data)
    assert not site.portal.journal.manual_hold()
    assert site.portal.runtime.fetch("ack_freeze")["actor"]
    site.agent(frozen=False)  # as the agent says at its next tick
    page = browser.page()
    assert "Release the hold" not in page and "Acknowledge</button>" not in page


# --- one switch, followed ------------------------------------------------------------------------------------------


def publish_switch(site: Site, switch_id: str = "s-1", **changes: Any) -> None:
    clock = site.portal.clock
    step = {"step": "lock", "outcome": "ok", "duration_s": 0.01, "detail": "epoch 5"}
    document = {
        "switch_id": switch_id,
        "kind": "promote",
        "rule": "M1",
        "reason": "upgrade",
        "actor": "ann",
        "epoch": 5,
    }
    document |= {"outcome": "running", "step": "fence", "detail": "", "steps": [step], "boot_id": clock.boot_id}
    document |= {"updated_s": clock.now_s(), "at_wall_s": clock.wall_s()}
    assert site.portal.runtime.publish("switch", document | changes)


def ordered(browser: Browser, target: str, expected: str) -> str:
    """Order a switchover on the page; its number."""
    path = f"{ADMIN}switch?target={target}"
    data = {"csrf_token": browser.token(path), "target": target, "expected_active": expected, "reason": "upgrade"}
    answer = browser.client.post(ADMIN + "switch", data=data)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["Location"].rsplit("/", 1)[1])


def end_of(browser: Browser, switch_id: str) -> str:
    """The plain sentence of the fragment that refreshes itself."""
    answer = browser.client.get(f"{ADMIN}switch/{switch_id}/steps")
    assert answer.status_code == 200 and answer.headers["X-FT-Status"] == "1"
    found = re.search(r'<p id="ft-switch-end".*?</p>', answer.text, re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_a_switchover_to_this_server_is_followed_from_order_to_end(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    site.peer(Role.ACTIVE)
    switch_id = ordered(browser, "server1", "server2")
    page = browser.page(f"{ADMIN}switch/{switch_id}")
    assert "Ordered; waiting for the switch worker" in page and "Load it again" in page and "upgrade" in page
    publish_switch(site, switch_id, step="service cti", detail="2/5")
    assert end_of(browser, switch_id) == "Running: service cti (2/5)"
    steps = [
        {"step": name, "outcome": "ok", "duration_s": took_s, "detail": ""}
        for name, took_s in (("lock", 9.0), ("fence", 1.0), ("own", 0.2), ("role", 0.1), ("service cti", 4.0))
    ]
    publish_switch(site, switch_id, outcome="done", step="", steps=steps)
    site.role(Role.ACTIVE, epoch=6)
    site.peer(Role.STANDBY)
    end = end_of(browser, switch_id)
    assert end.startswith("Done: server1 is active since") and "At most 1.3 s without an active server." in end


def test_a_role_that_has_moved_is_not_done_before_its_services_are_ready(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    manual = {"switch_id": switch_id, "outcome": "handed over", "detail": "", "at_wall_s": time.time()}
    site.portal.runtime.publish("manual", manual)
    site.role(Role.STANDBY, epoch=7)
    site.peer(Role.ACTIVE, phase="starting")
    end = end_of(browser, switch_id)
    assert end == "The role has moved to server2; its services are starting."
    page = browser.page(f"{ADMIN}switch/{switch_id}")
    assert "ft-note ft-warn" in page and 'data-refresh-ms="700"' in page, "it goes on asking"
    heard_service(site, progress=3, total=8)
    assert end_of(browser, switch_id) == "The role has moved to server2; its services are starting: 3 of 8 ready."
    site.peer(Role.ACTIVE)
    assert end_of(browser, switch_id) == "Done: server2 is active."


def test_a_role_that_has_moved_here_says_which_service_is_starting(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    site.peer(Role.ACTIVE)
    switch_id = ordered(browser, "server1", "server2")
    publish_switch(site, switch_id, step="service cti", detail="3/8")
    assert end_of(browser, switch_id) == "Running: service cti (3/8)"
    site.role(Role.ACTIVE, epoch=6, phase=Phase.STARTING)
    site.peer(Role.STANDBY)
    reading = {"state": "starting", "progress": 3, "total": 8, "detail": ""}
    site.portal.runtime.publish("services", {"cti": reading})
    end = end_of(browser, switch_id)
    assert end.startswith("The role has moved to server1; its services are starting: 3 of 8 ready."), end
    assert end.endswith("Running: service cti (3/8)")
    publish_switch(site, switch_id, outcome="done", step="")
    site.role(Role.ACTIVE, epoch=6)
    assert end_of(browser, switch_id).startswith("Done: server1 is active since")


def heard_service(site: Site, **changes: Any) -> None:
    """The other server has told how far its service is."""
    clock = site.portal.clock
    reading = {"state": "starting", "progress": 0, "total": 0, "detail": "", **changes}
    word = {"status": {"services": {"cti": reading}}, "at_s": clock.now_s(), "boot_id": clock.boot_id}
    assert site.portal.runtime.publish("peer_status", word)


def test_a_failed_step_is_named_with_who_is_active_and_what_to_do(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY, epoch=7)
    failed = {"step": "service cti", "outcome": "failed", "duration_s": 20.0, "detail": "cti is dead"}
    publish_switch(site, "s-2", outcome="failed", steps=[failed], detail="service cti: cti is dead; demoting again")
    end = end_of(browser, "s-2")
    assert "Failed at step 'service cti'" in end.replace("&#39;", "'") and "cti is dead" in end
    assert "Nobody is active now." in end and "What to do: Look at that service" in end
    site.peer(Role.ACTIVE)
    assert "server2 is active now." in end_of(browser, "s-2")


def test_an_order_for_the_other_server_says_so_and_shows_this_server_s_part(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    manual = {"switch_id": switch_id, "outcome": "handed over", "detail": "", "at_wall_s": time.time()}
    site.portal.runtime.publish("manual", manual)
    assert end_of(browser, switch_id).startswith("Handed over to server2, where it runs")
    publish_switch(site, "fence-7", kind="demote", rule="fence")
    assert "Steps of this server: its demotion" in browser.page(f"{ADMIN}switch/{switch_id}")
    site.role(Role.STANDBY, epoch=7)
    site.peer(Role.ACTIVE)
    assert end_of(browser, switch_id).startswith("Done: server2 is active.")


def test_an_order_that_is_refused_says_why(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    manual = {"switch_id": switch_id, "outcome": "refused", "detail": f"expected nobody {EVIL}", "at_wall_s": 1.0}
    site.portal.runtime.publish("manual", manual)
    end = end_of(browser, switch_id)
    assert "Refused, nothing was changed: expected nobody" in end and "server1 is active now" in end


def test_an_order_that_nobody_took_is_said_to_be_lost(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    order_document = site.portal.runtime.fetch("order") or {}
    site.portal.runtime.publish("order", order_document | {"at_s": order_document["at_s"] - 60})
    assert end_of(browser, switch_id).startswith("Nobody took the order")


def test_a_switch_of_the_journal_is_shown_when_redis_has_forgotten_it(browser: Browser) -> None:
    site = browser.site
    facts = {"kind": "promote", "rule": "M1", "reason": "old", "epoch": 4, "actor": "ann"}
    assert site.portal.journal.begin(switch_id="old-1", **facts)
    site.portal.journal.step("old-1", 0, StepResult(step="lock", outcome="failed", duration_s=0.1, detail="silent"))
    site.portal.journal.end("old-1", "aborted", Role.STANDBY, "lock: silent")
    assert "Failed at step" in end_of(browser, "old-1") and "silent" in end_of(browser, "old-1")


@pytest.mark.parametrize("switch_id", ["never", "x" * 65, "..%2f..", EVIL.replace("/", "")])
def test_an_unknown_number_is_404(browser: Browser, switch_id: str) -> None:
    assert browser.client.get(f"{ADMIN}switch/{switch_id}").status_code == 404


# --- forced takeover -----------------------------------------------------------------------------------------------


def test_the_switching_page_says_what_holds_and_that_nothing_does(browser: Browser) -> None:
    browser.site.role(Role.STANDBY)
    assert "Nothing is paused, held or frozen" in browser.page(ADMIN + "switching")
    browser.site.portal.pause("ann", "rack", None)
    page = browser.page(ADMIN + "switching")
    assert "Paused by ann: rack" in page and "There is a pause already" in page and "Nothing is paused" not in page
