"""What adds up from heartbeat to heartbeat: probes and how long they took, seconds with none or two active.

Each heartbeat is one sample of who is active, and the time until the next one counts as that sample. So a figure is as
exact as one interval T for each change of role. A longer gap in the heartbeats counts as nothing: nobody looked.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ftplugin.core.view import ClusterView

DOCUMENT = "metrics"
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # buckets of the probes' latency
CAUSES_MAX = 40


class Share(StrEnum):
    """Who was active, as one server sees the pair."""

    ONE = "one"
    TWO = "two"
    NONE_SIGNED = "signed"  # this one is not, and the other one has signed that it is not
    NONE_SILENT = "silence"  # this one is not, and the other one was not heard: at most so long nobody was


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """One heartbeat. at_s: CLOCK_BOOTTIME; gap_s: from so long a gap on, nobody looked; latency_s None: no good probe."""

    at_s: float
    gap_s: float
    cause: str
    latency_s: float | None
    share: Share


def beat_of(view: ClusterView, stale_s: float) -> Beat:
    """stale_s: the age from which on an agent counts as silent (2 T)."""
    probe, state = view.peer, view.peer_state
    active = view.lease_deadline_s is not None and view.now_s < view.lease_deadline_s
    there = state is not None and state.is_active
    if active:
        share = Share.TWO if there else Share.ONE
    elif there:
        share = Share.ONE
    else:
        share = Share.NONE_SILENT if state is None else Share.NONE_SIGNED
    return Beat(
        at_s=view.now_s,
        gap_s=stale_s,
        cause="" if probe is None else str(probe.cause),
        latency_s=probe.latency_s if probe is not None and probe.good else None,
        share=share,
    )


@dataclass(kw_only=True)
class Tally:
    """The sums. ``buckets``: good probes by latency, one more than BOUNDS_S; not cumulative."""

    ticks: int = 0
    probes: dict[str, int] = field(default_factory=dict)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    latency_sum_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: {share: 0.0 for share in Share})
    _last: Beat | None = None

    def add(self, beat: Beat) -> None:
        """Count one heartbeat, and the time since the one before."""
        self.ticks += 1
        if beat.cause:
            self.probes[beat.cause] = self.probes.get(beat.cause, 0) + 1
        if beat.latency_s is not None:
            self.buckets[bisect_left(BOUNDS_S, beat.latency_s)] += 1
            self.latency_sum_s += beat.latency_s
        last, self._last = self._last, beat
        if last is not None and 0 < beat.at_s - last.at_s <= beat.gap_s:
            self.seconds[last.share] += beat.at_s - last.at_s

    def take_up(self, document: Mapping[str, Any] | None) -> None:
        """Add what a process before this one has counted. What cannot be read, or has other buckets, counts as nothing."""
        before = Tally.of_json(document)
        self.ticks += before.ticks
        self.latency_sum_s += before.latency_sum_s
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, before.buckets, strict=True)]
        for cause, times in before.probes.items():
            self.probes[cause] = self.probes.get(cause, 0) + times
        for share, seconds in before.seconds.items():
            self.seconds[share] += seconds

    def to_json(self) -> dict[str, Any]:
        """As published."""
        return {
            "ticks": self.ticks,
            "probes": self.probes,
            "bounds_s": BOUNDS_S,
            "buckets": self.buckets,
            "latency_sum_s": round(self.latency_sum_s, 6),
            "seconds": {share: round(seconds, 3) for share, seconds in self.seconds.items()},
        }

    @classmethod
    def of_json(cls, document: Mapping[str, Any] | None) -> Tally:
        """What was published, perhaps by another version; an empty one when that cannot be read."""
        found, facts = cls(), document or {}
        found.ticks = _count(facts.get("ticks"))
        probes, seconds = facts.get("probes"), facts.get("seconds")
        if isinstance(probes, Mapping):
            found.probes = {str(cause)[:80]: _count(times) for cause, times in list(probes.items())[:CAUSES_MAX]}
        if isinstance(seconds, Mapping):
            found.seconds = {share: _seconds(seconds.get(share)) for share in Share}
        buckets, bounds_s = facts.get("buckets"), facts.get("bounds_s")
        if isinstance(buckets, list) and isinstance(bounds_s, (list, tuple)) and tuple(bounds_s) == BOUNDS_S:
            if len(buckets) == len(BOUNDS_S) + 1:
                found.buckets = [_count(times) for times in buckets]
                found.latency_sum_s = _seconds(facts.get("latency_sum_s"))
        return found


def _count(value: object) -> int:
    return int(_seconds(value)) if isinstance(value, int) else 0


def _seconds(value: object) -> float:
    """0 for what is no number that one can reckon with. ``status.plain`` would bring the whole status page into a worker."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        found = float(value)
    except OverflowError:
        return 0.0
    return found if math.isfinite(found) and found >= 0 else 0.0
