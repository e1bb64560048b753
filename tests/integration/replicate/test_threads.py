"""The portals' own threads: an edit arrives by itself, an idle pair asks nothing, one process of several does the work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.core.view import NodeState
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.wire import ContentPeer
from ftplugin.state import CONTENT

from .conftest import KEY, Couple, Node, User, wait_until
from .test_rows import some, users

pytestmark = pytest.mark.usefixtures("threads")
IDLE_BYTES_MAX = 200


def heard(node: Node) -> str:
    """What a heartbeat to ``node`` brings of its content, through the real monitor and protocol."""
    nonce = protocol.new_nonce()
    asker = Designation(node.designation).other
    ask = {protocol.ASK_HEADER: protocol.make_ask([KEY], asker, nonce)}
    answer = node.site.client.get("/ft/monitor?mod=IPSWS", headers=ask)
    state, _ = protocol.read_state([KEY], answer.headers[protocol.STATE_HEADER], nonce, Designation(node.designation))
    return state.content_mark


def beat(couple: Couple) -> None:
    """A heartbeat each way, as the agents record it."""
    for node, other in ((couple.one, couple.two), (couple.two, couple.one)):
        node.site.agent()
        peer = {"cause": "ok", "state": {"designation": other.designation, "content_mark": heard(other)}}
        assert node.ft.runtime.publish("view", {"peer": peer})


def beating_until(couple: Couple, true: Callable[[], Any], what: str) -> None:
    def look() -> Any:
        beat(couple)
        return true()

    wait_until(look, what)


def in_step(couple: Couple) -> bool:
    return bool(heard(couple.one)) and heard(couple.one) == heard(couple.two)


def test_edits_arrive_by_themselves_both_ways_and_an_idle_pair_asks_nothing(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(some)
    (couple.one.folder / "x").write_bytes(b"one")
    beating_until(couple, lambda: len(users(couple.two)) == 3 and couple.two.tree() == {"x": b"one"}, "server2 has all")
    beating_until(couple, lambda: in_step(couple), "both say the same")
    couple.two.edit(lambda s: s.execute(update(User).values(name="from the standby")))
    beating_until(couple, lambda: {row[1] for row in users(couple.one)} == {"from the standby"}, "server1 has the edit")
    beating_until(couple, lambda: in_step(couple), "both say the same again")
    asked: list[str] = []
    real = ContentPeer._send
    monkeypatch.setattr(ContentPeer, "_send", lambda *given: asked.append(given[2]) or real(*given))
    turns = [node.ft.runtime.fetch(CONTENT)["at_s"] for node in couple]  # type: ignore[index]
    beating_until(
        couple,
        lambda: all((node.ft.runtime.fetch(CONTENT) or {})["at_s"] > turn + 2 for node, turn in zip(couple, turns)),
        "two more turns of each thread",
    )
    assert asked == []
    for node in couple:
        shown = node.ft.runtime.fetch(CONTENT)
        assert shown is not None and shown["error"] == "" and shown["differs_since_wall_s"] is None
        assert shown["things"]["users"]["total"] == 3 and shown["things"]["users"]["behind"] == 0


def test_the_mark_costs_an_idle_heartbeat_a_few_bytes_and_an_older_server_reads_the_rest() -> None:
    state = NodeState(designation=Designation.SERVER1, role="standby", version="1.2")  # type: ignore[arg-type]
    from dataclasses import replace

    from ftplugin.core.terms import Role

    plain = protocol.make_state([KEY], replace(state, role=Role.STANDBY), "n" * 12, "c")
    marked = protocol.make_state([KEY], replace(state, role=Role.STANDBY, content_mark="0123456789ab"), "n" * 12, "c")
    assert len(marked) - len(plain) <= 20 < IDLE_BYTES_MAX
    found, _ = protocol.read_state([KEY], marked, "n" * 12, Designation.SERVER1)
    assert found.content_mark == "0123456789ab" and found.version == "1.2"
    assert protocol.read_state([KEY], plain, "n" * 12, Designation.SERVER1)[0].content_mark == ""


def test_only_the_process_with_the_lock_works_and_another_takes_over_when_it_ends(couple: Couple) -> None:
    instance = couple.two.ft.config.instance_dir
    instance.mkdir(parents=True, exist_ok=True)
    held = os.open(instance / "replicate.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    couple.one.edit(some)
    beating_until(couple, lambda: heard(couple.one), "server1 has looked")
    assert heard(couple.two) == "" and users(couple.two) == []
    os.close(held)
    beating_until(couple, lambda: len(users(couple.two)) == 3, "its thread has taken over")


def test_the_other_server_away_is_no_error_and_what_is_behind_comes_when_it_is_back(couple: Couple) -> None:
    couple.one.edit(some)
    beating_until(couple, lambda: in_step(couple) and len(users(couple.two)) == 3, "both say the same")
    for node in couple:
        node.ft.runtime.publish("view", {"peer": {"cause": "timeout", "state": None}})
    couple.one.edit(lambda s: s.execute(update(User).where(User.id == 1).values(name="by ann")))
    couple.two.edit(lambda s: s.execute(update(User).where(User.id == 2).values(name="by bob")))
    before = [(node.ft.runtime.fetch(CONTENT) or {})["mark"] for node in couple]
    wait_until(
        lambda: all((node.ft.runtime.fetch(CONTENT) or {})["mark"] != mark for node, mark in zip(couple, before)),
        "both have looked during the split",
    )
    beating_until(couple, lambda: users(couple.one) == users(couple.two), "both hold both edits")
    assert [row[1] for row in users(couple.one)] == ["by ann", "by bob", "user 3"]
    assert ConflictStore(couple.one.ft.database).open_count() == 0
