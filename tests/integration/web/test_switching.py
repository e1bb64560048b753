"""Switchover and forced takeover on the page: checks, order, live steps, the end in plain words (M1, M2)."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest

from ftplugin import FaultTolerance
from ftplugin.core.records import StepResult
from ftplugin.core.terms import Phase, Role
from ftplugin.prechecks import Blocked

from .conftest import MakeSite, Site
from .status_site import peer_status
from .test_admin import ADMIN, EVIL, Browser, browser
from .test_maintenance import order_bodies

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
    time.sleep(0.25)
    browser.page()
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


# --- checks before the order ---------------------------------------------------------------------------------------


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


def force(browser: Browser, typed: str = "server1", reason: str = "rack is dead", **more: str) -> Any:
    data = {"csrf_token": browser.token(ADMIN + "force"), "typed": typed, "reason": reason}
    return browser.client.post(ADMIN + "force", data=data | more)


@pytest.fixture
def alone(browser: Browser) -> Browser:
    """This server is standby, paused, and the other one silent."""
    browser.site.role(Role.STANDBY)
    browser.site.peer(cause="timeout")
    refused = [
        {"veto": "paused", "sentence": "paused by ann: rack"},
        {"veto": "drained", "sentence": "drained, it says"},
    ]
    decision = {"rule": "F1", "sentence": "F1 held back: the peer is silent; paused by ann: rack", "refused": refused}
    browser.site.portal.runtime.publish("decision", decision)
    return browser


def test_the_page_says_the_risk_and_which_vetoes_are_passed_over(alone: Browser) -> None:
    page = alone.page(ADMIN + "force")
    assert "both become active" in page and "F1 held back" in page
    rows = re.findall(r"<tr><th scope=\"row\">([^<]*)</th><td[^>]*><span[^>]*>([^<]*)</span>", page)
    assert rows == [("paused by ann: rack", "passed over"), ("drained, it says", "still holds")]
    assert "ft-danger" in page and "I have checked it" in page


def test_with_a_witness_there_is_no_word_that_waives_the_wait(alone: Browser) -> None:
    alone.site.configure(witness="127.0.0.13:6379")
    page = alone.page(ADMIN + "force")
    assert "two of the three votes" in page and "I have checked it" not in page


def test_a_forced_takeover_needs_the_name_and_a_reason_and_keeps_what_was_typed(alone: Browser) -> None:
    wrong = force(alone, typed="server2", reason="rack <dead>")
    assert wrong.status_code == 400 and "Type server1, the name of this server" in wrong.text
    assert 'value="rack &lt;dead&gt;"' in wrong.text and 'value="server2"' in wrong.text
    assert force(alone, reason="").status_code == 400 and force(alone, reason="x" * 501).status_code == 400
    no_token = alone.client.post(ADMIN + "force", data={"typed": "server1", "reason": "r"})
    assert no_token.status_code == 400 and "Nothing was done" in no_token.text
    assert alone.site.orders() == 0


def test_a_forced_takeover_is_ordered_logged_and_followed(alone: Browser) -> None:
    answer = force(alone, checked="y")
    assert answer.status_code == 302
    (body,) = order_bodies(alone.site)
    assert '"kind": "force"' in body and '"target": "server1"' in body and '"checked": true' in body
    assert "forced takeover of server1 asked by administrator at 127.0.0.1, who says that the other" in alone.site.log()
    page = alone.page(answer.headers["Location"])
    assert "Forced takeover of server1" in page and "waiting for the switch worker" in page


@pytest.mark.parametrize("what", ["active", "drained", "no lan", "running", "agent dead"])
def test_what_cannot_be_forced_has_no_button_and_is_refused(alone: Browser, what: str) -> None:
    site, said = alone.site, ""
    token = alone.token(ADMIN + "force")
    if what == "active":
        site.role(Role.ACTIVE, epoch=8)
        said = "server1 is active already"
    elif what == "drained":
        site.portal.drain("ann", "disk")
        said = "end its drain first"
    elif what == "no lan":
        view = site.portal.runtime.fetch("view") or {}
        site.portal.runtime.publish("view", view | {"lan": {"carrier": "yes", "reference": "no"}})
        said = "gives up by itself (I1)"
    elif what == "running":
        publish_switch(site)
        said = "A switch is running"
    else:
        site.agent(age_s=1000)
        said = "has not ticked"
    page = alone.page(ADMIN + "force")
    assert said in page and 'id="ft-force-now"' not in page
    answer = alone.client.post(ADMIN + "force", data={"csrf_token": token, "typed": "server1", "reason": "r"})
    assert answer.status_code == 409 and said in answer.text and site.orders() == 0


def test_who_may_not_operate_neither_sees_nor_orders_a_forced_takeover(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    site.configure()
    site.role(Role.STANDBY)
    site.agent()
    client = site.app.test_client()
    assert client.get(ADMIN + "force").status_code == 403 and client.post(ADMIN + "force").status_code == 403
    page = client.get(ADMIN + "switching").text
    assert "ft-force" not in page and 'id="ft-pause"' not in page


def test_the_switching_page_says_what_holds_and_that_nothing_does(browser: Browser) -> None:
    browser.site.role(Role.STANDBY)
    assert "Nothing is paused, held or frozen" in browser.page(ADMIN + "switching")
    browser.site.portal.pause("ann", "rack", None)
    page = browser.page(ADMIN + "switching")
    assert "Paused by ann: rack" in page and "There is a pause already" in page and "Nothing is paused" not in page


# --- command line --------------------------------------------------------------------------------------------------


def ft(site: Site, *arguments: str, typed: str | None = None) -> Any:
    return site.app.test_cli_runner().invoke(args=["ft", *arguments], input=typed)


def test_force_on_the_command_line_asks_for_the_name(alone: Browser) -> None:
    site = alone.site
    asked = ft(site, "force", "--reason", "r", typed="server2\n")
    assert asked.exit_code == 2 and "is not the name of this server, server1" in asked.stderr and site.orders() == 0
    assert "passed over: paused by ann: rack" in asked.stderr and "BOTH become active" in asked.stderr
    assert ft(site, "force", "--reason", "r", "--yes-i-know", "server2").exit_code == 2
    assert ft(site, "force", "--yes-i-know", "server1").exit_code == 2, "a reason is needed"
    assert ft(site, "force", "--reason", "r", typed="server1\n").exit_code == 0 and site.orders() == 1
    found = ft(site, "force", "--reason", "r", "--checked", "--yes-i-know", "server1", "--json")
    assert found.exit_code == 0 and json.loads(found.output)["checked"] is True
    site.role(Role.ACTIVE, epoch=8)
    refused = ft(site, "force", "--reason", "r", "--yes-i-know", "server1")
    assert refused.exit_code == 1 and "is active already" in refused.stderr
    site.redis.kill()
    assert ft(site, "force", "--reason", "r", "--yes-i-know", "server1").exit_code == 3


def test_the_command_line_shows_warnings_and_refuses_what_blocks(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    site.portal.pause("ann", "rack", None)
    found = ft(site, "switch", "server2", "--reason", "r")
    assert found.exit_code == 0 and "Warning: Paused by ann: rack." in found.output
    checks = json.loads(ft(site, "switch", "server2", "--reason", "r", "--json").output)["checks"]
    assert {c["name"]: c["level"] for c in checks}["pause"] == "warning"
    seen(site, eligible=False)
    refused = ft(site, "switch", "server2", "--reason", "r")
    assert refused.exit_code == 1 and "Server #2 is drained. End its drain" in refused.stderr


def test_an_order_is_followed_on_the_command_line(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    publish_switch(site, "s-5", outcome="aborted", detail="lock: silent")
    failed = ft(site, "follow", "s-5")
    assert failed.exit_code == 1 and "lock: ok" in failed.output and "failed lock: silent" in failed.output
    publish_switch(site, "s-6", outcome="done", detail="active and ready")
    assert ft(site, "follow", "s-6").exit_code == 0
    publish_switch(site, "s-7")
    assert ft(site, "follow", "s-7", "--limit", "0.1", "--json").exit_code == 1
    assert ft(site, "follow", "nothing").exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [("pause", "--reason", "r"), ("resume",), ("drain", "--reason", "r"), ("undrain",), ("release-hold",)]
    + [("acknowledge-freeze",)],
    ids=lambda arguments: arguments[0],
)
def test_each_command_has_a_machine_readable_answer(browser: Browser, arguments: tuple[str, ...]) -> None:
    browser.site.role(Role.STANDBY)
    found = ft(browser.site, *arguments, "--json")
    assert found.exit_code == 0 and json.loads(found.output)["done"]
