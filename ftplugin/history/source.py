"""Where history comes from: the own database, and the peer's part from its node API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .records import HISTORY_EVENTS, MOMENT_S_MAX, ROLE_EVENTS, Part, part_of
from .story import Incident, incidents_of
from ..peer_client import PeerAnswer, PeerClient
from ..store.database import DatabaseUnreachable
from ..store.events import DAY_S, EventStore

if TYPE_CHECKING:
    from ..extension import Portal

SWITCHES_MAX = 400
DOCUMENT_CHARS_MAX = 1_200_000  # below the limit of an answer, with the signature's headers and what is not ASCII
AROUND_S = 3_600.0  # of one incident: this much before and after its switch is looked at
DAYS_DEFAULT = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Incidents newest first. ``missing``: what could not be read, in words. ``cut_s``: earlier ones were left out."""

    incidents: tuple[Incident, ...]
    missing: tuple[str, ...] = ()
    cut_s: float | None = None

    @property
    def complete(self) -> bool:
        return not self.missing


def own_document(ft: Portal, since_s: float, until_s: float) -> dict[str, Any]:
    """This node's part for its own page or for the peer, at most DOCUMENT_CHARS_MAX characters of JSON.

    since_s, until_s: seconds since 1970 on this node's clock. Raises DatabaseUnreachable or SQLAlchemyError.
    """
    designation = ft.designation()
    if designation is None:
        raise DatabaseUnreachable("this server does not know which one it is: enter both addresses in the settings")
    events = EventStore(ft.database, ft.config.log_days).between(since_s, until_s + DAY_S, HISTORY_EVENTS, ROLE_EVENTS)
    events, left = _fitting(events)
    rows = ft.journal.between(since_s, until_s, SWITCHES_MAX + 1)
    switches: list[dict[str, Any]] = []
    for row in rows[:SWITCHES_MAX]:
        left -= len(json.dumps(row, default=str)) + 1
        if left < 0:
            break
        switches.append(row)
    cut = len(switches) < len(rows)
    now_s = ft.clock.wall_s()
    return {
        "server": str(designation),
        "now_s": now_s,
        "active_now": None if ft.runtime.read_role() is None else ft.role.active(),
        "switches": switches,
        "events": events,
        "cut_s": (switches[-1]["started_wall_s"] if switches else now_s) if cut else None,
    }


def _fitting(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """(events without the oldest notes, the characters left for switches): a takeover that is refused every ten seconds for a
    night leaves so many that no switch would fit. When a server was active is never left out."""
    left, kept = DOCUMENT_CHARS_MAX, []
    for event in reversed(events):
        size = len(json.dumps(event, default=str)) + 1
        if event["name"] in ROLE_EVENTS or left - size > DOCUMENT_CHARS_MAX / 2:
            kept.append(event)
            left -= size
    return kept[::-1], left


def around(ft: Portal, switch_id: str) -> tuple[float, float] | None:
    """The time to look at for a switch of this node; None: it has none of this id. Raises as ``own_document``."""
    begun_s = ft.journal.begun_wall_s(switch_id)
    return None if begun_s is None else (begun_s - AROUND_S, begun_s + AROUND_S)


def read(ft: Portal, since_s: float, until_s: float, client: PeerClient | None) -> Found:
    """Both nodes' incidents between two moments of the own clock. client None: the peer is not asked.

    Raises DatabaseUnreachable or SQLAlchemyError when the own part cannot be read.
    """
    own = part_of(own_document(ft, since_s, until_s))
    if client is None:
        return _found(own, None, PeerAnswer(), ("the other server was not asked",), since_s, until_s)
    answer = client.get("history", since=f"{since_s:.0f}", until=f"{until_s:.0f}")
    return _joined(own, answer, since_s, until_s)


def find(
    ft: Portal, incident_id: str, client: PeerClient | None, at_s: float | None = None
) -> tuple[Incident | None, Found]:
    """One incident by the id of any of its switches, and what it was found among. at_s: about when it was, if known.

    Raises as ``read``.
    """
    span = around(ft, incident_id)
    if span is None and at_s is not None:
        span = (at_s - AROUND_S, at_s + AROUND_S)
    if span is None and client is not None:
        answer = client.get("history", id=incident_id)
        at = _about(answer.document)
        if at is None:
            return None, Found(incidents=(), missing=(answer.problem,) if answer.problem else ())
        span = (at - AROUND_S, at + AROUND_S)
    if span is None:
        return None, Found(incidents=(), missing=("the other server was not asked",))
    found = read(ft, *span, client)
    return next((incident for incident in found.incidents if incident.has(incident_id)), None), found


def _about(document: Mapping[str, Any]) -> float | None:
    """When the switch that was asked for by its id began, as the peer says."""
    at_s = document.get("about_s")
    return float(at_s) if isinstance(at_s, (int, float)) and 0 <= at_s <= MOMENT_S_MAX else None


def _joined(own: Part, answer: PeerAnswer, since_s: float, until_s: float) -> Found:
    peer, missing = None, (answer.problem,) if answer.problem else ()
    if not answer.problem:
        try:
            peer = part_of(answer.document)
            if peer.server is own.server:
                peer, missing = None, ("the other server says that it is this one: look at both addresses",)
        except ValueError as error:
            missing = (f"the other server: {error}",)
    return _found(own, peer, answer, missing, since_s, until_s)


def _found(
    own: Part, peer: Part | None, answer: PeerAnswer, missing: tuple[str, ...], since_s: float, until_s: float
) -> Found:
    cuts_s = [part.cut_s for part in (own, peer) if part is not None and part.cut_s is not None]
    from_s = max([since_s, *cuts_s])
    incidents = incidents_of(own, peer, answer.offset, missing)
    inside = tuple(i for i in incidents if from_s <= (i.lead.started_s if i.lead else i.started_s) <= until_s)
    return Found(incidents=inside, missing=missing, cut_s=max(cuts_s, default=None))
