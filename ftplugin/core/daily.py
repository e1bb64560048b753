"""The daily restart (spec 6, guide 6.3.4.1): which part of which server is restarted when, and why not.

A round begins each day at the set local time. Its four turns lie on whole minutes after it:

    D                          portal of the standby server
    D + services               services of the standby server
    D + active                 portal of the active server
    D + active + services      services of the active server

A turn is open for ``window_s`` only; what was missed is not made up. The wall clock decides when, never a role (I-H). It
does not keep the two servers apart either, since it may be wrong on one of them: a server *announces* its restart in
its signed state, and begins only when a probe that it sent after that shows a peer that has announced nothing. Of two
servers that announce at one time at least one sees the other's word, whatever their clocks say; the active one gives way.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Mapping, Self

from .settings import Settings
from .terms import Designation, Phase, Role
from .timing import Timing, service_start_s
from .view import ClusterView, NodeState

WINDOW_S_MIN = 30.0
WINDOW_INTERVALS = 3  # announce, be heard, hear: three ticks at most, whatever their phases
PORTAL_LIMIT_S_MIN = 10.0
SAME_ROUND_S = 43_200.0  # so soon after a round the same set time comes again only because a clock was set back
SPAN_S_MAX = 43_200.0
MINUTE_S = 60.0


class Part(StrEnum):
    """What is restarted in one turn."""

    PORTAL = "portal"
    SERVICES = "services"


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """Durations of a round in seconds, by the settings. The services follow when the portal has had its time."""

    window_s: float
    portal_limit_s: float
    services_s: float
    active_s: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        window_s = max(WINDOW_S_MIN, WINDOW_INTERVALS * settings.interval_s + settings.timeout_s)
        portal_limit_s = max(PORTAL_LIMIT_S_MIN, settings.portal_restart_s)
        services_s = _whole_minutes_s(window_s + portal_limit_s)
        again_s = settings.service_stop_s + service_start_s(settings)
        return cls(
            window_s=window_s,
            portal_limit_s=portal_limit_s,
            services_s=services_s,
            active_s=services_s + _whole_minutes_s(window_s + again_s),
        )

    @property
    def span_s(self) -> float:
        """From the set time to the end of the last turn."""
        return self.active_s + self.services_s + self.window_s

    def turn_s(self, part: Part, role: Role) -> float:
        """When, after the set time, ``part`` of the server with ``role`` has its turn."""
        return (self.active_s if role is Role.ACTIVE else 0.0) + (self.services_s if part is Part.SERVICES else 0.0)


def portal_away_s_max(timing: Timing) -> float:
    """How long the portal of an active server may be away before its lease ends (P1), in seconds; never more than F1 waits.

    The lease counts from the portal's last answer, up to a portal period before it went. When it is back, the next
    renewal may be one period away, and be left out because a tick renewed just before.
    """
    return timing.lease_s - 2 * timing.renew_s - timing.portal_period_s


def _whole_minutes_s(seconds: float) -> float:
    return MINUTE_S * math.ceil(round(seconds / MINUTE_S, 9))


def minutes_of(text: str) -> int | None:
    """ "03:30" in minutes after midnight; None when it is no time of day as HH:MM."""
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    return None if match is None else 60 * int(match[1]) + int(match[2])


def occurrence_s(day: datetime.date, text: str, zone: datetime.tzinfo) -> float | None:
    """When ("HH:MM" ``text``) it is that time on that day in ``zone``, in seconds since 1970.

    A time that does not exist that day (clocks go forward): the next minute that does. One that comes twice (clocks go
    back): the first. None when there is none left that day, or ``text`` is no time.
    """
    minutes = minutes_of(text)
    if minutes is None:
        return None
    for minute in range(minutes, 24 * 60):
        wanted = datetime.datetime.combine(day, datetime.time(minute // 60, minute % 60))
        moment = wanted.replace(tzinfo=zone).astimezone(datetime.UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wanted:
            return moment.timestamp()
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One day's restart: its name ("2026-03-29 03:30") and the set time in seconds since 1970."""

    name: str
    start_s: float


def round_at(wall_s: float, settings: Settings, zone: datetime.tzinfo) -> Round | None:
    """The round that runs at ``wall_s``; None between two rounds."""
    today = datetime.datetime.fromtimestamp(wall_s, zone).date()
    for day in (today, today - datetime.timedelta(days=1)):
        start_s = occurrence_s(day, settings.daily_restart, zone)
        if start_s is not None and start_s <= wall_s < start_s + Times.of(settings).span_s:
            return Round(name=f"{day.isoformat()} {settings.daily_restart}", start_s=start_s)
    return None


def next_round(wall_s: float, settings: Settings, zone: datetime.tzinfo) -> Round | None:
    """The round that runs at ``wall_s``, or the next one; None when none is set."""
    running = round_at(wall_s, settings, zone)
    if running is not None:
        return running
    today = datetime.datetime.fromtimestamp(wall_s, zone).date()
    for days in range(3):  # a day may be missing in a zone that moved across the date line
        day = today + datetime.timedelta(days=days)
        start_s = occurrence_s(day, settings.daily_restart, zone)
        if start_s is not None and start_s > wall_s:
            return Round(name=f"{day.isoformat()} {settings.daily_restart}", start_s=start_s)
    return None


# --- what to do now -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What a server remembers of its last round. ``over``: parts that were begun or passed over. ``began_s``,
    ``announced_s``: own CLOCK_BOOTTIME. ``waits``: what hinders the open turn of the part ``waiting``, "" when nothing.
    """

    round: str = ""
    began_s: float = 0.0
    over: tuple[Part, ...] = ()
    failed: bool = False
    announced_s: float | None = None
    waits: str = ""
    waiting: Part | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the announcement is not kept: a restarted worker makes its own."""
        return {"round": self.round, "began_s": self.began_s, "over": list(self.over), "failed": self.failed}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Self:
        """Nothing remembered when it cannot be read."""
        found = value or {}
        over, began_s = found.get("over"), found.get("began_s")
        if not isinstance(over, list) or not isinstance(began_s, (int, float)):
            return cls()
        parts = tuple(part for part in Part if part in over)
        return cls(round=str(found.get("round", "")), began_s=began_s, over=parts, failed=found.get("failed") is True)


class Do(StrEnum):
    """What the planner asks for."""

    NOTHING = "nothing"
    WAIT = "wait"  # the turn is open, and something hinders it; an announcement is withdrawn
    ANNOUNCE = "announce"
    RESTART = "restart"
    SKIP = "skip"  # the turn is over for today


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What to do now, with the part it is about and the sentence for the log."""

    do: Do
    part: Part | None = None
    sentence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What the planner looks at. ``now_s``: own CLOCK_BOOTTIME; ``wall_s``: since 1970; ``zone``: the server's local time.

    view: the last tick, None when it is too old to act on. parts: what can be restarted on this server.
    """

    now_s: float
    wall_s: float
    zone: datetime.tzinfo
    view: ClusterView | None
    parts: tuple[Part, ...]


NOTHING = Step(do=Do.NOTHING)


def plan(memory: Memory, moment: Moment, settings: Settings) -> tuple[Memory, Step]:
    """(memory, what to do now). The caller notes the memory before it acts, so that nothing is done twice."""
    running = round_at(moment.wall_s, settings, moment.zone) if settings.daily_restart else None
    if running is None or not moment.parts:
        return _closed(memory, "its time is over")
    if running.name != memory.round:
        if _set_back(memory, moment, settings):
            return _closed(memory, "the clock was set back")
        memory = Memory(round=running.name, began_s=moment.now_s)
    role = moment.view.role if moment.view is not None else Role.UNDECIDED
    after_s, times = moment.wall_s - running.start_s, Times.of(settings)
    for part in Part:
        turns = {side: times.turn_s(part, side) for side in (Role.STANDBY, Role.ACTIVE)}
        opened = [side for side, at_s in turns.items() if at_s <= after_s < at_s + times.window_s]
        if not opened or part not in moment.parts or part in memory.over:
            continue
        if role is Role.STANDBY and opened == [Role.ACTIVE]:
            text = f"no restart of the {part} today: this server is standby, and the standby server's turn is over"
            return _passed(memory, part), Step(do=Do.SKIP, part=part, sentence=text)
        if role in opened:
            return _turn(memory, part, moment, settings)
    return _closed(memory, "its time is over")


def _closed(memory: Memory, why: str) -> tuple[Memory, Step]:
    """No turn is open. One that was hindered to its end is said to be skipped."""
    if not memory.waits or memory.waiting is None:
        return replace(memory, announced_s=None), NOTHING
    part = memory.waiting
    text = f"daily restart of the {part} skipped, it is not made up later: {memory.waits} ({why})"
    return _passed(memory, part), Step(do=Do.SKIP, part=part, sentence=text)


def _set_back(memory: Memory, moment: Moment, settings: Settings) -> bool:
    same = memory.round.endswith(f" {settings.daily_restart}")
    return same and 0 <= moment.now_s - memory.began_s < SAME_ROUND_S


def _passed(memory: Memory, part: Part) -> Memory:
    return replace(memory, over=(*memory.over, part), waits="", waiting=None, announced_s=None)


def _turn(memory: Memory, part: Part, moment: Moment, settings: Settings) -> tuple[Memory, Step]:
    if part is Part.SERVICES and memory.failed:
        text = "daily restart of the services skipped: the restart of the portal has failed"
        return _passed(memory, part), Step(do=Do.SKIP, part=part, sentence=text)
    view = moment.view
    hindered = hindrance(view, moment.now_s, settings)
    if hindered or view is None or view.peer is None or view.peer_state is None:
        kept_s = memory.announced_s if _goes_first(view) else None
        text = f"daily restart of the {part} waits: {hindered}"
        return replace(memory, waits=hindered, waiting=part, announced_s=kept_s), Step(
            do=Do.WAIT, part=part, sentence=text
        )
    if memory.announced_s is None:
        text = f"daily restart of the {part} announced to {view.designation.other}"
        waits = f"{view.designation.other} has not heard the announcement"
        memory = replace(memory, announced_s=moment.now_s, waits=waits, waiting=part)
        return memory, Step(do=Do.ANNOUNCE, part=part, sentence=text)
    heard_s = view.peer_state.heard_asker_age_s
    if heard_s is None or view.peer.started_s - heard_s < memory.announced_s:
        return memory, Step(do=Do.NOTHING, part=part)
    text = f"daily restart of the {part} of this {view.role} server"
    return replace(memory, over=(*memory.over, part), waits="", waiting=None), Step(
        do=Do.RESTART, part=part, sentence=text
    )


def _goes_first(view: ClusterView | None) -> bool:
    """Both have announced at one time: the active server takes its word back, the standby one keeps it and waits."""
    peer = None if view is None else view.peer_state
    return view is not None and peer is not None and view.role is Role.STANDBY and peer.restarting_s > 0


def hindrance(view: ClusterView | None, now_s: float, settings: Settings) -> str:
    """Why nothing may be restarted on purpose now; "" when it may. ``now_s``: own CLOCK_BOOTTIME."""
    if view is None:
        return "the agent has not ticked lately"
    if not settings.enabled:
        return "Hot Standby mode is off"
    if view.pause is not None:
        return f"paused by {view.pause.owner}"
    if view.drained:
        return "this server is drained"
    if view.switching or view.phase is not Phase.READY or view.role is Role.UNDECIDED:
        return "a switch runs"
    return _peer_hindrance(view, now_s, settings)


def _peer_hindrance(view: ClusterView, now_s: float, settings: Settings) -> str:
    other, peer = view.designation.other, view.peer_state
    heard = view.peer is not None and view.peer.good and view.peer.state is not None
    if not heard or peer is None or view.peer is None:
        return f"{other} is not heard, this server would be alone"
    if now_s - view.peer.started_s > 2 * settings.interval_s + settings.timeout_s:
        return f"{other} was not heard lately"
    if peer.restarting_s > 0:
        return f"{other} restarts now"
    if not peer.healthy:
        return f"{other} is not healthy"
    return _role_hindrance(view, peer, other)


def _role_hindrance(view: ClusterView, peer: NodeState, other: Designation) -> str:
    if peer.phase is not Phase.READY:
        return f"a switch runs on {other}"
    if view.role is Role.STANDBY:
        return "" if peer.is_active else f"{other} is not active, so nobody is"
    if peer.role is not Role.STANDBY:
        return f"{other} is {peer.role}"
    return "" if peer.eligible else f"{other} is drained and could not take over"
