"""What an administrator sees while the database server is frozen: pages in time, nothing typed is lost, nothing old as new."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ftplugin.core.terms import Role
from tests.integration.web.conftest import MakeSite, Site, make_site, redis_process
from tests.integration.web.test_admin import form_of
from tests.parts import eventually, timed

from .servers import Server

__all__ = ["make_site", "redis_process"]
SETTINGS, STATUS = "/ft/admin/settings", "/ft/admin/status"
PAGE_S = 3.0
BUSY_S = 1.5  # what a page may take on the busy machine of the tests, without any wait


@pytest.fixture
def site(server: Server, emptied: Callable[[str, int], str], make_site: MakeSite) -> Site:
    found = make_site(FT_DATABASE_URL=emptied(server.kind, 1))
    found.configure()
    found.agent()
    found.role(Role.ACTIVE)
    return found


def test_pages_end_in_time_and_what_was_typed_is_kept(server: Server, site: Site) -> None:
    client = site.app.test_client()
    typed = form_of(client.get(SETTINGS).text) | {"threshold": "7", "vip_address": "10.0.0.77"}
    assert client.get(STATUS).status_code == 200
    time.sleep(0.25)  # what was read is kept for 0.2 s
    server.freeze()
    for url, body in (("/ft/monitor?mod=FT", "ACTIVE"), ("/ft/monitor?mod=NONE", "OK")):
        answer, took_s = timed(lambda at=url: client.get(at))
        assert (answer.text.strip(), took_s < BUSY_S) == (body, True), "a balancer never waits for it"
    answer, took_s = timed(lambda: client.get(STATUS))
    assert took_s < PAGE_S + BUSY_S and answer.status_code == 200
    assert "The settings cannot be read now; the last good ones are in force." in answer.text
    for path in (STATUS, SETTINGS, "/ft/admin/log", "/ft/admin/history", SETTINGS + "/history"):
        answer, took_s = timed(lambda at=path: client.get(at))
        assert took_s < BUSY_S and answer.status_code in (200, 503), path
    answer, took_s = timed(lambda: client.post(SETTINGS, data=typed))
    assert took_s < BUSY_S and answer.status_code == 503
    assert "did not take it. What you typed is kept." in answer.text and "secret" not in answer.text
    kept = form_of(answer.text)
    assert (kept["threshold"], kept["vip_address"]) == ("7", "10.0.0.77")
    server.thaw()
    eventually(lambda: client.post(SETTINGS, data=kept).status_code == 302, 20, "it is saved", 0.05)
    assert site.portal.settings.current()[1].threshold == 7
    assert site.portal.settings.current()[0] == 2  # once


@pytest.mark.parametrize("server", ["postgresql"], indirect=True)
def test_a_portal_starts_while_its_database_is_frozen_and_works_when_it_answers(
    server: Server, emptied: Callable[[str, int], str], make_site: MakeSite
) -> None:
    url = emptied(server.kind, 1)
    server.freeze()
    site, took_s = timed(lambda: make_site(FT_DATABASE_URL=url))
    assert took_s < 3.0 + BUSY_S and "trying again" in site.log()
    answer, took_s = timed(lambda: site.client.get(STATUS))
    assert answer.status_code == 200 and took_s < PAGE_S + BUSY_S
    server.thaw()
    store = site.portal.settings
    eventually(lambda: store.current() and not store.error, 20, lambda: store.error, 0.05)
    assert site.configure() == 1
