"""Backup and restore on each database: whole although a switch begins meanwhile, and what is recorded afterwards counts on."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from ftplugin.core.records import StepResult
from ftplugin.core.terms import Role
from ftplugin.replicate.conflicts import ConflictStore, Lost
from ftplugin.store import backup
from ftplugin.store.database import Database
from ftplugin.store.journal import SqlJournal
from ftplugin.store.tables import CONFLICT, EVENT, STEP, SWITCH

HEAD = {"version": "1", "own_address": "10.0.0.1", "prefix": ""}
STEP_DONE = StepResult(step="fence", outcome="ok", duration_s=0.1, detail="")


def switch(database: Database, name: str, epoch: int) -> None:
    journal = SqlJournal(database)
    assert journal.begin(switch_id=name, kind="promote", rule="F1", reason="r", epoch=epoch, actor="")
    assert journal.step(name, 0, STEP_DONE) and journal.end(name, "done", Role.STANDBY, "")


def once_it_has_read_switches(engine: Engine, act: Callable[[], None]) -> None:
    """Run ``act`` between the rows of ft_switch and those of the tables behind it."""
    waiting = [act]

    def after(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if waiting and re.search(r"FROM ft_switch\b", statement):
            waiting.pop()()

    event.listen(engine, "after_cursor_execute", after)


def count(database: Database, table: Any) -> int:
    with database.transaction() as connection:
        return len(connection.execute(select(table)).all())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", pytest.param("mariadb", marks=pytest.mark.full)])
def test_a_backup_made_while_a_switch_begins_is_restored_and_the_server_records_on(
    new_url: Callable[[str], str], kind: str, tmp_path: pathlib.Path
) -> None:
    url, path = new_url(kind), tmp_path / "node.backup"
    source, busy, target = Database(url), Database(url), Database(new_url(kind))
    for number in range(3):
        switch(source, f"switch {number}", 2 * number + 2)
        assert source.record_event("lease_lost", {"epoch": number})
    once_it_has_read_switches(source.engine, lambda: switch(busy, "meanwhile", 20))
    backup.write(path, source, HEAD, {})
    assert count(source, SWITCH) == 4, "it did begin meanwhile"
    backup.restore(path, target, "")
    assert count(target, SWITCH) == count(target, STEP) == 3
    switch(target, "after the restore", 10_000_000)
    assert target.record_event("lease_lost", {"epoch": 4}) and count(target, EVENT) == 4
    for database in (source, busy, target):
        database.close()


def test_a_long_row_that_gave_way_comes_back_with_the_backup(tmp_path: pathlib.Path) -> None:
    source, target = (Database(f"sqlite:///{tmp_path}/{name}/ft.sqlite3") for name in ("one", "two"))
    lost = {"at_wall_s": 1.0, "origin": "server1", "values": {"photo": "x" * 5_000_000}}
    won = {"at_wall_s": 2.0, "origin": "server2"}
    ConflictStore(source).note(
        [Lost(conflict_id="a1", subject="users", item="[1]", found_wall_s=3.0, kept_on="server1", lost=lost, won=won)]
    )
    backup.write(tmp_path / "node.backup", source, HEAD, {})
    backup.restore(tmp_path / "node.backup", target, "")
    assert count(target, CONFLICT) == 1
    found = ConflictStore(target).one("a1")
    assert found is not None and found.lost == lost
    source.close()
    target.close()
