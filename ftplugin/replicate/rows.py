"""The rows of one model: read as text with a digest, and written as they were read on the other node.

SQLAlchemy Core over the model's own table, so that no code of the portal runs for a row that is taken: no event, no
validator, no ``onupdate``. A row is its columns in the order of their names, as a JSON list.
"""

from __future__ import annotations

import contextlib
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
    false,
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
from .thing import Found, KeepRows, Known, Outcome, ReplicationError, Wanted, check_name
from .untouched import Mark, Untouched

ROWS_MAX = 50_000
# Rows held at once: each may have a megabyte. SQLite gives one.
STREAMED = {"stream_results": True, "max_row_buffer": 32}
SLICE_ROWS = 1000  # written at once, of one transaction
KEYS_MAX, ASKED_FIRST = 900, 8  # in one IN list, and in the first one while nobody knows how long a row is
DIGEST_BYTES = 16  # over a plain line a forged row would have to collide with one that was signed
RECENT_CHARS_MAX = 8_000_000  # of changed rows, held so that they are not read twice
RAISE_SEQUENCE = text(
    "SELECT setval(seqrelid, CAST(:most AS bigint)) FROM pg_sequence WHERE seqrelid = CAST(:name AS regclass)"
    " AND CAST(:most AS bigint) >= seqmin AND CAST(:most AS bigint) > COALESCE(pg_sequence_last_value(seqrelid), seqmin - 1)"
)
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
    """One registered model. engine: of the portal's database, or what gives it when it is needed. untouched: shared with the
    other models of that engine.
    """

    kind = "rows"

    def __init__(
        self,
        model: Any,
        engine: EngineSource,
        exclude: Sequence[str] = (),
        name: str = "",
        untouched: Untouched | None = None,
    ) -> None:
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
        self._untouched = untouched or Untouched()
        self._found_at: Mark | None = None  # of the last look
        self._known_at: Mark | None = None  # the ledger says what was there then

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
        self._known_at = None
        try:
            with self._untouched.connected(self.engine) as connection:
                self._found_at = self._untouched.mark(connection)
                form = self._form(connection.dialect.name)
                for key, row_text in form.encoded(connection.execute(form.query, execution_options=STREAMED)):
                    count += 1
                    if count > ROWS_MAX:
                        raise ReplicationError(
                            f"{self.name} has more than {ROWS_MAX} rows; replicate it by the database's own means"
                        )
                    digest = digest_of(row_text)
                    if size + len(row_text) < RECENT_CHARS_MAX and not entries.get(key, "").startswith(digest):
                        recent[key] = digest, row_text
                        size += len(row_text)
                    yield Found(key, digest)
        except SQLAlchemyError as error:
            raise ReplicationError(f"{self.name} cannot be read: {_cause(error)}") from None
        if recent:
            self._recent = recent

    def looked(self) -> None:
        self._known_at = self._found_at

    def close(self) -> None:
        self._untouched.close()

    def texts(self, wanted: Mapping[str, str], chars_max: int) -> dict[str, str]:
        """The text of each of these rows (digest by key) that exists now with that digest; the later ones are left out when
        the others have more than ``chars_max``.

        Raises ReplicationError, ValueError for what is no key.
        """
        recent = self._recent
        found = {key: recent[key][1] for key, digest in wanted.items() if key in recent and recent[key][0] == digest}
        missing = [key for key in wanted if key not in found]
        if not missing:
            return found
        size, at, step = 0, 0, ASKED_FIRST
        try:
            with self.engine.connect() as connection:
                while at < len(missing) and size < chars_max:
                    for key, row_text in self._read(connection, missing[at : at + step], lock=False):
                        size += len(row_text)
                        if digest_of(row_text) == wanted.get(key):
                            found[key] = row_text
                    at += step
                    step = max(1, min(2 * step, KEYS_MAX, at * chars_max // max(size, 1)))  # what is about to fit
        except SQLAlchemyError as error:
            raise ReplicationError(f"{self.name} cannot be read: {_cause(error)}") from None
        return found

    def _read(self, connection: Connection, keys: Sequence[str], *, lock: bool) -> Iterator[tuple[str, str]]:
        """(key, text) of those that exist."""
        form = self._form(connection.dialect.name)
        for start in range(0, len(keys), KEYS_MAX):
            values = [form.key_values(key) for key in keys[start : start + KEYS_MAX]]
            if len(form.keys) == 1:
                query = form.query.where(form.keys[0].in_([value[0] for value in values]))
            else:
                query = form.query.where(tuple_(*form.keys).in_([tuple(value) for value in values]))
            if lock and connection.dialect.name != "sqlite":
                query = query.with_for_update()
            yield from form.encoded(connection.execute(query, execution_options=STREAMED))

    def values_of(self, row_text: str) -> dict[str, Any]:
        """JSON values by column, for a person to look at."""
        return dict(zip(self.names, json.loads(row_text)))

    # --- write ----------------------------------------------------------------------------------------------------

    def take(self, wanted: Sequence[Wanted], texts: Mapping[str, str], keep: KeepRows) -> Outcome:
        """Write or delete these rows in one transaction; when one cannot be written, in halves, down to that one.

        texts: of the rows to write, by key; a key without is deleted. keep: told of what gives way before it is gone for good.
        A row that is not what is known of it here was edited meanwhile and is left for later.
        Raises ReplicationError, ValueError, and what ``keep`` raises; then nothing was written.
        """
        try:
            return self._take_all(wanted, texts, keep)
        except (IntegrityError, OverflowError) as error:  # a number of more than 64 bits, of no honest server
            if len(wanted) == 1:
                return Outcome([], [], [f"{self.name} {wanted[0].key}: {_cause(error)}"])
        except DBAPIError as error:
            raise ReplicationError(f"{self.name} cannot be written: {_cause(error)}") from None
        middle = len(wanted) // 2
        parts = [self.take(half, texts, keep) for half in (wanted[:middle], wanted[middle:])]
        return Outcome(*(sum((list(part[n]) for part in parts), []) for n in range(3)))

    def _take_all(self, wanted: Sequence[Wanted], texts: Mapping[str, str], keep: KeepRows) -> Outcome:
        with self._untouched.connected(self.engine) as connection:
            _begin(connection, self.source)
            if self._known_at is not None and self._known_at == self._untouched.mark(connection):
                with contextlib.suppress(_Otherwise, IntegrityError):
                    return self._take_slices(connection, wanted, texts, keep, known=True)
                connection.rollback()
                self._known_at = None
                _begin(connection, self.source)
            return self._take_slices(connection, wanted, texts, keep, known=False)

    def _take_slices(
        self, connection: Connection, wanted: Sequence[Wanted], texts: Mapping[str, str], keep: KeepRows, *, known: bool
    ) -> Outcome:
        """A whole transaction. known: the ledger says what is there. Raises _Otherwise when it turns out not to."""
        outcome, written = Outcome([], [], []), 0
        before = self._untouched.changes(connection)
        lost: list[tuple[Wanted, dict[str, Any]]] = []
        for start in range(0, len(wanted), SLICE_ROWS):  # what is held at once is small, also for the garbage collector
            part = wanted[start : start + SLICE_ROWS]
            written += self._take_some(connection, part, texts, outcome, lost, known=known)
        if not self._untouched.as_told(connection, before, written) and known:
            raise _Otherwise
        if lost:
            keep(lost, connection)
        connection.commit()
        return outcome

    def _take_some(
        self,
        connection: Connection,
        wanted: Sequence[Wanted],
        texts: Mapping[str, str],
        outcome: Outcome,
        lost: list[tuple[Wanted, dict[str, Any]]],
        *,
        known: bool,
    ) -> int:
        """How many rows it has written. What gives way is read in any case, for it is kept."""
        form = self._form(connection.dialect.name)
        rows = form.decoded_all({one.key: texts[one.key] for one in wanted if one.key in texts})
        here: dict[str, tuple[str, str]] = {}  # digest, and the text of what may give way: others may be long
        kept = {one.key for one in wanted if one.conflict}
        for key, row_text in self._read(connection, [o.key for o in wanted if o.conflict or not known], lock=True):
            here[key] = digest_of(row_text), row_text if key in kept else ""
        fresh, changed, gone = [], [], []
        for one in wanted:
            key, own, _, there, conflict, _ = one
            own_digest = own.partition(" ")[0]
            now, row_text = here.get(key, ("", ""))
            digest = own_digest if known and not conflict else now
            as_there = digest == there
            if not as_there and own_digest != digest:
                outcome.later.append(key)
                continue
            outcome.done.append(key)
            if conflict and not as_there:
                lost.append((one, {"values": self.values_of(row_text)} if now else {}))
            if key not in rows:
                gone += [form.key_values(key)] if digest else []
            elif not digest:
                fresh.append(rows[key])
            elif not as_there:
                changed.append(rows[key])
        return self._write(connection, form, fresh, changed, gone)

    def _write(
        self,
        connection: Connection,
        form: RowForm,
        fresh: list[list[Any]],
        changed: list[list[Any]],
        gone: list[list[Any]],
    ) -> int:
        """How many rows that are."""
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
            with _as_numbered(connection) if self._serial else contextlib.nullcontext():
                connection.execute(insert(table), [dict(zip(names, row)) for row in fresh])
            if self._serial and connection.dialect.name == "postgresql":
                raise_sequence(connection, table, form.keys[0])
        return len(gone) + len(fresh) + (len(changed) if others else 0)

    def restore(self, values: Mapping[str, Any]) -> None:
        """Write a row that had lost, as an edit of this node. Raises ReplicationError, ValueError."""
        key = encode_text([values.get(name) for name in self.keys])
        try:
            with self.engine.connect() as connection:
                form = self._form(connection.dialect.name)
                row = form.decoded(encode_text([values.get(name) for name in self.names]))
                _begin(connection, self.source)
                there = list(self._read(connection, [key], lock=True))
                self._write(connection, form, [] if there else [row], [row] if there else [], [])
                connection.commit()
        except SQLAlchemyError as error:
            raise ReplicationError(f"the row cannot be written: {_cause(error)}") from None


class _Otherwise(Exception):
    """Other rows were written than the ledger lets expect: it does not say what is there."""


def _begin(connection: Connection, table: Table) -> None:
    """From here on nobody else writes what is read. SQLite has one writer; the others lock the rows (``RowThing._read``)."""
    if connection.dialect.name != "sqlite":
        return
    connection.begin()
    if getattr(connection.connection.dbapi_connection, "in_transaction", False):
        connection.execute(
            delete(table).where(false())
        )  # the portal's engine begins by itself; this makes it the writer
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def _as_numbered(connection: Connection) -> Iterator[None]:
    """MariaDB and MySQL would give a row with the number 0 another one: a new row here, which then goes back, and so on."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    connection.exec_driver_sql("SET @ft_mode = @@sql_mode, sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
    try:
        yield
    finally:
        connection.exec_driver_sql("SET sql_mode = @ft_mode")  # the portal goes on with this connection


def raise_sequence(connection: Connection, table: Table, key: Column[Any]) -> None:
    """PostgreSQL counts on from its sequence, which rows with a given key do not move."""
    quoted = connection.dialect.identifier_preparer.format_table(table)
    name = connection.scalar(select(func.pg_get_serial_sequence(quoted, key.name)))
    if name:
        most = connection.scalar(select(func.max(key)))
        connection.execute(RAISE_SEQUENCE, {"name": name, "most": most})


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
