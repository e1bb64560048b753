"""Bad input on the settings screen, and a database that does not take it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import time
from collections.abc import Iterator

import pytest
from markupsafe import escape

from ftplugin.core.settings import Settings

from .conftest import MakeSite, Site
from .test_admin import form_of
from .test_settings_page import Browser, EDIT, EVIL, HISTORY, KB, PREVIEW, SETTINGS, TEXT_FIELDS, browser, summary

__all__ = ["browser"]  # fixtures


def no_markup(text: str) -> bool:
    return "<script>alert" not in text and "<img src=x" not in text


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "override_reason", "base_revision", "base_mark"])
def test_hostile_text_in_each_field_never_comes_out_as_markup(browser: Browser, name: str) -> None:
    for path in (PREVIEW, SETTINGS, EDIT):
        answer = browser.client.post(path, data=form_of(browser.page()) | {name: EVIL})
        assert answer.status_code in (200, 302, 400, 409) and no_markup(answer.text), path
    assert no_markup(browser.page()) and no_markup(browser.page(HISTORY))


@pytest.mark.parametrize("name", [n for n in TEXT_FIELDS if isinstance(getattr(Settings(), n), (str, tuple))])
def test_a_hostile_value_that_came_from_the_other_server_is_shown_as_text(browser: Browser, name: str) -> None:
    document = browser.site.portal.settings.document()
    value = [EVIL] if name == "lan_references" else EVIL
    hostile = {"revision": 2, "values": document["values"] | {name: value}, "origin": EVIL, "actor": EVIL}
    took = browser.site.portal.settings.adopt(document | hostile | {"override_reason": EVIL})
    assert took is (name != "balancer_kind")
    for path in (SETTINGS, HISTORY, HISTORY + "/1", SETTINGS + "?revision=1", SETTINGS + "/replication"):
        assert no_markup(browser.page(path)), path
    if took:
        assert str(escape(EVIL)) in browser.page(HISTORY) and no_markup(browser.page(HISTORY + "/2"))
        assert no_markup(browser.validate(agent_port="2012").text)


@pytest.mark.parametrize("length", [900, 100 * KB])
@pytest.mark.parametrize("name", [*TEXT_FIELDS, "override_reason", "base_revision"])
def test_a_long_text_is_refused_in_a_short_sentence(browser: Browser, name: str, length: int) -> None:
    began_s = time.monotonic()
    answer = browser.client.post(SETTINGS, data=form_of(browser.page()) | {name: "x" * length})
    assert answer.status_code == 400 and time.monotonic() - began_s < 3
    said = re.findall(r'class="ft-error"[^>]*>([^<]*)<', answer.text) + re.findall(
        r"<strong>([^<]*)</strong>", answer.text
    )
    assert said and max(map(len, said)) < 500
    assert browser.site.portal.settings.current()[0] == 1


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "override_reason"])
def test_a_text_of_1_mb_is_refused_and_nothing_is_saved(browser: Browser, name: str) -> None:
    for path in (PREVIEW, SETTINGS, EDIT):
        answer = browser.client.post(path, data=form_of(browser.page()) | {name: "<" * KB * KB})
        assert answer.status_code == 413 and "Nothing was saved: more was sent than" in answer.text
        assert len(answer.text) < 100 * KB
    assert browser.site.portal.settings.current()[0] == 1


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "override_reason"])
def test_nul_bytes_are_refused_with_the_field_named(browser: Browser, name: str) -> None:
    data = form_of(browser.page()) | {name: "1\x002"}
    answer = browser.client.post(SETTINGS, data=data)
    assert answer.status_code == 400 and "U+0000" in summary(answer.text) and f'href="#{name}"' in answer.text
    assert browser.site.portal.settings.current()[0] == 1


@pytest.mark.parametrize("data", [{}, {"csrf_token": "x"}, {"base_revision": "-1"}, {"base_revision": "9" * 40}])
def test_a_form_without_token_or_base_changes_nothing(browser: Browser, data: dict) -> None:
    full = form_of(browser.page())
    sent = data if "base_revision" not in data else full | data
    for path in (SETTINGS, PREVIEW, EDIT):
        answer = browser.client.post(path, data=sent)
        assert answer.status_code == 400 and "Nothing" in answer.text
    assert browser.site.portal.settings.current()[0] == 1


def test_an_expired_token_keeps_what_was_typed_and_the_next_try_works(browser: Browser) -> None:
    typed = form_of(browser.page()) | {"threshold": "7", "failback": "y"}
    with browser.client.session_transaction() as session:
        session.clear()  # the portal's session has ended
    answer = browser.client.post(PREVIEW, data=typed)
    assert answer.status_code == 400 and "What you typed is kept" in answer.text
    again = form_of(answer.text)
    assert (again["threshold"], again["failback"]) == ("7", "y")
    shown = browser.client.post(PREVIEW, data=again)
    assert shown.status_code == 200, shown.text
    assert browser.client.post(SETTINGS, data=form_of(shown.text, "ft-settings-save")).status_code == 302
    assert browser.saved.threshold == 7


@pytest.fixture
def lock(site: Site) -> Iterator[sqlite3.Connection]:
    """Another program that holds the database of this node."""
    link = sqlite3.connect(site.portal.database.url.database, isolation_level=None)
    yield link
    if link.in_transaction:
        link.execute("ROLLBACK")
    link.close()


def test_a_locked_database_is_said_in_time_and_what_was_typed_stays(browser: Browser, lock: sqlite3.Connection) -> None:
    shown = browser.validate(threshold="7")
    lock.execute("BEGIN EXCLUSIVE")
    began_s = time.monotonic()
    answer = browser.client.post(SETTINGS, data=form_of(shown.text, "ft-settings-save"))
    assert answer.status_code == 503 and time.monotonic() - began_s < 3
    assert "did not take it" in answer.text and form_of(answer.text)["threshold"] == "7"
    assert "settings not saved" in browser.site.log()
    lock.execute("ROLLBACK")
    assert browser.client.post(SETTINGS, data=form_of(answer.text)).status_code == 302
    assert browser.saved.threshold == 7


def test_a_database_that_cannot_be_read_is_said_on_every_page_of_the_settings(
    browser: Browser, lock: sqlite3.Connection
) -> None:
    typed = form_of(browser.page()) | {"threshold": "7"}
    browser.site.portal.database.close()
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")
    lock.execute("BEGIN EXCLUSIVE")
    time.sleep(0.25)  # what was read is kept for 0.2 s
    began_s = time.monotonic()
    page = browser.client.get(SETTINGS)
    assert page.status_code == 200 and time.monotonic() - began_s < 5
    other = sqlite3.connect(lock.execute("PRAGMA database_list").fetchone()[2], timeout=0.1)
    with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT count(*) FROM ft_settings").fetchone()  # else nothing is shown below
    assert "cannot be read now" in page.text
    answer = browser.client.post(PREVIEW, data=typed)
    assert answer.status_code == 503 and form_of(answer.text)["threshold"] == "7"
    history = browser.client.get(HISTORY)
    assert history.status_code == 503 and "cannot be read now" in history.text


def test_who_may_only_view_sees_the_settings_and_changes_nothing(make_site: MakeSite) -> None:
    site = make_site(authorize=lambda permission: permission == "view")
    site.configure()
    browser = Browser(site)
    text = browser.page()
    assert ">Validate<" not in text and "but not change them" in text
    for path in (SETTINGS, PREVIEW, EDIT):
        assert browser.client.post(path, data=form_of(text)).status_code == 403
    assert browser.client.get(HISTORY).status_code == 200


def test_no_page_of_the_settings_holds_inline_script_or_style(browser: Browser) -> None:
    texts = [browser.page(p) for p in (SETTINGS, HISTORY, HISTORY + "/1")] + [browser.validate(interval_s="20").text]
    for text in texts:
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", text)
    assert browser.client.get("/ft/admin/static/ft-settings.js").status_code == 200
