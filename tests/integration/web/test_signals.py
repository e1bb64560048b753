"""became_active, became_standby, switch_failed: once a change, from whichever process of the portal sees it first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import current_app

from ftplugin.core.terms import Role
from ftplugin.signals import became_active, became_standby, switch_failed
from tests.parts import eventually, nothing_for

from .conftest import MakeSite, Site
from .test_switching import publish_switch

MONITOR = "/ft/monitor?mod=FT"
QUIET_S = 0.5  # so long nothing more may come


class Heard:
    """What receivers were told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def receive(self, name: str) -> Callable[..., None]:
        def receiver(sender: Any, **facts: Any) -> None:
            assert current_app._get_current_object() is sender, "in an application context of its sender"
            self.told.append((name, sender.config["NAME"], facts))

        return receiver

    def wait(self, count: int) -> list[tuple[str, str, Any]]:
        """The first ``count``; a moment later still no more."""
        eventually(lambda: len(self.told) >= count, 10, lambda: self.told)
        nothing_for(QUIET_S)
        assert len(self.told) == count, self.told
        return self.told


@pytest.fixture
def heard() -> Iterator[Heard]:
    found, kept = Heard(), []
    for name, signal in (("active", became_active), ("standby", became_standby), ("failed", switch_failed)):
        kept.append((signal, found.receive(name)))
        signal.connect(kept[-1][1])
    yield found
    for signal, receiver in kept:
        signal.disconnect(receiver)


@pytest.fixture
def pair_of_processes(make_site: MakeSite) -> tuple[Site, Site]:
    """Two processes of one portal: two apps on one Redis."""
    one, two = make_site(NAME="one"), make_site(NAME="two")
    one.configure()
    for site in (one, two):
        site.agent()
        assert site.client.get(MONITOR).text == "STANDBY"
    return one, two


def test_one_process_alone_tells_each_change_once(pair_of_processes: tuple[Site, Site], heard: Heard) -> None:
    one, two = pair_of_processes
    one.role(Role.ACTIVE, epoch=4)
    for site in (one, two, one, two):
        assert site.client.get(MONITOR).text == "ACTIVE"
    ((name, _, facts),) = heard.wait(1)
    assert name == "active" and facts == {"designation": "server1", "epoch": 4}
    one.role(Role.STANDBY, epoch=5)
    for site in (two, one, two):
        assert site.client.get("/ft/active").status_code == 503
    assert [name for name, _, _ in heard.wait(2)] == ["active", "standby"]


def test_the_heartbeat_and_the_page_tell_it_too(pair_of_processes: tuple[Site, Site], heard: Heard) -> None:
    one, two = pair_of_processes
    one.role(Role.ACTIVE, epoch=4)
    assert two.client.get("/ft/admin/").status_code == 200
    heard.wait(1)
    one.role(Role.STANDBY, epoch=7)
    from ftplugin.core.terms import Designation
    from ftplugin.protocol import ASK_HEADER, make_ask, new_nonce

    from .conftest import KEY

    ask = {ASK_HEADER: make_ask([KEY], Designation.SERVER2, new_nonce())}
    assert one.client.get("/ft/monitor?mod=IPSWS", headers=ask).status_code == 200
    assert heard.wait(2)[1][0] == "standby"


def test_a_process_that_starts_later_does_not_tell_it_again(
    pair_of_processes: tuple[Site, Site], make_site: MakeSite, heard: Heard
) -> None:
    one, _ = pair_of_processes
    one.role(Role.ACTIVE, epoch=4)
    one.client.get(MONITOR)
    heard.wait(1)
    three = make_site(NAME="three")
    three.client.get(MONITOR)
    heard.wait(1)


def test_a_portal_that_starts_beside_a_running_agent_tells_nothing_old(make_site: MakeSite, heard: Heard) -> None:
    site = make_site(NAME="one")
    site.configure()
    site.role(Role.ACTIVE, epoch=4)
    site.client.get(MONITOR)
    heard.wait(0)
    site.role(Role.STANDBY, epoch=5)
    site.client.get(MONITOR)
    assert heard.wait(1)[0][0] == "standby"


def test_the_same_role_under_a_new_epoch_is_no_change(pair_of_processes: tuple[Site, Site], heard: Heard) -> None:
    one, two = pair_of_processes
    one.role(Role.ACTIVE, epoch=4)
    one.client.get(MONITOR)
    heard.wait(1)
    one.role(Role.ACTIVE, epoch=8)
    for site in (one, two):
        site.client.get(MONITOR)
    heard.wait(1)


def test_a_failed_switch_is_told_once_with_its_step(pair_of_processes: tuple[Site, Site], heard: Heard) -> None:
    one, two = pair_of_processes
    one.role(Role.STANDBY)
    failed = {"step": "service cti", "outcome": "failed", "duration_s": 1.0, "detail": "dead"}
    from ftplugin.core.terms import Designation
    from ftplugin.protocol import ASK_HEADER, make_ask, new_nonce

    from .conftest import KEY

    publish_switch(one, "s-9", outcome="failed", steps=[failed], detail="service cti: dead")
    for site in (one, two, one):
        ask = {ASK_HEADER: make_ask([KEY], Designation.SERVER2, new_nonce())}
        assert site.client.get("/ft/monitor?mod=IPSWS", headers=ask).status_code == 200
    found = [facts for name, _, facts in heard.wait(2) if name == "failed"]
    assert len(found) == 1, "the other one is the role, standby"
    assert (found[0]["switch_id"], found[0]["step"], found[0]["outcome"]) == ("s-9", "service cti", "failed")


def test_a_receiver_that_raises_or_hangs_changes_nothing(
    pair_of_processes: tuple[Site, Site], heard: Heard, caplog: Any
) -> None:
    one, _ = pair_of_processes
    release = threading.Event()

    def broken(sender: Any, **_: Any) -> None:
        raise RuntimeError("the portal's own mistake")

    def hang(sender: Any, **_: Any) -> None:
        release.wait(20)

    became_active.connect(broken)
    became_standby.connect(hang)
    try:
        one.role(Role.ACTIVE, epoch=4)
        assert one.client.get(MONITOR).text == "ACTIVE"
        heard.wait(1)
        assert "a receiver of became-active failed" in caplog.text and "own mistake" in caplog.text
        one.role(Role.STANDBY, epoch=5)
        began_s = time.monotonic()
        assert one.client.get(MONITOR).text == "STANDBY"
        assert time.monotonic() - began_s < 1
    finally:
        release.set()
        became_active.disconnect(broken)
        became_standby.disconnect(hang)


def test_redis_that_does_not_answer_the_claim_is_asked_again(
    pair_of_processes: tuple[Site, Site], heard: Heard
) -> None:
    one, _ = pair_of_processes
    record = one.role(Role.ACTIVE, epoch=4)
    one.redis.freeze()
    with one.app.app_context():
        one.portal.notice(record)
    eventually(lambda: "ft-signal" not in {t.name for t in threading.enumerate()}, 10, "the claim has failed")
    assert heard.told == []
    one.redis.thaw()
    eventually(lambda: one.client.get(MONITOR) and heard.told, 10, "it is asked again")
    assert heard.wait(1)[0][0] == "active"


def test_a_portal_that_is_closed_lets_a_receiver_end_first(make_site: MakeSite) -> None:
    site, done = make_site(NAME="one"), threading.Event()
    site.role(Role.STANDBY, epoch=2)
    site.client.get(MONITOR)  # the first role that this process sees is told to nobody
    entered = threading.Event()

    def slow(sender: Any, **_: Any) -> None:
        entered.set()
        time.sleep(0.3)
        done.set()

    became_active.connect(slow)
    try:
        site.role(Role.ACTIVE, epoch=4)
        site.client.get(MONITOR)
        assert entered.wait(5)
        site.portal.close()
        assert done.is_set()
    finally:
        became_active.disconnect(slow)
