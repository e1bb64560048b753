"""What this server tells the other one's page about itself: ``GET <prefix>/node/status``, below 4 kB.

Ages instead of points in time, since no clock of ours is trusted over there (I-H). When something is long the least
important part goes first, and ``cut`` says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftplugin.core.timing import Timing
from ftplugin.state import AGENT, agent_age_s

from .beats import packed
from .plain import mapping, sequence, text
from . import starts
from .servers import service_list, surroundings

if TYPE_CHECKING:
    from ftplugin.extension import Portal

BYTES_MAX = 4_000
KIND = "status"
NAMES = (AGENT, "decision", "view", "services", "switch", "heartbeats", "outlook")
SERVICES_MAX, TEXT_CHARS_MAX = 16, 300


def short_status(ft: Portal) -> dict[str, Any]:
    """The document; reads this node's Redis once, and from its database what the last switch took."""
    snapshot, clock = ft.runtime.snapshot(NAMES), ft.clock
    documents = {name: snapshot.documents.get(name) or {} for name in NAMES}
    timing = Timing.of(ft.settings.cached()[1])
    documents["services"] = starts.services_now(
        documents["services"], documents["switch"], clock.boot_id, clock.now_s(), timing.quiet_s
    )
    age_s = agent_age_s(documents[AGENT], clock.boot_id, clock.now_s())
    stale = age_s is None or age_s > timing.stale_s
    decision, outlook, switch = documents["decision"], documents["outlook"], documents["switch"]
    running = switch.get("outcome") == "running" and switch.get("boot_id") == clock.boot_id
    return fitted(
        {
            "kind": KIND,
            "redis": snapshot.role is not None,
            "agent_age_s": None if age_s is None else round(age_s, 1),
            "stale": stale,
            "decision": {
                "rule": text(decision.get("rule"), 8),
                "sentence": text(decision.get("sentence"), TEXT_CHARS_MAX),
            },
            "services": {s.pop("name"): s for s in service_list(documents["services"], clock.now_s())[:SERVICES_MAX]},
            "switch": _switch(ft, switch) if running else {},
            "measured": starts.packed(starts.measured_here(ft), clock.wall_s()),
            "surroundings": surroundings(documents["view"]),
            "heartbeats": packed(documents["heartbeats"], clock.wall_s()),
            "outlook": {key: outlook.get(key) for key in ("role", "diagnosis", "why", "streaks", "prospects", "rows")},
        }
    )


def _switch(ft: Portal, switch: Mapping[str, Any]) -> dict[str, Any]:
    """The running switch: what it is at, since when, and how long that was expected to take."""
    _, expected = starts.expectations(ft, ft.settings.cached()[1])
    words = {key: text(switch.get(key), 120) for key in ("rule", "kind", "step", "detail")}
    return {**words, **starts.running_step(switch, ft.clock.now_s(), expected["of"])}


def fitted(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` in at most BYTES_MAX bytes of JSON."""
    outlook = mapping(document["outlook"])
    services = {k: {**v, "detail": v["detail"][:40]} for k, v in list(document["services"].items())[:8]}
    smaller: list[Mapping[str, Any]] = [
        {"outlook": {**outlook, "rows": _clipped(outlook, 3)}},
        {"outlook": {**outlook, "rows": _clipped(outlook, 1)}},
        {"heartbeats": {**document["heartbeats"], "beats": document["heartbeats"]["beats"][-20:]}},
        {"services": services},
        {"outlook": {**outlook, "rows": [], "prospects": sequence(outlook.get("prospects"))[:1]}},
        {"outlook": {}, "services": {}, "heartbeats": {}, "measured": {}},
    ]
    for change in smaller:
        if _bytes(document) <= BYTES_MAX:
            break
        document = {**document, **change, "cut": True}
    return document


def _clipped(outlook: Mapping[str, Any], reasons: int) -> list[Any]:
    """The rows with their first reasons, each clipped."""
    found = []
    for row in sequence(outlook.get("rows")):
        values = sequence(row)
        if len(values) == 4:
            found.append([*values[:3], [text(x, 80) for x in sequence(values[3])[:reasons]]])
    return found


def _bytes(document: Mapping[str, Any]) -> int:
    return len(json.dumps(document, separators=(",", ":"), default=str).encode())
