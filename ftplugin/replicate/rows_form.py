"""How the rows of one table are read from and written to one kind of database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, MetaData, Table, null, select, types

from .codec import BYTES, bytes_in, codec, encoder, plain_type


class RowForm:
    """SQLite gives numbers, text and bytes, and takes them back bit for bit: nothing is converted. Elsewhere values go through
    the types of their columns (``codec``).
    """

    def __init__(self, source: Table, names: Sequence[str], keys: Sequence[str], dialect: str) -> None:
        """Raises Unsupported."""
        self.stored = stored = dialect == "sqlite"
        kept = [c for c in source.columns if c.computed is None]
        self.table = Table(
            source.name, MetaData(), *(_bare(c, stored and c.name in names) for c in kept), schema=source.schema
        )
        columns = [self.table.c[name] for name in names]
        self.keys = [self.table.c[name] for name in keys]
        self.key_places = [names.index(name) for name in keys]
        codecs = [] if stored else [codec(source.c[name]) for name in names]
        self.out = [(n, out) for n, (out, _) in enumerate(codecs) if out is not None]
        self.back = [(n, back) for n, (_, back) in enumerate(codecs) if back is not None]
        self.json = [n for n, column in enumerate(columns) if isinstance(column.type, types.JSON)]
        self.query = select(*columns, *(columns[n].is_(null()) for n in self.json))
        self.width = len(columns)
        self.plain_key = self.key_places[0] if len(keys) == 1 else -1

    def encoded(self, rows: Any) -> Iterator[tuple[str, str]]:
        """(key, text) of each row."""
        out, places, flags, width = self.out, self.key_places, self.json, self.width
        plain, encode = self.plain_key, encoder()
        for row in rows:
            values = list(row)
            if out or flags:
                nulls, values = values[width:], values[:width]
                for n, convert in out:
                    if values[n] is not None:
                        values[n] = convert(values[n])
                for n, is_null in zip(flags, nulls):
                    if not is_null and values[n] is None:
                        values[n] = [None]
            if plain >= 0 and type(values[plain]) is int:
                yield f"[{values[plain]}]", encode(values)
            else:
                yield encode([values[n] for n in places]), encode(values)

    def decoded(self, row_text: str) -> list[Any]:
        """Raises ValueError."""
        values = _listed(row_text)
        if len(values) != self.width:
            raise ValueError(f"a row has not its {self.width} columns")
        return self._values(values, row_text, range(self.width))

    def decoded_all(self, texts: Mapping[str, str]) -> dict[str, list[Any]]:
        """Raises ValueError, also when a row is not that of its key."""
        try:
            rows = json.loads(f"[{','.join(texts.values())}]")  # one call for all: a third of the time
        except RecursionError:
            rows = []
        if len(rows) != len(texts):
            raise ValueError("a row is no list")
        found: dict[str, list[Any]] = {}
        encode, places, width, plain = encoder(), self.key_places, self.width, self.plain_key
        for (key, row_text), values in zip(texts.items(), rows):
            if type(values) is not list or len(values) != width:
                raise ValueError(f"a row has not its {width} columns")
            if not (plain >= 0 and key == f"[{values[plain]}]") and key != encode([values[n] for n in places]):
                raise ValueError(f"a row is not that of {key[:80]}")
            found[key] = self._values(values, row_text, range(width))
        return found

    def key_values(self, key: str) -> list[Any]:
        """Raises ValueError."""
        if self.plain_key >= 0 and len(key) < 21 and key[1:-1].isdecimal() and key[0] + key[-1] == "[]":
            return [int(key[1:-1])]  # as most are
        values = _listed(key)
        if len(values) != len(self.keys) or (self.stored and not all(map(_can_be_key, values))):
            raise ValueError(f"{key[:80]!r} is no key")
        if not self.back and "{" not in key:
            return values
        wide = [None] * self.width
        for place, value in zip(self.key_places, values):
            wide[place] = value
        wide = self._values(wide, key, self.key_places)
        return [wide[place] for place in self.key_places]

    def _values(self, values: list[Any], source: str, places: Sequence[int]) -> list[Any]:
        if not self.back:
            if BYTES in source:
                for n in places:
                    if isinstance(values[n], dict):
                        values[n] = bytes_in(values[n])
            return values
        for n, back in self.back:
            if values[n] is not None:
                try:
                    values[n] = back(values[n])
                except (TypeError, ValueError, ArithmeticError, KeyError, IndexError) as error:
                    raise ValueError(
                        f"column {self.query.exported_columns.keys()[n]} cannot be read: {error}"
                    ) from None
        return values


def _can_be_key(value: Any) -> bool:
    """Whether SQLite could hold it: for a longer number its driver raises OverflowError, which is no error of databases."""
    return -(2**63) <= value < 2**63 if isinstance(value, int) else not isinstance(value, list)


def _listed(text_: str) -> list[Any]:
    """Raises ValueError."""
    try:
        found = json.loads(text_)
    except RecursionError:
        found = None
    if not isinstance(found, list):
        raise ValueError(f"{text_[:80]!r} is no list")
    return found


def _bare(column: Column[Any], stored: bool) -> Column[Any]:
    """``column`` without decorators of its type, or without any; the default serves those that are excluded."""
    default = column.default
    kept = getattr(default, "arg", None) if default is not None and not default.is_sequence else None
    kind = types.NullType() if stored else plain_type(column)
    return Column(column.name, kind, primary_key=column.primary_key, default=kept, autoincrement=False)
