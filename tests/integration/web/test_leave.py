"""``ft leave``: what a server does before its programs are stopped."""

from __future__ import annotations

import json
import threading
import time

import pytest

from ftplugin.core.terms import Role
from ftplugin.status import status_of

from .conftest import Site


@pytest.fixture
def leave(site: Site):
    site.agent()
    site.peer()
    runner = site.app.test_cli_runner()
    return lambda *arguments: runner.invoke(args=["ft", "leave", *arguments])


def taken(site: Site, outcome: str, detail: str) -> None:
    """What the switch worker does with the order that it finds: it says so, and gives the role away when it is done."""

    def work() -> None:
        end_s = time.monotonic() + 30
        while not (order := site.portal.runtime.fetch("order")) and time.monotonic() < end_s:
            time.sleep(0.02)
        word = {"switch_id": order["switch_id"], "outcome": outcome, "detail": detail, "at_wall_s": time.time()}
        site.portal.runtime.publish("manual", word)
        if outcome == "handed over":
            site.role(Role.STANDBY, epoch=7)
            site.peer(Role.ACTIVE)

    threading.Thread(target=work, daemon=True).start()


def test_standby_server_orders_nothing(leave, site: Site) -> None:
    site.role(Role.STANDBY)
    found = leave()
    assert found.exit_code == 0 and "nothing to hand over" in found.output and site.orders() == 0


def test_active_server_waits_until_the_other_one_is_active(leave, site: Site) -> None:
    site.role(Role.ACTIVE)
    taken(site, "handed over", "server2 has taken the order")
    found = leave("--reason", "kernel update", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.output)["left"] is True and status_of(site.portal)["active"] == "server2"
    assert "who stops this server: kernel update" in site.log()


def test_refusal_of_the_other_server_is_told_with_what_happens_now(leave, site: Site) -> None:
    site.role(Role.ACTIVE)
    taken(site, "refused", "server2 is not healthy")
    found = leave()
    assert found.exit_code == 1 and "server2 is not healthy" in found.stderr
    assert "its services stop with it" in found.stderr


def test_other_server_that_is_silent_blocks_it_and_nothing_is_ordered(leave, site: Site) -> None:
    site.role(Role.ACTIVE)
    site.peer(cause="connection error")
    found = leave()
    assert found.exit_code == 1 and "Not handed over" in found.stderr and site.orders() == 0


def test_order_that_nobody_takes_ends_at_the_limit(leave, site: Site) -> None:
    site.role(Role.ACTIVE)
    began_s = time.monotonic()
    found = leave("--limit", "1")
    assert found.exit_code == 1 and "has not ended after 1 s" in found.stderr
    assert time.monotonic() - began_s < 20


def test_other_server_that_still_starts_at_the_limit_is_no_failure(leave, site: Site) -> None:
    site.role(Role.ACTIVE)

    def demoted() -> None:
        end_s = time.monotonic() + 30
        while not site.portal.runtime.fetch("order") and time.monotonic() < end_s:
            time.sleep(0.02)
        site.role(Role.STANDBY, epoch=7)

    threading.Thread(target=demoted, daemon=True).start()
    found = leave("--limit", "1")
    assert found.exit_code == 0, found.stderr
    assert "not active any more" in found.output and "server2 is not ready yet" in found.output


def test_silent_redis_is_3(leave, site: Site) -> None:
    site.role(Role.ACTIVE)
    site.redis.kill()
    found = leave()
    assert found.exit_code == 3 and "does not answer" in found.stderr and "services stop with it" in found.stderr
