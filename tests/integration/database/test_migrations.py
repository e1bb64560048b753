"""The tables from every released revision to the newest, on each of the databases, with the rows that were in them."""

from __future__ import annotations

import logging
import pathlib
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Float, LargeBinary, create_engine, inspect, select, text
from sqlalchemy.dialects.mysql import DOUBLE, LONGBLOB, MEDIUMTEXT, TEXT

from ftplugin.core.terms import Role
from ftplugin.store import migrations
from ftplugin.store.database import Database, DatabaseUnreachable
from ftplugin.store.journal import SqlJournal
from ftplugin.store.migrations import run
from ftplugin.store.settings_history import conflicts, history
from ftplugin.store.tables import EVENT, METADATA, NODE, SETTINGS, SETTINGS_BOTH, STANDING, STEP, SWITCH, Prose

from .conftest import alike

RELEASED = pathlib.Path(__file__).parent / "released"
KINDS = ("sqlite", "postgresql", "mariadb")
STARTS = ("before_migrations", *migrations.REVISIONS)
NewUrl = Callable[[str], str]


def as_released(kind: str, url: str, start: str) -> None:
    """The database as version 0.x left it, brought to ``start`` by the revisions up to there."""
    database = Database(url)
    if kind == "sqlite":
        pathlib.Path(str(database.url.database)).parent.mkdir(parents=True)
    engine = create_engine(database.url)
    with engine.connect() as connection:
        dump = (RELEASED / f"before_migrations.{kind}.sql").read_text()
        raw: Any = connection.connection.dbapi_connection
        if kind == "sqlite":
            raw.executescript(f"PRAGMA journal_mode=WAL;\n{dump}")
        elif kind == "postgresql":
            raw.execute(dump.encode())
            raw.execute("SET search_path TO DEFAULT")
        else:
            raw.cursor().execute("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")  # Debian's default
            for statement in dump.split(";\n"):
                if statement.strip():
                    raw.cursor().execute(statement)
        raw.commit()
        if start != STARTS[0]:
            run.upgrade(connection, start)
    engine.dispose()
    database.close()


def rows(database: Database) -> dict[str, list[Any]]:
    with database.transaction() as connection:
        return {table.name: list(connection.execute(select(table))) for table in METADATA.sorted_tables}


@pytest.mark.parametrize("start", STARTS)
def test_every_row_survives_from_each_released_revision(kind: str, start: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    as_released(kind, url, start)
    database = Database(url)
    journal = SqlJournal(database)
    assert journal.epoch() == 7 and journal.manual_hold()
    assert database.revision() == migrations.HEAD and differences(database) == []
    assert [(switch.switch_id, switch.epoch) for switch in journal.unfinished()] == [("aB2", 7)]
    done = journal.find("Ab1")
    assert done is not None and [(s["step"], s["detail"]) for s in done["steps"]] == [
        ("fence", "no answer"),
        ("service cti", ""),
    ]
    role = journal.last_role()
    assert role is not None and (role.role, role.epoch, role.boot_id) == (Role.ACTIVE, 4, "0f0f-boot")
    assert [(r.revision, r.actor, r.override_reason, r.settings.threshold) for r in history(database)] == [
        (2, "bob", "the guide’s example, as agreed", 3),
        (1, "Jürgen Müller", "", 5),
    ]
    assert history(database)[1].both_server == "server2"
    assert conflicts(database)[0]["replaced"]["values"] == {"threshold": 6}
    assert journal.standing() == {"pause": {"owner": "ann", "reason": "Wartung – Zürich", "until_s": 99.5}}
    assert (journal.notices() or {})["pause"]["revision"] == 3
    found = rows(database)
    assert [len(found[table.name]) for table in (EVENT, SETTINGS, STANDING, STEP, SWITCH)] == [2, 2, 2, 2, 2]
    assert [len(found[table.name]) for table in (NODE, SETTINGS_BOTH)] == [1, 1]
    assert {row.name: row.facts.get("why") for row in found[EVENT.name]}["lost_lease"] == "日本"
    if kind != "mariadb":  # where it was released with seven digits
        assert role.deadline_s == 123456.789012 and done["started_wall_s"] == 1760000006.25
    assert journal.begin(switch_id="ab1", kind="promote", rule="F1", reason="日本", epoch=8, actor="")
    assert journal.save_lease(8, 1_760_000_001.125, "b") and journal.last_role().deadline_s == 1_760_000_001.125
    database.close()


def test_a_new_database_gets_the_tables_of_the_code(kind: str, new_url: NewUrl) -> None:
    database = Database(new_url(kind))
    database.prepare()
    assert differences(database) == []
    database.close()


def differences(database: Database) -> list[Any]:
    """Between the tables as they are and ``tables.py``."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _ours, "compare_type": _differ})
        return list(compare_metadata(context, METADATA))


def _differ(_context: object, _column: object, _own: object, found: object, wanted: object) -> bool | None:
    """None: as Alembic sees it, which takes what MariaDB makes of some types for others: FLOAT(53) is DOUBLE there, and TEXT
    from one character set to another becomes the next larger."""
    same = (
        (isinstance(found, DOUBLE) and isinstance(wanted, Float) and wanted.precision == 53)
        or (isinstance(found, (TEXT, MEDIUMTEXT)) and isinstance(wanted, Prose))
        or (isinstance(found, LONGBLOB) and isinstance(wanted, LargeBinary))
    )
    return False if same else None


def _ours(thing: object, name: str | None, what: str, _reflected: bool, _other: object) -> bool:
    return what != "table" or name != migrations.VERSION_TABLE


def test_each_revision_is_listed_once_and_has_a_file() -> None:
    folder = ScriptDirectory(str(pathlib.Path(migrations.__file__).parent))
    files = [revision.revision for revision in folder.walk_revisions()][::-1]
    assert files == list(migrations.REVISIONS) and folder.get_heads() == [migrations.HEAD]


def test_many_processes_that_come_at_once_upgrade_it_once(kind: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    as_released(kind, url, STARTS[0])
    program = (
        "from ftplugin.store.database import Database\n"
        f"d = Database({url!r})\ninput()\nd.prepare(30)\nprint(d.record_event('here', {{}}), flush=True)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in started] == [b"True\n"] * 3
    database = Database(url)
    found = rows(database)
    assert len(found[EVENT.name]) == 2 + 3 and len(found[SETTINGS.name]) == 2
    database.close()


LOCKS = {
    "sqlite": ("BEGIN IMMEDIATE", "ROLLBACK"),
    "postgresql": (f"SELECT pg_advisory_lock({run.ADVISORY_KEY})", f"SELECT pg_advisory_unlock({run.ADVISORY_KEY})"),
    "mariadb": (f"SELECT GET_LOCK({run.MARIADB_LOCK}, 0)", f"SELECT RELEASE_LOCK({run.MARIADB_LOCK})"),
}


def test_nothing_is_changed_while_another_process_upgrades(kind: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    as_released(kind, url, STARTS[0])
    database = Database(url)
    with create_engine(database.url, isolation_level="AUTOCOMMIT").connect() as other:
        other.exec_driver_sql(LOCKS[kind][0])
        with pytest.raises(DatabaseUnreachable, match="cannot be used"):
            database.prepare(0.0)
        assert database.revision() is None
        other.exec_driver_sql(LOCKS[kind][1])
    database.prepare(0.0)
    assert database.revision() == migrations.HEAD
    database.close()


@alike
def test_threads_of_one_process_upgrade_it_once(kind: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    failed: list[Exception] = []

    def prepare() -> None:
        database = Database(url)
        try:
            database.prepare(30)
        except DatabaseUnreachable as error:
            failed.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert failed == []


def test_tables_that_a_crash_left_half_made_are_completed(kind: str, new_url: NewUrl) -> None:
    """MariaDB commits each of them by itself."""
    url = new_url(kind)
    as_released(kind, url, STARTS[0])
    database = Database(url)
    with create_engine(database.url).begin() as connection:
        for name in (STEP.name, EVENT.name):
            connection.execute(text(f"DROP TABLE {name}"))
    database.prepare()
    assert database.record_event("here", {}) and SqlJournal(database).epoch() == 7
    with database.engine.connect() as connection:
        assert {i["name"] for i in inspect(connection).get_indexes(EVENT.name)} == {
            "ix_ft_event_name",
            "ix_ft_event_at_wall_s",
        }
    database.close()


def set_revision(url: str, revision: str) -> None:
    database = Database(url)
    if database.revision() is None:
        database.prepare()
    with database.engine.begin() as connection:
        connection.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = :found"), {"found": revision})
    database.close()


@alike
def test_old_code_goes_on_with_the_database_of_a_newer_version_and_says_so(
    kind: str, new_url: NewUrl, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_url(kind)
    set_revision(url, "0999")
    database = Database(url)
    with caplog.at_level(logging.WARNING):
        assert SqlJournal(database).set_manual_hold(True)
    assert f"has revision 0999, this version knows {migrations.HEAD}" in caplog.text and "secret" not in caplog.text
    assert database.revision() == "0999"
    database.close()


@alike
def test_tables_of_somebody_else_are_refused_by_name(kind: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    set_revision(url, "9f31ab")
    with pytest.raises(
        DatabaseUnreachable, match="ft_alembic_version holds '9f31ab', which is no revision of ftplugin"
    ):
        Database(url).prepare()


@alike
def test_a_portal_with_its_own_alembic_lives_in_the_same_database(kind: str, new_url: NewUrl) -> None:
    url = new_url(kind)
    if kind == "sqlite":
        pathlib.Path(str(Database(url).url.database)).parent.mkdir(parents=True)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9f31ab')"))
    database = Database(url)
    assert database.record_event("here", {})
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9f31ab"
    engine.dispose()
    database.close()


def test_a_node_whose_tables_are_up_to_date_does_not_load_alembic(new_url: NewUrl) -> None:
    url = new_url("sqlite")
    Database(url).prepare()
    program = (
        "import sys\nfrom ftplugin.store.database import Database\n"
        f"d = Database({url!r})\nd.prepare()\nassert d.record_event('here', {{}})\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('alembic', 'mako')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
