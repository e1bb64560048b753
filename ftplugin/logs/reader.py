"""Reads the FT_REPORT files: one day with a search, the lines around an incident, or the file as it is (guide 6.1.2).

A file may be hundreds of MB: it is read line by line, and what is kept is bounded. A name is a day file's or refused.
"""

from __future__ import annotations

import os
import pathlib
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..report import LINE_CHARS_MAX, Report

_NAME: Final = re.compile(r"FT_REPORT_(\d{6})\.txt", re.ASCII)
_STAMP: Final = re.compile(rb"(\d{4})/(\d\d)/(\d\d)_(\d\d):(\d\d):(\d\d):(\d{3}) ")
_LINE: Final = re.compile(r"\d{4}/\d\d/\d\d_\d\d:\d\d:\d\d:\d{3} (.*?) : ")
LINES_MAX: Final = 500
PAGE_CHARS_MAX: Final = 300_000
WINDOW_LINES_MAX: Final = 2_000
SOURCES_MAX: Final = 40
SEARCH_CHARS_MAX: Final = 200
CHUNK_BYTES_MAX: Final = 500_000
DAY_S: Final = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPage:
    """Matching lines of one day with their numbers, oldest first. ``earlier``: more of them come before these.

    total: lines of the file; matching: those that match, at whatever number.
    """

    name: str
    lines: tuple[tuple[int, str], ...] = ()
    earlier: bool = False
    total: int = 0
    matching: int = 0
    sources: tuple[str, ...] = ()
    bytes_: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedLine:
    """A line with its moment (seconds since 1970 by the clock and time zone of its server)."""

    at_s: float
    text: str


class ReportReader:
    """Reads the files of one Report."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def days(self) -> list[str]:
        """Names of the day files, newest first."""
        return self._report.days()

    def path(self, name: str) -> pathlib.Path:
        """The file of a name. Raises ValueError for a name that is no day file's, FileNotFoundError for a day without one."""
        if not _NAME.fullmatch(name):
            raise ValueError(f"day: {name[:80]!r} is no log file; the form is FT_REPORT_yymmdd.txt")
        path = self._report.folder / name
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError(f"day: there is no log {name} on this server; it may be too old or not begun yet")
        return path

    def page(
        self, name: str, *, search: str = "", source: str = "", before: int | None = None, lines_max: int = LINES_MAX
    ) -> LogPage:
        """The last ``lines_max`` lines that match, before line number ``before``.

        search: plain text in any letter case; source: the exact word before the colon, in any letter case.
        Raises ValueError, FileNotFoundError as ``path`` does, OSError.
        """
        wanted, of = search.casefold(), source.casefold()
        kept: deque[tuple[int, str]] = deque()
        sources: set[str] = set()
        chars = matching = seen = number = 0
        path = self.path(name)
        for number, raw in _lines(path):
            text = _shown(raw)
            spoken = _LINE.match(text)
            if spoken and len(sources) < SOURCES_MAX:
                sources.add(spoken[1])
            if of and (spoken is None or spoken[1].casefold() != of) or wanted and wanted not in text.casefold():
                continue
            matching += 1
            if before is not None and number >= before:
                continue
            seen += 1
            kept.append((number, text))
            chars += len(text)
            while len(kept) > lines_max or chars > PAGE_CHARS_MAX:
                chars -= len(kept.popleft()[1])
        return LogPage(
            name=name,
            lines=tuple(kept),
            earlier=seen > len(kept),
            total=number,
            matching=matching,
            sources=tuple(sorted(sources)),
            bytes_=path.stat().st_size,
        )

    def window(self, low_s: float, high_s: float, lines_max: int = WINDOW_LINES_MAX) -> tuple[list[TimedLine], bool]:
        """The lines from ``low_s`` to ``high_s`` (seconds since 1970), and whether later ones were left out."""
        found: list[TimedLine] = []
        wanted = {_day_file(moment_s) for moment_s in (low_s, (low_s + high_s) / 2, high_s)}
        for name in sorted(wanted & set(self.days())):
            for _, raw in _lines(self._report.folder / name):
                at_s = stamp_s(raw)
                if at_s is None or not low_s <= at_s <= high_s:
                    continue
                if len(found) >= lines_max:
                    return found, True
                found.append(TimedLine(at_s=at_s, text=_shown(raw)))
        return found, False

    def chunk(self, name: str, offset: int, bytes_max: int = CHUNK_BYTES_MAX) -> tuple[bytes, int]:
        """(bytes from ``offset``, size of the file). Raises as ``path`` does, OSError."""
        with open(self.path(name), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(min(max(0, offset), size))
            return file.read(bytes_max), size


def stamp_s(raw: bytes) -> float | None:
    """The moment of a line; None when it has no stamp. Local time: an hour that comes twice a year is taken as the first."""
    found = _STAMP.match(raw)
    if found is None:
        return None
    minute = raw[:16]
    base_s = _minute_s(minute)
    return None if base_s is None else base_s + int(found[6]) + int(found[7]) / 1000


@lru_cache(maxsize=4096)
def _minute_s(minute: bytes) -> float | None:
    year, month, day, hour, minutes = (int(part) for part in re.split(rb"[/_:]", minute))
    try:
        return time.mktime((year, month, day, hour, minutes, 0, 0, 0, -1))
    except (OverflowError, ValueError):
        return None


def _day_file(moment_s: float) -> str:
    return time.strftime("FT_REPORT_%y%m%d.txt", time.localtime(moment_s))


def _lines(path: pathlib.Path) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line; one without an end is cut in pieces, so that memory stays bounded."""
    number = 0
    with open(path, "rb") as file:
        while raw := file.readline(4 * LINE_CHARS_MAX):
            number += 1
            yield number, raw


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace").rstrip("\r\n")
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
