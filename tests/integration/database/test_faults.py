"""A database that is frozen, killed, locked, read-only or full: every call ends in time, and what was written stays."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from ftplugin.store.database import Database, DatabaseUnreachable
from ftplugin.store.journal import SqlJournal
from ftplugin.store.settings_store import SettingsStore
from tests.parts import eventually, timed

from .servers import MariaDb, Postgres, Server

PAIR = {"server1_address": "10.0.0.1", "server2_address": "10.0.0.2"}
LIMIT_S = 1.0  # half of what a node has: so many tests wait for it
CALL_S = LIMIT_S + 1.0  # the machine of the tests is busy
AT_ONCE_S = 0.5
SOON_S = 20.0  # after the fault, on a busy machine
NewUrl = Callable[[str], str]


def begin(journal: SqlJournal, switch_id: str, epoch: int) -> bool:
    return journal.begin(switch_id=switch_id, kind="promote", rule="F1", reason="r", epoch=epoch, actor="")


@pytest.fixture
def on_server(server: Server, emptied: Callable[[str, int], str]) -> Iterator[Database]:
    database = Database(emptied(server.kind, 1), LIMIT_S)
    yield database
    database.close()


def test_a_frozen_server_costs_one_wait_and_is_used_again_when_it_answers(server: Server, on_server: Database) -> None:
    journal, settings = SqlJournal(on_server), SettingsStore(on_server)
    settings.save(PAIR, "ann")
    assert begin(journal, "1", 4)
    server.freeze()
    recent, took_s = timed(journal.recent)
    assert recent == [] and took_s < CALL_S
    for call in (journal.epoch, journal.last_role, journal.standing, lambda: journal.save_lease(4, 9.5, "b")):
        _, took_s = timed(call)
        assert took_s < AT_ONCE_S, call
    assert journal.epoch() == 4  # the last one known
    told, took_s = timed(on_server.problem)
    assert "does not answer" in told and took_s < AT_ONCE_S and "secret" not in told
    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        settings.save({"threshold": 6}, "ann")
    assert settings.current()[1].server1_address == "10.0.0.1"
    server.thaw()
    eventually(lambda: begin(journal, "3", 8), SOON_S, "the journal is written again")
    # what was asked before was given up with its connection: its late answer is not taken for that of a later question
    assert journal.epoch() == 8 and [row["switch_id"] for row in journal.recent(9)] == ["3", "1"]
    assert journal.manual_hold() is False and settings.save({"threshold": 6}, "ann") == 2


def test_a_start_while_the_server_is_frozen_is_told_in_time(server: Server, emptied: Callable[[str, int], str]) -> None:
    """Also by a name with several addresses, each of which the drivers would give its own limit."""
    database = Database(emptied(server.kind, 1).replace("127.0.0.1", "localhost"), LIMIT_S)
    server.freeze()
    began_s = time.monotonic()
    with pytest.raises(DatabaseUnreachable) as told:
        database.prepare(limit_s=0.0)
    assert time.monotonic() - began_s < CALL_S and "secret" not in str(told.value)
    server.thaw()
    eventually(lambda: database.record_event("here", {}), SOON_S, "an event is written again")
    database.close()


def test_a_killed_server_is_told_at_once_and_used_again_after_its_restart(server: Server, on_server: Database) -> None:
    journal = SqlJournal(on_server)
    assert begin(journal, "1", 4)
    server.kill()
    done, took_s = timed(lambda: begin(journal, "2", 6))
    assert not done and took_s < AT_ONCE_S
    server.start()
    assert begin(journal, "3", 8) and journal.epoch() == 8
    server.kill()
    server.start()  # in between nobody has asked: the connections that are kept are all dead
    assert begin(journal, "4", 10)
    assert [switch.switch_id for switch in journal.unfinished()] == ["1", "3", "4"]


# --- locked, read-only, full: on each of the three ---------------------------------------------------------------------


@contextlib.contextmanager
def locked(kind: str, url: str, server_of: Callable[[str], Server]) -> Iterator[None]:
    """By another program, which does not let go."""
    if kind == "sqlite":
        path = Database(url).url.database
        program = f"import sqlite3\nlink = sqlite3.connect({path!r})\nlink.execute('BEGIN IMMEDIATE')\n"
        program += "print(1, flush=True)\ninput()"
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == b"1\n"
            os.kill(process.pid, signal.SIGSTOP)
            try:
                yield
            finally:
                process.kill()
        return
    engine = create_engine(server_of(kind).admin_url(url.rpartition("/")[2]))
    with engine.connect() as connection:
        tables = ("ft_node", "ft_switch", "ft_settings", "ft_event", "ft_standing")
        if kind == "postgresql":
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN EXCLUSIVE MODE")  # reading goes on
        else:
            connection.exec_driver_sql(f"LOCK TABLES {', '.join(f'{name} READ' for name in tables)}")
        yield
    engine.dispose()


@contextlib.contextmanager
def read_only(kind: str, url: str, server_of: Callable[[str], Server]) -> Iterator[None]:
    name = url.rpartition("/")[2]
    if kind == "postgresql":
        server_of(kind).execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    else:
        server_of(kind).execute("SET GLOBAL read_only = 1")
    yield
    if kind == "postgresql":
        server_of(kind).execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    else:
        server_of(kind).execute("SET GLOBAL read_only = 0")


def refuses_in_time_and_loses_nothing(database: Database, url: str, fault: Any) -> None:
    journal, settings = SqlJournal(database), SettingsStore(database)
    settings.save(PAIR, "ann")
    assert begin(journal, "1", 4)
    with fault:
        done, took_s = timed(lambda: begin(journal, "2", 6))
        assert not done and took_s < CALL_S
        with pytest.raises(Exception) as told:
            settings.save({"threshold": 6}, "ann")
        assert "secret" not in str(told.value)
        assert journal.epoch() == 4 and settings.current()[1].threshold == 5
        assert [switch.switch_id for switch in SqlJournal(Database(url)).unfinished()] == ["1"]
    assert begin(journal, "3", 8) and journal.epoch() == 8
    assert settings.save({"threshold": 6}, "ann") == 2


def test_a_locked_database_refuses_in_time_and_is_read_on(
    kind: str, url: str, server_of: Callable[[str], Server]
) -> None:
    database = Database(url, LIMIT_S)
    database.prepare()
    refuses_in_time_and_loses_nothing(database, url, locked(kind, url, server_of))
    database.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_read_only_server_refuses_in_time_and_is_read_on(
    kind: str, url: str, database: Database, server_of: Callable[[str], Server]
) -> None:
    @contextlib.contextmanager
    def fault() -> Iterator[None]:
        with read_only(kind, url, server_of):
            database.close()  # a setting of the database is for new connections
            yield
        database.close()

    refuses_in_time_and_loses_nothing(database, url, fault())


def test_a_file_that_may_only_be_read_is_read_on(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ft.sqlite3"
    writing = Database(f"sqlite:///{path}")
    assert begin(SqlJournal(writing), "1", 4)
    writing.close()
    reading = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    journal = SqlJournal(reading)
    assert not begin(journal, "2", 6) and not reading.record_event("x", {})
    assert journal.epoch() == 4 and [switch.switch_id for switch in journal.unfinished()] == ["1"]
    reading.close()


@pytest.mark.parametrize("fault", ["deleted", "replaced", "another's"])
def test_the_health_check_tells_of_a_file_that_was_taken_away_from_under_it(tmp_path: pathlib.Path, fault: str) -> None:
    """SQLite goes on writing into a deleted file: every epoch would be gone with the next restart."""
    path = tmp_path / "ft.sqlite3"
    database = Database(f"sqlite:///{path}")
    assert begin(SqlJournal(database), "1", 4) and database.problem() == ""
    if fault == "another's":
        with create_engine(database.url).begin() as connection:
            connection.exec_driver_sql("DROP TABLE ft_node")
        assert database.problem() == "no such table: ft_node"
    else:
        if fault == "replaced":
            shutil.copy(path, tmp_path / "copy")
        path.unlink()
        if fault == "replaced":
            (tmp_path / "copy").rename(path)
        assert database.problem().startswith(f"{path} was deleted or replaced: what is written now is lost")
    database.close()


def fill_up(database: Database) -> int:
    """Events of 8 kB until one is refused; how many were taken."""
    for taken in range(4_000):
        done, took_s = timed(lambda: database.record_event("filler", {"text": os.urandom(4_000).hex()}))
        assert took_s < CALL_S
        if not done:
            return taken
    raise AssertionError("it is not full")


def test_a_full_file_refuses_in_time_and_is_read_on(tmp_path: pathlib.Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ft.sqlite3")
    journal = SqlJournal(database)
    assert begin(journal, "1", 4)
    event.listen(database.engine, "connect", lambda link, _record: link.execute("PRAGMA max_page_count=60"))
    database.engine.dispose()
    assert fill_up(database) > 2
    assert journal.epoch() == 4 and journal.find("1")["epoch"] == 4
    database.close()
    later = Database(f"sqlite:///{tmp_path}/ft.sqlite3")
    assert begin(SqlJournal(later), "3", 8)
    later.close()


@pytest.fixture
def small_disk(server: Server) -> Iterator[pathlib.Path]:
    """A file system of 32 MB that belongs to the server's user."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    folder = pathlib.Path(f"{server.folder}-small")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "ft-small", str(folder)], check=True, timeout=10)
    shutil.chown(folder, server.user)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)
    folder.rmdir()


def test_a_server_whose_disk_is_full_refuses_in_time_and_is_read_on(server: Server, small_disk: pathlib.Path) -> None:
    if isinstance(server, Postgres):
        server.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        url = server.new_database("TABLESPACE small")
    else:
        assert isinstance(server, MariaDb)
        url = server.new_database()
        home = server.folder / "data" / url.rpartition("/")[2]
        shutil.move(home, small_disk / home.name)
        home.symlink_to(small_disk / home.name)
        shutil.chown(small_disk / home.name, server.user)
    database = Database(url)
    journal = SqlJournal(database)
    assert begin(journal, "1", 4)
    filling = small_disk / "filling"
    with open(filling, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65_536)
            file.flush()
    fill_up(database)
    assert journal.epoch() == 4 and journal.find("1")["epoch"] == 4
    filling.unlink()
    eventually(lambda: database.record_event("room", {"text": "x" * 4_000}), SOON_S, "there is room again")
    assert begin(journal, "3", 8)
    database.close()
    server.execute(f"DROP DATABASE {url.rpartition('/')[2]}")
    if isinstance(server, Postgres):
        server.execute("DROP TABLESPACE small")
