"""The rows of one model: read as text with a digest, and written as they were read on the other node.

SQLAlchemy Core over the model's own table, so that no code of the portal runs for a row that is taken: no event, no
validator, no ``onupdate``. A row is its columns in the order of their names, as a JSON list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Table,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from .codec import Unsupported, codec, encode_text
from .rows_form import RowForm
from .thing import Found, Keep, Known, Outcome, ReplicationError, Wanted, check_name

ROWS_MAX = 50_000
READ_ROWS = 1_000  # fetched at once
SLICE_ROWS = 1000  # written at once, of one transaction
KEYS_MAX = 900  # in one IN list
DIGEST_BYTES = 12
RECENT_CHARS_MAX = 8_000_000  # of changed rows, held so that they are not read twice
EngineSource = Engine | Callable[[], Engine]


def digest_of(row_text: str) -> str:
    return hashlib.blake2b(row_text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def table_of(model: Any) -> Table:
    """The table of a declarative class, or the table itself. Raises TypeError."""
    found = model if isinstance(model, Table) else getattr(inspect(model, raiseerr=False), "local_table", None)
    if not isinstance(found, Table):
        raise TypeError(f"replicate: {model!r} is neither a mapped class with a table nor a Table")
    return found


class RowThing:
    """One registered model. engine: of the portal's database, or what gives it when it is needed."""

    kind = "rows"

    def __init__(self, model: Any, engine: EngineSource, exclude: Sequence[str] = (), name: str = "") -> None:
        """Raises TypeError, ValueError or Unsupported for what cannot be replicated."""
        self.source = source = table_of(model)
        self.name = check_name(name or source.fullname)
        self._engine = engine
        unknown = sorted(set(exclude) - {c.name for c in source.columns})
        if unknown:
            raise ValueError(f"replicate {self.name}: exclude names no column {unknown[0]!r}")
        self.keys = [c.name for c in source.primary_key.columns]
        if not self.keys:
            raise Unsupported(f"replicate {self.name}: the table has no primary key")
        if shared := sorted(set(self.keys) & set(exclude)):
            raise ValueError(f"replicate {self.name}: {shared[0]!r} is of the primary key and cannot be excluded")
        self.names = sorted(c.name for c in source.columns if c.name not in exclude and c.computed is None)
        for name_ in self.names:
            codec(source.c[name_])  # refused when registered, not at night
        self._serial = len(self.keys) == 1 and source.autoincrement_column is source.c[self.keys[0]]
        self._forms: dict[str, RowForm] = {}
        self._recent: dict[str, tuple[str, str]] = {}  # digest and text of rows that the last look found changed

    @property
    def engine(self) -> Engine:
        """Raises ReplicationError when the portal cannot give it."""
        if isinstance(self._engine, Engine):
            return self._engine
        try:
            return self._engine()
        except (SQLAlchemyError, RuntimeError, KeyError) as error:
            raise ReplicationError(f"the portal gives no engine for {self.name}: {error}") from None

    def _form(self, dialect: str) -> RowForm:
        if dialect not in self._forms:
            self._forms[dialect] = RowForm(self.source, self.names, self.keys, dialect)
        return self._forms[dialect]

    def shape(self) -> Any:
        """Columns and kind of database: a digest of one kind means nothing to another."""
        return {"columns": self.names, "database": self.engine.dialect.name}

    def unseen(self, key: str) -> bool:
        return False

    def problems(self) -> list[str]:
        return []

    # --- read -----------------------------------------------------------------------------------------------------

    def found(self, known: Known) -> Iterator[Found]:
        """Every row. What has changed since the last look is held for the other node's question, up to RECENT_CHARS_MAX."""
        count, size, entries = 0, 0, known.entries
        recent: dict[str, tuple[str, str]] = {}
        try:
            with self.engine.connect() as connection:
                form = self._form(connection.dialect.name)
                streamed = connection.execution_options(stream_results=True, yield_per=READ_ROWS)
                for part in streamed.execute(form.query).partitions(READ_ROWS):
                    count += len(part)
                    if count > ROWS_MAX:
                        raise ReplicationError(
                            f"{self.name} has more than {ROWS_MAX} rows; replicate it by the database's own means"
                        )
                    for key, row_text in form.encoded(part):
                        digest = digest_of(row_text)
                        if size < RECENT_CHARS_MAX and not entries.get(key, "").startswith(digest):
                            recent[key] = digest, row_text
                            size += len(row_text)
                        yield Found(key, digest)
        except SQLAlchemyError as error:
            raise ReplicationError(f"{self.name} cannot be read: {_cause(error)}") from None
        if recent:
            self._recent = recent

    def texts(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The text of each of these rows (digest by key) that exists now with that digest.

        Raises ReplicationError, ValueError for what is no key.
        """
        recent = self._recent
        found = {key: recent[key][1] for key, digest in wanted.items() if key in recent and recent[key][0] == digest}
        missing = [key for key in wanted if key not in found]
        if not missing:
            return found
        try:
            with self.engine.connect() as connection:
                read = self._texts(connection, missing, lock=False)
        except SQLAlchemyError as error:
            raise ReplicationError(f"{self.name} cannot be read: {_cause(error)}") from None
        return found | {key: row for key, row in read.items() if digest_of(row) == wanted.get(key)}

    def _texts(self, connection: Connection, keys: Sequence[str], *, lock: bool) -> dict[str, str]:
        found: dict[str, str] = {}
        form = self._form(connection.dialect.name)
        for start in range(0, len(keys), KEYS_MAX):
            values = [form.key_values(key) for key in keys[start : start + KEYS_MAX]]
            if len(form.keys) == 1:
                query = form.query.where(form.keys[0].in_([value[0] for value in values]))
            else:
                query = form.query.where(tuple_(*form.keys).in_([tuple(value) for value in values]))
            if lock and connection.dialect.name != "sqlite":
                query = query.with_for_update()
            found |= dict(form.encoded(connection.execute(query)))
        return found

    def values_of(self, row_text: str) -> dict[str, Any]:
        """JSON values by column, for a person to look at."""
        return dict(zip(self.names, json.loads(row_text)))

    # --- write ----------------------------------------------------------------------------------------------------

    def take(self, wanted: Sequence[Wanted], texts: Mapping[str, str], keep: Keep) -> Outcome:
        """Write or delete these rows in one transaction; when one cannot be written, each for itself.

        texts: of the rows to write, by key; a key without is deleted. keep: told of what gives way before it is gone for good.
        A row that is not what is known of it here was edited meanwhile and is left for later.
        Raises ReplicationError, ValueError, and what ``keep`` raises; then nothing was written.
        """
        try:
            return self._take_all(wanted, texts, keep)
        except IntegrityError as error:
            if len(wanted) == 1:
                return Outcome([], [], [f"{self.name} {wanted[0].key}: {_cause(error)}"])
        except DBAPIError as error:
            raise ReplicationError(f"{self.name} cannot be written: {_cause(error)}") from None
        parts = [self.take([one], {one.key: texts[one.key]} if one.key in texts else {}, keep) for one in wanted]
        return Outcome(*(sum((list(part[n]) for part in parts), []) for n in range(3)))

    def _take_all(self, wanted: Sequence[Wanted], texts: Mapping[str, str], keep: Keep) -> Outcome:
        outcome = Outcome([], [], [])
        lost: list[tuple[Wanted, dict[str, Any]]] = []
        with self.engine.connect() as connection:
            _begin(connection)
            for start in range(
                0, len(wanted), SLICE_ROWS
            ):  # what is held at once is small, also for the garbage collector
                self._take_some(connection, wanted[start : start + SLICE_ROWS], texts, outcome, lost)
            if lost:
                keep(lost)
            connection.commit()
        return outcome

    def _take_some(
        self,
        connection: Connection,
        wanted: Sequence[Wanted],
        texts: Mapping[str, str],
        outcome: Outcome,
        lost: list[tuple[Wanted, dict[str, Any]]],
    ) -> None:
        form = self._form(connection.dialect.name)
        rows = form.decoded_all({one.key: texts[one.key] for one in wanted if one.key in texts})
        here = self._texts(connection, [one.key for one in wanted], lock=True)
        fresh, changed, gone = [], [], []
        for one in wanted:
            key, own, then, conflict, _ = one
            now = here.get(key)
            digest = "" if now is None else digest_of(now)
            as_there = then.startswith(digest + " ")
            if not as_there and own.partition(" ")[0] != digest:
                outcome.later.append(key)
                continue
            outcome.done.append(key)
            if conflict and not as_there:
                lost.append((one, {} if now is None else {"values": self.values_of(now)}))
            if key not in rows:
                gone += [] if now is None else [form.key_values(key)]
            elif now is None:
                fresh.append(rows[key])
            elif not as_there:
                changed.append(rows[key])
        self._write(connection, form, fresh, changed, gone)

    def _write(
        self,
        connection: Connection,
        form: RowForm,
        fresh: list[list[Any]],
        changed: list[list[Any]],
        gone: list[list[Any]],
    ) -> None:
        table, keys, names = form.table, [f"k_{name}" for name in self.keys], self.names
        this = [table.c[name] == bindparam(bind) for name, bind in zip(self.keys, keys)]
        if gone:
            connection.execute(delete(table).where(*this), [dict(zip(keys, values)) for values in gone])
        others = [n for n, name in enumerate(names) if name not in self.keys]
        if changed and others:
            binds = [*(names[n] for n in others), *keys]
            places = [*others, *form.key_places]
            values: dict[str, Any] = {names[n]: bindparam(names[n]) for n in others}
            many = update(table).where(*this).values(values)
            if form.stored:  # nothing to convert: 10,000 rows in half the time
                compiled: Any = many.compile(dialect=connection.dialect)
                order = [dict(zip(binds, places))[name] for name in compiled.positiontup]
                connection.exec_driver_sql(str(compiled), list(map(itemgetter(*order), changed)))
            else:
                connection.execute(many, [dict(zip(binds, [row[n] for n in places])) for row in changed])
        if fresh:
            connection.execute(insert(table), [dict(zip(names, row)) for row in fresh])
            if self._serial and connection.dialect.name == "postgresql":
                _raise_sequence(connection, table, form.keys[0])

    def restore(self, values: Mapping[str, Any]) -> None:
        """Write a row that had lost, as an edit of this node. Raises ReplicationError, ValueError."""
        key = encode_text([values.get(name) for name in self.keys])
        try:
            with self.engine.connect() as connection:
                form = self._form(connection.dialect.name)
                row = form.decoded(encode_text([values.get(name) for name in self.names]))
                _begin(connection)
                there = self._texts(connection, [key], lock=True)
                self._write(connection, form, [] if there else [row], [row] if there else [], [])
                connection.commit()
        except SQLAlchemyError as error:
            raise ReplicationError(f"the row cannot be written: {_cause(error)}") from None


def _begin(connection: Connection) -> None:
    """From here on nobody else writes what is read. SQLite has one writer; the others lock the rows (``_texts``)."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _raise_sequence(connection: Connection, table: Table, key: Column[Any]) -> None:
    """PostgreSQL counts on from its sequence, which rows with a given key do not move."""
    name = connection.scalar(select(func.pg_get_serial_sequence(table.fullname, key.name)))
    if name:
        connection.execute(
            text("SELECT setval(:name, GREATEST((SELECT last_value FROM " + str(name) + "), :most))"),
            {"name": name, "most": connection.scalar(select(func.max(key)))},
        )


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
