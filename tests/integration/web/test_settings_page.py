"""The settings screen as an administrator uses it (spec 4, guide 3): validate, preview, save, history."""

from __future__ import annotations

import html
import re
import time
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from ftplugin.core.settings import NAMES, Settings
from ftplugin.core.timing import expected_failover_s, worst_failover_s
from ftplugin.forecast import Fault, forecast

from .conftest import OWN, PEER, MakeSite, Site
from .test_admin import form_of

SETTINGS = "/ft/admin/settings"
PREVIEW, EDIT, HISTORY = SETTINGS + "/preview", SETTINGS + "/edit", SETTINGS + "/history"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"
TEXT_FIELDS = tuple(n for n in NAMES if not isinstance(getattr(Settings(), n), bool))
KB = 1024


class Browser:
    """A client that keeps its cookies."""

    def __init__(self, site: Site) -> None:
        self.site, self.client = site, site.app.test_client()

    def page(self, path: str = SETTINGS) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def validate(self, **changes: Any) -> Any:
        return self.client.post(PREVIEW, data=form_of(self.page()) | changes)

    def save(self, **changes: Any) -> Any:
        """Through the preview, as a person does."""
        shown = self.validate(**{k: v for k, v in changes.items() if k != "override_reason"})
        if shown.status_code != 200:
            return shown
        reason = {k: v for k, v in changes.items() if k == "override_reason"}
        return self.client.post(SETTINGS, data=form_of(shown.text, "ft-settings-save") | reason)

    @property
    def saved(self) -> Settings:
        return self.site.portal.settings.current()[1]


@pytest.fixture
def browser(site: Site) -> Browser:
    site.agent()
    site.peer()
    return Browser(site)


def row(text: str, name: str) -> str:
    """The part of the page that belongs to one setting."""
    start = text.index(f'for="{name}"')
    return html.unescape(text[start : text.index("</div>", start)])


def summary(text: str) -> str:
    start = text.index('id="ft-problems"')
    return html.unescape(text[start : text.index("</div>", start)])


def change(text: str, label: str) -> list[str]:
    """[now, after] of one line of a preview's table."""
    found = re.search(rf'<th scope="row">{re.escape(label)}</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>', text)
    assert found is not None, label
    return [html.unescape(found[1]), html.unescape(found[2])]


# --- entering ------------------------------------------------------------------------------------------------------


def test_first_settings_are_entered_checked_and_saved(make_site: MakeSite) -> None:
    site = make_site()
    browser = Browser(site)
    hosts = "10.0.0.1 tcp:10.0.0.9:80"
    answer = browser.save(server1_address=OWN, server2_address=PEER, enabled="y", lan_references=hosts)
    assert answer.status_code == 302, answer.text
    revision, settings = site.portal.settings.current()
    assert (revision, settings.enabled, settings.lan_references) == (1, True, ("10.0.0.1", "tcp:10.0.0.9:80"))
    assert site.portal.designation() == "server1"
    assert "settings revision 1 saved by administrator at 127.0.0.1" in site.log()
    assert "Saved as revision 1." in browser.page()


def test_every_setting_has_a_field_with_label_and_help_and_nothing_else_is_asked(browser: Browser) -> None:
    text = browser.page()
    for name in NAMES:
        assert re.search(rf'id="ft-help-{name}">[^<]+<', text), name
        assert re.search(rf'for="{name}">[^<]+<', text), name
    assert set(form_of(text)) <= {*NAMES, "csrf_token", "base_revision", "base_mark"}
    for name, unit in {"timeout_s": "s", "rtt_ms": "ms"}.items():
        assert re.search(rf'name="{name}"[^>]*> {unit}</span>', text), name


def test_an_unchanged_form_gives_the_same_settings(browser: Browser) -> None:
    before = browser.site.portal.settings.current()[1]
    shown = browser.validate()
    assert "Nothing changes." in shown.text
    assert browser.save().status_code == 302
    assert browser.site.portal.settings.current() == (2, before)


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({"timeout_s": "40"}, "timeout_s", "must not exceed the heartbeat interval"),
        ({"timeout_s": "ten"}, "timeout_s", "must be a number (got 'ten')"),
        ({"interval_s": "nan"}, "interval_s", "must be a number"),
        ({"threshold": "2.5"}, "threshold", "must be a whole number"),
        ({"service_stop_s": "118"}, "threshold", "use at least 6 failures"),
        ({"server2_address": "x"}, "server2_address", "must be an IPv4 or IPv6 address"),
        ({"vip_test": "y"}, "vip_address", "is required by 'Test VIP address destination'"),
        ({"agent_port": "0"}, "agent_port", "must be 1 to 65535"),
        ({"balancer_kind": "round"}, "balancer_kind", "must be one of external, nlb, floating, none"),
        ({"witness": "a\x00b:1"}, "witness", "holds the control character U+0000"),
        ({"server2_address": "fe80::2%<svg onload=alert(1)>"}, "server2_address", "must be an IPv4 or IPv6 address"),
    ],
)
@pytest.mark.parametrize("path", [PREVIEW, SETTINGS])
def test_a_contradiction_is_refused_beside_its_field(
    browser: Browser, path: str, changes: dict, name: str, said: str
) -> None:
    answer = browser.client.post(path, data=form_of(browser.page()) | changes)
    assert answer.status_code == 400
    assert said in row(answer.text, name) and f'href="#{name}"' in summary(answer.text)
    assert browser.site.portal.settings.current()[0] == 1
    for field, value in changes.items():
        assert (
            value in ("y", "round") or form_of(answer.text)[field] == value.replace("\x00", "\ufffd") or "\x00" in value
        )


def test_all_wrong_fields_are_shown_at_once_and_the_summary_leads_to_them(browser: Browser) -> None:
    text = browser.validate(timeout_s="x", agent_port="y").text
    for name, label in {"timeout_s": "Heartbeat timeout (t)", "agent_port": "Agent port"}.items():
        assert "ft-error" in row(text, name) and f'<a href="#{name}">{label}</a>: must be' in summary(text)
        assert re.search(rf'<input[^>]*aria-describedby="ft-help-{name} ft-error-{name}"[^>]*id="{name}"', text)


def test_addresses_that_are_not_this_server_are_refused(browser: Browser) -> None:
    answer = browser.validate(server1_address="10.9.9.9", server2_address="10.9.9.8")
    assert answer.status_code == 400 and f"FT_OWN_ADDRESS of this server is {OWN}" in summary(answer.text)


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ({}, "failback_hours", "No effect while “First server auto restart as active” is off"),
        ({}, "vip_test", "Needs an IP Balancer VIP address"),
        ({"balancer_kind": "nlb"}, "application_error", "Leave it off with Windows NLB"),
        ({"balancer_kind": "floating", "vip_address": "10.0.0.5"}, "vip_test", "Tells nothing with an own floating"),
    ],
)
def test_a_field_that_a_choice_makes_meaningless_says_so(browser: Browser, changes: dict, name: str, said: str) -> None:
    answer = browser.client.post(EDIT, data=form_of(browser.page()) | changes)
    assert answer.status_code == 200 and said in row(answer.text, name)
    full = {"failback": "y", "vip_address": "10.0.0.5", "balancer_kind": "external"}
    assert "ft-idle" not in browser.client.post(EDIT, data=form_of(browser.page()) | full).text


# --- preview -------------------------------------------------------------------------------------------------------


def test_the_preview_shows_old_and_new_with_units_and_saves_nothing(browser: Browser) -> None:
    answer = browser.validate(interval_s="40", vip_address="10.0.0.5", vip_test="y")
    assert answer.status_code == 200 and "Nothing is saved yet." in answer.text
    assert change(answer.text, "Heartbeat interval (T)") == ["30 s", "40 s"]
    assert change(answer.text, "IP Balancer VIP address") == ["empty", "10.0.0.5"]
    assert change(answer.text, "Test VIP address destination") == ["off", "on"]
    assert "Agent port" not in answer.text
    assert browser.saved == browser.site.portal.settings.current()[1] and browser.site.portal.settings.current()[0] == 1


def test_the_preview_prints_delays_and_bound_of_the_core(browser: Browser) -> None:
    old = browser.saved
    text = browser.validate(interval_s="15", threshold="4", vip_address="10.0.0.5", vip_test="y").text
    new = replace(old, interval_s=15, threshold=4, vip_address="10.0.0.5", vip_test=True)
    expected = [expected_failover_s(s) for s in (old, new)]
    assert expected == [163, 73] and change(text, EXPECTED) == ["2 min 43 s", "73 s"]
    assert worst_failover_s(new) == 85 and change(text, "At worst") == ["2 min 55 s", "85 s"]
    both = change(text, "Both may be active, when only the link between the two servers is cut")
    assert both == ["until the link is healed (no VIP test, no witness)", "75 s"]
    witness = browser.validate(witness="10.0.0.9:6379").text
    assert change(witness, "Both may be active, when only the link between the two servers is cut")[1].startswith("not")


EXPECTED = "Expected failover delay (N·T + t + start of the services, at least the release delay)"


def test_the_preview_draws_both_servers_for_a_crash_and_a_lan_cut_from_the_core(browser: Browser) -> None:
    text = browser.validate(interval_s="20", threshold="3").text
    new = replace(browser.saved, interval_s=20, threshold=3)
    drawings = re.findall(r"<svg class=\"ft-timeline\".*?</svg>", text, re.S)
    assert len(drawings) == 2
    for fault, drawing in zip(Fault, drawings):
        found = forecast(new, fault)
        tree = ElementTree.fromstring(drawing)  # well-formed
        titles = [e.text or "" for e in tree.iter("title")]
        assert tree.get("role") == "img" and f"{found.ready_s:g} s" in titles[0]
        bars = [t.split(":")[0] for e in tree.iter("rect") for t in [e.findtext("title") or ""] if t]
        lan_cut = ["Active", "Stopping", "Standby", "Standby", "Starting", "Active"]
        assert bars == {Fault.CRASH: ["Active", "Dead", "Standby", "Starting", "Active"], Fault.LAN_CUT: lan_cut}[fault]
        assert not re.search(r"\sstyle=|<script|\son\w+=", drawing)
    table = re.sub(r"<[^>]+>", " ", text)
    assert "Bad heartbeat 3 of 3" in table and "its portal says STANDBY" in table and "The services are up" in table
    assert text.count("The two servers are never active at once.") == 2


def test_with_mode_off_the_preview_says_that_nothing_takes_over(make_site: MakeSite) -> None:
    site = make_site()
    site.configure(enabled=False)
    text = Browser(site).validate(threshold="6").text
    assert text.count("Nothing takes over under these settings.") == 2 and "Hot Standby mode is off" in text


def test_a_warning_is_shown_in_the_preview_and_needs_a_reason_that_is_recorded(browser: Browser) -> None:
    shown = browser.validate(interval_s="20", threshold="3")
    assert shown.status_code == 200 and "portal restart" in html.unescape(shown.text)
    refused = browser.save(interval_s="20", threshold="3", override_reason="  ")
    assert refused.status_code == 400 and "Say why it must be so" in refused.text
    assert browser.site.portal.settings.current()[0] == 1
    again = form_of(refused.text, "ft-settings-save")
    assert again["interval_s"] == "20"
    answer = browser.client.post(SETTINGS, data=again | {"override_reason": "lab" + EVIL})
    assert answer.status_code == 302
    assert browser.site.portal.settings.document()["override_reason"] == "lab" + EVIL
    assert "against warnings: lab" in browser.site.log()
    assert "portal restart" in row(browser.page(), "threshold"), "the saved set still breaks the rule"


def test_back_and_change_keeps_everything_that_was_typed(browser: Browser) -> None:
    typed = {"interval_s": "20", "threshold": "3", "failback": "y", "balancer_kind": "none", "failback_hours": "22-5"}
    shown = browser.validate(**typed)
    sent = form_of(shown.text, "ft-settings-save") | {"override_reason": "because"}
    back = browser.client.post(EDIT, data=sent)
    assert back.status_code == 200
    assert form_of(back.text).items() >= (typed | {"override_reason": "because"}).items()
    assert "enabled" in form_of(back.text), "a box that was ticked stays so"


# --- both servers --------------------------------------------------------------------------------------------------


def test_saved_is_not_yet_replicated_and_the_page_says_since_when_the_other_server_has_it(browser: Browser) -> None:
    site = browser.site
    site.portal.settings.acknowledged(1)
    site.agent(peer_heard_s=site.portal.clock.now_s() - 5)
    assert browser.save(threshold="7").status_code == 302
    text = browser.page()
    assert "not yet on server #2" in text and "stops by the smaller and waits by the larger values" in text
    peer = {"cause": "ok", "state": {"settings_revision": 1, "role": "standby"}}
    site.portal.runtime.publish("view", {"peer": peer})
    assert "it was heard and runs by revision 1" in browser.page()
    site.portal.runtime.publish("view", {"peer": {"cause": "timeout", "state": None}})
    assert re.search(r"not heard since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.", browser.page())
    site.portal.settings.acknowledged(2)
    part = browser.page(SETTINGS + "/replication")
    assert re.search(r"on server #2 since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.", part) and "not yet" not in part
    assert len(part.encode()) < 5 * KB


def test_the_first_revision_is_acknowledged_too(make_site: MakeSite) -> None:
    site = make_site()
    site.configure()
    assert "not yet on server #2" in Browser(site).page()
    site.portal.settings.acknowledged(1)
    assert "on server #2 since" in Browser(site).page()


def test_an_agent_that_does_not_tick_sends_nothing_and_the_page_says_so(browser: Browser) -> None:
    browser.site.agent(age_s=90)
    assert "the agent of this server has not ticked lately" in browser.page()
    browser.site.redis.kill()
    assert "the Redis of this server does not answer, so nothing newer is known" in browser.page()


def test_new_addresses_wait_for_both_servers(browser: Browser) -> None:
    browser.site.portal.settings.acknowledged(1)
    shown = browser.validate(witness="10.0.0.9:6379")
    assert "used once both servers have them" in shown.text
    assert browser.save(witness="10.0.0.9:6379").status_code == 302
    assert "the old addresses and the old witness stay in use" in browser.page()


# --- history -------------------------------------------------------------------------------------------------------


def test_the_history_says_who_changed_what_when_and_why(browser: Browser) -> None:
    browser.site.portal.settings.acknowledged(1)
    browser.save(interval_s="20", threshold="3", override_reason="lab only")
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", browser.page(HISTORY))))
    assert "Heartbeat interval (T): 30 s → 20 s" in text and "(N): 5 → 3" in text
    assert "administrator at 127.0.0.1, server1" in text and "Reason: lab only" in text
    assert "not yet" in text and re.search(r"since \d{4}-\d\d-\d\d", text)
    one = browser.page(HISTORY + "/2")
    assert "lab only" in one and "the current one" in one and "Load into the form" not in one
    assert browser.client.get(HISTORY + "/99").status_code == 404
    assert browser.client.get(f"{HISTORY}/{10**30}").status_code == 404


def test_an_old_revision_is_loaded_into_the_form_and_goes_through_the_preview(browser: Browser) -> None:
    browser.site.configure(threshold=9)
    assert change(browser.page(HISTORY + "/1"), "Consecutive failures/successes to switch (N)") == ["9", "5"]
    page = browser.page(SETTINGS + "?revision=1")
    assert "Loaded from revision 1" in page and form_of(page)["threshold"] == "5"
    assert browser.saved.threshold == 9, "nothing is changed by looking"
    shown = browser.client.post(PREVIEW, data=form_of(page))
    assert change(shown.text, "Consecutive failures/successes to switch (N)") == ["9", "5"]
    assert browser.client.post(SETTINGS, data=form_of(shown.text, "ft-settings-save")).status_code == 302
    assert browser.site.portal.settings.current()[0] == 3 and browser.saved.threshold == 5
    assert browser.client.get(SETTINGS + "?revision=77").status_code == 404
    assert browser.client.get(SETTINGS + "?revision=x").status_code == 404


def test_a_long_history_comes_in_pages(browser: Browser) -> None:
    for number in range(2, 29):
        browser.site.configure(threshold=5 + number % 2)
    first = browser.page(HISTORY)
    assert f"{HISTORY}/28" in first and f'{HISTORY}/3"' not in first
    older = browser.page(html.unescape(re.search(r'href="([^"]*below=\d+)"', first)[1]))
    assert f'{HISTORY}/3"' in older and f'{HISTORY}/1"' in older and "Older" not in older


def test_an_edit_that_lost_against_the_other_server_s_is_kept_and_shown(browser: Browser) -> None:
    browser.site.configure(threshold=6)
    document = browser.site.portal.settings.document()
    later = document | {"saved_at": time.time() + 5, "actor": "bob", "values": document["values"] | {"threshold": 8}}
    assert browser.site.portal.settings.adopt(later)
    text = browser.page(HISTORY)
    assert "Edits that lost" in text and "threshold=6" in text and "bob" in text


# --- two at once ---------------------------------------------------------------------------------------------------


def test_two_edits_at_once_the_second_is_told_and_what_it_typed_stays(browser: Browser) -> None:
    mine = form_of(browser.page())
    browser.site.configure(threshold=7)
    for path in (PREVIEW, SETTINGS):
        answer = browser.client.post(path, data=mine | {"threshold": "6"})
        assert answer.status_code == 409
        assert "revision 2 was saved meanwhile by test" in answer.text
        assert "saved meanwhile: 7" in row(answer.text, "threshold") and form_of(answer.text)["threshold"] == "6"
    assert browser.saved.threshold == 7
    shown = browser.client.post(PREVIEW, data=form_of(answer.text))
    assert change(shown.text, "Consecutive failures/successes to switch (N)") == ["7", "6"], "told, then decided"


def test_what_only_the_other_one_changed_is_not_put_back(browser: Browser) -> None:
    mine = form_of(browser.page())
    browser.site.configure(agent_port=2012, failback=True)
    answer = browser.client.post(PREVIEW, data=mine | {"threshold": "6"})
    assert answer.status_code == 409
    again = form_of(answer.text)
    assert (again["agent_port"], again["threshold"], again["failback"]) == ("2012", "6", "y")
    assert "changed meanwhile by the other one to 2012; taken over" in row(answer.text, "agent_port")
    shown = browser.client.post(PREVIEW, data=again)
    assert browser.client.post(SETTINGS, data=form_of(shown.text, "ft-settings-save")).status_code == 302
    assert (browser.saved.agent_port, browser.saved.threshold, browser.saved.failback) == (2012, 6, True)


def test_another_set_under_the_same_number_is_a_conflict_too(browser: Browser) -> None:
    """Both servers were edited while they could not hear each other; the other one's won in the meantime."""
    mine = form_of(browser.page())
    document = browser.site.portal.settings.document()
    later = document | {"saved_at": time.time() + 5, "values": document["values"] | {"threshold": 8}}
    assert browser.site.portal.settings.adopt(later)
    for path in (PREVIEW, SETTINGS):
        assert browser.client.post(path, data=mine | {"agent_port": "2013"}).status_code == 409, path
    assert browser.saved.threshold == 8 and browser.saved.agent_port == 2011
