"""The node's local time: the zone that the host's programs use, read again when it changes."""

from __future__ import annotations

import datetime
import os
import pathlib
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOCALTIME = pathlib.Path("/etc/localtime")

_known: tuple[tuple[str, float], datetime.tzinfo] | None = None


def local_zone() -> datetime.tzinfo:
    """Zone of this process: TZ if it is set, else /etc/localtime; UTC when neither can be read, as the C library does."""
    global _known
    mark = (os.environ.get("TZ", ""), _changed_s())
    if _known is None or _known[0] != mark:
        _known = (mark, _read(mark[0]))
    return _known[1]


def _changed_s() -> float:
    try:
        return LOCALTIME.stat().st_mtime + LOCALTIME.lstat().st_mtime
    except OSError:
        return 0.0


def _read(name: str) -> datetime.tzinfo:
    """``name``: value of TZ; the form with rules ("CET-1CEST,M3.5.0,…") is not a zone's name and counts as UTC."""
    name = name.removeprefix(":")
    try:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        with (pathlib.Path(name) if name else LOCALTIME).open("rb") as file:
            return ZoneInfo.from_file(file, key=name or None)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return datetime.UTC
