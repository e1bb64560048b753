"""Reading values out of documents that another process, perhaps of another version, has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def text(value: object, chars_max: int = 500) -> str:
    return value[:chars_max] if isinstance(value, str) else ""


def words(value: object, key: str) -> str:
    return text(mapping(value).get(key))


def number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def count(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else 0
