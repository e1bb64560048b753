"""Settings history, switch journal and report: what must last, and what a dead database does."""

from __future__ import annotations

import pathlib
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from ftplugin.core.records import StepResult
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role
from ftplugin.report import Report
from ftplugin.store.database import Database, DatabaseUnreachable
from ftplugin.store.journal import SqlJournal
from ftplugin.store.settings_store import Conflict, Contradictions, SettingsStore, WarningsNeedReason

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}


@pytest.fixture
def database(tmp_path: pathlib.Path):
    found = Database(f"sqlite:///{tmp_path}/new/ft.sqlite3")
    yield found
    found.close()


def begin(journal: SqlJournal, switch_id: str = "1", **changes) -> bool:
    facts = {"kind": "promote", "rule": "F1", "reason": "r", "epoch": 4, "actor": ""} | changes
    return journal.begin(switch_id=switch_id, **facts)


def test_each_save_is_one_revision_and_is_seen_by_another_process(database: Database) -> None:
    clock = [0.0]
    one = SettingsStore(database)
    two = SettingsStore(Database(str(database.url)), monotonic_s=lambda: clock[0])
    assert two.current() == (0, Settings())
    assert [one.save(PAIR, "ann"), one.save({"threshold": 6}, "bob")] == [1, 2]
    clock[0] += 0.1
    assert two.current()[0] == 0
    clock[0] += 0.11
    assert two.current()[0] == 2 and two.current()[1].threshold == 6


def test_refused_settings_leave_the_old_ones(database: Database) -> None:
    store = SettingsStore(database)
    store.save(PAIR, "ann")
    with pytest.raises(Contradictions) as refused:
        store.save({"timeout_s": "40", "agent_port": "x", "nonsense": 1}, "ann")
    assert [p.field for p in refused.value.problems] == ["agent_port", "nonsense"]
    with pytest.raises(WarningsNeedReason):
        store.save({"threshold": 3}, "ann")
    with pytest.raises(Conflict):
        store.save({"threshold": 6}, "ann", expected_revision=0)
    assert store.current()[0] == 1


def test_previous_is_there_until_the_peer_acknowledges(database: Database) -> None:
    store = SettingsStore(database)
    store.save(PAIR, "ann")
    store.acknowledged(1)
    store.save({"threshold": 6}, "ann")
    store.save({"threshold": 7}, "ann")
    assert store.previous().threshold == 5
    store.acknowledged(3)
    assert store.previous() is None


def test_the_newer_settings_of_the_peer_are_taken_the_older_not(tmp_path: pathlib.Path) -> None:
    here, there = (SettingsStore(Database(f"sqlite:///{tmp_path}/{n}.sqlite3")) for n in (1, 2))
    there.save(PAIR, "ann")
    there.save({"threshold": 6}, "ann")
    assert here.adopt(there.document())
    assert here.current() == there.current() and here.previous() is None
    assert not here.adopt(there.document())
    assert not there.adopt(here.document() | {"revision": 1})


def test_edits_on_both_sides_the_later_wins_and_the_loser_is_kept(tmp_path: pathlib.Path) -> None:
    here, there = (
        SettingsStore(Database(f"sqlite:///{tmp_path}/{n}.sqlite3"), wall_s=lambda at=n: float(at)) for n in (1, 2)
    )
    here.save(PAIR | {"threshold": 6}, "ann")
    there.save(PAIR | {"threshold": 7}, "bob")
    assert not there.adopt(here.document())
    assert here.adopt(there.document())
    assert here.current()[1].threshold == 7
    with sqlite3.connect(tmp_path / "1.sqlite3") as link:
        name, facts = link.execute("select name, facts from ft_event").fetchone()
    assert name == "settings_conflict" and '"threshold": 6' in facts


@pytest.mark.parametrize(
    "document", [{}, {"revision": "x"}, {"revision": 9, "saved_at": 1, "values": {"threshold": "x"}}]
)
def test_an_unreadable_document_of_the_peer_is_refused(database: Database, document: dict) -> None:
    store = SettingsStore(database)
    assert not store.adopt(document)
    assert store.current() == (0, Settings())


def test_settings_of_a_newer_version_lose_only_what_is_unknown(database: Database) -> None:
    store = SettingsStore(database)
    assert store.adopt({"revision": 3, "saved_at": 1.0, "values": PAIR | {"threshold": 8, "from_the_future": 1}})
    assert store.current()[1].threshold == 8


def test_last_good_settings_stay_while_the_database_is_gone(database: Database, tmp_path: pathlib.Path) -> None:
    clock = [0.0]
    store = SettingsStore(database, monotonic_s=lambda: clock[0])
    store.save(PAIR, "ann")
    database.close()
    (tmp_path / "new").rename(tmp_path / "away")
    (tmp_path / "new").write_text("no folder")
    clock[0] += 1
    assert store.current()[0] == 1 and store.error
    (tmp_path / "new").unlink()
    (tmp_path / "away").rename(tmp_path / "new")
    clock[0] += 1.1
    assert store.current()[0] == 1 and not store.error


def test_unreachable_database_is_named_without_its_password() -> None:
    database = Database("postgresql+psycopg://ft:secret@127.0.0.1:1/ft")
    with pytest.raises(DatabaseUnreachable) as error:
        database.prepare(limit_s=0.2)
    assert "127.0.0.1" in str(error.value) and "secret" not in str(error.value)


def test_a_locked_database_is_told_within_its_limit(database: Database) -> None:
    journal = SqlJournal(database)
    assert begin(journal)
    link = sqlite3.connect(database.url.database, isolation_level=None)
    link.execute("BEGIN IMMEDIATE")
    began_s = time.monotonic()
    assert not begin(journal, "2", epoch=6)
    assert 0.5 < time.monotonic() - began_s < 2.5
    assert journal.epoch() == 4
    link.execute("ROLLBACK")
    link.close()
    assert begin(journal, "2", epoch=6) and journal.epoch() == 6


def test_two_processes_may_make_the_tables_at_once(tmp_path: pathlib.Path) -> None:
    url = f"sqlite:///{tmp_path}/ft.sqlite3"
    failed: list[Exception] = []

    def prepare() -> None:
        try:
            Database(url).prepare()
        except DatabaseUnreachable as error:
            failed.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert failed == []


def test_a_begun_switch_outlasts_kill_9(tmp_path: pathlib.Path) -> None:
    url = f"sqlite:///{tmp_path}/ft.sqlite3"
    program = (
        "import os, signal\n"
        "from ftplugin.store.database import Database\nfrom ftplugin.store.journal import SqlJournal\n"
        f"journal = SqlJournal(Database({url!r}))\n"
        "assert journal.begin(switch_id='1', kind='promote', rule='F1', reason='r', epoch=4, actor='')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == -9
    journal = SqlJournal(Database(url))
    assert journal.epoch() == 4
    assert [(s.switch_id, s.kind, s.epoch) for s in journal.unfinished()] == [("1", "promote", 4)]


def test_a_switch_with_its_steps_and_its_end(database: Database) -> None:
    journal = SqlJournal(database)
    assert begin(journal)
    assert journal.step("1", 0, StepResult(step="fence", outcome="running"))
    assert journal.step("1", 0, StepResult(step="fence", outcome="ok", duration_s=0.4))
    assert journal.unfinished()[0].steps == (StepResult(step="fence", outcome="ok", duration_s=0.4),)
    assert journal.end("1", "done", Role.ACTIVE, "")
    assert not journal.unfinished() and not journal.end("unknown", "done", Role.ACTIVE, "")
    assert journal.recent()[0]["outcome"] == "done"


def test_only_automatic_done_promotions_in_the_window_count(database: Database) -> None:
    wall = [1000.0]
    journal = SqlJournal(database, wall_s=lambda: wall[0])
    for name, changes, outcome in (
        ("old", {}, "done"),
        ("a", {}, "done"),
        ("b", {"actor": "ann"}, "done"),
        ("c", {}, "failed"),
        ("d", {"kind": "demote"}, "done"),
    ):
        begin(journal, name, **changes)
        journal.end(name, outcome, Role.ACTIVE, "")
        wall[0] = 5000.0
    assert journal.automatic_switches(3600) == 1


def test_last_role_follows_lease_and_end(database: Database) -> None:
    journal = SqlJournal(database)
    assert journal.last_role() is None
    begin(journal)
    journal.save_lease(4, 99.5, "boot")
    record = journal.last_role()
    assert (record.role, record.epoch, record.deadline_s, record.boot_id) == (Role.ACTIVE, 4, 99.5, "boot")
    journal.end("1", "done", Role.ACTIVE, "")
    assert journal.last_role().deadline_s == 99.5
    begin(journal, "2", kind="demote", epoch=6)
    journal.end("2", "done", Role.STANDBY, "")
    record = journal.last_role()
    assert (record.role, record.epoch, record.deadline_s, record.seen_epoch) == (Role.STANDBY, 6, 0.0, 6)


def test_lines_of_many_writers_never_mix(tmp_path: pathlib.Path) -> None:
    def write(name: str) -> None:
        report = Report(tmp_path)
        for number in range(200):
            report.line(name, f"{number} " + name * 50)

    threads = [threading.Thread(target=write, args=(c,)) for c in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    report = Report(tmp_path)
    lines = "".join(report.read(day) for day in report.days()).splitlines()
    assert len(lines) == 800
    assert all(line.split(" : ")[1].split()[1] == line.split()[1] * 50 for line in lines)


def test_old_days_are_removed_and_other_files_not(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for day in ("200101", "200102", "200103"):
        (folder / f"FT_REPORT_{day}.txt").write_text("x")
    (folder / "other.txt").write_text("x")
    Report(tmp_path, days=2).line("agent", "now")
    assert len(Report(tmp_path).days()) == 2 and (folder / "other.txt").exists()


def test_report_that_cannot_be_written_goes_to_standard_error(tmp_path: pathlib.Path, capsys) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    Report(tmp_path).line("agent", "important\nword")
    assert "agent : important word" in capsys.readouterr().err
