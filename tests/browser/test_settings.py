"""The settings are changed in the browser: wrong input, warnings, preview, saved on both servers, two administrators at once."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.integration.cluster.harness import SLACK_S, Nodes

from .axe import serious_violations
from .conftest import Visit

SAVED = re.compile(r"Saved as revision \d+")


def validate(page: Page, **values: str) -> None:
    """Type each value into the field with that name, then press Validate."""
    for name, value in values.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name="Validate").click()


def save(page: Page, reason: str) -> None:
    """Past the preview, with a reason, since the short times of a test break rules."""
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    page.get_by_label("Reason to save all the same").fill(reason)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text=SAVED)).to_be_visible()


def test_wrong_value_is_explained_beside_its_field_and_nothing_is_saved(pair: Nodes, visit: Visit) -> None:
    before = pair.settings_revision(2)
    page = visit(2).open()
    page.get_by_role("link", name="Settings").first.click()
    validate(page, timeout_s="5")
    field = page.get_by_label("Heartbeat timeout (t)")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("must not exceed"))
    expect(field).to_have_value("5")
    expect(page.get_by_role("alert").filter(has_text="Nothing was saved")).to_be_focused()
    found = serious_violations(page)
    assert not found, found
    assert pair.settings_revision(2) == before


def test_change_is_previewed_saved_with_a_reason_and_seen_on_the_other_server(pair: Nodes, visit: Visit) -> None:
    page = visit(1).open("/settings")
    validate(page, portal_restart_s="3", release_delay_s="2")
    expect(page.get_by_role("row", name=re.compile("Portal restart time.*1.*3"))).to_be_visible()
    expect(page.get_by_role("img")).to_have_count(2)  # the timelines of a crash and of a LAN cut
    found = serious_violations(page)
    assert not found, found
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Reason to save all the same")).to_have_attribute("aria-invalid", "true")
    save(page, "short times for a test")
    expect(page.get_by_text(re.compile("on server #2 since"))).to_be_visible(timeout=SLACK_S * 1000)
    other = visit(2).open("/settings")
    expect(other.get_by_label("Portal restart time")).to_have_value("3")
    expect(other.get_by_label("Call manager release delay")).to_have_value("2")


def test_second_of_two_administrators_is_told_and_overwrites_nothing(pair: Nodes, visit: Visit) -> None:
    first, second = visit(1).open("/settings"), visit(1).open("/settings")
    validate(first, flap_budget="90")
    save(first, "the first one")
    validate(second, flap_budget="80")
    expect(second.get_by_role("alert").filter(has_text="saved meanwhile by admin")).to_be_visible()
    expect(second.get_by_label("Automatic switches allowed")).to_have_value("80")
    expect(second.get_by_text("saved meanwhile: 90")).to_be_visible()
    assert pair.settings().flap_budget == 90


def test_form_without_its_token_is_refused_in_words_and_keeps_what_was_typed(pair: Nodes, visit: Visit) -> None:
    before = pair.settings_revision(1)
    page = visit(1).open("/settings")
    page.evaluate("document.querySelectorAll('input[name=csrf_token]').forEach(field => field.remove())")
    validate(page, flap_budget="70")
    expect(page.get_by_role("alert").filter(has_text="the form was too old or came from elsewhere")).to_be_visible()
    expect(page.get_by_label("Automatic switches allowed")).to_have_value("70")
    assert pair.settings_revision(1) == before
