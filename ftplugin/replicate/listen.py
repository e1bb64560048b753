"""Hears from SQLAlchemy when a commit of this process has changed a registered model, so that the look does not wait.

Only a hint: what goes past the ORM, or happens in a program without this plugin, is found by the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Table, event

from .registry import AnyThing
from .rows import RowThing

FLAG = "ftplugin-replicate"


class Listener:
    """edited: called after a commit; it must not wait."""

    def __init__(self, edited: Callable[[], None]) -> None:
        self._edited = edited
        self._tables: frozenset[Table] = frozenset()
        self._listening = False

    def listen(self, things: Mapping[str, AnyThing]) -> None:
        """From now on, for the models among ``things``."""
        self._tables = frozenset(thing.source for thing in things.values() if isinstance(thing, RowThing))
        if not self._tables or self._listening:
            return
        from sqlalchemy.orm import Session

        event.listen(Session, "after_flush", self._flushed)
        event.listen(Session, "do_orm_execute", self._executed)
        event.listen(Session, "after_commit", self._committed)
        self._listening = True

    def close(self) -> None:
        if self._listening:
            from sqlalchemy.orm import Session

            event.remove(Session, "after_flush", self._flushed)
            event.remove(Session, "do_orm_execute", self._executed)
            event.remove(Session, "after_commit", self._committed)
            self._listening = False

    def _flushed(self, session: Any, _context: Any) -> None:
        for one in (*session.new, *session.dirty, *session.deleted):
            if getattr(one, "__table__", None) in self._tables:
                session.info[FLAG] = True
                return

    def _executed(self, state: Any) -> None:
        if not (state.is_insert or state.is_update or state.is_delete):
            return
        if (
            getattr(state.statement, "table", None) in self._tables
        ):  # what else a portal writes all day is no reason to look
            state.session.info[FLAG] = True

    def _committed(self, session: Any) -> None:
        if session.info.pop(FLAG, False):
            self._edited()
