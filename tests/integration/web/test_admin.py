"""The admin page as an administrator uses it (spec 4, guide 3 and 6.1.2)."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import pytest
from flask import Flask, redirect
from flask_login import LoginManager, UserMixin, login_user

from ftplugin import FaultTolerance
from ftplugin.core.records import StepResult
from ftplugin.core.terms import Phase, Role

from .conftest import OWN, MakeSite, Site

ADMIN = "/ft/admin/"
SETTINGS = ADMIN + "settings"
EVIL = "<script>alert(1)</script>"


def form_of(text: str, css: str = "ft-settings") -> dict[str, str]:
    """Fields of the page's form of this class as a browser would send them."""
    form = text[text.index(f'class="{css}"') :]
    form = form[: form.index("</form>")]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        parts = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if parts.get("type") == "checkbox" and " checked" not in tag:
            continue
        found[parts["name"]] = html.unescape(parts.get("value", ""))
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'selected[^>]*value="(\w*)"', options)
        found[name] = chosen[1] if chosen else ""
    return found


class Browser:
    """A client that keeps its cookies."""

    def __init__(self, site: Site) -> None:
        self.site, self.client = site, site.app.test_client()

    def page(self, path: str = ADMIN) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def save(self, **changes: Any) -> Any:
        return self.client.post(SETTINGS, data=form_of(self.page(SETTINGS)) | changes)

    def token(self, path: str) -> str:
        return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.page(path))[1]


@pytest.fixture
def browser(site: Site) -> Browser:
    site.agent()
    site.peer()
    return Browser(site)


# --- who may -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "status", "log", "switch?target=server2"])
def test_without_any_check_nobody_gets_in_and_the_log_says_how(make_site: MakeSite, path: str, caplog: Any) -> None:
    site = make_site(authorize=None)
    assert site.client.get(ADMIN + path).status_code == 403
    assert "authorize=" in caplog.text


@pytest.mark.parametrize(
    "path", ["settings", "switch", "release-hold", "acknowledge-freeze", "pause", "resume", "drain", "undrain"]
)
def test_who_may_only_view_changes_nothing(make_site: MakeSite, path: str) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    site.configure()
    assert site.client.get(ADMIN).status_code == 200
    assert site.client.post(ADMIN + path).status_code == 403


def test_a_response_of_authorize_is_sent(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: redirect("/login"))
    assert site.client.get(ADMIN).location == "/login"


def test_something_true_that_is_not_true_lets_nobody_in(make_site: MakeSite) -> None:
    assert make_site(authorize=lambda permission: 1).client.get(ADMIN).status_code == 403


def test_flask_login_is_asked(make_site: MakeSite) -> None:
    site = make_site(authorize=None)
    manager = LoginManager(site.app)

    class User(UserMixin):
        id = "ann"

    manager.user_loader(lambda name: User())
    site.app.add_url_rule("/in", view_func=lambda: str(login_user(User())))
    client = site.app.test_client()
    assert client.get(ADMIN).status_code == 401
    client.get("/in")
    assert client.get(ADMIN).status_code == 200


@pytest.mark.parametrize(
    "path", ["settings", "switch", "release-hold", "acknowledge-freeze", "pause", "resume", "drain", "undrain"]
)
def test_a_post_without_csrf_token_changes_nothing(browser: Browser, path: str) -> None:
    browser.site.app.config["WTF_CSRF_ENABLED"] = False  # a portal's switch does not open this page
    browser.site.portal.journal.set_manual_hold(True)
    browser.site.role(Role.STANDBY)
    for name in ("pause", "drain"):  # by somebody else, to be ended or replaced
        browser.site.portal.journal.set_standing(name, {"owner": "ben", "reason": "before"})
    data = form_of(browser.page(SETTINGS)) | {
        "threshold": "9",
        "target": "server1",
        "reason": "r",
        "expected_active": "",
    }
    data.pop("csrf_token")
    browser.client.post(ADMIN + path, data=data)
    assert browser.site.portal.settings.current()[0] == 1
    assert browser.site.orders() == 0
    assert browser.site.portal.journal.manual_hold()
    assert browser.site.portal.runtime.fetch("ack_freeze") is None
    assert {d["owner"] for d in (browser.site.portal.journal.standing() or {}).values()} == {"ben"}
    assert len(browser.site.portal.journal.standing() or {}) == 2


def test_second_init_app_says_what_to_do(site: Site) -> None:
    with pytest.raises(RuntimeError, match="call init_app once"):
        FaultTolerance(site.app)


def test_two_apps_in_one_process(make_site: MakeSite) -> None:
    assert make_site().portal is not make_site(FT_PREFIX="02").portal


def test_missing_secret_key_is_an_error_that_is_logged(make_site: MakeSite, caplog: Any) -> None:
    site = make_site(SECRET_KEY=None)
    assert site.client.get(ADMIN).status_code == 500
    assert "SECRET_KEY" in caplog.text


# --- status --------------------------------------------------------------------------------------------------------


def server(text: str, number: int) -> str:
    return html.unescape(text.split("<section")[number].split("</section>")[0])


def test_both_servers_in_the_guide_s_words(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    text = browser.page()
    assert "Status: Active (Primary)" in server(text, 1) and "-> Standby (Backup)" in server(text, 1)
    assert "Status: Standby (Backup)" in server(text, 2) and "-> Active (Primary)" in server(text, 2)
    browser.site.peer(cause="connection error")
    text = browser.page(ADMIN + "status")
    assert "Status: Error" in server(text, 2) and "connection error" in server(text, 2)
    assert "href" not in server(text, 2)


def test_a_start_shows_its_progress(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE, phase=Phase.STARTING)
    reading = {"state": "starting", "progress": 3, "total": 8, "detail": ""}
    browser.site.portal.runtime.publish("services", {"cti": reading})
    assert "starting 3/8" in server(browser.page(), 1)


def test_old_data_is_not_shown_as_new(browser: Browser) -> None:
    browser.site.peer(Role.ACTIVE)
    browser.site.portal.runtime.publish("decision", {"rule": "", "sentence": "all is well", "at_wall_s": time.time()})
    browser.site.agent(age_s=61)
    text = browser.page()
    assert "has not ticked for 61 s" in text and "Old, from" in text
    assert "Status: Error" in server(text, 1) and "not known now" in server(text, 2)
    assert "ft-button" not in server(text, 1) + server(text, 2)


def test_dead_redis_and_dead_agent_are_said(browser: Browser) -> None:
    browser.site.redis.kill()
    text = browser.page()
    assert "The Redis of this server does not answer" in text
    assert text.count("Status: Error") == 2


def test_decision_vip_delays_and_the_last_switch_are_shown(browser: Browser) -> None:
    site = browser.site
    site.portal.runtime.publish(
        "decision", {"rule": "F1", "sentence": f"waits {EVIL}", "at_wall_s": time.time(), "refused": "", "waits": ""}
    )
    journal = site.portal.journal
    assert journal.begin(switch_id="1", kind="promote", rule="F1", reason=EVIL, epoch=4, actor=EVIL)
    assert journal.step("1", 0, StepResult(step="fence", outcome="ok", duration_s=0.5, detail=EVIL))
    assert journal.end("1", "done", Role.ACTIVE, EVIL)
    text = browser.page()
    assert (
        "<b>F1</b>" in text
        and '<th scope="row">fence</th><td data-label="Result">ok</td><td data-label="Duration">0.50 s</td>' in text
    )
    assert "until healed (no VIP test, no witness)" in text and "163.0 s, at worst" in text
    assert EVIL not in text and html.escape(EVIL) in text


def test_pages_hold_no_inline_script_or_style(browser: Browser) -> None:
    for path in (ADMIN, ADMIN + "status", ADMIN + "log", ADMIN + "switch?target=server1"):
        answer = browser.client.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", answer.text), path
    for name in ("ft.js", "ft.css"):
        assert browser.client.get(f"{ADMIN}static/{name}").status_code == 200


# --- log -----------------------------------------------------------------------------------------------------------


def test_the_day_s_log_is_shown_as_text(browser: Browser) -> None:
    browser.site.portal.report.line("agent", f"saw {EVIL}\nand more")
    text = browser.page(ADMIN + "log")
    assert EVIL not in text
    assert re.search(r"\d{4}/\d\d/\d\d_\d\d:\d\d:\d\d:\d{3} agent : saw <script>.* and more", html.unescape(text))


@pytest.mark.parametrize(
    "day", ["../ft.sqlite3", "FT_REPORT_250101.txt/../x", "/etc/passwd", "FT_REPORT_２５０１０１.txt", "a\0"]
)
def test_no_file_but_a_day_s_log(browser: Browser, day: str) -> None:
    assert browser.client.get(ADMIN + "log", query_string={"day": day}).status_code == 400
    assert browser.client.get(ADMIN + "log", query_string={"day": "FT_REPORT_000101.txt"}).status_code == 404


def test_urls_follow_the_vip_only_when_asked(site: Site) -> None:
    assert site.portal.external_url("/x") == f"http://{OWN}/x"
    site.configure(vip_address="https://10.0.0.5:8443", vip_urls=True)
    assert site.portal.external_url("x") == "https://10.0.0.5:8443/x"


def test_a_portal_may_replace_the_frame(make_site: MakeSite, tmp_path: Any) -> None:
    site = make_site()
    folder = tmp_path / "templates" / "ftplugin"
    folder.mkdir(parents=True)
    (folder / "base.html").write_text("OWN FRAME {% block content %}{% endblock %}")
    assert isinstance(site.app, Flask)
    site.app.jinja_loader.searchpath.insert(0, str(tmp_path / "templates"))
    assert site.client.get(ADMIN).text.startswith("OWN FRAME")
