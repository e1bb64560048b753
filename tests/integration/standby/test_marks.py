"""What can be marked, and what is told when a mark cannot work. And the URLs that the portal gives to phones."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from ftplugin import FaultTolerance
from ftplugin.standby import Limits
from tests.parts import eventually

from .conftest import Portals
from .pair import Pair, ask

WITHOUT_VIP = {"vip_address": "", "vip_urls": False}


@pytest.mark.parametrize("path", ["/hidden", "/class", "/outer/inside"])
def test_views_of_every_kind_run_on_the_active_server(pair: Pair, path: str) -> None:
    for asked in (pair.one, pair.two):
        assert ask(asked, path).text.split()[0] == pair.one


def test_a_decorator_that_hides_the_mark_still_passes_the_body_on(pair: Pair) -> None:
    assert ask(pair.two, "/hidden", "POST", b"text", Content_Type="text/plain").text == f"{pair.one} text"


def test_a_body_read_before_is_not_passed_on_empty(
    pair: Pair, portals: Portals, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(pair.one, "/taken", "POST", b"text", Content_Type="text/plain").text == pair.one
    assert ask(pair.two, "/taken", "POST", b"text", Content_Type="text/plain").status == 500
    assert "the body of taken was read before active_only could pass it on" in caplog.text
    assert portals.apps[0].extensions["ran"] == ["/taken"], "the active server was asked once, directly"


@pytest.mark.parametrize(
    "wrong, kind, words",
    [
        (lambda ft: ft.active_only(by="guess"), ValueError, "must be one of proxy, redirect, phone"),
        (lambda ft: ft.active_only("view"), TypeError, "neither a view function nor a blueprint"),
        (lambda ft: ft.active_only(dict), TypeError, "as_view"),
        (lambda ft: ft.active_only(limits=Limits(idle_s=0)), ValueError, "limits.idle_s=0: must be a number above 0"),
        (lambda ft: FaultTolerance(forwards_max=0), ValueError, "forwards_max=0"),
    ],
)
def test_a_wrong_mark_is_refused_with_its_reason(wrong: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        wrong(FaultTolerance())


def test_a_marked_view_in_a_portal_without_the_plugin_does_not_run() -> None:
    app = Flask("bare")
    app.add_url_rule("/x", view_func=FaultTolerance().active_only(lambda: "ran"))
    app.testing = True
    with pytest.raises(RuntimeError, match="call init_app"):
        app.test_client().get("/x")


@pytest.mark.parametrize(
    "settings, url",
    [
        ({}, "http://{own}/phone?a=1"),
        ({"vip_address": "10.0.0.5"}, "http://{own}/phone?a=1"),
        ({"vip_address": "10.0.0.5", "vip_urls": True}, "http://10.0.0.5/phone?a=1"),
        ({"vip_address": "https://[2001:db8::5]:8443", "vip_urls": True}, "https://[2001:db8::5]:8443/phone?a=1"),
    ],
    ids=["no VIP", "VIP not for URLs", "VIP", "VIP with all parts"],
)
def test_urls_for_phones_follow_the_setting(pair: Pair, portals: Portals, settings: dict[str, Any], url: str) -> None:
    pair.pen2.settings(pair.one, pair.two, **(WITHOUT_VIP | settings))
    portal, wanted = portals.apps[1].extensions["ftplugin"], url.format(own=pair.two)
    eventually(lambda: portal.settings.current() and portal.external_url("/phone?a=1") == wanted, 10, url)
    assert portal.external_url("/phone?a=1") == portal.external_url("phone?a=1") == wanted
    assert portal.external_url("//evil.example/x") == wanted.partition("/phone")[0] + "/evil.example/x"
