"""What the portal's own functions do before and after a request: monitor and node API of both servers do not depend on it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask, Response, abort, redirect, request
from werkzeug.middleware.proxy_fix import ProxyFix

from ftplugin import FaultTolerance, protocol
from ftplugin.core.terms import Designation, Role

from .conftest import KEY, Site

PATHS = {
    "/ft/monitor?mod=NONE": (200, "OK"),
    "/ft/monitor?mod=FT": (200, "ACTIVE"),
    "/ft/monitor?MOD=ft": (200, "ACTIVE"),
    "/ft/monitor?mod=IPSWS": (200, "IPSWS=OK"),
    "/ft/active": (200, "ACTIVE"),
    "/ft/standby": (503, "ACTIVE"),
    "/ft/live": (200, "OK"),
    "/ft/ready": (200, "OK"),
    "/IPSCFG/Admin/MONITOR.aspx?mod=FT": (200, "ACTIVE"),
}


@pytest.fixture
def active(site: Site) -> Site:
    site.role(Role.ACTIVE)
    site.agent()
    site.health()
    return site


def to_login() -> Any:
    return redirect("/login")


def from_a_database_that_is_gone() -> Any:
    raise RuntimeError("no connection to the portal's database")


@pytest.mark.parametrize("before", [to_login, from_a_database_that_is_gone])
def test_a_log_in_or_a_broken_database_before_each_request_does_not_answer_for_the_monitor(
    active: Site, before: Any
) -> None:
    active.app.before_request(before)
    for path, expected in PATHS.items():
        answer = active.client.get(path)
        assert (answer.status_code, answer.text) == expected, path
        assert answer.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in answer.headers
    assert active.client.get("/ft/admin/").status_code in (302, 500), "the pages are behind it as ever"


def test_a_portal_that_hangs_before_each_request_still_answers_the_heartbeat(active: Site) -> None:
    """Else both servers, which have one database, would lose their leases together."""
    release = threading.Event()
    active.app.before_request(lambda: release.wait(60.0) and None)
    answers: list[Any] = []
    ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], Designation.SERVER2, "n" * 12)}
    client = active.app.test_client()
    asking = threading.Thread(
        target=lambda: answers.append(client.get("/ft/monitor?mod=IPSWS", headers=ask)), daemon=True
    )
    asking.start()
    asking.join(10.0)
    release.set()
    assert answers and answers[0].text == "IPSWS=OK" and protocol.STATE_HEADER in answers[0].headers


def test_head_and_options_are_answered_and_other_methods_are_refused(active: Site) -> None:
    for path, (status, body) in PATHS.items():
        head = active.client.head(path)
        assert (head.status_code, head.data, head.content_length) == (status, b"", len(body)), path
        assert active.client.options(path).status_code == status, path
        assert active.client.post(path).status_code == 405, path


def test_what_the_portal_adds_to_every_answer_is_not_paid_for_at_each_heartbeat(active: Site) -> None:
    @active.app.after_request
    def add(response: Response) -> Response:
        response.headers["X-Portal"] = "x" * 500
        return response

    assert "X-Portal" not in active.client.get("/ft/live").headers
    assert "X-Portal" in active.client.get("/ft/admin/").headers


def test_an_error_of_a_page_reaches_the_portals_own_error_handler(active: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(active.portal.role, "active", lambda: 1 / 0)
    active.app.register_error_handler(ZeroDivisionError, lambda error: ("told to the portal", 500))
    assert active.client.get("/ft/active").text == "told to the portal"


def test_a_rule_of_the_portals_own_at_a_path_of_the_monitor_stays(make_app: Any) -> None:
    app = make_app()
    app.add_url_rule("/ft/live", "mine", lambda: "mine")
    FaultTolerance(app, authorize=lambda permission: True)
    assert app.test_client().get("/ft/live").text == "mine"
    assert app.test_client().get("/ft/monitor?mod=NONE").text == "OK"


def behind_a_proxy(app: Flask) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)  # type: ignore[method-assign]


@pytest.mark.parametrize("mounted_first", [True, False])
def test_the_address_that_a_proxy_tells_counts_wherever_the_portal_has_put_its_layer(
    make_app: Any, mounted_first: bool
) -> None:
    app = make_app(FT_MONITOR_ALLOW=["10.0.0.0/24"])
    if not mounted_first:
        behind_a_proxy(app)
    FaultTolerance(app, authorize=lambda permission: True)
    if mounted_first:
        behind_a_proxy(app)
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = "203.0.113.1"
    for address, status in (("10.0.0.7", 200), ("198.51.100.9", 403)):
        answer = client.get("/ft/monitor?mod=NONE", headers={"X-Forwarded-For": address})
        assert answer.status_code == status, (address, mounted_first)


def test_a_portal_with_a_layer_inside_answers_by_its_views(make_app: Any) -> None:
    app = make_app()
    behind_a_proxy(app)
    FaultTolerance(app, authorize=lambda permission: True)
    app.before_request(lambda: abort(401) if request.path != "/ft/live" else None)
    assert app.test_client().get("/ft/monitor?mod=NONE").status_code == 401
    assert app.test_client().get("/ft/live").status_code == 200


# --- node API ------------------------------------------------------------------------------------------------------


def asked(site: Site, path: str) -> Any:
    header = protocol.make_ask([KEY], Designation.SERVER2, protocol.new_nonce())
    return site.client.get(path, headers={protocol.ASK_HEADER: header})


@pytest.mark.parametrize("before", [to_login, from_a_database_that_is_gone])
def test_a_log_in_or_a_broken_database_before_each_request_stops_no_command(active: Site, before: Any) -> None:
    """Else the fence had one channel less, with every heartbeat good."""
    active.app.before_request(before)
    state = asked(active, "/ft/node/state")
    assert state.status_code == 200 and protocol.STATE_HEADER in state.headers
    assert asked(active, "/ft/node/settings").status_code == 200
    answer = active.client.post("/ft/node/command", data=b"no command")
    assert answer.status_code == 400 and answer.json["cause"] == "unreadable", answer.text


def test_a_page_of_the_portals_own_below_the_node_api_keeps_its_log_in(active: Site) -> None:
    active.app.add_url_rule("/ft/node/mine", "mine", lambda: "secret")
    active.app.before_request(to_login)
    assert active.client.get("/ft/node/mine").status_code == 302
    assert active.client.get("/ft/node/nothing").status_code == 302
    assert active.client.post("/ft/node/state").status_code == 302, "a wrong method is the portal's to answer"


def test_what_the_portal_closes_after_a_request_is_closed_after_a_command_too(active: Site) -> None:
    closed: list[Any] = []
    active.app.teardown_request(closed.append)
    assert asked(active, "/ft/node/state").status_code == 200
    assert closed == [None]


def test_an_error_of_the_node_api_is_told_to_the_portal(active: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(active.portal.settings, "document", lambda: 1 / 0)
    active.app.register_error_handler(500, lambda error: ("told to the portal", 500))
    assert asked(active, "/ft/node/settings").text == "told to the portal"
