"""A service that the watchdog has given up, as the status page and the command line show it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ftplugin.core.terms import Role, ServiceState
from ftplugin.core.view import ServiceReading
from tests.core.ticks import A, S

from .conftest import Site
from .status_site import decided, peer_status, view_of
from .test_admin import Browser, server
from .test_status_page import text_of

DEAD = (ServiceReading(name="cti", state=ServiceState.DEAD),)


@pytest.fixture
def browser(site: Site) -> Browser:
    site.role(Role.ACTIVE, epoch=6, lease_s=60.0)
    site.agent(version="1.0.0", settings_revision=1)
    view_of(site)
    return Browser(site)


def services(site: Site, **cti: Any) -> None:
    row = {"state": "dead", "progress": 0, "total": 0, "detail": "exit status 137"} | cti
    assert site.portal.runtime.publish("services", {"cti": row})


def test_given_up_with_the_time_of_the_next_try(browser: Browser) -> None:
    now_s = browser.site.portal.clock.now_s()
    services(browser.site, given_up=True, restarts=3, next_try_s=now_s + 41.0)
    own = text_of(server(browser.page(), 1))
    assert re.search(r"cti : dead given up next try in 4[01] s exit status 137", own), own


def test_restarts_and_silence_are_told_before_it_is_given_up(browser: Browser) -> None:
    now_s = browser.site.portal.clock.now_s()
    services(browser.site, given_up=False, restarts=2, silent_since_s=now_s - 33.0, state="unknown")
    own = text_of(server(browser.page(), 1))
    assert re.search(r"restarted 2 times lately no answer for 3[34] s", own), own
    services(browser.site, state="active", detail="")
    assert "lately" not in text_of(server(browser.page(), 1))


def test_the_sentence_says_who_may_help_and_the_alarm_is_read_first(browser: Browser) -> None:
    now_s = browser.site.portal.clock.now_s()
    services(browser.site, given_up=True, next_try_s=now_s + 40.0)
    decided(browser.site, A, services=DEAD, given_up=("cti",), next_try_s=now_s + 40.0)
    page = browser.page()
    assert "W1: cti was given up after too many restarts; next try in" in text_of(page)
    alarm = page.index('id="ft-alarm-1"')
    assert "Alarm: cti was given up after too many restarts: look at it." in text_of(page[alarm - 5 :])
    assert alarm < page.index('id="ft-server1"')


def test_a_service_that_did_not_stop_is_an_alarm_with_the_way_out(browser: Browser) -> None:
    browser.site.role(Role.STANDBY, epoch=7)
    decided(browser.site, S, clear=False, stuck=("cti is unknown (no answer)",))
    words = text_of(browser.page())
    assert "Alarm: cti is unknown (no answer); it should own nothing and did not stop" in words
    assert "Stop it by hand, or switch server1 off." in words


def test_an_alarm_of_an_agent_that_has_stopped_is_not_shown_as_new(browser: Browser) -> None:
    decided(browser.site, A, services=DEAD, given_up=("cti",))
    browser.site.agent(age_s=600.0)
    assert 'id="ft-alarm-1"' not in browser.page()


def test_the_other_server_s_fault_is_shown_from_its_own_word(browser: Browser) -> None:
    now_s = browser.site.portal.clock.now_s()
    services(browser.site, given_up=True, restarts=3, next_try_s=now_s + 41.0)
    peer_status(browser.site)
    other = text_of(server(browser.page(), 2))
    assert re.search(r"cti : dead given up next try in 4[01] s", other), other


@pytest.mark.parametrize("junk", ["soon", None, [], {}, True, "NaN"])
def test_figures_that_cannot_be_read_break_no_page(browser: Browser, junk: Any) -> None:
    services(browser.site, given_up=junk, restarts=junk, next_try_s=junk, silent_since_s=junk)
    assert "cti" in text_of(server(browser.page(), 1))


def test_the_command_line_says_the_same(browser: Browser) -> None:
    now_s = browser.site.portal.clock.now_s()
    services(browser.site, given_up=True, next_try_s=now_s + 41.0)
    decided(browser.site, A, services=DEAD, given_up=("cti",))
    told = browser.site.app.test_cli_runner().invoke(args=["ft", "status"]).output
    assert re.search(r"service cti: dead, given up, next try in 4[01] s exit status 137", told), told
    assert "ALARM: cti was given up after too many restarts: look at it" in told
    as_json = json.loads(browser.site.app.test_cli_runner().invoke(args=["ft", "status", "--json"]).output)
    assert as_json["alarms"] and as_json["servers"][0]["service_list"][0]["given_up"] is True
