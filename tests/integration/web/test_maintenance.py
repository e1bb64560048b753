"""Pause, resume, drain and its end: on the page, durable, with wrong input named (spec 5.6)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis

from ftplugin.core.terms import Role
from ftplugin.standing import OrderError, in_force, order

from .conftest import Site
from .test_admin import ADMIN, EVIL, Browser, browser

__all__ = ["browser"]  # the fixture of the page's tests


def post(browser: Browser, path: str, **data: str) -> Any:
    return browser.client.post(ADMIN + path, data={"csrf_token": browser.token(ADMIN + "switching")} | data)


def order_bodies(site: Site) -> list[str]:
    """Orders that wait for the switch worker, newest first, as text."""
    raw = redis.Redis(port=site.redis.port).lrange(site.portal.keys.queue("switch"), 0, -1)
    return [base64.b64decode(json.loads(message)["body"]).decode() for message in raw]


def test_a_pause_is_kept_with_owner_reason_and_expiry_and_both_servers_are_told(browser: Browser) -> None:
    site = browser.site
    assert post(browser, "pause", reason=f" new switch {EVIL} ", minutes="90").status_code == 302
    kept = site.portal.journal.standing()["pause"]
    assert kept["owner"] and kept["reason"] == f"new switch {EVIL}" and kept["duration_s"] == 5400
    assert site.portal.runtime.fetch("pause") == kept
    assert '"command": "pause"' in order_bodies(site)[0] and '"minutes": 90' in order_bodies(site)[0]
    page = browser.page()
    assert f"Paused by {kept['owner']} until about" in page and EVIL not in page
    assert site.portal.settings.current()[0] == 1, "stored apart from the settings"


def test_a_pause_outlives_its_redis_and_ends_with_resume(browser: Browser) -> None:
    site = browser.site
    post(browser, "pause", reason="rack")
    site.portal.runtime.client.flushall()
    assert "Paused by" in browser.page() and "until about" not in browser.page()
    assert post(browser, "resume").status_code == 302
    assert site.portal.journal.standing() == {} and "Paused by" not in browser.page()
    assert '"command": "resume"' in order_bodies(site)[0]


@pytest.mark.parametrize("minutes", ["0", "10081", "-5", "1.5", "soon", "٣", "9" * 30])
def test_wrong_minutes_are_named_with_value_and_way_out(browser: Browser, minutes: str) -> None:
    answer = post(browser, "pause", reason="rack", minutes=minutes)
    assert answer.status_code == 400 and browser.site.portal.journal.standing() == {}
    assert "Minutes must be" in answer.text and "1 to 10080, or empty" in answer.text
    assert minutes[:10] in answer.text and 'value="rack"' in answer.text, "what was entered is kept"
    assert browser.site.orders() == 0


@pytest.mark.parametrize(
    ("path", "reason", "said"),
    [
        ("pause", "", "Reason is empty; say why"),
        ("drain", "  ", "Reason is empty; say why"),
        ("drain", "x" * 501, "Reason has 501 characters; use at most 500"),
    ],
)
def test_a_reason_is_needed(browser: Browser, path: str, reason: str, said: str) -> None:
    browser.site.role(Role.STANDBY)
    answer = post(browser, path, reason=reason)
    assert answer.status_code == 400 and said in answer.text and browser.site.portal.journal.standing() == {}


def test_a_database_that_does_not_take_it_is_named_and_nothing_is_paused(browser: Browser) -> None:
    token = browser.token(ADMIN + "switching")
    with browser.site.portal.database.transaction() as held:
        held.exec_driver_sql("INSERT INTO ft_event (at_wall_s, name, facts) VALUES (0, 'held', '{}')")
        answer = browser.client.post(ADMIN + "pause", data={"csrf_token": token, "reason": "rack"})
    assert answer.status_code == 503 and "did not take it; nothing is paused" in answer.text
    assert browser.site.portal.runtime.fetch("pause") is None


def test_a_drained_standby_server_is_not_ready_and_says_who_drained_it(browser: Browser) -> None:
    site = browser.site
    site.role(Role.STANDBY)
    assert site.client.get("/ft/ready").status_code == 200
    assert post(browser, "drain", reason="new disk").status_code == 302
    ready = site.client.get("/ft/ready")
    assert ready.status_code == 503 and "drained by" in ready.text
    assert (site.client.get("/ft/active").status_code, site.client.get("/ft/live").status_code) == (503, 200)
    assert "This server is drained by" in browser.page() and "new disk" in browser.page()
    assert site.orders() == 0, "it is standby: nothing to hand over, and the drain is of this server alone"
    assert post(browser, "undrain").status_code == 302
    assert site.client.get("/ft/ready").status_code == 200 and site.portal.journal.standing() == {}


def test_draining_the_active_server_orders_the_switchover_first(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    post(browser, "drain", reason="new disk")
    (body,) = order_bodies(browser.site)
    assert '"target": "server2"' in body and '"expected_active": "server1"' in body and "new disk" in body
    assert "It is still active" in browser.page()


def test_the_active_server_is_not_drained_when_nobody_can_take_over(browser: Browser) -> None:
    browser.site.role(Role.ACTIVE)
    browser.site.peer(cause="connection error")
    answer = post(browser, "drain", reason="new disk")
    assert answer.status_code == 409 and "server #2 cannot take over now (connection error)" in answer.text
    assert browser.site.portal.journal.standing() == {} and browser.site.orders() == 0


def test_an_order_counts_until_its_time_is_over_also_after_a_reboot() -> None:
    made = order("ann", "rack", 10, now_s=5000.0, boot_id="a", wall_s=1e9)
    assert in_force(made, "a", 5599.9) and not in_force(made, "a", 5600.0)
    assert in_force(made, "b", 599.9) and not in_force(made, "b", 600.0), "after a reboot it counts from the boot"
    endless = order("ann", "rack", None, now_s=5000.0, boot_id="a", wall_s=1e9)
    assert in_force(endless, "b", 1e9) and in_force(None, "a", 0) is None


@pytest.mark.parametrize("minutes", [0, -1, 10_081, True])
def test_an_order_from_the_peer_is_checked_too(minutes: int) -> None:
    with pytest.raises(OrderError, match=r"minutes: must be 1 to 10080, or empty .*not"):
        order("ann", "rack", minutes, now_s=0, boot_id="a", wall_s=0)
