"""Which instance a database belongs to (guide 6.1.1): two that wrote into one would mix epochs, settings and switches.

The first to use it notes its FT_PREFIX there; another one is refused. Tables are the same for all, so that one instance more
needs a database of its own and nothing else.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from .database import Database
from .tables import INSTANCE, STANDING


def claim(database: Database, prefix: str) -> str:
    """Take the database for the instance ``prefix``; why it cannot be taken, with the way out, or "" when it is its own.

    Raises DatabaseUnreachable or SQLAlchemyError when it cannot be asked or written now.
    """
    try:
        with database.transaction() as connection:
            owner = _owner(connection)
            if owner is None:
                connection.execute(insert(STANDING).values(name=INSTANCE, document={"prefix": prefix}))
                return ""
    except IntegrityError:  # another process was faster
        with database.transaction() as connection:
            owner = _owner(connection)
    if owner in (None, prefix):
        return ""
    return (
        f"FT_DATABASE_URL={database.shown_url}: belongs to the instance with FT_PREFIX={owner!r}, this one has "
        f"FT_PREFIX={prefix!r}: give each instance a database of its own, or this one its FT_PREFIX back"
    )


def _owner(connection: Connection) -> str | None:
    document = connection.scalar(select(STANDING.c.document).where(STANDING.c.name == INSTANCE))
    return None if document is None else str(document.get("prefix", ""))
