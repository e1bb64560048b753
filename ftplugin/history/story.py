"""Incidents: the switches and events of both nodes that tell one story.

A fence belongs to the promotion whose epoch it carries. Beyond that, what begins within GAP_S of the end of the last
switch is the same story, unless somebody asked for it, it is a failback, or a promotion was done before: then another
promotion, or a demotion of the server that has the role now, begins one of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ftplugin.core.terms import Designation

from .activity import Measured, Timeline, heard_active, measure, none_active_at_most, timeline_of
from .clocks import Clocks, Offset, moved_events, moved_switches
from .records import (
    CLOCK_EVENTS,
    DUAL_OWNER,
    DUAL_OWNER_OVER,
    EVIDENCE,
    FREEZE,
    LEASE_LOST,
    Event,
    Part,
    Switch,
    number_in,
)

GAP_S = 60.0
LATE_S = 5.0  # so long after a switch an event still belongs to it
NOTES = (LEASE_LOST, FREEZE, *CLOCK_EVENTS, DUAL_OWNER, DUAL_OWNER_OVER)
KINDS = {
    "F1": "failover",
    "C3": "failover",
    "F2": "vip switch",
    "B1": "failback",
    "M1": "switchover",
    "M2": "forced takeover",
}
STARTS = ("C0", "C1", "C2", "C4", "recover")
ASKED_ALONE = ("M1", "M2", "B1")


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One story; times are seconds since 1970 on the clock of the node that tells it.

    ``switches`` and ``events`` of both nodes, oldest first. ``lead``: the switch that it is about, None for a mere event.
    ``missing``: what could not be read, in words; then the incident is incomplete. ``offset``: how far the peer's clock was
    ahead, None: not known.
    """

    incident_id: str
    kind: str
    started_s: float
    ended_s: float | None
    lead: Switch | None
    switches: tuple[Switch, ...] = ()
    events: tuple[Event, ...] = ()
    none_active: Measured = field(default_factory=lambda: Measured(seconds=None))
    two_active: Measured = field(default_factory=lambda: Measured(seconds=None))
    offset: Offset | None = None
    missing: tuple[str, ...] = ()

    @property
    def automatic(self) -> bool:
        """Nobody asked for it."""
        return not any(switch.actor for switch in self.switches)

    @property
    def actor(self) -> str:
        return next((switch.actor for switch in self.switches if switch.actor), "")

    @property
    def failed(self) -> bool:
        """The switch that it is about did not come to its end, or a service would not stop."""
        return any(switch.outcome not in ("done", "") for switch in _last_of_each_node(self.switches))

    @property
    def outcome(self) -> str:
        """ "done", "failed", "aborted", "undone" …, "running" while it has no end; "noted" for a mere event."""
        if self.lead is None:
            return "noted"
        ends = _last_of_each_node(self.switches)
        return next((s.outcome for s in ends if s.outcome not in ("done", "")), self.lead.outcome) or "running"

    @property
    def duration_s(self) -> float | None:
        return None if self.ended_s is None else max(0.0, self.ended_s - self.started_s)

    @property
    def evidence(self) -> tuple[Event, ...]:
        """What led to it: one event for each decision that sent an order."""
        return tuple(event for event in self.events if event.name == EVIDENCE)

    def has(self, incident_id: str) -> bool:
        """Whether it goes by this id: its own, or that of any of its switches."""
        return incident_id == self.incident_id or any(s.switch_id == incident_id for s in self.switches)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lines:
    """When each node was active; peer None: not read. ``heard_s``: when the own node heard the peer say that it is."""

    own: Timeline
    peer: Timeline | None
    heard_s: tuple[float, ...]


def incidents_of(own: Part, peer: Part | None, now: Offset | None, missing: Sequence[str] = ()) -> list[Incident]:
    """Every incident of both parts, newest first. peer None: it could not be read, and ``missing`` says why.

    now: how far the peer's clock is ahead at this moment, measured with its answer. Raises nothing.
    """
    clocks = Clocks(own, peer, now)
    switches = [*own.switches, *(moved_switches(peer.switches, clocks) if peer else ())]
    events = [*own.events, *(moved_events(peer.events, clocks) if peer else ())]
    told = heard_active([event for event in events if event.server is not own.server])
    theirs = [at_s - (offset.error_s if (offset := clocks.at(at_s)) else 0.0) for at_s in told]
    ours = heard_active([event for event in events if event.server is own.server])
    lines = _Lines(
        own=timeline_of(own, None, theirs), peer=timeline_of(peer, clocks, ours) if peer else None, heard_s=tuple(ours)
    )
    left = [event for event in events if event.name in (*NOTES, EVIDENCE)]
    found = []
    for story in _stories(switches):
        started_s, ended_s = _bounds(story)
        mine = [event for event in left if _belongs(event, story, started_s, ended_s)]
        taken = {id(event) for event in mine}
        left = [event for event in left if id(event) not in taken]
        found.append(_incident(story, mine, clocks, lines, own.now_s, tuple(missing)))
    found += [_note(event, clocks, tuple(missing)) for event in left if event.name in NOTES]
    return sorted(found, key=lambda incident: incident.started_s, reverse=True)


def _stories(switches: Iterable[Switch]) -> list[list[Switch]]:
    """Switches grouped, oldest first."""
    groups: list[list[Switch]] = []
    waiting: list[Switch] = []
    for switch in sorted(switches, key=lambda switch: (switch.started_s, switch.server)):
        if switch.rule == "fence":
            waiting.append(switch)
        elif groups and _continues(groups[-1], switch):
            groups[-1].append(switch)
        else:
            groups.append([switch])
    for fence in waiting:
        owner = next((group for group in groups if any(_fences(fence, switch) for switch in group)), None)
        if owner is None:
            near = (group for group in groups if _continues(group, fence))
            owner = next(near, None)
        if owner is None:
            groups.append(owner := [])
        owner.append(fence)
    return [sorted(group, key=lambda switch: switch.started_s) for group in groups]


def _fences(fence: Switch, switch: Switch) -> bool:
    return fence.server is not switch.server and fence.epoch == switch.epoch and switch.kind != "demote"


def _continues(group: Sequence[Switch], switch: Switch) -> bool:
    asked = switch.rule in ASKED_ALONE and switch.kind != "demote"
    again = any(member.rule == switch.rule and member.server is switch.server for member in group)
    if asked and not (again and switch.rule == "B1"):
        return False
    taken = next((member.server for member in group if member.kind == "promote" and member.outcome == "done"), None)
    if taken is not None and (switch.kind == "promote" or switch.kind == "demote" and switch.server is taken):
        return False  # that story had its end: two switches a minute apart must not look like one
    started_s, ended_s = _bounds(group)
    last_s = max(started_s, ended_s or started_s)
    return started_s - LATE_S <= switch.started_s <= last_s + GAP_S


def _bounds(story: Sequence[Switch]) -> tuple[float, float | None]:
    """Begin and end; None while a switch of it has no end."""
    ends = [switch.ended_s for switch in story]
    return min(switch.started_s for switch in story), (
        None if None in ends else max(end_s for end_s in ends if end_s is not None)
    )


def _belongs(event: Event, story: Sequence[Switch], started_s: float, ended_s: float | None) -> bool:
    if event.name == EVIDENCE:
        return any(event.facts.get("switch_id") == switch.switch_id for switch in story)
    return started_s - GAP_S <= event.at_s <= (started_s if ended_s is None else ended_s) + LATE_S


def _lead(story: Sequence[Switch]) -> Switch:
    """The promotion that was done, else the last one tried, else what began it."""
    promotions = [switch for switch in story if switch.kind == "promote"]
    done = [switch for switch in promotions if switch.outcome == "done"]
    return (done or promotions or [switch for switch in story if switch.rule != "fence"] or list(story))[-1]


def _kind(story: Sequence[Switch], lead: Switch) -> str:
    if lead.kind == "promote":
        return "start" if lead.rule in STARTS else KINDS.get(lead.rule, "switch")
    if lead.kind == "reassert":
        return "split"
    return "start" if all(switch.rule in STARTS for switch in story) else "demotion"


def _last_of_each_node(switches: Sequence[Switch]) -> list[Switch]:
    """How it ended on each node; attempts before the last one are past."""
    last: dict[Designation, Switch] = {}
    for switch in switches:
        last[switch.server] = switch
    return list(last.values())


def _incident(
    story: Sequence[Switch],
    events: Sequence[Event],
    clocks: Clocks,
    lines: _Lines,
    now_s: float,
    missing: tuple[str, ...],
) -> Incident:
    lead = _lead(story)
    started_s, ended_s = _bounds(story)
    first_bad_s = [
        event.at_s - age_s
        for event in events
        if event.name == EVIDENCE and (age_s := number_in(event.facts, "first_bad_age_s")) is not None
    ]
    shown_from_s = min([started_s, *first_bad_s])
    none_active, two_active = _measures(clocks, lines, started_s, now_s if ended_s is None else ended_s, now_s)
    return Incident(
        incident_id=lead.switch_id,
        kind=_kind(story, lead),
        started_s=shown_from_s,
        ended_s=ended_s,
        lead=lead,
        switches=tuple(story),
        events=tuple(sorted(events, key=lambda event: event.at_s)),
        none_active=none_active,
        two_active=two_active,
        offset=clocks.at(started_s),
        missing=missing,
    )


def _measures(clocks: Clocks, lines: _Lines, low_s: float, high_s: float, now_s: float) -> tuple[Measured, Measured]:
    why, stepped = "", clocks.stepped(low_s - GAP_S, high_s)
    if lines.peer is None:
        why = "the other server's records could not be read"
    elif stepped:
        why = "a clock made a step in this time"
    elif clocks.at(low_s) is None:
        why = "the offset of the two clocks is not known for this time"
    unknown = Measured(seconds=None, why=why)
    if lines.peer is None and not stepped:
        return none_active_at_most(lines.own, lines.heard_s, low_s, high_s) or unknown, unknown
    if why or lines.peer is None:
        return unknown, unknown
    return measure(lines.own, lines.peer, low_s, high_s, now_s)


def _note(event: Event, clocks: Clocks, missing: tuple[str, ...]) -> Incident:
    why = Measured(seconds=None, why="no switch")
    return Incident(
        incident_id=f"event-{event.server}-{event.event_id}",
        kind=event.name.replace("_", " "),
        started_s=event.at_s,
        ended_s=event.at_s,
        lead=None,
        events=(event,),
        none_active=why,
        two_active=why,
        offset=clocks.at(event.at_s),
        missing=missing,
    )
