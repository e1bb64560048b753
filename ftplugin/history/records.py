"""One node's records, checked: its switch journal and its small durable events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftplugin.core.terms import Designation

ACTIVE_BEGUN, ACTIVE_ENDED, ROLE_FOUND = "active_begun", "active_ended", "role_found"
MEASURED = "measured"  # what a promotion took: of the status page, no part of the history
DUAL_OWNER, DUAL_OWNER_OVER = "two_owners", "two_owners_over"
EVIDENCE, LEASE_LOST, FREEZE, CLOCK_STEP = "evidence", "lease_lost", "freeze", "clock_step"
CLOCK_SKEW, CLOCK_SKEW_OVER = "clock_skew", "clock_skew_over"
ROLE_EVENTS = (ACTIVE_BEGUN, ACTIVE_ENDED, ROLE_FOUND)
CLOCK_EVENTS = (CLOCK_STEP, CLOCK_SKEW, CLOCK_SKEW_OVER)
HISTORY_EVENTS = (*ROLE_EVENTS, EVIDENCE, LEASE_LOST, FREEZE, *CLOCK_EVENTS, DUAL_OWNER, DUAL_OWNER_OVER)
KEPT_EACH = (*HISTORY_EVENTS, MEASURED)  # rare, and each of them counts
TEXT_CHARS_MAX = 4000
MOMENT_S_MAX = 253_402_300_799.0  # the year 9999: what a calendar can name


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a switch: outcome "ok", "failed", "skipped" or "running"."""

    step: str
    outcome: str
    duration_s: float
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """One row of a node's journal; times are seconds since 1970 on that node's own clock."""

    server: Designation
    switch_id: str
    kind: str
    rule: str
    reason: str
    epoch: int
    actor: str
    started_s: float
    ended_s: float | None
    outcome: str
    role_after: str
    detail: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One durable event of a node; ``at_s``: when it happened, on that node's own clock."""

    server: Designation
    event_id: int
    at_s: float
    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one node knows. ``now_s``: its clock when it answered. ``active_now`` None: its Redis did not answer.

    ``cut_s``: switches before this were left out, since there were too many; None: all of the time asked for is here.
    """

    server: Designation
    now_s: float
    active_now: bool | None
    switches: tuple[Switch, ...] = ()
    events: tuple[Event, ...] = ()
    cut_s: float | None = None


def part_of(document: Mapping[str, Any]) -> Part:
    """The part in a node's history document. Raises ValueError naming what cannot be read."""
    try:
        server = Designation(str(document["server"]))
        active_now = document["active_now"]
        if active_now is not None and not isinstance(active_now, bool):
            raise ValueError("active_now is neither true, false nor null")
        cut = document.get("cut_s")
        return Part(
            server=server,
            now_s=_moment(document["now_s"]),
            active_now=active_now,
            switches=tuple(_switch(server, row) for row in _rows(document["switches"])),
            events=tuple(_event(server, row) for row in _rows(document["events"])),
            cut_s=None if cut is None else _moment(cut),
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"history document cannot be read: {type(error).__name__} {error}") from None


def number_in(facts: Mapping[str, Any], name: str) -> float | None:
    """A finite number among the facts of an event; None when it is absent or something else."""
    value = facts.get(name)
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable and value is not None else None


def text_in(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) else ""


def _rows(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
        raise ValueError("history document: switches and events must be lists of objects")
    return value


def _moment(value: Any) -> float:
    moment = float(value)
    if not 0 <= moment <= MOMENT_S_MAX:
        raise ValueError(f"history document: {value!r:.50} is neither a moment nor a duration in seconds")
    return moment


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name) or "")[:TEXT_CHARS_MAX]


def _switch(server: Designation, row: Mapping[str, Any]) -> Switch:
    ended = row.get("ended_wall_s")
    return Switch(
        server=server,
        switch_id=_text(row, "switch_id"),
        kind=_text(row, "kind"),
        rule=_text(row, "rule"),
        reason=_text(row, "reason"),
        epoch=int(row["epoch"]),
        actor=_text(row, "actor"),
        started_s=_moment(row["started_wall_s"]),
        ended_s=None if ended is None else _moment(ended),
        outcome=_text(row, "outcome"),
        role_after=_text(row, "role_after"),
        detail=_text(row, "detail"),
        steps=tuple(
            Step(
                step=_text(step, "step"),
                outcome=_text(step, "outcome"),
                duration_s=_moment(step["duration_s"]),
                detail=_text(step, "detail"),
            )
            for step in _rows(row["steps"])
        ),
    )


def _event(server: Designation, row: Mapping[str, Any]) -> Event:
    facts = row.get("facts")
    known = dict(facts) if isinstance(facts, Mapping) else {}
    happened_s = number_in(known, "wall_s")
    return Event(
        server=server,
        event_id=int(row["id"]),
        at_s=_moment(row["at_wall_s"] if happened_s is None else happened_s),
        name=_text(row, "name"),
        facts=known,
    )
