"""Whether anybody has written to an SQLite file since the last look: if nobody has, its rows need not be read again before
they are written, which is a third of the work.

SQLite counts the commits of all *other* connections for each connection (``PRAGMA data_version``). So one connection is kept
for looking and writing. What it writes itself is known, unless a trigger or a foreign key's action writes more than it was
told to: then the count of rows is another one than expected, and nothing that was seen before holds any more.

Other databases have no such count; there every row is read again, under its lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

Mark = tuple[int, int]  # commits of others, and own writes that did more than they were told to


class Untouched:
    """The kept connection of one thing; used by the one thread that replicates. With an engine whose database is no file, or
    whose driver is not Python's own, a connection of the pool is used and ``mark`` tells nothing.
    """

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._kept: Connection | None = None
        self._file: tuple[str, int, int] = ("", 0, 0)
        self._pid = self._surprises = 0

    @contextlib.contextmanager
    def connected(self, engine: Engine) -> Iterator[Connection]:
        """A connection; what it has not committed is undone at the end. Raises SQLAlchemyError, and closes it then."""
        connection = self._of(engine)
        if connection is None:
            with engine.connect() as passing:
                yield passing
            return
        if connection.in_transaction():
            connection.rollback()  # of a look that was broken off: nothing is read from its snapshot
        try:
            yield connection
            connection.rollback()
        except SQLAlchemyError:
            self.close()
            raise
        except BaseException:
            connection.rollback()
            raise

    def mark(self, connection: Connection) -> Mark | None:
        """Equal to an earlier one: nothing was written in between, but what ``wrote`` was told of. None: nobody can tell.

        Ask it before reading what is to be kept in mind, and inside the transaction that writes.
        """
        if connection is not self._kept:
            return None
        return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one()), self._surprises

    def changes(self, connection: Connection) -> int | None:
        """Rows that the kept connection has written since it was opened, by triggers and foreign keys too; None: another one."""
        if connection is not self._kept:
            return None
        return int(getattr(connection.connection.dbapi_connection, "total_changes", 0))

    def as_told(self, connection: Connection, before: int | None, rows: int) -> bool:
        """Whether exactly so many rows were written since ``before``; if not, no earlier mark holds any more."""
        if before is None or self.changes(connection) == before + rows:
            return True
        self._surprises += 1
        return False

    def close(self) -> None:
        """Let go of the connection; the next use opens another one, and an earlier mark never holds for that."""
        kept, self._kept = self._kept, None
        self._surprises += 1
        if kept is not None and self._pid == os.getpid():  # a child leaves its parent's connection alone
            with contextlib.suppress(SQLAlchemyError):
                kept.close()

    def _of(self, engine: Engine) -> Connection | None:
        if self._kept is not None and (
            self._engine is not engine or self._pid != os.getpid() or _file(self._file[0]) != self._file
        ):
            self.close()  # another engine, a child process, or a file that was put in the place of this one
        if self._kept is None and engine.dialect.name == "sqlite" and engine.dialect.driver == "pysqlite":
            connection = engine.connect()
            listed = connection.exec_driver_sql("PRAGMA database_list").all()
            connection.rollback()
            path = str(listed[0][2] or "") if {row[1] for row in listed} <= {"main", "temp"} else ""
            if not path:  # in memory, where a pool has one connection; or several files, of which one is counted
                connection.close()
                return None
            connection.detach()
            self._engine, self._kept, self._file, self._pid = engine, connection, _file(path), os.getpid()
        return self._kept


def _file(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, found.st_dev, found.st_ino
