"""Who is active is known or it is not: then nobody is asked. And two servers that send requests to each other end it at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from defusedxml.ElementTree import fromstring

from ftplugin.core.terms import Role

from .conftest import Portals
from .pair import Pair, ask

TARGETS = {"proxy": "/echo", "redirect": "/away/x", "phone": "/phone/x"}


def refused(pair: Pair, address: str, **headers: str) -> list[str]:
    """What the three ways answer; each must be 503, say when to come again, and not be kept by a cache."""
    texts = []
    for target in TARGETS.values():
        reply = ask(address, target, **headers)
        assert reply.status == 503, (target, reply)
        assert reply.headers["Retry-After"] == "30", "one heartbeat interval"
        assert reply.headers["Cache-Control"] == "no-store"
        texts.append(reply.text)
    return texts


@pytest.mark.parametrize(
    "heard, why",
    [
        ({"role": None}, "does not know now"),
        ({"role": Role.ACTIVE, "age_s": 61.0}, "does not know now"),  # 2 T is 60 s
        ({"role": Role.STANDBY}, "Neither server is active now"),
        ({"role": Role.ACTIVE, "lease_left_s": 0.0}, "Neither server is active now"),
        ({"role": Role.UNDECIDED}, "Neither server is active now"),
    ],
    ids=["last probe was bad", "word is old", "standby too", "its lease was over", "just started"],
)
def test_no_active_server_is_known(pair: Pair, portals: Portals, heard: dict[str, Any], why: str) -> None:
    pair.pen2.heard(**heard)
    for text in refused(pair, pair.two):
        assert why in text
    assert portals.apps[0].extensions["ran"] == []


def test_the_word_is_good_for_two_intervals(pair: Pair) -> None:
    pair.pen2.heard(Role.ACTIVE, age_s=50.0)
    assert ask(pair.two, "/echo").status == 200


def test_an_agent_that_has_not_ticked_since_the_boot_knows_nothing(pair: Pair) -> None:
    agent = pair.pen2.runtime.fetch("agent")
    pair.pen2.runtime.publish("agent", agent | {"boot_id": "another boot"})
    pair.pen2.settle()
    assert "does not know now" in refused(pair, pair.two)[0]


def test_a_redis_that_is_empty_is_no_answer(pair: Pair) -> None:
    pair.pen2.runtime.client.flushdb()
    pair.pen2.settle()
    assert "does not know now" in refused(pair, pair.two)[0]


def test_a_lease_that_ran_out_ends_it_on_the_active_server_too(pair: Pair) -> None:
    pair.pen1.role(Role.ACTIVE, lease_s=-1.0)
    assert "Neither server is active" in refused(pair, pair.one)[0]


def test_a_browser_gets_a_page_and_a_program_plain_text(pair: Pair) -> None:
    pair.pen2.heard(None)
    page = ask(pair.two, "/any/a%3F%20b?a=<b>&c=%26", Accept="text/html,*/*;q=0.8")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<h1>Not available now</h1>" in page.text and 'href="/any/a%3F%20b?a=&lt;b&gt;&amp;c=%26"' in page.text
    assert 'href="/ft/admin/static/ft.css"' in page.text
    assert "Pas disponible" in ask(pair.two, "/echo", Accept="text/html", Accept_Language="fr").text
    form = ask(pair.two, "/echo", "POST", b"x=1", Accept="text/html")
    assert form.status == 503 and 'href="/echo' not in form.text, "a form is not sent again by a link"
    assert ask(pair.two, "/echo", Accept="application/json").headers["Content-Type"].startswith("text/plain")


# --- loops -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def each_sends_to_the_other(pair: Pair) -> Pair:
    """Both standby, and each has heard a moment ago that the other one is active."""
    for pen in (pair.pen1, pair.pen2):
        pen.role(Role.STANDBY)
        pen.heard(Role.ACTIVE)
    return pair


def test_two_standby_servers_pass_a_request_on_once(each_sends_to_the_other: Pair, portals: Portals) -> None:
    pair = each_sends_to_the_other
    reply = ask(pair.two, "/echo")
    assert reply.status == 503 and "this server is not active either" in reply.text
    assert reply.headers.get_all("X-Stamped-By") == [pair.one], "the other one has said so"
    assert all(app.extensions["ran"] == [] for app in portals.apps)


def test_with_different_keys_it_still_ends(each_sends_to_the_other: Pair, portals: Portals) -> None:
    """Then neither believes that the other one has passed it on; Via ends it."""
    pair = each_sends_to_the_other
    keys = portals.apps[0].extensions["ftplugin"].config.secrets
    former = list(keys.keys)
    try:
        object.__setattr__(keys, "keys", ["another-key-of-32-characters-long"])
        reply = ask(pair.two, "/echo")
    finally:
        object.__setattr__(keys, "keys", former)
    assert reply.status == 503 and "this server is not active either" in reply.text
    assert reply.headers.get_all("X-Stamped-By") == [pair.two], "it came back here, and went no further"


def test_a_browser_is_sent_away_once(each_sends_to_the_other: Pair) -> None:
    pair = each_sends_to_the_other
    for path in ("/away/x", "/phone/x"):
        first = ask(pair.two, path)
        url = first.headers["Location"] or fromstring(first.body).find("ExecuteItem").get("URL")
        parts = urlsplit(url)
        second = ask(parts.netloc, f"{parts.path}?{parts.query}")
        assert parts.netloc == pair.one and second.status == 503


def test_a_bookmark_of_such_a_visit_works_after_the_next_switch(pair: Pair) -> None:
    marked = urlsplit(ask(pair.two, "/away/x?a=1").headers["Location"])
    assert (
        ask(pair.one, f"{marked.path}?{marked.query}").text == f"{pair.one} /away/x?a=1"
    ), "the view never sees the mark"
    pair.pen1.role(Role.STANDBY, epoch=5)
    pair.pen1.heard(Role.ACTIVE, epoch=5)
    pair.pen2.role(Role.ACTIVE, epoch=5)
    later = ask(pair.one, f"{marked.path}?{marked.query}")
    assert later.status == 307 and later.headers["Location"] == f"http://{pair.two}/away/x?a=1&ft-hop=5"


# --- redirects and phones ------------------------------------------------------------------------------------------------


def test_a_redirect_leads_to_the_active_servers_own_address(pair: Pair) -> None:
    reply = ask(pair.two, "/away/a%20b%3Fc?q=%26&r=", "POST", b"x=1", Host="vip.example")
    assert reply.status == 307, "the method and the body stay"
    assert reply.headers["Location"] == f"http://{pair.one}/away/a%20b%3Fc?q=%26&r=&ft-hop=2"
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "target", ["/away//evil.example/x", "/away/@evil.example", "/away/%0d%0aX-Evil:1", "/away/\\evil"]
)
def test_a_redirect_leads_nowhere_else(pair: Pair, target: str) -> None:
    reply = ask(pair.two, target, Host="evil.example", X_Forwarded_Host="evil.example")
    where = urlsplit(reply.headers["Location"])
    if reply.status == 307:
        assert where.netloc == pair.one and where.path.startswith("/away/")
    else:  # the portal's own routes say so first, on this server
        assert (reply.status, where.path) in ((308, "/away/evil.example/x"), (404, b""))
    assert "X-Evil" not in reply.headers


def test_a_phone_gets_xml_that_sends_it_there(pair: Pair) -> None:
    reply = ask(pair.two, '/phone/x"<>?name=SEP00&b=%22%3E')
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("text/xml")
    item = fromstring(reply.body).find("ExecuteItem")
    assert item.get("URL") == f"http://{pair.one}/phone/x%22%3C%3E?name=SEP00&b=%22%3E&ft-hop=2"
    assert b"&amp;b=" in reply.body
    assert fromstring(ask(pair.one, "/phone/x").body).text == pair.one


def test_a_url_too_long_for_a_phone_is_passed_on(pair: Pair) -> None:
    assert fromstring(ask(pair.two, "/phone/" + "x" * 300).body).text == pair.one


def test_a_phone_gets_xml_when_nobody_is_active(pair: Pair) -> None:
    pair.pen2.heard(Role.STANDBY)
    reply = ask(pair.two, "/phone/x", Accept="text/html")
    assert reply.status == 503 and fromstring(reply.body).find("Text").text == "Neither server is active now."
