"""What lost: two edits made apart, of which one had to give way. Kept on both servers until somebody has acknowledged it.

The server that gave way writes the record; the tick worker tells it to the other one (``workers.settings_sync``), and an
acknowledgement goes the same way. So both pages show the same list, whichever server was asked.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from ftplugin.history.records import MOMENT_S_MAX
from ftplugin.store.database import Database
from ftplugin.store.tables import CONFLICT, EVENT

SETTINGS = "settings"  # the subject of a conflict of the settings; others are the names of what the portal registered
LOST_CHARS_MAX = 4_000  # of the values that the other server is told; longer ones stay where they are kept
PAGE = 50
COUNTED_MAX = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """One edit that gave way. ``item``: key of the row, path of the file, "" for settings. ``kept_on``: the server that has its
    content. ``lost``, ``won``: {at_wall_s, origin, …}; times are seconds since 1970. ``acknowledged_wall_s`` None: not yet.
    """

    conflict_id: str
    subject: str
    item: str
    found_wall_s: float
    kept_on: str
    lost: Mapping[str, Any]
    won: Mapping[str, Any]
    acknowledged_wall_s: float | None = None
    acknowledged_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; content that is too long for a message is left out."""
        lost = dict(self.lost)
        if len(json.dumps(lost, default=str)) > LOST_CHARS_MAX:
            lost = {name: lost[name] for name in ("at_wall_s", "origin", "actor", "revision") if name in lost}
        return {
            "conflict_id": self.conflict_id,
            "subject": self.subject,
            "item": self.item[:1000],
            "found_wall_s": self.found_wall_s,
            "kept_on": self.kept_on,
            "lost": lost,
            "won": dict(self.won),
            "acknowledged_wall_s": self.acknowledged_wall_s,
            "acknowledged_by": self.acknowledged_by,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Lost:
        """Raises KeyError, TypeError or ValueError for what is no record of a conflict."""
        acknowledged_s = value.get("acknowledged_wall_s")
        return cls(
            conflict_id=_identity(value["conflict_id"]),
            subject=_word(value["subject"], 120),
            item=str(value["item"])[:1000],
            found_wall_s=_moment(value["found_wall_s"]),
            kept_on=_word(value["kept_on"], 20),
            lost=dict(value["lost"]),
            won=dict(value["won"]),
            acknowledged_wall_s=None if acknowledged_s is None else _moment(acknowledged_s),
            acknowledged_by=str(value.get("acknowledged_by", ""))[:200],
        )


def _identity(value: Any) -> str:
    """An id that every database keeps as it is: else it would be unknown, and so new, each time it is told."""
    found = _word(value, 64)
    if not (found.isascii() and found.replace("-", "").isalnum()):
        raise ValueError(f"conflict_id must be letters, digits and dashes, not {found!r}")
    return found


def _moment(value: Any) -> float:
    """Seconds since 1970. Raises ValueError, also for what no database keeps."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MOMENT_S_MAX:
        raise ValueError(f"must be seconds since 1970, not {value!r:.80}")
    return float(value)


def _word(value: Any, chars_max: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= chars_max:
        raise ValueError(f"must be text of 1 to {chars_max} characters, not {value!r:.80}")
    return value


def conflict_id(subject: str, item: str, *facts: object) -> str:
    """The same on both servers and at every try: a conflict is recorded once."""
    text = json.dumps([subject, item, *map(str, facts)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def note(connection: Connection, found: Sequence[Lost], *, told: bool = False) -> list[Lost]:
    """Write those that are not known yet, with one event; the new ones. In the caller's transaction.

    told: they come from the other server.
    """
    known = _known(connection, [lost.conflict_id for lost in found])
    fresh = list({lost.conflict_id: lost for lost in found if lost.conflict_id not in known}.values())
    for lost in fresh:
        connection.execute(
            insert(CONFLICT).values(
                conflict_id=lost.conflict_id,
                subject=lost.subject,
                item=lost.item,
                found_wall_s=lost.found_wall_s,
                kept_on=lost.kept_on,
                lost=dict(lost.lost),
                won=dict(lost.won),
                told=told,
                acknowledged_wall_s=lost.acknowledged_wall_s,
                acknowledged_by=lost.acknowledged_by,
            )
        )
    if fresh:
        names = {lost.subject for lost in fresh}
        first = fresh[0]
        facts = {"conflict_id": first.conflict_id, "count": len(fresh), "subjects": sorted(names)[:20]}
        name = "conflict_heard" if told else "settings_conflict" if names == {SETTINGS} else "replication_conflict"
        if names == {SETTINGS}:
            facts["replaced"] = dict(first.lost)
        connection.execute(insert(EVENT).values(at_wall_s=first.found_wall_s, name=name, facts=facts))
    return fresh


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, float | None]:
    """Acknowledged when, of those that are there."""
    found: dict[str, float | None] = {}
    for start in range(0, len(ids), 500):
        part = CONFLICT.c.conflict_id.in_(ids[start : start + 500])
        found |= {
            r[0]: r[1]
            for r in connection.execute(select(CONFLICT.c.conflict_id, CONFLICT.c.acknowledged_wall_s).where(part))
        }
    return found


class ConflictStore:
    """The records of one node. Every method raises DatabaseUnreachable or SQLAlchemyError when it cannot be done."""

    def __init__(self, database: Database, wall_s: Callable[[], float] = time.time) -> None:
        self.database, self._wall_s = database, wall_s

    def note(self, found: Sequence[Lost]) -> list[Lost]:
        """As the function above, in a transaction of its own."""
        with self.database.transaction() as connection:
            return note(connection, found)

    def listed(self, *, subject: str = "", open_only: bool = False, limit: int = PAGE) -> list[Lost]:
        """The newest first, those that wait for an acknowledgement before the others."""
        query = select(CONFLICT).order_by(
            CONFLICT.c.acknowledged_wall_s.is_not(None), CONFLICT.c.found_wall_s.desc(), CONFLICT.c.conflict_id
        )
        if subject:
            query = query.where(CONFLICT.c.subject == subject)
        if open_only:
            query = query.where(CONFLICT.c.acknowledged_wall_s.is_(None))
        with self.database.transaction() as connection:
            return [_lost(row) for row in connection.execute(query.limit(limit))]

    def one(self, wanted: str) -> Lost | None:
        with self.database.transaction() as connection:
            row = connection.execute(select(CONFLICT).where(CONFLICT.c.conflict_id == wanted)).first()
        return None if row is None else _lost(row)

    def open_count(self) -> int:
        """How many nobody has acknowledged; COUNTED_MAX at most."""
        waiting = select(CONFLICT.c.conflict_id).where(CONFLICT.c.acknowledged_wall_s.is_(None)).limit(COUNTED_MAX)
        with self.database.transaction() as connection:
            return int(connection.scalar(select(func.count()).select_from(waiting.subquery())) or 0)

    def acknowledge(self, wanted: str, who: str) -> int:
        """Acknowledge one, or all with ``wanted`` "". How many that were."""
        change = update(CONFLICT).where(CONFLICT.c.acknowledged_wall_s.is_(None))
        if wanted:
            change = change.where(CONFLICT.c.conflict_id == wanted)
        values = {"acknowledged_wall_s": self._wall_s(), "acknowledged_by": who[:200], "told": False}
        with self.database.transaction() as connection:
            return int(connection.execute(change.values(values)).rowcount)

    def untold(self, limit: int = 20) -> list[Lost]:
        """What the other server does not know yet."""
        query = select(CONFLICT).where(CONFLICT.c.told.is_(False)).order_by(CONFLICT.c.found_wall_s).limit(limit)
        with self.database.transaction() as connection:
            return [_lost(row) for row in connection.execute(query)]

    def told(self, these: Sequence[Lost]) -> None:
        """The other server has taken these; one that was acknowledged meanwhile is told again."""
        with self.database.transaction() as connection:
            for lost in these:
                same = CONFLICT.c.acknowledged_wall_s.is_not_distinct_from(lost.acknowledged_wall_s)
                connection.execute(
                    update(CONFLICT).where(CONFLICT.c.conflict_id == lost.conflict_id, same).values(told=True)
                )

    def heard(self, these: Sequence[Lost]) -> list[Lost]:
        """Take what the other server tells: new ones, and acknowledgements. The new ones that wait for one."""
        with self.database.transaction() as connection:
            fresh = note(connection, these, told=True)
            for lost in these:
                if lost.acknowledged_wall_s is None:
                    continue
                waiting = (CONFLICT.c.conflict_id == lost.conflict_id, CONFLICT.c.acknowledged_wall_s.is_(None))
                values = {"acknowledged_wall_s": lost.acknowledged_wall_s, "acknowledged_by": lost.acknowledged_by}
                connection.execute(update(CONFLICT).where(*waiting).values(**values, told=True))
        return [lost for lost in fresh if lost.acknowledged_wall_s is None]


def _lost(row: Row[Any]) -> Lost:
    names = ("conflict_id", "subject", "item", "found_wall_s", "kept_on", "lost", "won")
    facts: dict[str, Any] = {name: getattr(row, name) for name in names}
    return Lost(**facts, acknowledged_wall_s=row.acknowledged_wall_s, acknowledged_by=row.acknowledged_by)
