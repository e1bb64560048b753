"""What was saved when, by whom, and since when both servers have it (spec 4, 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from ftplugin.core.settings import NAMES, Settings, SettingsError, parse
from ftplugin.replicate.conflicts import SETTINGS as SETTINGS_SUBJECT
from ftplugin.replicate.conflicts import ConflictStore

from .database import Database
from .tables import EVENT, SETTINGS, SETTINGS_BOTH

PAGE = 25
CONFLICTS_MAX = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One setting that has another value than before."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One saved set. ``both_since_wall_s``: when this server learned that ``both_server`` has it too; None: it has not."""

    revision: int
    saved_wall_s: float
    origin: str
    actor: str
    override_reason: str
    acknowledged: bool
    both_since_wall_s: float | None
    both_server: str
    settings: Settings
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "revision": self.revision,
            "saved_at": self.saved_wall_s,
            "origin": self.origin,
            "actor": self.actor,
            "override_reason": self.override_reason,
            "acknowledged": self.acknowledged,
            "both_since": self.both_since_wall_s,
            "both_server": self.both_server,
            "values": self.settings.to_json(),
            "changes": [{"name": c.name, "old": c.old, "new": c.new} for c in self.changes],
        }


def changes_between(old: Settings, new: Settings) -> tuple[Change, ...]:
    """Every setting that differs, in the order of the fields, with plain JSON values."""
    before, after = old.to_json(), new.to_json()
    return tuple(Change(name=n, old=before[n], new=after[n]) for n in NAMES if before[n] != after[n])


def history(database: Database, *, below: int | None = None, limit: int = PAGE) -> list[Revision]:
    """The newest revisions first, at most ``limit``, those under the revision ``below`` if given.

    Raises DatabaseUnreachable, SQLAlchemyError.
    """
    query = select(SETTINGS).order_by(SETTINGS.c.revision.desc()).limit(limit + 1)
    if below is not None:
        query = query.where(SETTINGS.c.revision < below)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
        both = _both(connection, [row.revision for row in rows])
    older: list[Row[Any] | None] = [*rows[1:], None]
    return [_revision(row, before, both) for row, before in zip(rows, older)][:limit]


def revision_of(database: Database, number: int) -> Revision | None:
    """One revision, None when there is none of that number. Raises as ``history``."""
    found = history(database, below=number + 1, limit=1)
    return found[0] if found and found[0].revision == number else None


def conflicts(database: Database) -> list[dict[str, Any]]:
    """Sets that lost against one of the other server, newest first: {at_wall_s, replaced, conflict_id, acknowledged}.

    conflict_id: "" for one of a version that kept it as an event alone. Raises as ``history``.
    """
    lost = ConflictStore(database).listed(subject=SETTINGS_SUBJECT, limit=CONFLICTS_MAX)
    found: list[dict[str, Any]] = [
        {
            "at_wall_s": one.found_wall_s,
            "replaced": dict(one.lost),
            "conflict_id": one.conflict_id,
            "acknowledged": one.acknowledged_wall_s is not None,
        }
        for one in lost
    ]
    query = select(EVENT).where(EVENT.c.name == "settings_conflict").order_by(EVENT.c.id.desc()).limit(CONFLICTS_MAX)
    with database.transaction() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        if "conflict_id" not in row.facts:
            replaced = dict(row.facts.get("replaced") or {})
            old = {"at_wall_s": row.at_wall_s, "replaced": replaced, "conflict_id": "", "acknowledged": True}
            found.append(old)
    return sorted(found, key=lambda lost: -lost["at_wall_s"])[:CONFLICTS_MAX]


def lost_settings(database: Database, wanted: str) -> tuple[dict[str, Any], Settings] | None:
    """(facts, settings) of an edit that lost, by its conflict_id; None when it is not known. Raises as ``history``."""
    found = ConflictStore(database).one(wanted)
    if found is None or found.subject != SETTINGS_SUBJECT:
        return None
    return dict(found.lost), _parsed(dict(found.lost.get("values") or {}))


def _both(connection: Connection, revisions: list[int]) -> dict[int, tuple[float, str]]:
    """For each revision the first record that covers it: a later one that both have covers the earlier."""
    if not revisions:
        return {}
    query = select(SETTINGS_BOTH).where(SETTINGS_BOTH.c.revision >= min(revisions)).order_by(SETTINGS_BOTH.c.revision)
    records = connection.execute(query.limit(4 * PAGE)).all()
    found = {}
    for revision in revisions:
        record = next((r for r in records if r.revision >= revision), None)
        if record is not None:
            found[revision] = (float(record.since_wall_s), str(record.server))
    return found


def _revision(row: Row[Any], before: Row[Any] | None, both: Mapping[int, tuple[float, str]]) -> Revision:
    settings = _read(row)
    since_wall_s, server = both.get(row.revision, (None, "")) if row.acknowledged else (None, "")
    return Revision(
        revision=row.revision,
        saved_wall_s=row.saved_wall_s,
        origin=row.origin,
        actor=row.actor,
        override_reason=row.override_reason,
        acknowledged=bool(row.acknowledged),
        both_since_wall_s=since_wall_s,
        both_server=server,
        settings=settings,
        changes=changes_between(_read(before) if before is not None else Settings(), settings),
    )


def _read(row: Row[Any]) -> Settings:
    return _parsed(row._mapping["values"])


def _parsed(values: Mapping[str, Any]) -> Settings:
    """A value that this version does not take any more counts as the default."""
    settings = Settings()
    for name, value in values.items():
        try:
            settings = parse({name: value}, settings)
        except SettingsError:
            continue
    return settings
