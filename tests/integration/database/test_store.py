"""Settings, switch journal and events on each of the databases: what must last, and is read back as it was."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import insert, select

from ftplugin.core.records import StepResult
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role
from ftplugin.store.database import Database, DatabaseUnreachable
from ftplugin.store.events import EventStore
from ftplugin.store.journal import SqlJournal
from ftplugin.store.settings_store import Conflict, Contradictions, SettingsStore, WarningsNeedReason
from ftplugin.store.tables import EVENT, SETTINGS

from .conftest import alike

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}


def begin(journal: SqlJournal, switch_id: str = "1", **changes) -> bool:
    facts = {"kind": "promote", "rule": "F1", "reason": "r", "epoch": 4, "actor": ""} | changes
    return journal.begin(switch_id=switch_id, **facts)


def test_each_save_is_one_revision_and_is_seen_by_another_process(database: Database, url: str) -> None:
    clock = [0.0]
    one = SettingsStore(database)
    two = SettingsStore(Database(url), monotonic_s=lambda: clock[0])
    assert two.current() == (0, Settings())
    assert [one.save(PAIR, "ann"), one.save({"threshold": 6}, "bob")] == [1, 2]
    clock[0] += 0.1
    assert two.current()[0] == 0
    clock[0] += 0.11
    assert two.current()[0] == 2 and two.current()[1].threshold == 6


@alike
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


@alike
def test_previous_is_there_until_the_peer_acknowledges(database: Database) -> None:
    store = SettingsStore(database)
    store.save(PAIR, "ann")
    store.acknowledged(1)
    store.save({"threshold": 6}, "ann")
    store.save({"threshold": 7}, "ann")
    assert store.previous().threshold == 5
    store.acknowledged(3)
    assert store.previous() is None


@alike
def test_the_newer_settings_of_the_peer_are_taken_the_older_not(database: Database, second: Database) -> None:
    here, there = SettingsStore(database), SettingsStore(second)
    there.save(PAIR, "ann")
    there.save({"threshold": 6}, "ann")
    assert here.adopt(there.document())
    assert here.current() == there.current() and here.previous() is None
    assert not here.adopt(there.document())
    assert not there.adopt(here.document() | {"revision": 1})


@alike
def test_edits_on_both_sides_the_later_wins_and_the_loser_is_kept(database: Database, second: Database) -> None:
    here, there = SettingsStore(database, wall_s=lambda: 1.0), SettingsStore(second, wall_s=lambda: 2.0)
    here.save(PAIR | {"threshold": 6}, "ann")
    there.save(PAIR | {"threshold": 7}, "bob")
    assert not there.adopt(here.document())
    assert here.adopt(there.document())
    assert here.current()[1].threshold == 7
    with database.transaction() as connection:
        name, facts = connection.execute(select(EVENT.c.name, EVENT.c.facts)).one()
    assert name == "settings_conflict" and facts["replaced"]["values"]["threshold"] == 6


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"revision": "x"},
        {"revision": 9, "saved_at": 1, "values": {"threshold": "x"}},
        {"revision": 10**30, "saved_at": 1, "values": {}},
        {"revision": 9, "saved_at": float("nan"), "values": {}},
    ],
)
@alike
def test_an_unreadable_document_of_the_peer_is_refused(database: Database, document: dict) -> None:
    store = SettingsStore(database)
    assert not store.adopt(document)
    assert store.current() == (0, Settings())


@alike
def test_settings_of_a_newer_version_lose_only_what_is_unknown(database: Database) -> None:
    store = SettingsStore(database)
    assert store.adopt({"revision": 3, "saved_at": 1.0, "values": PAIR | {"threshold": 8, "from_the_future": 1}})
    assert store.current()[1].threshold == 8


def test_last_good_settings_stay_while_the_file_is_gone(tmp_path: pathlib.Path) -> None:
    clock = [0.0]
    database = Database(f"sqlite:///{tmp_path}/new/ft.sqlite3")
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
    database.close()


def test_unreachable_database_is_named_without_its_password() -> None:
    database = Database("postgresql+psycopg://ft:secret@127.0.0.1:1/ft")
    with pytest.raises(DatabaseUnreachable) as error:
        database.prepare(limit_s=0.2)
    assert "127.0.0.1" in str(error.value) and "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ft:pa@ss:s3cret@127.0.0.1/ft",
        "postgresql+psycopg://ft:pa@s3cret@127.0.0.1/ft",
        "postgresql+psycopg://ft:pa@ss:s3cr/et@127.0.0.1/ft",
        "mysql+pymysql:/ft:s3cret@127.0.0.1/ft",
    ],
)
def test_a_password_that_is_written_wrongly_is_told_without_a_part_of_it(url: str) -> None:
    with pytest.raises(DatabaseUnreachable) as told:
        Database(url).prepare(0.0)
    assert "s3c" not in str(told.value), "it is in the log, and as a health check in the monitor's answer"
    assert "write postgresql+psycopg://USER:PASSWORD@" in str(told.value)


@pytest.mark.parametrize("url", ["ft:s3cret@127.0.0.1:1/ft?bogus=1", "ft:s3cret日@127.0.0.1:1/ft"])
def test_what_the_driver_cannot_take_is_told_and_breaks_nothing(url: str) -> None:
    database = Database(f"mysql+pymysql://{url}")
    with pytest.raises(DatabaseUnreachable, match="bogus|codec can't encode") as told:
        database.prepare(0.0)
    assert "s3cret" not in str(told.value) and SqlJournal(database).recent() == []


def test_the_options_of_a_url_are_not_shown() -> None:
    assert Database("postgresql://ft@127.0.0.1/ft?password=s3cret").shown_url == "postgresql+psycopg://ft@127.0.0.1/ft"


@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb", "mariadb+pymysql"])
def test_the_driver_need_not_be_named(emptied, name: str) -> None:
    made = emptied("postgresql" if name == "postgresql" else "mariadb", 1)
    database = Database(name + made[made.index("://") :])
    assert database.record_event("here", {}) and str(database.url.drivername) in made
    database.close()


@pytest.mark.parametrize("name", ["postgresql+psycopg2", "mysql+mysqldb", "oracle"])
def test_a_driver_whose_limits_are_not_known_is_refused(name: str) -> None:
    with pytest.raises(DatabaseUnreachable, match="its time limits are not known; use sqlite, ") as told:
        Database(f"{name}://ft:secret@127.0.0.1/ft")
    assert "secret" not in str(told.value)


@alike
def test_a_begun_switch_outlasts_kill_9(database: Database, url: str) -> None:
    program = (
        "import os, signal\n"
        "from ftplugin.store.database import Database\nfrom ftplugin.store.journal import SqlJournal\n"
        f"journal = SqlJournal(Database({url!r}))\n"
        "assert journal.begin(switch_id='1', kind='promote', rule='F1', reason='r', epoch=4, actor='')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == -9
    journal = SqlJournal(database)
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


@alike
def test_only_automatic_done_promotions_in_the_window_count(database: Database) -> None:
    wall = [1000.0]
    journal = SqlJournal(database, wall_s=lambda: wall[0])
    for name, changes, outcome in (
        ("old", {}, "done"),
        ("a", {}, "done"),
        ("b", {"actor": "ann"}, "done"),
        ("c", {}, "failed"),
        ("d", {"kind": "demote"}, "done"),
        ("e", {"rule": "C2"}, "done"),  # a start is no flapping
        ("f", {"rule": "C3"}, "done"),
    ):
        begin(journal, name, **changes)
        journal.end(name, outcome, Role.ACTIVE, "")
        wall[0] = 5000.0
    assert journal.automatic_switches(3600) == 1


@alike
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


def test_times_keep_their_milliseconds(database: Database) -> None:
    journal = SqlJournal(database, wall_s=lambda: 1_760_000_001.125)
    begin(journal)
    journal.save_lease(4, 86_400_123.456789, "boot")
    assert journal.begun_wall_s("1") == 1_760_000_001.125
    assert journal.last_role().deadline_s == 86_400_123.456789


def test_names_that_differ_in_case_are_two(database: Database) -> None:
    journal = SqlJournal(database)
    assert begin(journal, "aB") and begin(journal, "Ab", epoch=6)
    assert [journal.find(name)["epoch"] for name in ("aB", "Ab")] == [4, 6]


def test_text_that_a_database_would_refuse_costs_no_switch(database: Database) -> None:
    journal = SqlJournal(database)
    assert begin(journal, actor="ann\x00", reason="日本 😀 \ud800 " + "long " * 20_000, rule="r" * 30)
    assert journal.step("1", 0, StepResult(step="service " + "s" * 200, outcome="ok", detail="\x00"))
    found = journal.find("1")
    assert found["actor"] == "ann\ufffd" and found["reason"].startswith("日本 😀 \ufffd long")
    assert database.record_event("x", {"age_s": float("inf"), "text": "é\x00\ud800😀", "all": [float("nan"), 1.5]})
    with database.transaction() as connection:
        facts = connection.scalar(select(EVENT.c.facts).where(EVENT.c.name == "x"))
    assert facts == {"age_s": None, "text": "é\x00\ufffd😀", "all": [None, 1.5]}


def test_two_processes_that_begin_at_once_both_succeed_and_the_highest_epoch_stays(url: str) -> None:
    """On an empty database both make the row of the node, where one finds that the other was faster."""
    journals = [SqlJournal(Database(url)) for _ in range(4)]
    together, done = threading.Barrier(len(journals)), {}

    def one(number: int) -> None:
        together.wait(10)
        done[number] = begin(journals[number], str(number), epoch=2 * number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(journals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done == {0: True, 1: True, 2: True, 3: True}
    assert journals[0].epoch() == 6
    for journal in journals:
        journal.database.close()


def test_of_two_that_save_on_one_revision_one_is_told(database: Database, url: str) -> None:
    first = SettingsStore(database)
    first.save(PAIR, "ann")
    with Database(url).engine.connect() as other:
        other.execute(insert(SETTINGS), _row(first.document() | {"revision": 2}))
        saving = threading.Timer(0.3, other.commit)
        saving.start()
        with pytest.raises(Conflict) as told:
            first.save({"threshold": 6}, "bob")
        saving.join()
    assert told.value.revision == 2


def _row(document: dict) -> dict:
    names = ("revision", "origin", "actor", "override_reason", "values")
    return {name: document[name] for name in names} | {"saved_wall_s": document["saved_at"], "acknowledged": False}


@alike
def test_old_events_go_and_the_loser_of_a_conflict_stays(database: Database) -> None:
    database.record_event("settings_conflict", {"replaced": {}})
    for number in range(3):
        database.record_event("lost_lease", {"n": number})
    later_s = time.time() + 8 * 86_400
    assert EventStore(database, 7, wall_s=lambda: later_s).forget_old()
    with database.transaction() as connection:
        assert [row.name for row in connection.execute(select(EVENT.c.name))] == ["settings_conflict"]


def test_pause_hold_and_notices_come_back_as_they_were(database: Database) -> None:
    journal = SqlJournal(database)
    assert journal.standing() == {} and journal.set_standing("pause", {"owner": "Jürgen", "until_s": None})
    assert journal.set_standing("pause", {"owner": "Jürgen", "until_s": 9.5})
    assert journal.set_notice("pause", {"revision": 3, "told": False})
    assert not journal.told("pause", 2) and journal.told("pause", 3)
    assert journal.standing() == {"pause": {"owner": "Jürgen", "until_s": 9.5}}
    assert journal.notices() == {"pause": {"revision": 3, "told": True}}
    assert journal.set_standing("pause", None) and journal.standing() == {}
    assert journal.set_manual_hold(True) and SqlJournal(database).manual_hold()
