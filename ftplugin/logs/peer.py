"""FT_REPORT of the peer, through its node API: one page of a day, or the file as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..peer_client import PeerAnswer, PeerClient
from .reader import LINES_MAX, LogPage

if TYPE_CHECKING:
    from ..extension import Portal

FILE_BYTES_MAX = 200_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class LogWanted:
    """One page of a log: day file, text to search for, source, and the line number that it ends before."""

    day: str = ""
    search: str = ""
    source: str = ""
    before: int | None = None


def peer_page(client: PeerClient, wanted: LogWanted) -> tuple[LogPage, list[str], str, int]:
    """(page, names of all days, problem, HTTP status to show it with). Raises nothing."""
    asked = {"what": "page", "day": wanted.day, "search": wanted.search, "source": wanted.source}
    asked |= {"before": str(wanted.before)} if wanted.before else {}
    answer = client.get("log", **asked)
    if answer.problem:
        code = answer.status if answer.status in (400, 404) else 502
        return LogPage(name=""), [], answer.problem, code
    try:
        page, days = _page_of(answer)
    except (KeyError, TypeError, ValueError, OverflowError):
        return LogPage(name=""), [], "the other server's log page cannot be read", 502
    return page, days, "", 200


def _page_of(answer: PeerAnswer) -> tuple[LogPage, list[str]]:
    document = answer.document
    lines = tuple((int(row[0]), str(row[1])) for row in document["lines"][:LINES_MAX])
    page = LogPage(
        name=str(document["name"]),
        lines=lines,
        earlier=document["earlier"] is True,
        total=int(document["total"]),
        matching=int(document["matching"]),
        sources=tuple(str(source) for source in document["sources"]),
        bytes_=int(document["size_bytes"]),
    )
    return page, [str(day) for day in document["days"]]


def peer_days(client: PeerClient) -> tuple[list[str], str]:
    """(names of the peer's day files, newest first; problem)."""
    answer = client.get("log", what="days")
    days: Any = answer.document.get("days")
    good = isinstance(days, list) and all(isinstance(day, str) for day in days)
    return (days, "") if good else ([], answer.problem or "the other server's list of logs cannot be read")


def peer_bytes(ft: Portal, day: str, limit_s: float = 60.0, bytes_max: int = FILE_BYTES_MAX) -> Iterator[bytes]:
    """The file of one day, piece by piece, at most ``bytes_max``; each piece has the limit of one question.

    limit_s: of the whole file. Raises FileNotFoundError when the peer has none or knows no such name, OSError when it
    cannot be read any more.
    """
    offset, size = 0, 1
    clock = ft.clock
    deadline_s = clock.monotonic_s() + limit_s
    while offset < min(size, bytes_max):
        if clock.monotonic_s() > deadline_s:
            raise OSError(f"the other server did not give all of {day[:40]} within {limit_s:g} s")
        answer = PeerClient(ft).get("log", what="raw", day=day, offset=str(offset))
        if answer.problem:
            raise (FileNotFoundError if answer.status in (400, 404) else OSError)(answer.problem)
        text, total, given = (answer.document.get(name) for name in ("text", "size_bytes", "bytes"))
        if not (isinstance(text, str) and isinstance(total, int) and isinstance(given, int)) or given < 0:
            raise OSError("the other server's answer cannot be read")
        data = text.encode("utf-8", "surrogateescape")
        if not data:
            return
        yield data
        offset, size = offset + len(data), total
