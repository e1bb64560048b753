"""Which settings a document was made from: so that an edit which the other server never knew is not lost without a trace.

A revision is known by its number, the moment and the server of its saving, which travel with it. A document names those that
it was saved upon. Who takes it and finds the own newest revision not among them had edited apart: that one is a conflict, unless
all that was entered here stands in what is taken, as when both servers were given the two addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from ftplugin.core.settings import NAMES, Settings, parse
from ftplugin.replicate.conflicts import SETTINGS as SUBJECT
from ftplugin.replicate.conflicts import Lost, conflict_id

from .tables import SETTINGS

ANCESTORS_MAX = 50


def as_document(row: Row[Any]) -> dict[str, Any]:
    """One revision as it travels, and as it is kept when it lost."""
    return {
        "revision": row.revision,
        "saved_at": row.saved_wall_s,
        "origin": row.origin,
        "actor": row.actor,
        "override_reason": row.override_reason,
        "values": dict(row._mapping["values"]),
    }


def ancestors(connection: Connection, below: int) -> list[list[Any]]:
    """The revisions before ``below``, newest first: [number, milliseconds since 1970, origin]."""
    query = select(SETTINGS.c.revision, SETTINGS.c.saved_wall_s, SETTINGS.c.origin).where(SETTINGS.c.revision < below)
    rows = connection.execute(query.order_by(SETTINGS.c.revision.desc()).limit(ANCESTORS_MAX))
    return [_name(*row) for row in rows]


def _name(revision: int, saved_wall_s: float, origin: str) -> list[Any]:
    return [revision, round(saved_wall_s * 1000), origin]


def replaced(connection: Connection, row: Row[Any], document: Mapping[str, Any], taken: Settings) -> bool:
    """Whether taking ``document``, which says ``taken``, loses what was saved here as ``row``. The sender of an older version
    names no ancestors: then two edits under one number are all that can be told."""
    known = document.get("ancestors")
    if not isinstance(known, list):
        return bool(row.revision == document["revision"]) and _values(row) != taken.to_json()
    if row.acknowledged and row.revision < document["revision"]:
        return False  # the other server had it
    if _name(row.revision, row.saved_wall_s, row.origin) in known:
        return False
    base, own, there = _shared(connection, row.revision, known), _values(row), taken.to_json()
    return any(own[name] != there[name] and (base is None or own[name] != base[name]) for name in NAMES)


def _shared(connection: Connection, below: int, known: list[Any]) -> dict[str, Any] | None:
    """The last settings before revision ``below`` that both servers had: the defaults when there were none, None when it cannot
    be told any more."""
    query = select(SETTINGS).where(SETTINGS.c.revision < below).order_by(SETTINGS.c.revision.desc())
    rows = connection.execute(query.limit(ANCESTORS_MAX)).all()
    for row in rows:
        if row.acknowledged or _name(row.revision, row.saved_wall_s, row.origin) in known:
            return _values(row)
    first = rows[-1].revision if rows else below
    return Settings().to_json() if first == 1 else None


def _values(row: Row[Any]) -> dict[str, Any]:
    return parse({name: value for name, value in row._mapping["values"].items() if name in NAMES}).to_json()


def lost_settings(row: Row[Any], document: Mapping[str, Any], kept_on: str, now_wall_s: float) -> Lost:
    """The record of what gave way."""
    lost = as_document(row)
    won = {name: document.get(name) for name in ("revision", "saved_at", "origin", "actor")}
    return Lost(
        conflict_id=conflict_id(SUBJECT, "", *_name(row.revision, row.saved_wall_s, row.origin)),
        subject=SUBJECT,
        item="",
        found_wall_s=now_wall_s,
        kept_on=kept_on[:20],
        lost={**lost, "at_wall_s": row.saved_wall_s},
        won={**won, "at_wall_s": document.get("saved_at")},
    )
