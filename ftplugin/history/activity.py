"""How long was no node active, and how long were two? From what each node recorded about itself.

A node is active from the moment its role record says so until it says otherwise or its lease has run out, whichever
is first. That is what its monitor answers; the services start after it and stop within the switch that ended it.
Each edge has an error: half of what is not known about its moment. The two figures are reckoned three times, with
every span as measured, as short and as long as it can have been; so their error is a bound and no estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .clocks import Clocks
from .records import ACTIVE_BEGUN, ACTIVE_ENDED, EVIDENCE, ROLE_FOUND, Event, Part, number_in

EDGE_ERROR_S = 0.05  # between the role record and the moment noted beside it
FOREVER = float("inf")
ROUGH_SHARE = 0.9  # of the figure
ROUGH_S = 5.0  # of an end: from here on it says nothing about two active at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A number of seconds, give or take ``error_s``; or None and why it is not known. ``going_on``: it still grows."""

    seconds: float | None
    error_s: float = 0.0
    why: str = ""
    going_on: bool = False

    @property
    def is_rough(self) -> bool:
        """Better shown as a range: the error is more than a second, and nearly as large as the figure or larger."""
        return self.error_s > max(1.0, ROUGH_SHARE * (self.seconds or 0.0))

    @property
    def is_bound(self) -> bool:
        """A range that begins at nothing: all that is known is "at most"."""
        return self.is_rough and self.least_s < 0.05

    @property
    def least_s(self) -> float:
        return max(0.0, (self.seconds or 0.0) - self.error_s)

    @property
    def most_s(self) -> float:
        return (self.seconds or 0.0) + self.error_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A time in which one node was active; ``end_s`` is infinite while it goes on."""

    begin_s: float
    end_s: float
    begin_error_s: float = EDGE_ERROR_S
    end_error_s: float = EDGE_ERROR_S

    def widened(self, by: int) -> tuple[float, float]:
        """As long (1), as measured (0) or as short (-1) as it can have been."""
        begin_s, end_s = self.begin_s - by * self.begin_error_s, self.end_s + by * self.end_error_s
        return begin_s, max(begin_s, end_s)


@dataclass(kw_only=True)
class Timeline:
    """One node's spans, and the times of which nothing is known."""

    spans: list[Span] = field(default_factory=list)
    unknown: list[tuple[float, float]] = field(default_factory=list)

    def is_known(self, low_s: float, high_s: float) -> bool:
        return not any(begin_s < high_s and end_s > low_s for begin_s, end_s in self.unknown)


def timeline_of(part: Part, clocks: Clocks | None = None, heard_s: Sequence[float] = ()) -> Timeline:
    """The node's own story, on the own clock.

    clocks: for the peer's part, whose times are moved by it; None: it is the own part. heard_s: when the other node heard
    this one say, signed, that it is active (own clock); it bounds an end that a dead host could not write down.
    """
    return _Teller(clocks, heard_s).tell(part)


class _Teller:
    """Goes through one node's events. ``begun``: since when it has been active, None while it is not."""

    def __init__(self, clocks: Clocks | None, heard_s: Sequence[float]) -> None:
        self.clocks, self.heard_s = clocks, heard_s
        self.found = Timeline()
        self.begun: tuple[float, float] | None = None
        self.boot_id: object = None
        self.known_s = -FOREVER

    def edge(self, moment_s: float, error_s: float = EDGE_ERROR_S) -> tuple[float, float] | None:
        """A moment of the node's clock on the own one, and its error; None: the offset is not known."""
        if self.clocks is None:
            return moment_s, error_s
        offset = self.clocks.at_peers(moment_s)
        return None if offset is None else (moment_s - offset.ahead_s, error_s + offset.error_s)

    def tell(self, part: Part) -> Timeline:
        for event in sorted(part.events, key=lambda event: event.event_id):
            at = self.edge(event.at_s)
            if at is None:
                return Timeline(unknown=[(-FOREVER, FOREVER)])
            if event.name == ACTIVE_BEGUN or event.name == ROLE_FOUND and event.facts.get("active") is True:
                self._begins(event, at)
            elif event.name == ACTIVE_ENDED:
                self._ends(event, at)
            elif event.name == ROLE_FOUND:
                self._found_idle(event, at)
            else:
                continue
            self.known_s = at[0]
        self._close(part)
        return self.found

    def _begins(self, event: Event, at: tuple[float, float]) -> None:
        if event.name == ROLE_FOUND and self.begun is not None:
            return  # a restarted worker found the role it had
        since = self.edge(number_in(event.facts, "since_wall_s") or event.at_s) or at
        if self.begun is not None:
            self.found.unknown.append((self.begun[0], since[0]))  # its end was not recorded
        elif self.known_s == -FOREVER:
            self.found.unknown.append((-FOREVER, since[0]))
        self.begun, self.boot_id = since, event.facts.get("boot_id")

    def _ends(self, event: Event, at: tuple[float, float]) -> None:
        ended = self._ended(event)
        if ended is None or self.begun is None:
            self.found.unknown.append((self.known_s if self.begun is None else self.begun[0], at[0]))
        else:
            self.found.spans.append(_span(self.begun, ended))
        self.begun = None

    def _ended(self, event: Event) -> tuple[float, float] | None:
        """The moment and error of an end that lies between two moments, and not before it was last heard active."""
        earliest_s, latest_s = number_in(event.facts, "earliest_wall_s"), number_in(event.facts, "latest_wall_s")
        if earliest_s is None or latest_s is None:
            return None
        low, high = self.edge(earliest_s), self.edge(latest_s)
        if low is None or high is None:
            return None
        begun_s = -FOREVER if self.begun is None else self.begun[0]
        low_s = max([low[0], *(heard_s for heard_s in self.heard_s if begun_s <= heard_s <= high[0])])
        return (low_s + high[0]) / 2, abs(high[0] - low_s) / 2 + high[1]

    def _found_idle(self, event: Event, at: tuple[float, float]) -> None:
        """A worker started and found no valid role. What ended before it has an end that nobody wrote down: not before the
        other node last heard it active, not after this, or after the host's boot."""
        if self.begun is not None:
            earliest_s = max((h for h in self.heard_s if self.begun[0] <= h <= at[0]), default=None)
            if earliest_s is None:
                self.found.unknown.append((self.begun[0], at[0]))
            else:
                up_s = number_in(event.facts, "at_s")
                booted = up_s is not None and event.facts.get("boot_id") != self.boot_id
                latest_s = at[0] - (up_s or 0.0) if booted else at[0]
                if latest_s < earliest_s:  # a clock moved meanwhile: the boot says nothing
                    latest_s = at[0]
                half_s = (latest_s - earliest_s) / 2
                self.found.spans.append(_span(self.begun, (earliest_s + half_s, half_s + at[1])))
        elif self.known_s == -FOREVER:
            self.found.unknown.append((-FOREVER, at[0]))
        self.begun = None

    def _close(self, part: Part) -> None:
        """What holds since the last event."""
        found, begun = self.found, self.begun
        if begun is not None and part.active_now:
            found.spans.append(Span(begin_s=begun[0], end_s=FOREVER, begin_error_s=begun[1], end_error_s=0.0))
        elif begun is not None:
            found.unknown.append((begun[0], FOREVER))  # the event of its end is missing
        elif part.active_now is not False:
            found.unknown.append((self.known_s, FOREVER))
        if self.known_s == -FOREVER:
            found.unknown.append((-FOREVER, FOREVER))


def heard_active(events: Sequence[Event]) -> list[float]:
    """When the node of these events heard the other one say that it is active; on the clock that they are on."""
    told = [event for event in events if event.name in (EVIDENCE, ACTIVE_BEGUN)]
    ages = [(event.at_s, number_in(event.facts, "heard_active_age_s")) for event in told]
    return [at_s - age_s for at_s, age_s in ages if age_s is not None]


def none_active_at_most(own: Timeline, heard_s: Sequence[float], low_s: float, high_s: float) -> Measured | None:
    """Bounds of the seconds with none active in a takeover by the own node, when the other one cannot be asked.

    The other one was last heard active at one of ``heard_s`` and ended after that and before this node began (or both
    were active, and none is zero). None: nothing is known: this node did not begin just once and stay active.
    """
    begun = [span for span in own.spans if low_s <= span.begin_s <= high_s]
    if len(begun) != 1 or begun[0].end_s < high_s:
        return None
    begin_s = begun[0].begin_s
    before_s = max((span.end_s for span in own.spans if span.end_s < begin_s), default=-FOREVER)
    last_s = max((moment_s for moment_s in heard_s if before_s < moment_s <= begin_s), default=None)
    if last_s is None or not own.is_known(last_s, high_s):
        return None
    most_s = begin_s - last_s + begun[0].begin_error_s
    return _measured([0.0, most_s / 2, most_s], False)


def _span(begun: tuple[float, float], ended: tuple[float, float]) -> Span:
    return Span(begin_s=begun[0], end_s=max(begun[0], ended[0]), begin_error_s=begun[1], end_error_s=ended[1])


def measure(one: Timeline, other: Timeline, low_s: float, high_s: float, now_s: float) -> tuple[Measured, Measured]:
    """(seconds with none active, seconds with two active) of one story that lasted from ``low_s`` to ``high_s``.

    Nobody active at its begin: reckoned from when somebody last was. Nobody at its end: until somebody was, or until now.
    """
    unknown = Measured(seconds=None, why="a record of when a server began or ended being active is missing")
    if not (one.is_known(low_s, high_s) and other.is_known(low_s, high_s)):
        return unknown, unknown
    two = _two(one, other, low_s, high_s, now_s)
    spans = [*one.spans, *other.spans]
    gaps = [_gap([span.widened(by) for span in spans], low_s, high_s, now_s) for by in (1, 0, -1)]
    middle = gaps[1]
    if middle is None:
        return Measured(seconds=None, why="no server was active before, as far as the records go"), two
    known = [gap or middle for gap in gaps]
    from_s, until_s = min(gap.from_s for gap in known), max(gap.until_s for gap in known)
    if not (one.is_known(from_s, until_s) and other.is_known(from_s, until_s)):
        return unknown, two
    return _measured([gap.seconds for gap in known], middle.going_on), two


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gap:
    """Seconds with no span between two moments."""

    seconds: float
    from_s: float
    until_s: float
    going_on: bool


def _gap(spans: Sequence[tuple[float, float]], low_s: float, high_s: float, now_s: float) -> _Gap | None:
    """What no span covers of a story; None when nobody was active before it."""

    def active(moment_s: float) -> bool:
        return any(begin_s <= moment_s < end_s for begin_s, end_s in spans)

    going_on = False
    if not active(low_s):
        before_s = [end_s for _, end_s in spans if end_s <= low_s]
        if not before_s:
            return None
        low_s = max(before_s)
    if not active(high_s):
        next_s = min((begin_s for begin_s, _ in spans if begin_s >= high_s), default=None)
        going_on = next_s is None
        high_s = now_s if next_s is None else next_s
    total_s, reached_s = 0.0, low_s
    for begin_s, end_s in sorted(spans):
        if begin_s < high_s:
            total_s += max(0.0, begin_s - reached_s)
            reached_s = max(reached_s, end_s)
    total_s += max(0.0, high_s - reached_s)
    return _Gap(seconds=total_s, from_s=low_s, until_s=high_s, going_on=going_on)


def _two(one: Timeline, other: Timeline, low_s: float, high_s: float, now_s: float) -> Measured:
    rough = [s for s in (*one.spans, *other.spans) if s.end_error_s > ROUGH_S and low_s <= s.end_s + s.end_error_s]
    measured = _measured([_overlap(one, other, low_s, high_s, now_s, by) for by in (-1, 0, 1)], False)
    if measured.error_s > ROUGH_S and any(s.begin_s <= high_s for s in rough):
        return Measured(seconds=None, why="a server was down before it could record the end of its active time")
    return measured


def _measured(least_middle_most: Sequence[float], going_on: bool) -> Measured:
    """As measured; of a mere range the middle, so that neither end of it is shown wider than it is."""
    least, middle, most = least_middle_most
    found = Measured(seconds=middle, error_s=max(most - middle, middle - least), going_on=going_on)
    return replace(found, seconds=(least + most) / 2, error_s=(most - least) / 2) if found.is_rough else found


def _overlap(one: Timeline, other: Timeline, low_s: float, high_s: float, now_s: float, by: int) -> float:
    """Seconds for which a span of each node lay over the other's; each overlap that touches the story counts whole."""
    total_s = 0.0
    near = [  # the history has hundreds of spans, a story touches a few
        [(begin_s, end_s) for begin_s, end_s in (s.widened(by) for s in spans) if begin_s <= high_s and end_s >= low_s]
        for spans in (one.spans, other.spans)
    ]
    for a_s, b_s in near[0]:
        for c_s, d_s in near[1]:
            begin_s, end_s = max(a_s, c_s), min(b_s, d_s, now_s)
            if begin_s <= high_s and end_s >= low_s:
                total_s += max(0.0, end_s - begin_s)
    return total_s
