"""Checks of this server itself: room on a disk, another database, a monitoring plugin."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from ftplugin.health.checks import Degraded
from ftplugin.health.tables import HealthTable

MIB = 1_048_576


def room(path: str, free_mb_min: int) -> str:
    """ "" when so many MiB are free where ``path`` is. Raises OSError."""
    free_mb = shutil.disk_usage(path).free // MIB
    return "" if free_mb >= free_mb_min else f"{free_mb} MiB free in {path}, at least {free_mb_min} MiB are needed"


def disk(table: HealthTable) -> Callable[[], str]:
    """Check of kind "disk"."""

    def check() -> str:
        path = table.options["path"]
        try:
            return room(path, table.options["free_mb_min"])
        except OSError as error:
            return f"{path}: {error.strerror}"

    return check


def database(table: HealthTable) -> Callable[[], str]:
    """Check of kind "database": it answers SELECT 1. Its limits are those of the node's own database (2 s)."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    from ftplugin.store.database import Database, DatabaseUnreachable

    made: list[Database] = []

    def check() -> str:
        try:
            if not made:
                made.append(Database(table.options["url"]))
            with made[0].engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            return ""
        except DatabaseUnreachable as error:
            return str(error).removeprefix("FT_DATABASE_URL: ")
        except SQLAlchemyError as error:
            return str(getattr(error, "orig", None) or error).splitlines()[0]

    return check


def command(table: HealthTable) -> Callable[[], str]:
    """Check of kind "command": exit code 0 well, 1 degraded, any other failed, as every monitoring plugin has it."""

    def check() -> str:
        from ..services.running import clean_environ, run

        ended = run(table.options["command"], clean_environ(), table.timeout_s)
        if ended.code == 0:
            return ""
        text = ended.output or ("it did not end" if ended.code is None else f"exit code {ended.code}")
        return Degraded(text) if ended.code == 1 else text

    return check
