"""A request that reaches the standby server and is passed on: it is answered as if the client had asked the active one."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from ftplugin.core.terms import Role

from .conftest import Portals
from .pair import CLIENT, Pair, ask
from .site_app import PIECE


def echoed(address: str, target: str = "/echo", **values: Any) -> Any:
    reply = ask(address, target, **values)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def test_a_marked_view_runs_on_the_active_server_whichever_is_asked(pair: Pair) -> None:
    assert echoed(pair.one)["by"] == pair.one
    assert echoed(pair.two)["by"] == pair.one
    assert ask(pair.two, "/here").text == pair.two, "a view without the mark runs where it was asked"


def test_it_follows_a_switch(pair: Pair) -> None:
    pair.pen1.role(Role.STANDBY, epoch=3)
    pair.pen1.heard(Role.ACTIVE, epoch=3)
    pair.pen2.role(Role.ACTIVE, epoch=3)
    assert echoed(pair.one)["by"] == pair.two
    assert echoed(pair.two)["by"] == pair.two


def test_the_view_sees_the_client_not_the_other_server(pair: Pair, portals: Portals) -> None:
    seen = echoed(pair.two, "/echo?a=1&b=x", User_Agent="phone", Accept_Language="fr", X_Forwarded_For="10.9.9.9")
    assert seen["client"] == CLIENT
    assert seen["url"] == f"http://{pair.two}/echo?a=1&b=x", "links in the answer lead where the client came from"
    assert echoed(pair.two, "/echo?a=%2F%20+x%26")["query"] == "a=%2F%20+x%26"
    headers = seen["headers"]
    assert headers["User-Agent"] == "phone" and headers["Accept-Language"] == "fr"
    assert headers["X-Forwarded-For"] == f"10.9.9.9, {CLIENT}"
    assert headers["X-Forwarded-Proto"] == "http" and headers["X-Forwarded-Host"] == pair.two
    assert headers["Forwarded"] == f'for={CLIENT};host="{pair.two}";proto=http;by="{pair.two}"'
    assert headers["Via"] == f"1.1 {pair.two}"
    assert "X-Ft-Forward" not in headers
    assert portals.apps[1].extensions["ran"] == [], "no check of the standby server's portal has run"


@pytest.mark.parametrize("path", ["/../x", "/%C3%A9t%C3%A9", "/a%20b%3Fc%23d", "/a;b=c,d:e@f", "/100%25", "/~"])
def test_a_path_arrives_as_it_was_sent(pair: Pair, path: str) -> None:
    there, direct = echoed(pair.two, "/any" + path), echoed(pair.one, "/any" + path)
    assert there["path"] == direct["path"] and there["by"] == direct["by"] == pair.one
    assert there["client"] == CLIENT, "the signature fits"


def test_hop_by_hop_headers_end_here(pair: Pair) -> None:
    sent = {"Connection": "close, X-Secret", "X_Secret": "1", "TE": "trailers", "Keep_Alive": "timeout=5"}
    sent |= {"Proxy_Authorization": "Basic eDp5", "Upgrade": "websocket", "X_Kept": "2"}
    headers = echoed(pair.two, "/echo", **sent)["headers"]
    assert headers["X-Kept"] == "2"
    gone = {"X-Secret", "Te", "Keep-Alive", "Proxy-Authorization", "Upgrade", "Connection"}
    assert not gone & set(headers)


def test_cookies_and_redirects_come_back_unchanged(pair: Pair) -> None:
    reply = ask(pair.two, "/login/anna")
    cookies = reply.headers.get_all("Set-Cookie")
    assert reply.status == 302 and reply.headers["Location"] == "/echo"
    assert len(cookies) == 2 and cookies[0].startswith("second=") and cookies[1].startswith("session=")
    session = cookies[1].partition(";")[0]
    assert echoed(pair.two, Cookie=session)["user"] == "anna"
    assert echoed(pair.one, Cookie=session)["user"] == "anna"


def test_a_log_in_there_is_not_undone_by_a_session_here(pair: Pair) -> None:
    """A permanent session is written again with each answer; this server's old one must not come after the new one."""
    old = ask(pair.two, "/login/anna").headers.get_all("Set-Cookie")[1].partition(";")[0]
    new = ask(pair.two, "/login/marc", Cookie=old)
    sessions = [cookie for cookie in new.headers.get_all("Set-Cookie") if cookie.startswith("session=")]
    assert len(sessions) == 1
    assert echoed(pair.two, Cookie=sessions[0].partition(";")[0])["user"] == "marc"
    assert new.headers.get_all("X-Stamped-By") == [
        pair.one
    ], "no after_request function of this portal touches the answer"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_is_passed_on(pair: Pair, method: str) -> None:
    seen = echoed(
        pair.two, method=method, body="name=caf\xe9&x=1".encode(), Content_Type="application/x-www-form-urlencoded"
    )
    assert (seen["method"], seen["form"]) == (method, {"name": "café", "x": "1"})
    assert seen["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    assert echoed(pair.two, method=method, body=b"")["length"] == 0


def test_a_body_in_chunks_is_passed_on(pair: Pair) -> None:
    seen = echoed(pair.two, method="PUT", body=iter([b"one ", b"two ", b"x" * 200_000]), Transfer_Encoding="chunked")
    assert seen["length"] == 200_008 and seen["body"].startswith("one two xxx")


def test_head_options_and_parts_of_a_file(pair: Pair) -> None:
    head, whole = ask(pair.two, "/stream/3?sized", "HEAD"), ask(pair.one, "/stream/3?sized", "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", whole.headers["Content-Length"])
    options = ask(pair.two, "/echo", "OPTIONS")
    assert json.loads(options.body)["method"] == "OPTIONS"
    asked = ask(pair.two, "/page", "OPTIONS")
    assert asked.status == 200 and set(asked.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert ask(pair.two, "/page", "OPTIONS", Max_Forwards="0").status == 204
    assert echoed(pair.two, method="OPTIONS", Max_Forwards="5")["headers"]["Max-Forwards"] == "4"
    assert echoed(pair.two, Range="bytes=0-9")["headers"]["Range"] == "bytes=0-9"


def test_errors_of_the_active_server_come_back(pair: Pair) -> None:
    assert ask(pair.two, "/swallow").status == ask(pair.one, "/swallow").status == 405
    there, direct = ask(pair.two, "/page", If_None_Match="x"), ask(pair.one, "/page")
    assert there.body == direct.body


@pytest.mark.parametrize("sized", ["", "?sized"])
def test_a_long_answer_streams(pair: Pair, sized: str) -> None:
    reply = ask(pair.two, f"/stream/200{sized}")
    assert len(reply.body) == 200 * len(PIECE) and reply.body == PIECE * 200


@pytest.mark.parametrize("sized", ["", "?sized"])
def test_an_answer_cut_there_is_cut_here_too(pair: Pair, sized: str) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        ask(pair.two, f"/broken/4{sized}")
    assert echoed(pair.two)["by"] == pair.one, "the next request is served"


def test_a_client_that_says_it_was_passed_on_is_not_believed(pair: Pair) -> None:
    seen = echoed(pair.two, X_FT_Forward="10.1.1.1~https~/evil~AAAAAAAAAAAAAAAAAAAAAA")
    assert (seen["by"], seen["client"], seen["url"]) == (pair.one, CLIENT, f"http://{pair.two}/echo")
    seen = echoed(pair.one, X_FT_Forward="10.1.1.1~https~/evil~AAAAAAAAAAAAAAAAAAAAAA")
    assert (seen["client"], seen["url"]) == (CLIENT, f"http://{pair.one}/echo")


def test_a_garbled_request_is_not_passed_on(pair: Pair, portals: Portals) -> None:
    with socket.create_connection(("127.0.0.2", int(pair.two.rpartition(":")[2])), 10) as raw:
        raw.sendall(f"GET /echo HTTP/1.1\r\nHost: {pair.two}\r\nX-Bad: a\x01b\r\nConnection: close\r\n\r\n".encode())
        answer = raw.makefile("rb").read()
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert portals.apps[0].extensions["ran"] == []
