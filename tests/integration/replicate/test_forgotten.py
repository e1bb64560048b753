"""What was deleted is known for as long as the other server may still have it, and a week at least; then it is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from ftplugin.replicate import engine
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.ledger import BUCKETS, GONE, Ledger
from ftplugin.state import CONTENT

from .conftest import Couple, Line, Node, User, wait_until
from .test_rows import some, users
from .test_threads import beat, beating_until, in_step

pytestmark = pytest.mark.usefixtures("threads")
WEEK_S = 7 * 86_400.0


@pytest.fixture(autouse=True)
def at_each_turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {"TIDY_S": 0.0, "POLL_S": 0.1, "SCAN_S_MIN": 0.2}.items():
        monkeypatch.setattr(engine, name, value)
    yield


def gone(node: Node) -> set[str]:
    """Keys of what is known to be deleted."""
    found = Ledger(node.ft.database, "users").load(range(BUCKETS)).values()
    return {key for bucket in found for key, text in bucket.entries.items() if text[0] == GONE}


def drop(node: Node, number: int) -> None:
    node.edit(lambda s: s.execute(delete(Line).where(Line.user_id == number)))
    node.edit(lambda s: s.execute(delete(User).where(User.id == number)))


def turns(couple: Couple, *, heard: bool) -> None:
    """More turns of each thread, with or without heartbeats."""
    before = [(node.ft.runtime.fetch(CONTENT) or {})["at_s"] for node in couple]

    def over() -> bool:
        if heard:
            beat(couple)
        pairs = zip(couple, before, strict=True)
        return all((node.ft.runtime.fetch(CONTENT) or {})["at_s"] > at_s + 0.5 for node, at_s in pairs)

    wait_until(over, "more turns of each thread")


def later(couple: Couple, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for node in couple:
        now_s = node.ft.clock.wall_s
        monkeypatch.setattr(node.ft.clock, "wall_s", lambda now_s=now_s: now_s() + seconds)


def numbers(node: Node) -> list[int]:
    return [row[0] for row in users(node)]


def test_what_both_have_deleted_is_forgotten_after_a_week_and_its_number_can_be_used_again(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(some)
    beating_until(couple, lambda: in_step(couple) and len(users(couple.two)) == 3, "both have all")
    drop(couple.one, 2)
    beating_until(couple, lambda: in_step(couple) and numbers(couple.two) == [1, 3], "deleted on both")
    turns(couple, heard=True)
    assert gone(couple.one) == gone(couple.two) == {"[2]"}, "not yet"
    later(couple, monkeypatch, WEEK_S + 60)
    beating_until(couple, lambda: gone(couple.one) == gone(couple.two) == set(), "forgotten on both")
    turns(couple, heard=True)
    assert in_step(couple) and gone(couple.one) == gone(couple.two) == set(), "and not told again by the other one"
    couple.two.edit(lambda s: s.add(User(id=2, group_id=1, name="somebody else")))
    beating_until(couple, lambda: numbers(couple.one) == [1, 2, 3], "the new row has come")
    assert [ConflictStore(node.ft.database).listed() for node in couple] == [[], []]


def test_a_server_that_was_away_for_longer_still_deletes_what_was_deleted_meanwhile(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(some)
    beating_until(couple, lambda: in_step(couple) and len(users(couple.two)) == 3, "both have all")
    for node in couple:
        node.ft.runtime.publish("view", {"peer": {"cause": "timeout", "state": None}})
    drop(couple.one, 2)
    wait_until(lambda: gone(couple.one) == {"[2]"}, "seen by the look")
    later(couple, monkeypatch, 10 * WEEK_S)
    turns(couple, heard=False)
    assert gone(couple.one) == {"[2]"} and numbers(couple.two) == [1, 2, 3]
    beating_until(couple, lambda: numbers(couple.two) == [1, 3], "deleted there, too")
    beating_until(couple, lambda: gone(couple.one) == gone(couple.two) == set(), "forgotten on both")
    assert numbers(couple.one) == [1, 3]
