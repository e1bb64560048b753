"""Bring a database to the newest revision, one process at a time. Imports Alembic: 11 MiB that a running node does not need."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from . import Busy, State, found_revision, state_of

ADVISORY_KEY = 0x66745F6D  # "ft_m", in the key space of one PostgreSQL database
MARIADB_LOCK = "CONCAT('ft_migrations.', SHA1(DATABASE()))"  # names of locks are the whole server's
_one_thread = threading.Lock()  # ``alembic.op`` is one for the process


def upgrade(connection: Connection, to: str = "head") -> str | None:
    """Make or change the tables, unless somebody has done so by now; the revision that was found.

    connection: without a transaction; committed here. to: a revision, for tests. Raises Busy, SQLAlchemyError.
    """
    with _one_thread, _alone(connection):
        found = found_revision(connection)
        if state_of(found) is State.DUE:
            config = Config()
            config.set_main_option("script_location", str(pathlib.Path(__file__).parent).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, to)
        connection.commit()
    return found


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """A lock that ends with the transaction or, on MariaDB, whose tables have none, with the connection at the latest."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_KEY})
        yield
    else:
        if connection.scalar(text(f"SELECT GET_LOCK({MARIADB_LOCK}, 1)")) != 1:
            raise Busy("another process is changing its tables")
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.execute(text(f"SELECT RELEASE_LOCK({MARIADB_LOCK})"))
                connection.rollback()
