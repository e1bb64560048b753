"""A table that nobody else has written to since the look is not read again before rows are written; any other one is."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, text

from ftplugin.replicate import pull
from ftplugin.replicate.conflicts import ConflictStore
from ftplugin.replicate.engine import Replicator

from .conftest import Couple, a_couple
from .test_rows import rename, some, users


@contextlib.contextmanager
def reads(engine: Engine) -> Iterator[list[str]]:
    """The statements on ``engine`` that read users."""
    found: list[str] = []

    def heard(_link: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT users."):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", heard)
    yield found
    event.remove(engine, "before_cursor_execute", heard)


def names(couple: Couple) -> list[list[str]]:
    return [[row[1] for row in users(node)] for node in couple]


def test_rows_are_read_again_only_when_somebody_else_has_written(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "first")
    couple.one.scan()
    with reads(couple.two.engine) as found:
        couple.two.pull()
        assert found == []
        rename(couple.one, 2, "second")
        couple.one.scan()
        couple.two.pull()
        assert found == [], "its own writing is known to it"
        rename(couple.two, 3, "typed here")
        rename(couple.one, 1, "third")
        couple.one.scan()
        found.clear()
        couple.two.pull()
        assert len(found) == 1
    couple.settle()
    assert names(couple) == [["third", "second", "typed here"]] * 2
    assert ConflictStore(couple.two.ft.database).listed() == []


def test_what_a_trigger_writes_beside_a_row_that_is_taken_is_not_overwritten(
    couple: Couple, monkeypatch: pytest.MonkeyPatch
) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    trigger = "CREATE TRIGGER beside AFTER UPDATE ON users WHEN NEW.id = 1 BEGIN UPDATE users SET name = 'by trigger' "
    couple.two.edit(lambda s: s.execute(text(f"{trigger} WHERE id = 2; END")))
    couple.two.scan()
    rename(couple.one, 1, "one")
    rename(couple.one, 2, "two")
    couple.one.scan()
    monkeypatch.setattr(pull, "ROWS_PAGE", 1)  # row 2 is written in another transaction than row 1
    assert couple.two.pull()["users"].behind == 1
    found = couple.two.user(2)
    assert found is not None and found.name == "by trigger"


def test_a_file_put_in_the_place_of_the_database_is_read_anew(couple: Couple) -> None:
    couple.one.edit(some)
    couple.settle(active=True)
    file = couple.two.folder.parent / "portal.sqlite3"
    other = file.with_suffix(".restored")
    shutil.copyfile(file, other)
    couple.two.engine.dispose()
    os.rename(other, file)
    rename(couple.two, 1, "of the restored file")
    rename(couple.one, 1, "newer there")
    assert couple.two.scan()["users"].edited == 1, "seen in the new file"
    couple.one.scan()
    couple.settle()
    assert names(couple)[0] == names(couple)[1]
    kept = {c.lost["values"]["name"] for node in couple for c in ConflictStore(node.ft.database).listed()}
    assert kept | {names(couple)[0][0]} == {"of the restored file", "newer there"}


def test_a_row_gone_behind_the_ledger_is_not_counted_as_written(couple: Couple) -> None:
    """More than half is gone: nothing is taken for deleted, so the ledger still says that the rows are there."""
    couple.one.edit(lambda s: some(s, 40))
    couple.settle(active=True)
    couple.two.edit(lambda s: s.execute(text("DELETE FROM lines")))
    couple.two.edit(lambda s: s.execute(text("DELETE FROM users WHERE id > 5")))
    assert couple.two.scan()["users"].gone == 35
    rename(couple.one, 7, "edited there")
    couple.one.scan()
    progress = couple.two.pull()["users"]
    assert (progress.taken, progress.behind) == (0, 1) and couple.two.user(7) is None
    couple.two.scan(gone="restore")
    couple.settle()
    assert names(couple)[0] == names(couple)[1] and len(names(couple)[1]) == 40


def test_a_conflict_is_kept_when_the_portal_s_tables_are_in_the_same_file_as_ours(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Replicator, "ensure", lambda replicator: None)
    with a_couple(tmp_path, one_file=True) as couple:
        couple.one.edit(some)
        couple.settle(active=True)
        for name in ("first", "second"):  # more edits than on the other one: it wins
            rename(couple.one, 1, name)
            couple.one.scan()
        rename(couple.two, 1, "typed here")
        couple.settle()
        assert names(couple) == [["second", "user 2", "user 3"]] * 2
        kept = ConflictStore(couple.two.ft.database).listed()
        assert [c.lost["values"]["name"] for c in kept] == ["typed here"]


def test_an_engine_that_begins_its_transactions_by_itself(couple: Couple) -> None:
    """As SQLAlchemy's documentation has it for savepoints with SQLite."""
    event.listen(couple.two.engine, "connect", lambda link, _record: setattr(link, "isolation_level", None))
    event.listen(couple.two.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    couple.two.engine.dispose()
    couple.one.edit(some)
    couple.settle(active=True)
    rename(couple.one, 1, "changed")
    couple.settle()
    assert names(couple) == [["changed", "user 2", "user 3"]] * 2
