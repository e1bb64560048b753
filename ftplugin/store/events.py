"""The small durable events of a node (table ``ft_event``): kept for FT_LOG_DAYS, never in the way of a switch.

A write that the database does not take is lost, and the caller says so in its log: a switch waits for no event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from .database import Database, DatabaseUnreachable
from .tables import EVENT

DAY_S = 86_400.0
CLEAN_PERIOD_S = 3_600.0
ROWS_MAX = 50_000  # also against an alarm that comes every few seconds for a month
# the loser's settings: of the settings' history, not of the log's; what the last promotion took, however long ago
LASTING = ("settings_conflict", "measured")
logger = logging.getLogger(__name__)


class EventStore:
    """Writes and reads the events of one node.

    days: how long they are kept. wall_s: seconds since 1970; monotonic_s: seconds, for the period of cleaning up.
    """

    def __init__(
        self,
        database: Database,
        days: int,
        *,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database, self.days = database, max(1, days)
        self._wall_s, self._monotonic_s = wall_s, monotonic_s
        self._cleaned_s: float | None = None

    def record(self, name: str, facts: dict[str, Any]) -> bool:
        """Keep one event; False when the database did not take it. Old ones are deleted about once an hour."""
        kept = self.database.record_event(name, facts)
        now_s = self._monotonic_s()
        if kept and (self._cleaned_s is None or now_s - self._cleaned_s >= CLEAN_PERIOD_S):
            self._cleaned_s = now_s
            self.forget_old()
        return kept

    def forget_old(self) -> bool:
        """Delete what is older than ``days`` or past ROWS_MAX. False: the database did not take it; tried again later."""
        try:
            with self.database.transaction() as connection:
                passing = EVENT.c.name.not_in(LASTING)
                connection.execute(delete(EVENT).where(passing, EVENT.c.at_wall_s < self._wall_s() - self.days * DAY_S))
                newest = connection.scalar(select(func.max(EVENT.c.id))) or 0
                connection.execute(delete(EVENT).where(passing, EVENT.c.id <= newest - ROWS_MAX))
            return True
        except (SQLAlchemyError, DatabaseUnreachable) as error:
            logger.warning("old events are not deleted now: %s", str(error).splitlines()[0])
            return False

    def between(
        self, since_s: float, until_s: float, names: Sequence[str], before: Sequence[str] = (), count_max: int = 2_000
    ) -> list[dict[str, Any]]:
        """Events ``names`` recorded from ``since_s`` to ``until_s``, oldest first, at most the newest ``count_max``.

        before: names of which the last few before ``since_s`` are given as well, since they say what held then; those of them in
        that time are counted apart, so that a flood of the others takes no place of theirs.
        Raises SQLAlchemyError or DatabaseUnreachable.
        """

        def rows(connection: Connection, *conditions: Any, limit: int) -> list[dict[str, Any]]:
            query = select(EVENT).where(*conditions).order_by(EVENT.c.id.desc()).limit(limit)
            return [dict(row) for row in connection.execute(query).mappings()][::-1]

        with self.database.transaction() as connection:
            earlier = (
                rows(connection, EVENT.c.name.in_(before), EVENT.c.at_wall_s < since_s, limit=20) if before else []
            )
            then = EVENT.c.at_wall_s.between(since_s, until_s)
            groups = [[name for name in names if (name in before) is early] for early in (True, False)]
            found = [
                row for one in groups if one for row in rows(connection, EVENT.c.name.in_(one), then, limit=count_max)
            ]
            return earlier + sorted(found, key=lambda row: int(row["id"]))

    def newest(self, name: str) -> dict[str, Any] | None:
        """Facts of the newest event of this name; None: there is none, or the database cannot be read now."""
        query = select(EVENT.c.facts).where(EVENT.c.name == name).order_by(EVENT.c.id.desc()).limit(1)
        try:
            with self.database.transaction() as connection:
                facts = connection.scalar(query)
        except (SQLAlchemyError, DatabaseUnreachable):
            return None
        return dict(facts) if isinstance(facts, dict) else None
