"""Both nodes' times on one clock: the own one. How far the peer's is ahead was measured at heartbeats and just now.

A measurement holds for its moment; away from it a clock may drift. One that a step of a clock lies behind is void.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .records import CLOCK_STEP, Event, Part, Switch, number_in

DRIFT_S_PER_S = 1e-4  # 100 ppm: an ordinary quartz without NTP
UNCERTAIN_S_MAX = 5.0  # a worse offset measures nothing: two servers that need it have no time source at all


@dataclass(frozen=True, kw_only=True, slots=True)
class Offset:
    """The peer's clock is ``ahead_s`` seconds ahead of the own one, give or take ``error_s``; measured at ``at_s``."""

    ahead_s: float
    error_s: float
    at_s: float

    def error_at(self, moment_s: float) -> float:
        return self.error_s + DRIFT_S_PER_S * abs(moment_s - self.at_s)


class Clocks:
    """Answers "how far ahead was the peer's clock then?" from the records of both nodes.

    now: the measurement of this very moment, if the peer answered.
    """

    def __init__(self, own: Part, peer: Part | None, now: Offset | None) -> None:
        known = [offset for event in own.events if (offset := _measured(event, sign=1)) is not None]
        known += [
            offset for event in (peer.events if peer else ()) if (offset := _measured(event, sign=-1)) is not None
        ]
        self._known = [*known, now] if now is not None else known
        self._own_steps_s = [event.at_s for event in own.events if event.name == CLOCK_STEP]
        self._peer_steps_s = [event.at_s for event in (peer.events if peer else ()) if event.name == CLOCK_STEP]

    def at(self, moment_s: float) -> Offset | None:
        """The best measurement for ``moment_s`` of the own clock, its error grown by the drift since; None: not known."""
        return self._best(lambda offset: moment_s)

    def at_peers(self, peer_s: float) -> Offset | None:
        """The same for a moment of the peer's clock."""
        return self._best(lambda offset: peer_s - offset.ahead_s)

    def _best(self, moment_of: Callable[[Offset], float]) -> Offset | None:
        best, least_s = None, UNCERTAIN_S_MAX
        for offset in self._known:  # of each event of both nodes: what is no better is not looked at any further
            moment_s = moment_of(offset)
            error_s = offset.error_at(moment_s)
            if error_s < least_s or (best is None and error_s == least_s):
                if not self.stepped(offset.at_s, moment_s, offset):
                    best, least_s = offset, error_s
        return None if best is None else replace(best, error_s=least_s)

    def stepped(self, one_s: float, other_s: float, offset: Offset | None = None) -> bool:
        """Whether either node recorded a step of a clock between two moments of the own clock."""
        low_s, high_s = min(one_s, other_s), max(one_s, other_s)
        ahead_s = offset.ahead_s if offset is not None else 0.0
        steps_s = [*self._own_steps_s, *(step_s - ahead_s for step_s in self._peer_steps_s)]
        return any(low_s <= step_s <= high_s for step_s in steps_s)

    def own_time(self, peer_s: float) -> float:
        """A moment of the peer's clock on the own one; unchanged while no offset is known."""
        offset = self.at_peers(peer_s)
        return peer_s - offset.ahead_s if offset is not None else peer_s


def _measured(event: Event, sign: int) -> Offset | None:
    """What a node measured of the other one's clock beside an event. sign: 1 for the own node's events, -1 for the peer's."""
    ahead_s, error_s = number_in(event.facts, "skew_s"), number_in(event.facts, "skew_error_s")
    at_s = number_in(event.facts, "skew_wall_s")
    if ahead_s is None or error_s is None or at_s is None:
        return None
    own_s = at_s if sign > 0 else at_s + ahead_s
    return Offset(ahead_s=sign * ahead_s, error_s=abs(error_s), at_s=own_s)


def moved_switches(switches: Sequence[Switch], clocks: Clocks) -> list[Switch]:
    """The peer's switches with their times on the own clock; durations are kept."""
    moved = []
    for switch in switches:
        started_s = clocks.own_time(switch.started_s)
        by_s = started_s - switch.started_s
        ended_s = None if switch.ended_s is None else switch.ended_s + by_s
        moved.append(replace(switch, started_s=started_s, ended_s=ended_s))
    return moved


def moved_events(events: Sequence[Event], clocks: Clocks) -> list[Event]:
    """The peer's events with their moments on the own clock; the facts keep the peer's own figures."""
    return [replace(event, at_s=clocks.own_time(event.at_s)) for event in events]
