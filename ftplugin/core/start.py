"""Starts of services: how long one is expected to take (guide 6.2), whether one moves, and when one was slow.

A service's own table in FT_SERVICES says how long its start takes, in seconds or as the guide counts a CTI server:

    start = connect + 200 ms per port + 200 ms per device

The tables come before the settings of the same names, which are for a pair whose tables say nothing: what a table says
is of the very service that is started. A service whose table says nothing beside others that do counts as 0 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

from .settings import Settings
from .terms import ServiceState
from .timing import service_start_s, start_s
from .view import ServiceReading

SECONDS, CONNECT, PORTS, DEVICES = KEYS = ("start_expected_s", "cti_connect_s", "cti_ports", "cti_devices")
CTI = (CONNECT, PORTS, DEVICES)
START_S_MAX = 3600.0
COUNT_MAX = 100_000
SLOW_FACTOR = 1.5  # a start that took longer than so many times the expected one is warned of
SLOW_S_MIN = 1.0  # and at least this much longer: below it, it is the machine's jitter
WAIT_STEP_S = 0.2  # a wait that became shorter by this much has moved
WAIT_S_MAX = 3600.0  # of one start for something outside; after it the start's own limit counts on


def expected_start_s(table: Mapping[str, Any]) -> float | None:
    """Expected start of one service, in seconds; None when its table does not say.

    table: of FT_SERVICES. Raises ValueError("FIELD: what is wrong and the way out").
    """
    given = [key for key in CTI if key in table]
    if SECONDS in table:
        if given:
            raise ValueError(f"{given[0]}: {SECONDS} says the same already; keep one of them (got {table[given[0]]!r})")
        return _seconds(table, SECONDS)
    if not given:
        return None
    connect_s = _seconds(table, CONNECT) if CONNECT in table else Settings().cti_connect_s
    expected_s = start_s(connect_s, _count(table, PORTS), _count(table, DEVICES))
    if expected_s > START_S_MAX:
        raise ValueError(
            f"{given[-1]}: that start would take {expected_s:g} s, at most {START_S_MAX:g} (got {table[given[-1]]!r})"
        )
    return expected_s


def _seconds(table: Mapping[str, Any], key: str) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= START_S_MAX:
        raise ValueError(f"{key}: must be seconds from 0 to {START_S_MAX:g} (got {value!r})")
    return float(value)


def _count(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= COUNT_MAX:
        raise ValueError(f"{key}: must be a whole number from 0 to {COUNT_MAX} (got {value!r})")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Starts:
    """Expected starts: of each service in seconds, None where nobody says; and who says it ("services", "settings")."""

    of: Mapping[str, float | None]
    source: str


def expected_starts(tables: Sequence[Mapping[str, Any]], settings: Settings) -> Starts:
    """``tables``: FT_SERVICES, already checked."""
    found = {str(table.get("name", "")): expected_start_s(table) for table in tables}
    if any(seconds is not None for seconds in found.values()):
        return Starts(of=found, source="services")
    if len(found) == 1:  # then what the settings say of all services is said of this one
        found = dict.fromkeys(found, service_start_s(settings))
    return Starts(of=found, source="settings")


def with_starts(settings: Settings, tables: Sequence[Mapping[str, Any]]) -> Settings:
    """``settings`` as every delay is to be computed from them: their start of the services is that of the tables."""
    starts = expected_starts(tables, settings)
    if starts.source == "settings":
        return settings
    return replace(settings, cti_connect_s=sum(s or 0.0 for s in starts.of.values()), cti_ports=0, cti_devices=0)


def is_slow(took_s: float, expected_s: float) -> bool:
    """Whether a start took so much longer than expected that the settings, or the service, need a look."""
    return took_s > SLOW_FACTOR * expected_s and took_s - expected_s > SLOW_S_MIN


class StartWatch:
    """Looks at one service while it starts. A start is given up only when it does not move (spec 5.5).

    It moves when its state or its figures change, when it has no figures at all, and while a wait for something outside
    (``waiting_s``) gets shorter. Time spent so is in ``waited_s`` and does not count against the start's limit. A wait
    for something that another owner keeps alive does not get shorter, so nobody waits for that for ever.
    """

    def __init__(self, now_s: float) -> None:
        self.waited_s = 0.0
        self._seen: tuple[int, ServiceState] | None = None
        self._shortest_s: float | None = None
        self._waits_since_s = now_s

    def moved(self, reading: ServiceReading, now_s: float) -> bool:
        """Whether it moved since the last look. ``now_s``: CLOCK_BOOTTIME."""
        figures = (reading.progress, reading.state)
        if figures != self._seen:
            self._seen, self._shortest_s = figures, None
            self._note_wait(reading, now_s)
            return True
        if reading.state is not ServiceState.STARTING:
            return False
        if self._note_wait(reading, now_s):
            return True
        return not reading.total and reading.waiting_s is None

    def _note_wait(self, reading: ServiceReading, now_s: float) -> bool:
        """Whether a wait has just begun or become shorter."""
        if reading.waiting_s is None:
            self._shortest_s = None
            return False
        before_s, self._shortest_s = self._shortest_s, reading.waiting_s
        if before_s is None:
            self._waits_since_s = now_s
            return False
        if reading.waiting_s > before_s - WAIT_STEP_S:
            self._shortest_s = before_s
            return False
        self.waited_s = min(WAIT_S_MAX, self.waited_s + now_s - self._waits_since_s)
        self._waits_since_s = now_s
        return True
