"""The replicated settings with their history, over the database (spec 4, 7).

Reading is cheap and never fails: the last good settings stay in force while the database cannot be read. Saving is
strict: a contradiction is refused, a warning needs a recorded reason, and an edit based on old settings is told.
"""

from __future__ import annotations

import math
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ftplugin.core import rules
from ftplugin.core.settings import NAMES, SLOWEST_CHECK_S, Problem, Settings, SettingsError, designation_of, parse
from ftplugin.replicate.conflicts import note

from .database import Database, DatabaseUnreachable
from .settings_lineage import ancestors, as_document, lost_settings, replaced
from .tables import SETTINGS, SETTINGS_BOTH

REREAD_S = 0.2
REREAD_FAILED_S = 1.0  # each look at a database that does not answer costs its whole limit
REVISION_MAX = 2**31 - 1  # what every database takes
TEXT_CHARS_MAX = 1000  # of one value: room for fifty LAN reference hosts


class WarningsNeedReason(ValueError):
    """The set breaks rules that may be passed with a reason; ``problems`` are the warnings."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        listed = "; ".join(f"{p.field}: {p.message}" for p in problems)
        super().__init__(f"{listed}; give a reason to save it all the same")
        self.problems = tuple(problems)


class Contradictions(SettingsError):
    """Several fields are wrong; ``problems`` has them all. As a SettingsError it speaks of the first one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems[0].field, problems[0].message)
        self.problems = tuple(problems)


class Conflict(ValueError):
    """Somebody saved in between; ``revision`` is the current one."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the settings were changed meanwhile (revision {revision}); look at them and save again")
        self.revision = revision


@dataclass(frozen=True, kw_only=True, slots=True)
class _Held:
    """What is in memory. ``mark`` tells whether the database still holds the same."""

    mark: tuple[Any, ...] = ()
    revision: int = 0
    settings: Settings = Settings()
    previous: Settings | None = None
    document: Mapping[str, Any] | None = None
    acknowledged: bool = False


class SettingsStore:
    """SettingsPort of ``workers/ports.py`` over a Database.

    own_address: this node's address (FT_OWN_ADDRESS), which must equal server #1 or #2 once these are entered; empty:
    not checked. monotonic_s, wall_s: clocks in seconds.
    """

    def __init__(
        self,
        database: Database,
        own_address: str = "",
        stop_needed_s: float = 0.0,
        *,
        slowest_check_s: Callable[[], float] = lambda: SLOWEST_CHECK_S,
        refusal: Callable[[], str] = lambda: "",
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.stop_needed_s = stop_needed_s
        self.slowest_check_s = slowest_check_s  # limit of this node's slowest health check
        self._refusal = refusal  # why nothing may be saved on this server now, "" when it may: the licence
        self.database, self.own_address = database, own_address
        self._monotonic_s, self._wall_s = monotonic_s, wall_s
        self._held = _Held()
        self._read_s: float | None = None
        self._reading = threading.Lock()
        self.error = ""

    def current(self) -> tuple[int, Settings]:
        """(revision, settings). Looks into the database at most each 0.2 s; another thread's look is not waited for."""
        self._refresh()
        return self._held.revision, self._held.settings

    def cached(self) -> tuple[int, Settings]:
        """As ``current`` without ever waiting for the database, once it has been read: the look is done on a thread."""
        if self._read_s is None:
            return self.current()
        if self._due() and not self._reading.locked():
            threading.Thread(target=self._refresh, name="ft-settings", daemon=True).start()
        return self._held.revision, self._held.settings

    def previous(self) -> Settings | None:
        """The last settings that both nodes had, while the peer has not acknowledged the current ones; else None."""
        self._refresh()
        return self._held.previous

    def document(self) -> dict[str, Any]:
        """{revision, saved_at, origin, actor, values, ancestors} for the peer. Revision 0: nothing was ever saved."""
        self._refresh()
        held = self._held
        return dict(held.document or {"revision": 0, "saved_at": 0.0, "origin": "", "actor": "", "values": {}})

    @property
    def on_both(self) -> bool:
        """Both nodes have the current revision, as last read; also while nothing was ever saved."""
        return self._held.acknowledged or not self._held.revision

    def save(
        self,
        values: Mapping[str, Any],
        actor: str,
        expected_revision: int | None = None,
        override_reason: str = "",
        expected_mark: str = "",
    ) -> int:
        """Check and save ``values`` over the current settings; the new revision.

        expected_revision: the revision the edit is based on; None: whatever is current (command line). expected_mark: its
        ``Settings.mark``, since both servers may have given one number; empty: not compared.
        Raises Contradictions or SettingsError (refused, field named), WarningsNeedReason, Conflict, DatabaseUnreachable
        or SQLAlchemyError (not saved).
        """
        self.refuse_if_locked()
        try:
            with self.database.transaction() as connection:
                row = _newest(connection)
                revision, current = (row.revision if row else 0), _settings_of(row)
                if expected_revision not in (None, revision) or expected_mark not in ("", current.mark):
                    raise Conflict(revision)
                settings = self.checked(values, current, override_reason)
                connection.execute(
                    insert(SETTINGS).values(
                        revision=revision + 1,
                        saved_wall_s=self._wall_s(),
                        origin=self._origin(settings),
                        actor=actor[:200],
                        override_reason=override_reason,
                        acknowledged=False,
                        values=settings.to_json(),
                    )
                )
        except IntegrityError:
            raise Conflict(revision + 1) from None
        self._refresh(force=True)
        return revision + 1

    def refuse_if_locked(self) -> None:
        """Raises Contradictions when nothing may be saved on this server now, as without a licence."""
        refusal = self._refusal()
        if refusal:
            raise Contradictions([Problem(field="licence", severity="error", message=refusal)])

    def checked(self, values: Mapping[str, Any], base: Settings, override_reason: str = "") -> Settings:
        """``values`` over ``base``, converted and checked. Raises as ``save`` does, with every wrong field at once."""
        settings, warnings = self.examined(values, base)
        if problem := _text_problem("override_reason", override_reason):
            raise Contradictions([problem])
        if warnings and not override_reason.strip():
            raise WarningsNeedReason(warnings)
        return settings

    def examined(self, values: Mapping[str, Any], base: Settings) -> tuple[Settings, tuple[Problem, ...]]:
        """(``values`` over ``base``, the warnings). Raises Contradictions with every wrong field at once."""
        settings, problems = base, []
        for name, raw in values.items():
            if problem := _text_problem(name, raw):
                problems.append(problem)
                continue
            try:
                settings = parse({name: raw}, settings)
            except SettingsError as error:
                problems.append(Problem(field=error.field, severity="error", message=_with_value(error)))
        if not problems:
            problems = rules.check(settings, self.slowest_check_s())
            problems += self._own_address_problem(settings) + self._stop_problem(settings)
        errors = [p for p in problems if p.severity == "error"]
        if errors:
            raise Contradictions(errors)
        return settings, tuple(problems)

    def _stop_problem(self, settings: Settings) -> list[Problem]:
        if settings.service_stop_s >= self.stop_needed_s:
            return []
        text = f"the services of this server (FT_SERVICES) may take {self.stop_needed_s:g} s to stop one after another"
        message = f"{text}; enter at least that, or lower their stop_limit_s (got {settings.service_stop_s:g})"
        return [Problem(field="service_stop_s", severity="error", message=message)]

    def _own_address_problem(self, settings: Settings) -> list[Problem]:
        if not self.own_address or not (settings.server1_address and settings.server2_address):
            return []
        try:
            designation_of(self.own_address, settings)
        except SettingsError as error:
            message = f"{error.message}: FT_OWN_ADDRESS of this server is {self.own_address}"
            return [Problem(field="own_address", severity="error", message=message)]
        return []

    def _origin(self, settings: Settings) -> str:
        try:
            return str(designation_of(self.own_address, settings))
        except SettingsError:
            return socket.gethostname()[:100]

    def adopt(self, document: Mapping[str, Any]) -> bool:
        """Take the peer's settings when they are newer: by revision, then by time. True when taken.

        What was saved here without the other server knowing of it is kept as a conflict (``settings_lineage``). Values this
        version does not know are left out, for the peer may be newer; a document that cannot be read is recorded as an
        event and refused.
        """
        try:
            revision, saved_s, settings = read_document(document)
            origin, actor = str(document.get("origin", "")), str(document.get("actor", ""))
        except ValueError as error:
            self.database.record_event("settings_unreadable", {"error": str(error)[:500]})
            return False
        try:
            with self.database.transaction() as connection:
                row = _newest(connection)
                if row is not None and not _newer(revision, saved_s, origin, row):
                    return False
                if row is not None:
                    if replaced(connection, row, document, settings):
                        note(connection, [lost_settings(row, document, self._me(row), self._wall_s())])
                    connection.execute(delete(SETTINGS).where(SETTINGS.c.revision == revision))
                connection.execute(
                    insert(SETTINGS).values(
                        revision=revision,
                        saved_wall_s=saved_s,
                        origin=origin[:100],
                        actor=actor[:200],
                        override_reason=str(document.get("override_reason", "")),
                        acknowledged=False,  # until the peer shows that it runs by it as well (spec 4)
                        values=settings.to_json(),
                    )
                )
        except (SQLAlchemyError, DatabaseUnreachable):
            return False
        self._refresh(force=True)
        return True

    def acknowledged(self, revision: int) -> None:
        """The peer has this revision. Earlier ones count as acknowledged with it."""
        if self._held.acknowledged and self._held.revision == revision:
            return
        try:
            with self.database.transaction() as connection:
                waiting = (SETTINGS.c.revision <= revision, SETTINGS.c.acknowledged.is_(False))
                news = connection.execute(update(SETTINGS).where(*waiting).values(acknowledged=True)).rowcount
                if news:
                    row = connection.execute(select(SETTINGS).where(SETTINGS.c.revision == revision)).first()
                    server = self._other(_settings_of(row))
                    both = {"revision": revision, "since_wall_s": self._wall_s(), "server": server}
                    connection.execute(delete(SETTINGS_BOTH).where(SETTINGS_BOTH.c.revision == revision))
                    connection.execute(insert(SETTINGS_BOTH).values(both))
        except (SQLAlchemyError, DatabaseUnreachable) as error:
            self.error = str(error)  # the peer acknowledges with every heartbeat: the next one tries again
            return
        self._refresh(force=True)

    def _me(self, row: Row[Any]) -> str:
        return (
            str(designation_of(self.own_address, _settings_of(row))) if self._other(_settings_of(row)) else row.origin
        )

    def _other(self, settings: Settings) -> str:
        try:
            return str(designation_of(self.own_address, settings).other)
        except SettingsError:
            return ""

    def _due(self) -> bool:
        limit_s = REREAD_FAILED_S if self.error else REREAD_S
        return self._read_s is None or self._monotonic_s() - self._read_s >= limit_s

    def _refresh(self, force: bool = False) -> None:
        if not (force or self._due()) or not self._reading.acquire(blocking=force or self._read_s is None):
            return
        try:
            if force or self._due():
                self._held = self._load()
                self.error = ""
        except (SQLAlchemyError, DatabaseUnreachable, SettingsError) as error:
            self.error = str(error)
        finally:
            self._read_s = self._monotonic_s()
            self._reading.release()

    def _load(self) -> _Held:
        with self.database.transaction() as connection:
            found = connection.execute(_MARK).first()
            mark = tuple(found) if found else ()
            if mark == self._held.mark:
                return self._held
            row = _newest(connection)
            if row is None:
                return _Held()
            before = None if row.acknowledged else _last_acknowledged(connection, row.revision)
            return _Held(
                mark=mark,
                revision=row.revision,
                settings=_settings_of(row),
                previous=_settings_of(before) if before else None,
                document={**as_document(row), "ancestors": ancestors(connection, row.revision)},
                acknowledged=bool(row.acknowledged),
            )


def read_document(document: Mapping[str, Any]) -> tuple[int, float, Settings]:
    """(revision, moment of saving in seconds since 1970, settings) of the peer's document. Raises ValueError."""
    try:
        revision, saved_s = int(document["revision"]), float(document["saved_at"])
        if not (0 <= revision <= REVISION_MAX and math.isfinite(saved_s)):
            raise ValueError(f"revision {revision:.9g} of {saved_s}")
        values = {name: value for name, value in dict(document["values"]).items() if name in NAMES}
        if not {"server1_address", "server2_address"} <= values.keys():  # half a document would leave no way back
            raise ValueError("the addresses of the two servers are missing")
        return revision, saved_s, parse(values)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _text_problem(name: str, raw: Any) -> Problem | None:
    """Texts that no setting can be: too long, or with characters that databases refuse."""
    texts = [raw] if isinstance(raw, str) else [t for t in raw if isinstance(t, str)] if isinstance(raw, list) else []
    length = sum(map(len, texts))
    if length > TEXT_CHARS_MAX:
        message = f"is too long: {length} characters; at most {TEXT_CHARS_MAX} are taken"
        return Problem(field=name, severity="error", message=message)
    wrong = next(
        (c for text in texts for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\r\n"), None
    )
    if wrong is not None:
        message = f"holds the control character U+{ord(wrong):04X}; remove it"
        return Problem(field=name, severity="error", message=message)
    return None


_NEWEST = select(SETTINGS).order_by(SETTINGS.c.revision.desc()).limit(1)
_MARK = _NEWEST.with_only_columns(SETTINGS.c.revision, SETTINGS.c.saved_wall_s, SETTINGS.c.acknowledged)


def _newest(connection: Connection) -> Row[Any] | None:
    return connection.execute(_NEWEST).first()


def _last_acknowledged(connection: Connection, below: int) -> Row[Any] | None:
    query = select(SETTINGS).where(SETTINGS.c.revision < below).order_by(SETTINGS.c.revision.desc())
    rows = connection.execute(query.limit(50)).all()
    return next((row for row in rows if row.acknowledged), rows[-1] if rows else None)


def _settings_of(row: Row[Any] | None) -> Settings:
    if row is None:
        return Settings()
    return parse({name: value for name, value in row._mapping["values"].items() if name in NAMES})


def _newer(revision: int, saved_s: float, origin: str, row: Row[Any]) -> bool:
    return (revision, saved_s, origin) > (row.revision, row.saved_wall_s, row.origin)


def _with_value(error: SettingsError) -> str:
    if error.value is None:
        return error.message
    shown = repr(error.value)
    if len(shown) > rules.SHOWN_CHARS_MAX:
        shown = shown[: rules.SHOWN_CHARS_MAX] + "…"
    return f"{error.message} (got {shown})"
