"""The daily restart on the pages: its next turns, what is announced, how the last one went, and the preview before saving."""

from __future__ import annotations

import datetime
import html
import re
import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ftplugin import protocol
from ftplugin.cli.status import status_lines
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Role
from ftplugin.local_time import local_zone
from ftplugin.status import status_of
from ftplugin.status.daily import times_of

from .conftest import KEY, OWN, PEER, MakeSite, Site
from .test_settings_page import Browser, row, summary

PORTAL = {"kind": "systemd", "unit": "portal.service"}


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def looked_after(site: Site, role: Role = Role.ACTIVE) -> Site:
    site.role(role)
    site.agent()
    site.peer()
    return site


def announce(site: Site, **facts: Any) -> None:
    clock = site.portal.clock
    assert site.portal.runtime.publish("daily", {"boot_id": clock.boot_id, "until_s": 0.0, **facts})


def test_the_page_shows_the_next_turns_of_both_servers(make_site: MakeSite) -> None:
    site = make_site(FT_PORTAL=PORTAL)
    site.configure(daily_restart="03:30")
    found = words(looked_after(site).client.get("/ft/admin/status").text)
    assert "Server #2 portal 03:30, services 03:33; Server #1 portal 03:35, services 03:38" in found
    assert "FT_PORTAL is empty" not in found


def test_without_a_watched_portal_the_page_says_what_is_restarted(site: Site) -> None:
    site.configure(daily_restart="03:30")
    found = words(looked_after(site).client.get("/ft/admin/status").text)
    assert "On this server the services only: FT_PORTAL is empty." in found


def test_while_nobody_is_known_to_be_active_the_turns_name_roles(site: Site) -> None:
    site.configure(daily_restart="03:30")
    found = words(site.client.get("/ft/admin/status").text)
    assert "standby server: portal 03:30" in found and "active server: portal 03:35" in found


def test_without_a_daily_restart_the_page_says_none(site: Site) -> None:
    found = words(looked_after(site).client.get("/ft/admin/status").text)
    assert "Next daily restart none is set" in found
    assert not any("daily restart" in line for line in status_lines(status_of(site.portal)))


def test_an_announced_restart_is_shown_here_and_on_the_other_server_and_ends(site: Site) -> None:
    looked_after(site)
    now_s = site.portal.clock.now_s()
    announce(site, until_s=now_s + 40, peer_until_s=now_s + 70)
    found = words(site.client.get("/ft/admin/status").text)
    assert re.search(r"This server restarts its portal or services on purpose \(daily restart\), (39|40) s more", found)
    assert re.search(r"The other server restarts its portal or services on purpose .{0,20}, (69|70) s more", found)
    assert any("this server restarts" in line for line in status_lines(status_of(site.portal)))
    announce(site, until_s=now_s - 1, peer_until_s=now_s - 1)
    assert "on purpose" not in words(site.client.get("/ft/admin/status").text)


def test_an_announcement_of_another_boot_is_not_shown(site: Site) -> None:
    looked_after(site)
    announce(site, boot_id="another boot", until_s=site.portal.clock.now_s() + 40)
    assert "on purpose" not in words(site.client.get("/ft/admin/status").text)


def test_the_last_restart_is_shown_with_its_result(site: Site) -> None:
    looked_after(site)
    facts = {"part": "portal", "duration_s": 4.2, "at_wall_s": time.time()}
    announce(site, result={**facts, "ok": True, "detail": ""})
    assert "restarted in 4.2 s" in words(site.client.get("/ft/admin/status").text)
    announce(site, result={**facts, "ok": False, "detail": "<b>it did not stop</b>"})
    page = site.client.get("/ft/admin/status").text
    assert "failed: <b>it did not stop</b>" in words(page)
    assert "<b>it did not stop" not in page
    assert any("failed: <b>it did not stop</b>" in line for line in status_lines(status_of(site.portal)))


def test_the_announcement_travels_in_the_signed_state(site: Site) -> None:
    looked_after(site)
    announce(site, until_s=site.portal.clock.now_s() + 50)
    nonce = protocol.new_nonce()
    asked = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, nonce)}
    answer = site.client.get("/ft/monitor?mod=IPSWS", headers=asked)
    header = answer.headers[protocol.STATE_HEADER]
    state, _ = protocol.read_state([KEY], header, nonce, Designation.SERVER1)
    assert 45 < state.restarting_s <= 50
    announce(site)
    answer = site.client.get("/ft/monitor?mod=IPSWS", headers=asked)
    state, _ = protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, Designation.SERVER1)
    assert state.restarting_s == 0


# --- saving -----------------------------------------------------------------------------------------------------------


def test_the_preview_shows_the_turns_and_the_setting_is_saved(site: Site) -> None:
    browser = Browser(looked_after(site))
    shown = browser.validate(daily_restart="02:15")
    assert shown.status_code == 200
    assert "standby server: portal 02:15, services 02:18; active server: portal 02:20, services 02:23" in words(
        shown.text
    )
    assert browser.save(daily_restart="02:15").status_code == 302
    assert browser.saved.daily_restart == "02:15"


@pytest.mark.parametrize("value", ["3", "24:00", "03:30:00", "half past three"])
def test_what_is_no_time_of_day_is_refused_beside_its_field(site: Site, value: str) -> None:
    answer = Browser(looked_after(site)).validate(daily_restart=value)
    assert answer.status_code == 400
    assert "HH:MM" in row(answer.text, "daily_restart") and "Daily restart time" in summary(answer.text)


def test_a_set_that_would_fail_over_every_night_is_warned_of_before_saving(site: Site) -> None:
    browser = Browser(looked_after(site))
    shown = browser.validate(daily_restart="03:30", portal_restart_s="100")
    assert "would cause a failover every night" in html.unescape(shown.text)
    assert browser.save(daily_restart="03:30", portal_restart_s="100").status_code == 400
    saved = browser.save(daily_restart="03:30", portal_restart_s="100", override_reason="the portal is quicker")
    assert saved.status_code == 302 and browser.saved.daily_restart == "03:30"


# --- local time -------------------------------------------------------------------------------------------------------


def test_times_are_those_of_this_servers_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(server1_address=OWN, server2_address=PEER, daily_restart="02:30")
    morning_s = datetime.datetime(2026, 3, 29, 0, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert times_of(settings, morning_s, ZoneInfo("Europe/Berlin"))["standby_portal"] == "03:00", "02:30 is left out"
    assert times_of(settings, morning_s, datetime.UTC)["standby_portal"] == "02:30"
    monkeypatch.setenv("TZ", "Australia/Lord_Howe")
    assert local_zone().utcoffset(datetime.datetime(2026, 1, 1)) == datetime.timedelta(hours=11)
    monkeypatch.setenv("TZ", ":Europe/Berlin")
    assert local_zone().utcoffset(datetime.datetime(2026, 7, 1)) == datetime.timedelta(hours=2)
    monkeypatch.setenv("TZ", "no such zone")
    assert local_zone() is datetime.UTC
    monkeypatch.delenv("TZ")
    here = datetime.datetime(2026, 1, 1, tzinfo=local_zone()).utcoffset()
    assert here == datetime.datetime(2026, 1, 1).astimezone().utcoffset()
