"""CSRF at every form of every page, and what somebody gets who has planted a session."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from flask import Flask, session
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_wtf.csrf import generate_csrf
from sqlalchemy import select

from ftplugin.core.terms import Role
from ftplugin.store.tables import METADATA

from ..web.conftest import MakeSite, Site
from ..web.test_mounting import admin_rules, pages, path_of
from ..web.test_settings_page import form_of

ADMIN = "/ft/admin/"
OVERRIDE = {"X-HTTP-Method-Override": "POST"}
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def posts(app: Flask) -> list[str]:
    """Every address of the admin pages that takes a form."""
    return [path_of(rule) for _, rule in admin_rules(app) if "POST" in rule.methods]


def everything(site: Site) -> dict[str, Any]:
    """All that this server keeps: its database and its Redis, without what a mere look at a page notes."""
    found: dict[str, Any] = {}
    with site.portal.database.transaction() as connection:
        for table in METADATA.sorted_tables:
            found[table.name] = sorted(map(repr, connection.execute(select(table))))
    client = redis.Redis(port=site.redis.port, decode_responses=True)
    with contextlib.closing(client):
        for key in client.scan_iter("*"):
            kind = client.type(key)
            if not re.search("challenge|prob|look|waits", key):
                read = {"string": client.get, "hash": client.hgetall}.get(kind)
                found[key] = read(key) if read is not None else (kind, client.memory_usage(key))
    folder = site.portal.config.instance_dir
    found["files"] = sorted(str(path) for path in folder.rglob("*") if "sqlite" not in path.name)
    return found


def fields(client: Any) -> dict[str, Any]:
    """What any of the forms may ask, all at once, as a browser would send it."""
    found = {**form_of(client.get(ADMIN + "settings").text), "threshold": "9", "override_reason": "r", "reason": "r"}
    found |= {
        "target": "server1",
        "expected_active": "",
        "typed": "server1",
        "checked": "y",
        "minutes": "5",
        "days": "1",
    }
    found |= {"conflict": "x", "thing": "x", "what": "delete"}
    found.pop("csrf_token")
    return found


@pytest.fixture
def busy(site: Site) -> Site:
    """Something that every button could change."""
    site.role(Role.STANDBY, epoch=4)
    site.agent(frozen=True)
    site.peer(Role.ACTIVE)
    assert site.portal.journal.set_manual_hold(True)
    assert site.portal.pause("ben", "before", None) and site.portal.drain("ben", "before")
    return site


def test_no_form_of_any_page_does_anything_without_the_token_of_its_own_session(busy: Site) -> None:
    busy.app.config["WTF_CSRF_ENABLED"] = False  # a portal's switch opens nothing here
    victim, attacker = busy.app.test_client(), busy.app.test_client()
    given, his = fields(victim), TOKEN.search(attacker.get(ADMIN + "switching").text)
    own = TOKEN.search(victim.get(ADMIN + "switching").text)
    assert his is not None and own is not None and his[1] != own[1]
    for path in pages(busy.app):
        victim.get(path)
    before = everything(busy)
    assert len(posts(busy.app)) >= 18, posts(busy.app)
    for path in posts(busy.app):
        for token in (
            {},
            {"csrf_token": his[1]},
            {"csrf_token": own[1][:-1]},
            {"csrf_token": "x" * 9000},
        ):
            file = {"file": (io.BytesIO(b"<IPSFT_lic/>"), "x.xml")}
            answer = victim.post(path, data={**given, **token, **file}, content_type="multipart/form-data")
            assert answer.status_code in (200, 302, 400, 409), (path, answer.status_code)
            assert answer.mimetype != "application/zip", path
        assert victim.post(f"{path}?csrf_token={own[1]}", data=given).status_code in (
            200,
            302,
            400,
            409,
        ), "not in an address"
    assert everything(busy) == before
    assert victim.post(ADMIN + "resume", data={"csrf_token": own[1]}).status_code == 302
    assert everything(busy) != before, "with its own token a button does its work"


def test_no_form_is_taken_from_another_site_even_with_the_right_token(busy: Site) -> None:
    client = busy.app.test_client()
    token = TOKEN.search(client.get(ADMIN + "switching").text)
    assert token is not None
    given = {**fields(client), "csrf_token": token[1]}
    before = everything(busy)
    for path in posts(busy.app):
        for whence in ("cross-site", "same-site"):
            answer = client.post(path, data=given, headers={"Sec-Fetch-Site": whence})
            assert answer.status_code == 403 and "another site" in answer.text, path
    assert everything(busy) == before
    assert (
        client.get(ADMIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    ), "links lead here from anywhere"
    assert client.post(ADMIN + "resume", data=given, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 302


def test_no_address_that_is_only_looked_at_changes_anything(busy: Site) -> None:
    client = busy.app.test_client()
    for path in pages(busy.app):
        client.get(path)
    before = everything(busy)
    query = fields(client)
    for path in pages(busy.app):
        assert client.get(path, query_string=query, headers=OVERRIDE).status_code < 500, path
    for path in posts(busy.app):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            if method != "GET" or path not in pages(busy.app):
                assert client.open(path, method=method, query_string=query, headers=OVERRIDE).status_code < 500, path
    assert everything(busy) == before


# --- a planted session ---------------------------------------------------------------------------------------------


@pytest.fixture
def portal(make_site: MakeSite) -> Iterator[Site]:
    """A portal with a log-in page of its own, whose form has a token: so a stranger has a session before he logs in."""
    made = make_site(authorize=None)
    made.configure()
    manager = LoginManager(made.app)

    class User(UserMixin):
        id = "ann"

    manager.user_loader(lambda name: User())
    views = {"login": generate_csrf, "in": lambda: str(login_user(User())), "out": lambda: str(logout_user())}
    views["seen"] = lambda: ",".join(sorted(session))
    for name, view in views.items():
        made.app.add_url_rule(f"/{name}", name, view)
    yield made


def cookie(client: Any) -> str:
    return str(client.get_cookie("session").value)


def test_a_session_that_was_planted_before_the_log_in_opens_no_page_and_no_form(portal: Site) -> None:
    attacker, victim = portal.app.test_client(), portal.app.test_client()
    known = attacker.get("/login").text  # a token of a session that he knows
    victim.set_cookie("session", cookie(attacker))
    victim.get("/in")
    assert victim.get(ADMIN).status_code == 200
    assert attacker.get(ADMIN).status_code == 401, "his copy is of before the log-in"
    forged = victim.post(
        ADMIN + "pause", data={"csrf_token": known, "reason": "r"}, headers={"Sec-Fetch-Site": "same-site"}
    )
    assert forged.status_code == 403
    assert not portal.portal.journal.standing()


def test_rights_are_asked_at_each_request_and_end_with_the_log_in(portal: Site) -> None:
    client = portal.app.test_client()
    client.get("/in")
    token = TOKEN.search(client.get(ADMIN + "switching").text)
    assert token is not None
    client.get("/out")
    for path in posts(portal.app):
        assert client.post(path, data={"csrf_token": token[1], "reason": "r"}).status_code == 401, path
    assert client.get(ADMIN).status_code == 401
    assert not portal.portal.journal.standing()


def test_the_plugin_keeps_nothing_in_a_session_but_its_token_and_gives_strangers_none(portal: Site) -> None:
    stranger, user = portal.app.test_client(), portal.app.test_client()
    for path in (ADMIN, ADMIN + "switching", "/ft/monitor?mod=FT", "/ft/live", "/ft/node/state", "/ft/node/settings"):
        answer = stranger.get(path)
        assert answer.status_code in (200, 401, 403) and "Set-Cookie" not in answer.headers, path
    assert "Set-Cookie" not in stranger.post("/ft/node/command", data=b"{}").headers
    user.get("/in")
    before = set(user.get("/seen").text.split(","))
    for path in pages(portal.app):
        user.get(path)
    assert set(user.get("/seen").text.split(",")) - before <= {"csrf_token", "_flashes"}
