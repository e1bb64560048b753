"""The node's database: SQLite in the instance folder by default, PostgreSQL or MariaDB by URL (spec 2).

Every wait is short and explicit: an agent that journals before it acts must know within a second or two that it cannot.
No Flask here: workers have no application context.
"""

from __future__ import annotations

import json
import logging
import math
import os
import pathlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as CallTimeout

from . import migrations
from .limits import Silence, within
from .migrations import State
from .tables import EVENT, NODE

SQLITE_LOCK_LIMIT_S = 1
SERVER_LIMIT_S = 2.0  # one call of PostgreSQL or MariaDB: connection, every statement, commit
UPGRADE_LIMIT_S = 10.0  # a change of the tables, each statement of it within the limit of a call
RETRY_S = 0.1
URL_WANTED = (
    "cannot be understood: write postgresql+psycopg://USER:PASSWORD@10.0.0.5:5432/NAME, mysql+pymysql://… or "
    "sqlite:////PATH, and @ : / % of a user or password as %40 %3A %2F %25"
)
logger = logging.getLogger(__name__)


class DatabaseUnreachable(RuntimeError):
    """The database cannot be used; the message names its URL, without the password, and the cause."""


class Database:
    """Engine and transactions for one URL; tables are made or upgraded at first use. Safe to use in forked processes."""

    def __init__(self, url: str, limit_s: float = SERVER_LIMIT_S) -> None:
        """``url`` as SQLAlchemy takes it; ``limit_s``: of one call of a server, seconds (SQLite: SQLITE_LOCK_LIMIT_S).

        Raises DatabaseUnreachable when the URL cannot be understood or its driver is missing.
        """
        try:
            self.url: URL = _understood(url)
            if not self._is_sqlite:
                from .servers import with_driver

                self.url = with_driver(self.url)
        except ArgumentError:
            raise DatabaseUnreachable(f"FT_DATABASE_URL: {URL_WANTED}") from None
        except ValueError as error:
            raise DatabaseUnreachable(f"FT_DATABASE_URL: {error}") from None
        self.limit_s = limit_s
        self._silence = Silence(self._ask, limit_s)
        self._engine: Engine | None = None
        self._pid = 0
        self._ready = False
        self._inode: int | None = None
        self._lock = threading.Lock()

    @property
    def shown_url(self) -> str:
        """The URL with its password masked, and without its options, which may hold one."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        """Made at first use in each process: connections must not cross a fork."""
        with self._lock:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    self._engine.dispose(close=False)
                self._engine, self._pid = self._make_engine(), os.getpid()
            return self._engine

    def _make_engine(self) -> Engine:
        options: dict[str, Any] = {"json_serializer": to_json}
        if self._is_sqlite:
            options |= {"connect_args": {"timeout": SQLITE_LOCK_LIMIT_S}}
        else:
            from .servers import engine_options, install_hint, keep_limits

            options |= engine_options(self.url, self.limit_s)
        try:
            engine = create_engine(self.url, **options)
        except (SQLAlchemyError, ImportError) as error:
            hint = f"; {install_hint(self.url)}" if isinstance(error, ImportError) and not self._is_sqlite else ""
            raise DatabaseUnreachable(f"database {self.shown_url}: {error}{hint}") from None
        if self._is_sqlite:
            event.listen(engine, "connect", _sqlite_pragmas)
        else:
            keep_limits(engine, self.limit_s)
        return engine

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def _file(self) -> pathlib.Path | None:
        name = self.url.database if self._is_sqlite else None
        return None if not name or name == ":memory:" or name.startswith("file:") else pathlib.Path(name)

    def is_written_by(self, connection: Connection) -> bool:
        """Whether ``connection`` has this very SQLite file open: while it writes, no other one can. Raises SQLAlchemyError."""
        if self._file is None or connection.dialect.name != "sqlite":
            return False
        listed = connection.exec_driver_sql("PRAGMA database_list").all()
        try:
            return any(row[1] == "main" and os.path.samefile(row[2], self._file) for row in listed)
        except OSError:
            return False

    def prepare(self, limit_s: float = 3.0) -> None:
        """Make or upgrade the tables if that is due, trying again until ``limit_s`` (monotonic seconds) is over.

        Several processes may do so at the same time: one upgrades, the others see it done at their next try.
        Raises DatabaseUnreachable.
        """
        if self._ready:
            return
        end_s = time.monotonic() + limit_s
        while True:
            try:
                if self._file is not None:
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                if self._state() is State.DUE:
                    self.upgrade()
                self._ready, self._inode = True, _inode(self._file)
                return
            except (SQLAlchemyError, OSError, migrations.Busy) as error:
                if time.monotonic() >= end_s:
                    raise DatabaseUnreachable(f"database {self.shown_url} cannot be used: {_cause(error)}") from None
                time.sleep(RETRY_S)

    def _state(self) -> State:
        found = self.revision()
        state = migrations.state_of(found)
        if state is State.FOREIGN:
            raise DatabaseUnreachable(
                f"database {self.shown_url} cannot be used: {migrations.VERSION_TABLE} holds {found!r}, which is no "
                "revision of ftplugin; give it a database of its own"
            )
        if state is State.NEWER:
            logger.warning(
                "database %s has revision %s, this version knows %s: it only adds, going on", *self._at(found)
            )
        return state

    def _at(self, found: str | None) -> tuple[str, str | None, str]:
        return self.shown_url, found, migrations.HEAD

    def revision(self) -> str | None:
        """Revision of the tables; None when they are older than revisions, or missing. Raises as ``transaction``."""
        file = self._file
        if file is not None and not file.exists():
            return None  # to connect would make it
        with self._call(self.limit_s), self.engine.connect() as connection:
            return migrations.found_revision(connection)

    def upgrade(self) -> str | None:
        """Bring the tables to the newest revision; the one they had, as ``revision`` gives it.

        Raises as ``transaction``, and migrations.Busy while another process does the same.
        """
        from .migrations.run import upgrade

        with self._call(max(UPGRADE_LIMIT_S, self.limit_s)), self.engine.connect() as connection:
            found = upgrade(connection)
        logger.info("database %s: tables upgraded from revision %s to %s", *self._at(found))
        return found

    def problem(self) -> str:
        """Why it cannot be used as it should be, for the health check; "" when it can. Raises nothing."""
        try:
            with self.transaction() as connection:
                connection.execute(select(NODE.c.epoch)).first()
        except DatabaseUnreachable as error:
            return str(error)
        except (SQLAlchemyError, OSError) as error:
            return _cause(error)
        if _inode(self._file) == self._inode:
            return ""
        return f"{self._file} was deleted or replaced: what is written now is lost; restart portal and workers"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Committed at the end of the block, rolled back when it raises.

        With PostgreSQL and MariaDB the block and its commit have ``limit_s`` seconds; while a server does not answer, this
        raises at once (``limits``). Raises DatabaseUnreachable when the tables cannot be made or reached, SQLAlchemyError
        for a failed statement.
        """
        self.prepare(limit_s=0.0)
        with self._call(self.limit_s), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _call(self, limit_s: float) -> Iterator[None]:
        if self._silence.cause:
            raise DatabaseUnreachable(f"database {self.shown_url} does not answer: {self._silence.cause}")
        began_s = time.monotonic()
        try:
            with within(limit_s):
                yield
        except (OperationalError, ProgrammingError, CallTimeout) as error:
            self._ready = False  # it may be another database by now: restored, or made anew
            if not self._is_sqlite:
                self._silence.ended(time.monotonic() - began_s, _cause(error))
            raise

    def _ask(self) -> None:
        with within(self.limit_s), self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def record_event(self, name: str, facts: dict[str, Any]) -> bool:
        """Keep a countable event; False when the database could not be written."""
        try:
            with self.transaction() as connection:
                connection.execute(insert(EVENT).values(at_wall_s=time.time(), name=name, facts=facts))
            return True
        except (SQLAlchemyError, DatabaseUnreachable):
            return False

    def close(self) -> None:
        """Close this process's connections."""
        self._silence.close()
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
            self._engine = None


def _understood(url: str) -> URL:
    """Raises ArgumentError without a word of the URL: where a password is not written as it must be, parts of it are
    taken for the port or the host."""
    try:
        found = make_url(url)
    except ValueError:
        raise ArgumentError("its port is no number") from None
    if "@" in (found.host or ""):
        raise ArgumentError("its host has an @")
    return found


def _inode(file: pathlib.Path | None) -> int | None:
    """Which file it is; None when there is none. SQLite goes on with one that was deleted, until it is closed."""
    try:
        return None if file is None else file.stat().st_ino
    except OSError:
        return None


def to_json(value: Any) -> str:
    """``value`` as every database takes it: "nan" and "inf" are no JSON and become null, half a character becomes U+FFFD."""
    try:
        made = json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_whole(value))
    return json.dumps(_whole(value)) if "\\ud" in made else made


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, (list, tuple)) else value


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an epoch must outlast a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
