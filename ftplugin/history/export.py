"""Incidents as JSON and as CSV (RFC 4180), and in words for page and command line. The schema is in ``docs/history.md``."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from .activity import Measured
from .records import (
    CLOCK_SKEW,
    CLOCK_SKEW_OVER,
    CLOCK_STEP,
    DUAL_OWNER,
    DUAL_OWNER_OVER,
    EVIDENCE,
    FREEZE,
    LEASE_LOST,
    Event,
    number_in,
    text_in,
)
from .story import Incident

SCHEMA = "ftplugin-history-1"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # a spreadsheet would run it
COLUMNS = (
    "id",
    "kind",
    "started",
    "ended",
    "duration_s",
    "automatic",
    "actor",
    "rule",
    "reason",
    "promoted_server",
    "outcome",
    "detail",
    "evidence",
    "none_active_s",
    "none_active_error_s",
    "two_active_s",
    "two_active_error_s",
    "clock_offset_s",
    "clock_offset_error_s",
    "complete",
)


class Writer(Protocol):
    def write(self, text: str, /) -> Any: ...


def utc(moment_s: float | None) -> str:
    """ISO 8601 in UTC with milliseconds; empty for None."""
    if moment_s is None:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(moment_s, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"@{moment_s}"  # a clock that was far out when it was written
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(incident: Incident) -> dict[str, Any]:
    """One incident as plain JSON values; seconds with units last, moments in UTC."""
    offset = incident.offset
    return {
        "id": incident.incident_id,
        "kind": incident.kind,
        "started": utc(incident.started_s),
        "ended": utc(incident.ended_s) or None,
        "duration_s": _rounded(incident.duration_s),
        "automatic": incident.automatic,
        "actor": incident.actor,
        "rule": incident.lead.rule if incident.lead else "",
        "reason": incident.lead.reason if incident.lead else "",
        "promoted_server": promoted(incident),
        "outcome": incident.outcome,
        "detail": incident.lead.detail if incident.lead else "",
        "evidence": [evidence_text(event) for event in incident.events if evidence_text(event)],
        "none_active": _measured(incident.none_active),
        "two_active": _measured(incident.two_active),
        "clock_offset": {"ahead_s": _rounded(offset.ahead_s), "error_s": _rounded(offset.error_s)} if offset else None,
        "complete": not incident.missing,
        "missing": list(incident.missing),
        "switches": [_switch(switch) for switch in incident.switches],
        "events": [
            {"server": str(event.server), "at": utc(event.at_s), "name": event.name, "facts": dict(event.facts)}
            for event in incident.events
        ],
    }


def listing(incidents: Iterable[Incident], found: Any) -> dict[str, Any]:
    """Several incidents with what is said of all of them. found: has ``missing`` and ``cut_s`` (history_source.Found)."""
    return {
        "schema": SCHEMA,
        "complete": not found.missing and found.cut_s is None,
        "missing": list(found.missing),
        "left_out_before": utc(found.cut_s) or None,
        "incidents": [document(incident) for incident in incidents],
    }


def promoted(incident: Incident) -> str:
    """Which server it made active; empty when none."""
    lead = incident.lead
    done = lead is not None and lead.kind == "promote" and lead.outcome == "done"
    return str(lead.server) if done and lead is not None else ""


def write_csv(incidents: Iterable[Incident], out: Writer) -> None:
    """A header and one record for each incident, with CRLF. A cell that a spreadsheet would run gets an apostrophe."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for incident in incidents:
        found = document(incident)
        found |= {"evidence": "; ".join(found["evidence"])}
        for name in ("none_active", "two_active"):
            found |= {f"{name}_s": found[name]["seconds"], f"{name}_error_s": found[name]["error_s"]}
        offset = found["clock_offset"] or {"ahead_s": None, "error_s": None}
        found |= {"clock_offset_s": offset["ahead_s"], "clock_offset_error_s": offset["error_s"]}
        writer.writerow([_cell(found[name]) for name in COLUMNS])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value)  # a number of our own: -0.2 is no formula
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


def measured_text(measured: Measured) -> str:
    """ "4.2 s ± 0.3 s", "1.2 to 8.3 s" or "at most 8.3 s" for a rough one, or "not known (why)"."""
    if measured.seconds is None:
        return f"not known ({measured.why})" if measured.why else "not known"
    text = f"{measured.seconds:.1f} s ± {max(0.1, measured.error_s):.1f} s"
    if measured.is_rough:
        text = f"{measured.least_s:.1f} to {measured.most_s:.1f} s"
    if measured.is_bound:
        text = f"at most {measured.most_s:.1f} s"
    return f"{text}, and going on" if measured.going_on else text


def evidence_text(event: Event) -> str:
    """What an event says, in a sentence; empty for one that is no evidence."""
    if event.name == EVIDENCE:
        return "; ".join(filter(None, (_probes(event), *_surroundings(event))))
    if event.name == LEASE_LOST:
        return f"{event.server} lost its lease of epoch {event.facts.get('epoch', '?')}"
    if event.name == FREEZE:
        return f"{event.server} froze automatic switching"
    if event.name == CLOCK_STEP:
        return f"a clock of {event.server} made a step"
    if event.name in (CLOCK_SKEW, CLOCK_SKEW_OVER):
        return _skew(event)
    if event.name in (DUAL_OWNER, DUAL_OWNER_OVER):
        return _two_owners(event)
    return ""


def _skew(event: Event) -> str:
    clocks = f"the clock of {event.server.other}, seen by {event.server},"
    if event.name == CLOCK_SKEW_OVER:
        lasted_s = number_in(event.facts, "lasted_s")
        return f"{clocks} is right again" + ("" if lasted_s is None else f", after {lasted_s:.0f} s")
    ahead_s = number_in(event.facts, "ahead_s")
    if ahead_s is None:
        return f"{clocks} was far off"
    return f"{clocks} was {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"


def _two_owners(event: Event) -> str:
    service = f"service {text_in(event.facts, 'service') or '?'} of {event.server}"
    if event.name == DUAL_OWNER_OVER:
        lasted_s = number_in(event.facts, "lasted_s")
        return f"{service} was owned twice no more" + ("" if lasted_s is None else f", after {lasted_s:.1f} s")
    owners, count = event.facts.get("owners"), number_in(event.facts, "count")
    named = ", ".join(str(owner)[:80] for owner in owners[:4]) if isinstance(owners, list) else "?"
    return f"{service} was also owned by {named}" + ("" if count is None else f" ({count:.0f} of what it owns)")


def _probes(event: Event) -> str:
    """ "5 bad heartbeats: timeout x3, connection error x2"."""
    causes = event.facts.get("causes")
    streak = number_in(event.facts, "bad_streak")
    if not streak:
        return text_in(event.facts, "why")
    counted = {str(cause): count for cause, count in causes.items()} if isinstance(causes, dict) else {}
    counted = {cause: count for cause, count in counted.items() if isinstance(count, int)}
    listed = ", ".join(f"{cause} x{count}" for cause, count in sorted(counted.items(), key=lambda item: -item[1]))
    known = sum(counted.values())
    some = f" (the causes of {known} are known)" if 0 < known < streak else ""
    return f"{streak:.0f} bad heartbeats{f': {listed}' if listed else ''}{some}"


def _surroundings(event: Event) -> Sequence[str]:
    vip, lan = text_in(event.facts, "vip"), text_in(event.facts, "lan")
    return (f"VIP: {vip}" if vip else "", f"LAN: {lan}" if lan else "")


def _measured(measured: Measured) -> dict[str, Any]:
    known = measured.seconds is not None
    return {
        "seconds": _rounded(measured.seconds),
        "error_s": _rounded(measured.error_s) if known else None,
        "why_not_known": "" if known else measured.why,
        "going_on": measured.going_on,
    }


def _switch(switch: Any) -> dict[str, Any]:
    names = ("switch_id", "kind", "rule", "reason", "epoch", "actor", "outcome", "role_after", "detail")
    plain: dict[str, Any] = {name: getattr(switch, name) for name in names}
    plain |= {"server": str(switch.server), "started": utc(switch.started_s), "ended": utc(switch.ended_s) or None}
    plain["steps"] = [
        {"step": s.step, "outcome": s.outcome, "duration_s": s.duration_s, "detail": s.detail} for s in switch.steps
    ]
    return plain


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
