"""What page, export and command line may ask of the history: days, filters, a page number. One place for all three."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from .story import Incident
from .source import DAYS_DEFAULT, Found

PER_PAGE = 25
ID_CHARS_MAX = 64
AHEAD_S = 86_400.0  # the peer's clock, or this one before it was set back, may be ahead


class QueryError(ValueError):
    """A value that cannot be used; ``field`` names it, the message also the value and the way out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """``since`` and ``until`` are days of this server's time zone, both included."""

    since: datetime.date
    until: datetime.date
    failed: bool = False
    automatic: bool = False
    page: int = 1

    @property
    def since_s(self) -> float:
        return _midnight_s(self.since)

    @property
    def until_s(self) -> float:
        """The last day whole; today's also covers a clock that is ahead."""
        return _midnight_s(self.until) + 2 * AHEAD_S

    def wanted(self, found: Found) -> list[Incident]:
        """Those that pass the filters, newest first."""
        end = self.until + datetime.timedelta(days=1)
        today = datetime.date.today()
        end_s = self.until_s if self.until >= today else _midnight_s(end)
        return [
            incident
            for incident in found.incidents
            if incident.started_s < end_s
            and (incident.failed or not self.failed)
            and (incident.automatic or not self.automatic)
        ]


def query_of(values: Mapping[str, str], today: datetime.date) -> Query:
    """From ``from``, ``to``, ``failed``, ``automatic``, ``page``. Raises QueryError."""
    until = day_of("to", values.get("to", ""), today)
    since = day_of("from", values.get("from", ""), until - datetime.timedelta(days=DAYS_DEFAULT))
    if since > until:
        raise QueryError("from", f"{since} is after to, {until}; exchange the two days")
    return Query(
        since=since,
        until=until,
        failed=_ticked(values, "failed"),
        automatic=_ticked(values, "automatic"),
        page=_page(values.get("page", "")),
    )


def day_of(field: str, text: str, otherwise: datetime.date) -> datetime.date:
    """A day as YYYY-MM-DD; ``otherwise`` when empty. Raises QueryError."""
    text = text.strip() if len(text) <= 20 else text
    if not text:
        return otherwise
    try:
        if not (text.isascii() and len(text) == 10):
            raise ValueError
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise QueryError(field, f"must be a day as 2026-01-31 (got {text[:40]!r}); or leave it empty") from None
    if not 1971 <= day.year <= 9990:
        raise QueryError(field, f"must be a day from 1971 to 9990 (got {text!r})")
    return day


def id_of(text: str) -> str:
    """The id of an incident. Raises QueryError."""
    if not 1 <= len(text) <= ID_CHARS_MAX or not text.isprintable():
        raise QueryError(
            "id", f"must be 1 to {ID_CHARS_MAX} printable characters (got {text[:40]!r}); take it from the list"
        )
    return text


def moment_of(text: str) -> float | None:
    """``at`` of a link: whole seconds since 1970; None when empty. Raises QueryError."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 11):
        raise QueryError("at", f"must be whole seconds since 1970 (got {text[:40]!r}); or leave it out")
    return float(text)


def _ticked(values: Mapping[str, str], field: str) -> bool:
    text = values.get(field, "")
    if text not in ("", "0", "1"):
        raise QueryError(field, f"must be 1 or left out (got {text[:40]!r})")
    return text == "1"


def _page(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) >= 1):
        raise QueryError("page", f"must be a whole number from 1 (got {text[:40]!r}); or leave it out")
    return int(text)


def _midnight_s(day: datetime.date) -> float:
    return datetime.datetime(day.year, day.month, day.day).timestamp()
