"""Reading values out of documents that another process, perhaps of another version, has written."""

from __future__ import annotations

import math
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
    """None: not a number that one can reckon with; JSON has NaN, Infinity and whole numbers without end."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def count(value: object) -> int:
    return int(max(0.0, number(value) or 0.0))
