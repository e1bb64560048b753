"""Both nodes' log lines around one incident, in true order: the peer's moments are put on the own clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .clocks import Offset
from .story import Incident
from ..peer_client import PeerAnswer, PeerClient
from ..logs.reader import WINDOW_LINES_MAX, ReportReader, TimedLine

if TYPE_CHECKING:
    from ..extension import Portal

BEFORE_S, AFTER_S = 15.0, 15.0
LENGTH_S_MAX = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedLine:
    """A line of one server; ``at_s`` is on the own clock, the stamp in ``text`` is what that server wrote."""

    at_s: float
    server: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """Lines in order. offset: used for the peer's, None: not known, so they are in the order of their own stamps.

    cut: a server had more lines in this time than are shown. problem: why a server's lines are missing.
    """

    lines: tuple[MergedLine, ...] = ()
    offset: Offset | None = None
    cut: bool = False
    problem: str = ""


def merged_lines(ft: Portal, incident: Incident, client: PeerClient | None) -> Merged:
    """The lines of both nodes from a little before the incident to a little after. client None: the own ones alone."""
    low_s = incident.started_s - BEFORE_S
    ended_s = ft.clock.wall_s() if incident.ended_s is None else incident.ended_s
    high_s = min(ended_s + AFTER_S, low_s + LENGTH_S_MAX)
    me, problem = str(ft.designation() or "this server"), ""
    try:
        own, cut = ReportReader(ft.report).window(low_s, high_s)
    except OSError as error:
        own, cut, problem = [], False, f"the log of {me} cannot be read: {error.strerror}"
    lines = [MergedLine(at_s=line.at_s, server=me, text=line.text) for line in own]
    if client is not None:
        by_s = incident.offset.ahead_s if incident.offset else 0.0
        since = {"since": f"{low_s + by_s:.3f}", "until": f"{high_s + by_s:.3f}"}
        answer = client.get("log", what="window", **since)
        theirs, problem_there, cut_there = _lines_of(answer)
        peer = str(ft.designation().other) if ft.designation() else "the other server"  # type: ignore[union-attr]
        lines += [MergedLine(at_s=line.at_s - by_s, server=peer, text=line.text) for line in theirs]
        problem, cut = "; ".join(filter(None, (problem, problem_there))), cut or cut_there
    lines.sort(key=lambda line: line.at_s)  # stable: lines of one moment keep their order in the file
    return Merged(lines=tuple(lines), offset=incident.offset, cut=cut, problem=problem)


def _lines_of(answer: PeerAnswer) -> tuple[list[TimedLine], str, bool]:
    if answer.problem:
        return [], answer.problem, False
    rows = answer.document.get("lines")
    good = isinstance(rows, list) and all(
        isinstance(row, list) and len(row) == 2 and isinstance(row[0], (int, float)) and isinstance(row[1], str)
        for row in rows
    )
    if not isinstance(rows, list) or not good:
        return [], "the other server's log lines cannot be read", False
    lines = [TimedLine(at_s=float(row[0]), text=row[1]) for row in rows[:WINDOW_LINES_MAX]]
    return lines, "", bool(answer.document.get("cut"))
