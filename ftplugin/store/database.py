"""The node's database: SQLite in the instance folder by default, PostgreSQL or MariaDB by URL (spec 2).

Every wait is short and explicit: an agent that journals before it acts must know within a second or two that it cannot.
No Flask here: workers have no application context.
"""

from __future__ import annotations

import os
import pathlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from .tables import EVENT, METADATA

SQLITE_LOCK_LIMIT_S = 1
SERVER_LIMIT_S = 2  # connect, statement and lock limits of PostgreSQL and MariaDB, whole seconds
RETRY_S = 0.1


class DatabaseUnreachable(RuntimeError):
    """The database cannot be used; the message names its URL, without the password, and the cause."""


class Database:
    """Engine and transactions for one URL; tables are made at first use. Safe to use in forked processes."""

    def __init__(self, url: str) -> None:
        """``url`` as SQLAlchemy takes it. Raises DatabaseUnreachable when it cannot be understood."""
        try:
            self.url: URL = make_url(url)
        except ArgumentError as error:
            raise DatabaseUnreachable(f"FT_DATABASE_URL: cannot be understood: {error}") from None
        self._engine: Engine | None = None
        self._pid = 0
        self._ready = False
        self._lock = threading.Lock()

    @property
    def shown_url(self) -> str:
        """The URL with its password masked."""
        return self.url.render_as_string(hide_password=True)

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
        try:
            engine = create_engine(self.url, connect_args=_connect_args(self.url), pool_pre_ping=not self._is_sqlite)
        except (SQLAlchemyError, ImportError) as error:
            raise DatabaseUnreachable(f"database {self.shown_url}: {error}") from None
        if self._is_sqlite:
            event.listen(engine, "connect", _sqlite_pragmas)
        return engine

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def prepare(self, limit_s: float = 3.0) -> None:
        """Make missing tables, trying again until ``limit_s`` (monotonic seconds) is over.

        Two processes may do so at the same time: the one that comes second sees the tables at its next try.
        Raises DatabaseUnreachable.
        """
        if self._ready:
            return
        end_s = time.monotonic() + limit_s
        while True:
            try:
                if self._is_sqlite and self.url.database and self.url.database != ":memory:":
                    pathlib.Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
                METADATA.create_all(self.engine)
                self._ready = True
                return
            except (SQLAlchemyError, OSError) as error:
                if time.monotonic() >= end_s:
                    raise DatabaseUnreachable(f"database {self.shown_url} cannot be used: {_cause(error)}") from None
                time.sleep(RETRY_S)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Committed at the end of the block, rolled back when it raises.

        Raises DatabaseUnreachable when the tables cannot be made or reached, SQLAlchemyError for a failed statement.
        """
        self.prepare(limit_s=0.0)
        with self.engine.begin() as connection:
            yield connection

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
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
            self._engine = None


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _connect_args(url: URL) -> dict[str, Any]:
    backend, driver = url.get_backend_name(), url.get_driver_name()
    if backend == "sqlite":
        return {"timeout": SQLITE_LOCK_LIMIT_S}
    if backend == "postgresql" and driver in ("psycopg", "psycopg2"):
        limit_ms = SERVER_LIMIT_S * 1000
        return {
            "connect_timeout": SERVER_LIMIT_S,
            "tcp_user_timeout": limit_ms,
            "options": f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}",
        }
    if backend in ("mysql", "mariadb") and driver in ("pymysql", "mysqldb"):
        return {f"{what}_timeout": SERVER_LIMIT_S for what in ("connect", "read", "write")}
    raise DatabaseUnreachable(
        f"FT_DATABASE_URL: {url.drivername} is not supported, since its time limits are not known; "
        "use sqlite, postgresql+psycopg or mysql+pymysql"
    )


def _sqlite_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # an epoch must outlast a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
