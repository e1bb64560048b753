"""Forced takeover (M2) on the page and on the command line, and the other commands that order."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ftplugin.core.terms import Role

from .conftest import MakeSite, Site
from .test_admin import ADMIN, Browser, browser
from .test_maintenance import order_bodies
from .test_switch_checks import seen
from .test_switching import publish_switch

__all__ = ["browser"]  # fixtures


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
