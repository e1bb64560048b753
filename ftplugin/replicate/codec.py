"""Values of columns as JSON and back, exactly: what a column's own type gives and takes, below a portal's own decorators.

A ``TypeDecorator`` is left out, so that its stored form travels and no code of the portal runs for it. Numbers, text and
booleans are JSON as they are; other values become text, by the type of their column, so that no value names a type.
"""

from __future__ import annotations

import base64
import copy
import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Interval, types
from sqlalchemy.sql.type_api import TypeEngine

Convert = Callable[[Any], Any]


class Unsupported(ValueError):
    """A column has a type that cannot be replicated; the message names it and the way out."""


def plain_type(column: Column[Any]) -> TypeEngine[Any]:
    """The type of ``column`` without decorators. Interval is one itself, and stays: PostgreSQL has such a type, others a time."""
    found: Any = column.type
    while isinstance(found, types.TypeDecorator) and not isinstance(found, Interval):
        found = found.impl_instance if hasattr(found, "impl_instance") else found.impl
    if isinstance(found, types.JSON):
        found = copy.copy(found)
        found.none_as_null = True  # None is SQL's NULL here; JSON's own null is ``JSON.NULL``
    return found  # type: ignore[no-any-return]


def codec(column: Column[Any]) -> tuple[Convert | None, Convert | None]:
    """(to JSON, from JSON) for values that are not None; None: as they are. Raises Unsupported."""
    found = plain_type(column)
    if isinstance(found, types.JSON):
        return _json_out, _json_in
    if isinstance(found, types.Enum):
        return _enum(found)
    if isinstance(found, types.Uuid):
        return (str, uuid.UUID) if found.as_uuid else (str, str)
    if isinstance(found, Interval):
        return _interval_out, _interval_in
    if isinstance(found, types.LargeBinary):
        return _bytes_out, base64.b64decode
    if isinstance(found, types.ARRAY):
        raise Unsupported(f"column {column}: ARRAY is not replicated; exclude it, or keep it as JSON")
    try:
        kind = found.python_type
    except NotImplementedError:
        raise Unsupported(f"column {column}: its type {found!r} is not known; exclude it") from None
    by_kind: dict[type, tuple[Convert | None, Convert | None]] = {
        int: (None, None),
        str: (None, None),
        bool: (None, bool),
        float: (_float_out, float),
        decimal.Decimal: (_decimal_out, decimal.Decimal),
        datetime.datetime: (_moment_out, datetime.datetime.fromisoformat),
        datetime.date: (datetime.date.isoformat, datetime.date.fromisoformat),
        datetime.time: (datetime.time.isoformat, datetime.time.fromisoformat),
        datetime.timedelta: (_interval_out, _interval_in),
        bytes: (_bytes_out, base64.b64decode),
        uuid.UUID: (str, uuid.UUID),
    }
    if kind not in by_kind:
        raise Unsupported(f"column {column}: values of type {kind.__name__} are not replicated; exclude it")
    return by_kind[kind]


def _moment_out(value: datetime.datetime) -> str:
    """A moment with a zone in UTC: each server's session may show it in a zone of its own."""
    return (value if value.tzinfo is None else value.astimezone(datetime.UTC)).isoformat()


def _decimal_out(value: decimal.Decimal) -> str:
    return format(value.normalize(), "f") if value.is_finite() else str(value)  # 1.10 and 1.1 are equal


def _json_out(value: Any) -> Any:
    return [value]  # so that JSON's null and SQL's NULL stay two things


def _json_in(value: Any) -> Any:
    return types.JSON.NULL if value[0] is None else value[0]


def _enum(found: types.Enum) -> tuple[Convert | None, Convert | None]:
    members = found.enum_class
    if members is None or not isinstance(members, type) or not issubclass(members, enum.Enum):
        return None, None
    return lambda value: value.name if isinstance(value, enum.Enum) else str(value), lambda name: members[name]


def _float_out(value: float) -> Any:
    return float(value) if math.isfinite(value) else str(value)


def _interval_out(value: datetime.timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _interval_in(value: list[int]) -> datetime.timedelta:
    return datetime.timedelta(days=value[0], seconds=value[1], microseconds=value[2])


def _bytes_out(value: bytes) -> str:
    return base64.b64encode(value).decode()


BYTES = '{"b":'  # how bytes begin where no codec has made them text


def _other(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b": base64.b64encode(bytes(value)).decode()}
    raise Unsupported(f"a value of type {type(value).__name__} cannot be replicated")


def bytes_in(value: Any) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(value["b"], validate=True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"bytes cannot be read: {error}") from None


# Canonical: equal values give equal text on both nodes.
encode_text = json.JSONEncoder(separators=(",", ":"), check_circular=False, sort_keys=True, default=_other).encode


def encoder() -> Callable[[Any], str]:
    """``encode_text`` for very many lists: made once, where the interpreter has it in C."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        encode = make(None, _other, json.encoder.encode_basestring_ascii, None, ":", ",", True, False, True)
        "".join(encode([1], 0))
    except TypeError:  # another interpreter, or another release of this one
        return encode_text
    join = "".join
    return lambda values: join(encode(values, 0))
