"""The schema of the node's database, revision by revision; Alembic runs them (``run``) and is imported only when one is due.

Rules of a revision, since the two servers are upgraded one after the other and portal and workers of one server never at
the same instant: it only adds, so that the code before it goes on working; and it looks before it acts, since MariaDB
commits each change of a table by itself and a crash may have come between two. There is no way down: old code runs on the
newer database. The version table has a name of its own, beside that of a portal which uses Alembic itself.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import Connection, column, select, table

VERSION_TABLE = "ft_alembic_version"
REVISIONS = ("0001", "0002", "0003")  # every released one, oldest first; a file in ``versions`` each
HEAD = REVISIONS[-1]
_VERSIONS = select(table(VERSION_TABLE, column("version_num")).c.version_num)


class Busy(RuntimeError):
    """Another process changes the tables at this moment."""


class State(StrEnum):
    """How a database stands to this code."""

    CURRENT = "current"
    DUE = "upgrade due"
    NEWER = "newer than this code"
    FOREIGN = "not of ftplugin"


def found_revision(connection: Connection) -> str | None:
    """The revision of the database; None: its tables are not made yet, or were made before there were revisions."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return None
    found = connection.scalar(_VERSIONS)
    return None if found is None else str(found)


def state_of(revision: str | None) -> State:
    """What is to be done about ``revision``. A newer one is no obstacle: it only adds."""
    if revision == HEAD:
        return State.CURRENT
    if revision is None or revision in REVISIONS:
        return State.DUE
    newer = revision.isdecimal() and len(revision) == len(HEAD) and revision > HEAD
    return State.NEWER if newer else State.FOREIGN
