"""Rows of a portal's models: both ways, deletes, types, foreign keys, and edits that were made apart."""

from __future__ import annotations

import datetime
import decimal
import time
import tracemalloc
from typing import Any

import pytest
from sqlalchemy import delete, insert, null, select, text, update
from sqlalchemy.orm import Session

from ftplugin.replicate import pull
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.ledger import Ledger, bucket_of
from ftplugin.replicate.rows import RowThing
from ftplugin.replicate.thing import Known
from ftplugin.store.tables import LEDGER

from .conftest import Couple, Group, Kind, Line, Node, User

MOMENT = datetime.datetime(2026, 3, 29, 2, 30, 0, 123456)


def users(node: Node) -> list[tuple[Any, ...]]:
    columns = (User.id, User.name, User.born, User.balance, User.photo, User.options, User.kind, User.enabled)
    with node.session() as session:
        return [tuple(row) for row in session.execute(select(*columns).order_by(User.id))]


def some(session: Session, count: int = 3) -> None:
    session.add(Group(id=1, name="staff"))
    session.flush()
    for n in range(1, count + 1):
        session.add(User(id=n, group_id=1, name=f"user {n}"))
    session.flush()
    session.add(Line(user_id=1, device="SEP001", label="desk"))


def rename(node: Node, number: int, name: str) -> None:
    node.edit(lambda s: s.execute(update(User).where(User.id == number).values(name=name)))


def test_new_changed_and_deleted_rows_go_from_either_server_to_the_other(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    assert users(couple.two) == users(couple.one) and len(users(couple.two)) == 3
    rename(couple.two, 2, "changed on the standby")
    couple.one.edit(lambda s: s.execute(delete(Line)))
    couple.one.edit(lambda s: s.execute(delete(User).where(User.id == 1)))
    couple.two.edit(lambda s: s.add(User(id=9, group_id=1, name="new on the standby")))
    couple.settle()
    expected = [(2, "changed on the standby"), (3, "user 3"), (9, "new on the standby")]
    for node in couple:
        assert [row[:2] for row in users(node)] == expected
    assert ConflictStore(couple.one.ft.database).listed() == []


def test_every_type_arrives_as_it_was(couple: Couple) -> None:
    def fill(session: Session) -> None:
        session.add(Group(id=1, name="Zoë „staff“ \u2028 🎉"))
        session.flush()
        facts: dict[str, Any] = {"born": MOMENT, "balance": decimal.Decimal("-1234567.89"), "photo": bytes(range(256))}
        facts |= {"kind": Kind.DOOR, "enabled": False, "options": {"a": [1, 2.5, None, "ü"], "b": {"c": True}}}
        session.add(User(id=-5, group_id=1, name="", **facts))
        session.add(User(id=2**53, group_id=1, name="null in json", options=None))
        session.add(User(id=7, group_id=1, name="no json", options=null()))

    couple.one.edit(fill)
    couple.settle()
    assert users(couple.two) == users(couple.one)
    for node in couple:
        with node.session() as session:
            nulls = session.execute(text("SELECT id FROM users WHERE options IS NULL")).scalars().all()
            assert nulls == [7], "SQL's NULL and JSON's null stay two things"


def test_an_excluded_column_stays_local_and_a_new_row_gets_its_default(couple: Couple) -> None:
    couple.one.edit(some)
    couple.one.edit(lambda s: s.execute(update(User).values(last_login="yesterday")))
    couple.settle()
    found = couple.two.user(1)
    assert found is not None and found.last_login == "never"
    couple.two.edit(lambda s: s.execute(update(User).values(last_login="today")))
    assert couple.two.scan()["users"].edited == 0


def test_edited_on_both_sides_of_a_split_the_later_wins_and_the_other_is_kept_and_can_come_back(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "by ann")
    couple.one.scan()
    rename(couple.two, 1, "by bob, later")
    couple.settle()
    assert [row[1] for row in users(couple.one)] == ["by bob, later", "user 2", "user 3"]
    lost = ConflictStore(couple.one.ft.database).listed()
    assert [(c.subject, c.item, c.kept_on, c.lost["values"]["name"]) for c in lost] == [
        ("users", "[1]", "server1", "by ann")
    ]
    assert lost[0].lost["origin"] == "server1" and lost[0].won["origin"] == "server2"
    couple.one.replicator.things["users"].restore(lost[0].lost["values"])  # type: ignore[union-attr]
    couple.settle()
    assert {row[1] for row in users(couple.two)} == {"by ann", "user 2", "user 3"}


def test_deleted_here_and_edited_there_is_a_conflict_and_what_gave_way_is_kept(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.two, 2, "still needed")
    couple.two.scan()
    couple.one.edit(lambda s: s.execute(delete(User).where(User.id == 2)))
    couple.settle()
    assert users(couple.one) == users(couple.two)
    kept = [c for node in couple for c in ConflictStore(node.ft.database).listed()]
    assert len(kept) == 1 and kept[0].item == "[2]"
    if kept[0].kept_on == "server2":
        assert kept[0].lost["values"]["name"] == "still needed"


def test_at_the_first_meeting_the_active_node_wins_and_what_stood_on_the_other_is_kept(couple: Couple) -> None:
    couple.one.edit(some)
    couple.two.edit(some)
    rename(couple.two, 1, "old installation")
    couple.settle(active=True)
    assert [row[1] for row in users(couple.two)] == ["user 1", "user 2", "user 3"]
    lost = ConflictStore(couple.two.ft.database).listed()
    assert [c.lost["values"]["name"] for c in lost] == ["old installation"], "equal rows are no conflict"


def test_a_row_edited_between_the_look_and_the_writing_is_not_overwritten(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "newer there")
    couple.one.scan()
    rename(couple.two, 1, "typed this instant")  # not looked at yet
    assert couple.two.pull()["users"].behind == 1, "left for the next look"
    found = couple.two.user(1)
    assert found is not None and found.name == "typed this instant"
    couple.settle()
    names = {found.name for node in couple if (found := node.user(1)) is not None}
    kept = {c.lost["values"]["name"] for node in couple for c in ConflictStore(node.ft.database).listed()}
    assert names | kept == {"newer there", "typed this instant"}


def test_a_row_that_cannot_be_written_is_said_and_does_not_stop_the_others(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    couple.two.edit(lambda s: s.execute(text("CREATE UNIQUE INDEX once ON users (name)")))
    couple.one.edit(lambda s: s.add(User(id=10, group_id=1, name="user 2")))
    couple.one.edit(lambda s: s.add(User(id=11, group_id=1, name="fine")))
    couple.one.scan()
    progress = couple.two.pull()["users"]
    assert "UNIQUE" in progress.problems[0] and progress.behind == 1
    assert couple.two.user(11) is not None and couple.two.user(10) is None


def test_a_table_that_came_back_empty_deletes_nothing_until_somebody_says_so(couple: Couple) -> None:
    couple.one.edit(lambda s: some(s, 100))
    couple.settle(active=True)
    couple.two.edit(lambda s: s.execute(delete(Line)))
    couple.two.edit(lambda s: s.execute(delete(User)))
    assert couple.two.scan()["users"].gone == 100
    couple.one.pull()
    assert len(users(couple.one)) == 100
    assert couple.two.scan(gone="restore")["users"].gone == 0
    couple.settle()
    assert len(users(couple.two)) == len(users(couple.one)) == 100
    couple.one.edit(lambda s: s.execute(delete(Line)))
    couple.one.edit(lambda s: s.execute(delete(User)))
    couple.one.scan(gone="delete")
    couple.settle()
    assert users(couple.two) == []


def test_ten_thousand_rows_cut_in_the_middle_go_on_where_they_were(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(lambda s: some(s, 10_000))
    couple.one.scan(active=True)
    couple.two.scan()
    asked = iter(range(100))
    monkeypatch.setattr(pull, "ROWS_PAGE", 1_000)
    progress = couple.two.pull(go_on=lambda: next(asked) < 6)["users"]
    before = len(users(couple.two))
    assert 0 < before < 10_000 and progress.behind + progress.taken >= before
    again = couple.two.pull()["users"]
    assert again.taken == 10_000 - before and users(couple.two) == users(couple.one)


def test_keys_and_rows_that_fit_into_no_single_message_come_all_the_same(couple: Couple) -> None:
    def fill(session: Session) -> None:
        session.add(Group(id=1, name="staff"))
        session.flush()
        session.add_all(User(id=n, group_id=1, name="x", photo=bytes([n]) * 700_000) for n in range(1, 9))
        session.flush()
        session.add_all(Line(user_id=1, device=f"{n:06d} „ü“" + "ü" * 28) for n in range(6_000))

    couple.one.edit(fill)
    couple.one.scan(active=True)
    couple.two.scan()
    progress = couple.two.pull()
    assert [(p.taken, p.behind, p.error) for p in progress.values()][:3] == [(1, 0, ""), (8, 0, ""), (6_000, 0, "")]
    assert users(couple.two) == users(couple.one)


def test_a_crash_after_the_rows_and_before_the_ledger_is_no_edit(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "from server1")
    couple.one.scan()

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            couple.two.pull()
    found = couple.two.user(1)
    assert found is not None and found.name == "from server1"
    assert couple.two.scan()["users"].edited == 0
    rename(couple.one, 1, "again")
    couple.settle()
    assert ConflictStore(couple.two.ft.database).listed() == ConflictStore(couple.one.ft.database).listed() == []


def test_one_server_has_forgotten_a_deleted_row_and_the_other_one_not_yet(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    couple.one.edit(lambda s: s.execute(delete(User).where(User.id == 2)))
    couple.settle()
    assert Ledger(couple.two.ft.database, "users").forget(time.time() + 1) == 1
    assert couple.one.roots() == couple.two.roots(), "the two still agree"
    beside = next(n for n in range(4, 9_999) if bucket_of(f"[{n}]") == bucket_of("[2]"))
    couple.one.edit(lambda s: s.add(User(id=beside, group_id=1, name="known beside it")))
    couple.one.scan()
    assert couple.one.pull()["users"].ahead == 1, "the new row alone"
    couple.two.pull()
    assert couple.one.roots() == couple.two.roots()
    assert [row[0] for row in users(couple.two)] == [1, 3, beside]
    assert Ledger(couple.two.ft.database, "users").forget(time.time() + 1) == 0, "it was not told again"


def test_what_is_made_anew_where_it_was_forgotten_is_kept_when_the_other_one_still_deletes_it(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.two, 2, "edited on both before")
    couple.settle()
    couple.one.edit(lambda s: s.execute(delete(User).where(User.id == 2)))
    couple.settle()
    assert Ledger(couple.two.ft.database, "users").forget(time.time() + 1) == 1
    couple.two.edit(lambda s: s.add(User(id=2, group_id=1, name="made anew")))
    couple.settle()
    assert [row[0] for row in users(couple.one)] == [row[0] for row in users(couple.two)] == [1, 3]
    kept = ConflictStore(couple.two.ft.database).listed()
    assert [(c.item, c.lost["values"]["name"], c.won["deleted"]) for c in kept] == [("[2]", "made anew", True)]


def test_an_edit_on_a_server_that_came_back_from_a_backup_is_kept_and_old_rows_are_not(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    own, portal = couple.two.ft.database, couple.two.engine
    with own.transaction() as connection, portal.connect() as rows:
        ledger = connection.execute(select(LEDGER)).mappings().all()
        backup = rows.execute(select(User.__table__)).mappings().all()
    for name in ("first", "second"):
        for number in (1, 2, 3):
            rename(couple.two, number, f"{name} after the backup")
        couple.settle()
    with own.transaction() as connection, portal.begin() as rows:
        connection.execute(delete(LEDGER))
        connection.execute(insert(LEDGER), [dict(row) for row in ledger])
        for row in backup:
            rows.execute(update(User).where(User.id == row["id"]).values(name=row["name"]))
    rename(couple.two, 1, "typed after it came back")
    couple.settle()
    assert [[row[1] for row in users(node)] for node in couple] == [["second after the backup"] * 3] * 2
    kept = ConflictStore(own).listed()
    assert [(c.item, c.lost["values"]["name"]) for c in kept] == [("[1]", "typed after it came back")]


def test_long_rows_are_looked_at_answered_and_taken_one_by_one(couple: Couple) -> None:
    """150 rows of 400 kB, which are not to lie in memory together. The other server asks for all of them at once."""
    photo = bytes(300_000)
    couple.one.edit(lambda s: s.add(Group(id=1, name="staff")))
    for n in range(1, 151):
        couple.one.edit(lambda s, n=n: s.add(User(id=n, group_id=1, name="x", photo=photo)))
    thing = couple.one.replicator.things["users"]
    assert isinstance(thing, RowThing)
    tracemalloc.start()
    try:
        wanted = {found.key: found.digest for found in thing.found(Known({}, {}))}
        thing._recent = {}  # as after a restart
        answered = thing.texts(wanted, 2_000_000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(wanted) == 150 and 5 <= len(answered) <= 40
    assert most < 40_000_000, most
