"""Reads the call manager's history: who owned which port, when two did, and when nobody did.

A node *owns* a port from the grant until it gives it back or vanishes. The release delay after a vanished owner is not
ownership: nothing of that node acts on the port any more. A frozen node owns until the call manager misses it.
Times are seconds of CLOCK_MONOTONIC of the host, so a test may compare them with its own ``time.monotonic()``.
"""

from __future__ import annotations

import json
import pathlib
from dataclasses import dataclass, replace
from typing import Any, Iterable, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """One ownership of one port. ``to_s`` None: still owned. ``kept_to_s``: end of the release delay, if any."""

    port: int
    owner: str
    from_s: float
    to_s: float | None = None
    ended_by: str = ""
    kept_to_s: float | None = None

    def end_s(self) -> float:
        return float("inf") if self.to_s is None else self.to_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Two owners of one port at the same time: a split-brain."""

    port: int
    owners: tuple[str, str]
    from_s: float
    to_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """The call manager (mode static) refused ``node`` a port that ``owner`` had."""

    port: int
    node: str
    owner: str
    at_s: float


def _lines(path: pathlib.Path | str) -> Iterable[dict[str, Any]]:
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # the last line of a killed writer may be half


def read_history(path: pathlib.Path | str) -> list[Interval]:
    """Every ownership in the file, ordered by its start. Raises OSError when the file cannot be read."""
    done: list[Interval] = []
    live: dict[tuple[int, str, int], Interval] = {}
    gone: dict[tuple[int, str, int], Interval] = {}

    def end(key: tuple[int, str, int], at_s: float, event: str) -> None:
        interval = live.pop(key, None)
        if interval is not None:
            gone[key] = replace(interval, to_s=at_s, ended_by=event)

    for line in _lines(path):
        event, at_s = line["event"], float(line["at_s"])
        if event == "start":  # a restarted call manager remembers nobody
            for key in list(live):
                end(key, at_s, "restart")
        if "port" not in line or "client" not in line:
            continue
        key = (int(line["port"]), str(line["node"]), int(line["client"]))
        if event == "grant":
            if key in gone:
                done.append(gone.pop(key))
            live[key] = Interval(port=key[0], owner=key[1], from_s=at_s)
        elif event in ("release", "vanish"):
            end(key, at_s, event)
        elif event == "expire" and key in gone:
            gone[key] = replace(gone[key], kept_to_s=at_s)
    return sorted([*done, *gone.values(), *live.values()], key=lambda i: (i.from_s, i.port))


def refusals(path: pathlib.Path | str) -> list[Refusal]:
    """First refusal of each attempt at a port that another node had. Raises OSError."""
    return [
        Refusal(port=x["port"], node=x["node"], owner=x["owner"], at_s=x["at_s"])
        for x in _lines(path)
        if x["event"] == "refuse"
    ]


def overlaps(history: Sequence[Interval], *, longer_than_s: float = 0.0) -> list[Overlap]:
    """Every time at which two different nodes owned one port."""
    found = []
    for index, one in enumerate(history):
        for two in history[index + 1 :]:
            if one.port != two.port or one.owner == two.owner:
                continue
            from_s, to_s = max(one.from_s, two.from_s), min(one.end_s(), two.end_s())
            if to_s - from_s > longer_than_s:
                end_s = None if to_s == float("inf") else to_s
                found.append(Overlap(port=one.port, owners=(one.owner, two.owner), from_s=from_s, to_s=end_s))
    return found


def gaps(history: Sequence[Interval]) -> list[tuple[int, float, float]]:
    """(port, from_s, to_s) for every time between two ownerships at which nobody owned the port."""
    found = []
    for port in sorted({i.port for i in history}):
        covered_s: float | None = None
        for interval in sorted((i for i in history if i.port == port), key=lambda i: i.from_s):
            if covered_s is not None and interval.from_s > covered_s:
                found.append((port, covered_s, interval.from_s))
            covered_s = interval.end_s() if covered_s is None else max(covered_s, interval.end_s())
    return found
