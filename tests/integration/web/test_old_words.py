"""What was said once is not believed for ever: words of the other server, of an agent and of a switch worker that are gone."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest

from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role
from ftplugin.core.timing import Timing
from ftplugin.status import status_of
from ftplugin.status.starts import patience_s
from ftplugin.web.page import clock

from .conftest import Site
from .status_site import SERVICES, heartbeats, peer_status, view_of
from .test_admin import ADMIN, Browser, browser
from .test_switch_checks import check
from .test_switching import TARGET, ordered, publish_switch

__all__ = ["browser"]  # the fixture of the page's tests
RUNS_THERE = {"rule": "M1", "kind": "promote", "step": "service cti", "elapsed_s": 1.0}


def text_of(browser: Browser, path: str = "") -> str:
    """What is read on a page, one space between words."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", browser.page(ADMIN + path))).split())


def ft(site: Site, *arguments: str) -> str:
    found = site.app.test_cli_runner().invoke(args=["ft", *arguments])
    assert found.exit_code in (0, 1), found.output
    return str(found.output)


def test_a_switch_of_the_other_server_is_shown_while_its_word_is_young_alone(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    peer_status(site, switch=RUNS_THERE)
    pages = ("", f"switch/{switch_id}")
    assert all("switch is running there (M1): service cti" in text_of(browser, path) for path in pages)
    assert "a switch is running there (M1)" in ft(site, "status")
    peer_status(site, switch=RUNS_THERE, age_s=60.0)
    assert all("running there" not in text_of(browser, path) for path in pages)
    shown = ft(site, "status")
    assert "running there" not in shown and "its own word: 60 s old, old" in shown


def test_who_decides_or_follows_a_switch_counts_as_somebody_who_looks(browser: Browser) -> None:
    """Else the other server is not asked any more after half a minute, and its last word stays."""
    browser.site.role(Role.ACTIVE)
    switch_id = ordered(browser, "server2", "server1")
    for path in ("switching", "switch?target=server2", f"switch/{switch_id}", f"switch/{switch_id}/steps"):
        browser.site.portal.runtime.forget("viewer")
        browser.page(ADMIN + path)
        assert browser.site.portal.runtime.fetch("viewer"), path


def test_a_service_that_was_dead_or_well_long_ago_is_no_finding_of_a_check(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    for services, young in ((SERVICES, "warning Dead on Server #2: asterisk"), ({}, "ok No service of Server #2")):
        word = services or {"cti": {"state": "active"}}
        peer_status(site, services=word)
        assert check(browser.page(TARGET), "services").startswith(young)
        peer_status(site, services=word, age_s=60.0)
        assert check(browser.page(TARGET), "services") == "ok No service of Server #2 is known here as dead."


def test_why_the_other_server_did_not_answer_long_ago_is_not_said_of_now(browser: Browser) -> None:
    runtime = browser.site.portal.runtime
    peer_status(browser.site, age_s=120.0, problem="no complete answer")
    assert "It could not be asked: no complete answer" in text_of(browser)
    stored = runtime.fetch("peer_status") or {}
    runtime.publish("peer_status", stored | {"asked_s": stored["asked_s"] - 120.0})
    assert "could not be asked" not in text_of(browser)


def test_what_an_agent_that_is_gone_saw_around_it_is_not_known(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    view_of(site)
    heartbeats(site)
    peer_status(site, stale=True, surroundings={"lan": "up", "vip": "self", "voters": [["witness", "no lease"]]})
    figures = status_of(site.portal)["servers"][1]["figures"]
    assert figures["epoch"] == 7 and "lan" not in figures and "voters" not in figures, "its agent does not tick"
    site.agent(age_s=100.0)
    status = status_of(site.portal)
    assert (status["vip"], status["lan"]) == ("unknown", "unknown")
    assert status["servers"][0]["figures"]["voters"] == [] and status["servers"][0]["figures"]["lan"] == "unknown"
    shown = ft(site, "status")
    assert "VIP unknown, LAN unknown" in shown and "old: heartbeats [" in shown
    assert "has not ticked for 100 s" in shown and "'ft doctor' on this server says" in shown
    assert "'ft doctor' on this server says what does not run here" in text_of(browser)
    assert "Nothing is paused, held or frozen" not in text_of(browser, "switching"), "a freeze is not known now"
    page = text_of(browser, "force")
    assert "What holds this server back now Not known." in page and "nothing holds it back" not in page


def test_without_redis_nothing_is_said_of_alerts(browser: Browser) -> None:
    browser.site.redis.kill()
    page = text_of(browser, "alerts")
    assert "The Redis of this server does not answer" in page and "sends no alerts" not in page


def test_a_switch_whose_worker_has_died_says_so_everywhere(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    site.peer(Role.ACTIVE)
    quiet_s = Timing.of(Settings()).quiet_s
    table = {"name": "cti", "start_limit_s": 90.0}
    assert patience_s([table, {"name": "scheduler"}], "service cti", quiet_s) == 90.0 > quiet_s
    assert patience_s([table, {"name": "scheduler"}], "service scheduler", 2.3) == 60.0
    assert patience_s([table], "fence", quiet_s) == quiet_s
    now_s = site.portal.clock.now_s()
    live = {"name": "cti", "state": "starting", "progress": 3, "total": 48}
    site.portal.runtime.publish("services", {"cti": {"state": "dead"}})
    said = {"step": "service cti", "began_s": now_s - 500, "step_began_s": now_s - 500, "service": live}
    publish_switch(site, "s-9", **said)
    assert "shown no life" not in text_of(browser) and "cti : starting 3/48" in text_of(browser)
    publish_switch(site, "s-9", **said, updated_s=now_s - 400)
    page = text_of(browser)
    assert "It has shown no life for 400 s: does the switch worker of this server run?" in page
    assert "cti : dead" in page, "the watchdog's word is younger than the dead worker's"
    assert "no life for 400 s" in text_of(browser, "switch/s-9") and "no life for 400 s" in text_of(browser, "force")
    assert "no life for 400 s" in ft(site, "status")
    blocked = check(browser.page(ADMIN + "switch?target=server1"), "switch")
    assert (
        blocked.startswith("blocks A switch is running")
        and "Wait until" not in blocked
        and "'ft doctor'" in html.unescape(blocked)
    )


def test_a_pause_ends_by_the_clock_as_it_is_now(browser: Browser) -> None:
    """After a reboot it counts from the boot, so that the moment that was reckoned when it was ordered is wrong."""
    site = browser.site
    boot_s, wall_s = site.portal.clock.now_s(), site.portal.clock.wall_s()
    duration_s = boot_s + 3000.0
    kept = {"owner": "ann", "reason": "rack", "until_wall_s": wall_s - 5000.0, "until_s": 1.0, "duration_s": duration_s}
    site.portal.journal.set_standing("pause", {**kept, "boot_id": "before", "since_wall_s": wall_s - 9000.0})
    until_s = status_of(site.portal)["pause"]["until_wall_s"]
    assert until_s == pytest.approx(wall_s + 3000.0, abs=10.0)
    assert f"until about {clock(until_s)[:15]}" in text_of(browser)
    assert f"pause by ann until about {clock(until_s)[:15]}" in ft(site, "status")


def test_what_went_wrong_is_told_with_its_time_until_it_went_well(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    now_s = site.portal.clock.wall_s()
    site.portal.runtime.publish(
        "manual", {"switch_id": "r", "outcome": "refused", "detail": "not healthy", "at_wall_s": now_s - 90}
    )
    publish_switch(site, "s-4", outcome="aborted", detail="lock: silent", at_wall_s=now_s - 120)
    page, shown = text_of(browser), ft(site, "status")
    assert f"refused at {clock(now_s - 90)}: not healthy" in page and "Its steps, and what to do" in page
    assert f"refused at {clock(now_s - 90)[:16]}: not healthy" in shown
    assert f"given up at {clock(now_s - 120)[:16]}: lock: silent; see 'ft follow s-4'" in shown
    assert "Failed" in text_of(browser, "switch/s-4")
    publish_switch(site, "s-5", outcome="done", at_wall_s=now_s - 60)
    assert "refused at" not in text_of(browser) and "refused at" not in ft(site, "status")


def test_what_the_other_server_was_not_told_is_on_the_first_page_too(browser: Browser) -> None:
    site = browser.site
    site.portal.pause("ann", "rack", None)
    site.portal.journal.set_notice("pause", {"command": "pause", "actor": "ann", "revision": 1, "told": False})
    for path in ("", "switching"):
        assert text_of(browser, path).count("The other server does not know yet of: the pause, by ann.") == 1
    assert "the other server does not know yet of: pause, by ann" in ft(site, "status")
    site.portal.journal.told("pause", 1)
    assert "does not know yet" not in text_of(browser)


def test_nobody_active_and_a_silent_witness_are_said_on_top(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    site.configure(witness="10.1.1.9:6379")
    time.sleep(0.25)  # a process keeps settings for 200 ms
    view_of(site)
    assert "Neither server" not in text_of(browser), "the heartbeat may be from before this one gave up its role"
    view = site.portal.runtime.fetch("view") or {}
    site.portal.runtime.publish("view", view | {"role": "standby"})
    page, shown = text_of(browser), ft(site, "status")
    assert "Neither server was active at the last heartbeat. Why, and what comes next" in page
    assert "neither server was active" in shown
    assert "The witness 10.1.1.9:6379 did not answer at the last heartbeat." in page and "is silent" in shown
    site.role(Role.ACTIVE)
    site.peer()
    page = text_of(browser)
    assert "Neither server" not in page and "witness 10.1.1.9:6379 did not" not in page


def test_a_freeze_is_told_once_and_no_more_when_it_was_acknowledged(browser: Browser) -> None:
    site = browser.site
    site.role(Role.ACTIVE)
    alarm: dict[str, Any] = {
        "alarms": ["automatic switching is frozen: too many switches in the window", "LAN unknown"]
    }
    site.portal.runtime.publish("decision", {"rule": "S0", "sentence": "active", **alarm})
    site.agent(frozen=True, age_s=0.5)
    page = text_of(browser)
    assert "Alarm: LAN unknown." in page and "Alarm: automatic switching is frozen" not in page
    assert "frozen until you acknowledge. Only a failover goes on, with doubled waiting times" in page
    browser.client.post(ADMIN + "acknowledge-freeze", data={"csrf_token": browser.token(ADMIN)})
    assert "frozen" not in text_of(browser)
