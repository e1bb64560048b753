"""What a soak promises, and what it saw: no two active and no two owners except where I-C and I-A allow it; some node
active within I-B unless too much is away.

Times are CLOCK_MONOTONIC, seconds; a span is (from, to). What two faults at a time may do to each other is not guessed:
a span without an active node begins anew with each event, since streaks may begin anew with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing, worst_failover_s

from .soak_faults import LINK, Fault
from .timeline import Timeline

Span = tuple[float, float]

BACK_S = 5.0  # a started or thawed server needs this until it can be active: its programs start on shared cores
SLACK_S = 3.0  # over I-B: the machine is shared
OPEN = float("inf")


@dataclass(kw_only=True)
class Done:
    """A fault as it was really done. ``ended_s``: OPEN while it lasts."""

    fault: Fault
    begun_s: float
    ended_s: float = OPEN


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What follows from the settings, seconds."""

    failover_s: float  # I-B, also when only the agent died, and the slack
    back_s: float  # after the last fault: as a start, in which server2 waits N ticks more
    calm_s: float  # what a fault had begun shows by then: a lease has run out, a streak is full
    decide_s: float  # two active after healing, until one has yielded (X1)
    resume_s: float  # a service that does not check its lease may act so long on a machine that goes on (I-A)

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        timing, failover_s = Timing.of(settings), worst_failover_s(settings, agent_only=True)
        ticks_s = settings.threshold * settings.interval_s
        return cls(
            failover_s=failover_s + SLACK_S,
            back_s=failover_s + ticks_s + BACK_S + SLACK_S,
            calm_s=ticks_s,
            decide_s=ticks_s + settings.timeout_s + settings.service_stop_s,
            resume_s=timing.margin_s + settings.service_stop_s,
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one round. ``none``: spans without an active node; ``outside``: those parts in which one was promised."""

    none: tuple[Span, ...]
    outside: tuple[Span, ...]
    both_allowed_s: float
    both_s: float
    owners_allowed: int
    owners: int
    violations: tuple[str, ...]


def judge(timeline: Timeline, since_s: float, done: Sequence[Done], bounds: Bounds, *, witness: bool) -> Verdict:
    """Of everything since then."""
    splits = [] if witness else [(d.begun_s, d.ended_s + bounds.decide_s) for d in done if LINK in d.fault.away]
    resumes = [(d.ended_s, d.ended_s + bounds.resume_s) for d in done if d.fault.resumes]
    both = timeline.both_active(since_s)
    doubled = [((o.from_s, OPEN if o.to_s is None else o.to_s), o) for o in timeline.owners_doubled(since_s)]
    wrong = [piece for span in both for piece in without(span, splits)]
    foul = [(piece, o) for span, o in doubled for piece in without(span, splits + resumes)]
    none = timeline.none_active(since_s)
    outside = [piece for span in none for piece in without(span, excused(done, witness=witness))]
    slow = [piece for span in outside for piece in cut_at(span, events(done)) if length_s(piece) > bounds.failover_s]
    shown = timeline.started_s
    return Verdict(
        none=tuple(none),
        outside=tuple(outside),
        both_allowed_s=total_s(both) - total_s(wrong),
        both_s=total_s(wrong),
        owners_allowed=len(doubled) - len({o for _, o in foul}),
        owners=len({o for _, o in foul}),
        violations=(
            *(f"both said ACTIVE {text(span, shown)}" for span in wrong),
            *(f"port {o.port} had the owners {' and '.join(o.owners)} {text(span, shown)}" for span, o in foul),
            *(f"none was active {text(span, shown)}, at most {bounds.failover_s:.1f} s is promised" for span in slow),
        ),
    )


def nobody_can(away: Iterable[str], *, witness: bool) -> bool:
    """Whether none may be active while these are away: I-B wants one healthy connected node, and two voters."""
    gone = set(away)
    if {"node1", "node2"} <= gone:
        return True
    alone = gone & {"node1", "node2", LINK}  # who cannot hear the other needs the reference, and the witness
    return bool(alone) and ("gateway" in gone or (witness and "witness" in gone))


def excused(done: Sequence[Done], *, witness: bool) -> list[Span]:
    """Spans in which none may be active."""
    lasting = [(d.begun_s, d.ended_s + BACK_S, d.fault.away) for d in done if d.fault.away]
    edges = sorted({edge for from_s, to_s, _ in lasting for edge in (from_s, to_s)})
    found = []
    for from_s, to_s in zip(edges, edges[1:]):
        away = {name for a, b, names in lasting if a <= from_s and to_s <= b for name in names}
        if nobody_can(away, witness=witness):
            found.append((from_s, to_s))
    return found


def events(done: Sequence[Done]) -> list[float]:
    """Begin and end of every fault."""
    return sorted(at_s for d in done for at_s in (d.begun_s, d.ended_s))


def without(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    """The parts of a span that no hole covers; a span without a length is one part unless it lies in a hole."""
    from_s, to_s = span
    for hole_from_s, hole_to_s in sorted(holes):
        if hole_to_s < from_s or hole_from_s > to_s:
            continue
        if hole_from_s > from_s:
            yield from_s, hole_from_s
        if hole_to_s >= to_s:
            return
        from_s = hole_to_s
    yield from_s, to_s


def cut_at(span: Span, times_s: Sequence[float]) -> Iterator[Span]:
    """The parts of a span between those times."""
    edges = [span[0], *(t for t in sorted(times_s) if span[0] < t < span[1]), span[1]]
    yield from zip(edges, edges[1:])


def length_s(span: Span) -> float:
    return span[1] - span[0]


def total_s(spans: Iterable[Span]) -> float:
    return sum(map(length_s, spans))


def text(span: Span, zero_s: float) -> str:
    """A span as the timeline shows it, seconds since the start of the run."""
    until = "still" if span[1] == OPEN else f"{span[1] - zero_s:.3f}"
    return f"from {span[0] - zero_s:.3f} to {until}" + ("" if span[1] == OPEN else f" ({length_s(span):.3f} s)")
