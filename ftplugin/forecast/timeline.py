"""The result of a forecast. All times are seconds after the fault; what lies before it is negative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ftplugin.core.terms import Designation


class Fault(StrEnum):
    """What happens to the active server at 0."""

    CRASH = "crash"  # the whole host is gone: it answers nothing, not even a refusal
    LAN_CUT = "lan_cut"  # it lives, but neither the other server nor a LAN reference host is reached


class Show(StrEnum):
    """What a server is during a segment."""

    STANDBY = "standby"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"  # its lease is over: the portal says STANDBY, the guard stops the services
    DEAD = "dead"


class Mark(StrEnum):
    """What an event is."""

    FAULT = "fault"
    BAD_PROBE = "bad_probe"  # ``count`` of ``of``
    LEASE_OVER = "lease_over"
    STOPPED = "stopped"
    DEMOTED = "demoted"  # by ``rule``
    LAST_PROBE = "last_probe"  # ``rule`` is no longer held back: the last probe, then lock and fence
    PROMOTED = "promoted"
    RELEASED = "released"  # the call manager has released the ports of the old active server
    READY = "ready"
    HELD_BACK = "held_back"  # nothing takes over; ``text`` is the node's own sentence


OWNING = frozenset({Show.ACTIVE, Show.STOPPING, Show.STARTING})


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    start_s: float
    end_s: float
    show: Show


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    at_s: float
    server: Designation
    mark: Mark
    count: int = 0
    of: int = 0
    rule: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Both nodes from ``start_s`` (before the fault) to ``end_s``.

    ready_s: when the services of the other server are up; None: nothing takes over. promoted_s: when its role is active.
    stopped_s: when the old active server owns nothing any more.
    """

    fault: Fault
    start_s: float
    end_s: float
    segments: Mapping[Designation, tuple[Segment, ...]]
    events: tuple[Event, ...]
    stopped_s: float | None
    promoted_s: float | None
    ready_s: float | None

    @property
    def both_active_s(self) -> float:
        """Seconds during which both own something, services that are still stopping or starting included."""
        one, two = ([s for s in self.segments[d] if s.show in OWNING] for d in Designation)
        return sum(max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) for a in one for b in two)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys with units last."""
        return {
            "fault": str(self.fault),
            "stopped_s": self.stopped_s,
            "promoted_s": self.promoted_s,
            "ready_s": self.ready_s,
            "both_active_s": self.both_active_s,
            "segments": {
                str(d): [{"start_s": s.start_s, "end_s": s.end_s, "show": str(s.show)} for s in self.segments[d]]
                for d in Designation
            },
            "events": [
                {
                    "at_s": e.at_s,
                    "server": str(e.server),
                    "mark": str(e.mark),
                    **({"count": e.count, "of": e.of} if e.of else {}),
                    **({"rule": e.rule} if e.rule else {}),
                    **({"text": e.text} if e.text else {}),
                }
                for e in self.events
            ],
        }
