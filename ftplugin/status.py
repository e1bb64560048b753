"""What page and command line show: both servers in the guide's words, the last decision, and how old all this is.

Everything comes from the node's own Redis and database. Old is never shown as new: when the agent has not ticked for
2 T, or Redis does not answer, the document says so in ``problem`` and the peer is shown as not known.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .core.records import RoleRecord
from .core.settings import Settings
from .core.terms import Designation, Phase, Role
from .core.timing import Timing, both_active_bound_s, expected_failover_s, worst_failover_s
from .standing import DRAIN, PAUSE, in_force
from .state import AGENT, agent_age_s, lease_left_s
from .store.runtime import Snapshot

if TYPE_CHECKING:
    from .extension import Portal

ACTIVE, STANDBY, ERROR = "Active (Primary)", "Standby (Backup)", "Error"
VIP_TEXTS = {"self": "this server", "peer": "the other server", "both": "both servers", "nobody": "nobody"}
NOT_CONFIGURED = "The IP address of this server ({}) is neither server #1 nor #2: enter both addresses in the settings."
SKEW_WARNING_S = 1.0  # half a round trip of 1000 ms cannot be told from skew
DOCUMENTS = (AGENT, "decision", "view", "services", "switch", PAUSE, DRAIN, "ack_freeze", "manual")


def status_of(ft: Portal) -> dict[str, Any]:
    """The status document: plain JSON values, times in seconds, keys with units last."""
    revision, settings = ft.settings.current()
    snapshot = ft.runtime.snapshot(DOCUMENTS)
    documents = {name: snapshot.documents.get(name) or {} for name in DOCUMENTS}
    now_s, designation = ft.clock.now_s(), ft.designation(settings)
    age_s = agent_age_s(documents[AGENT], ft.clock.boot_id, now_s)
    problem = _problem(snapshot, age_s, settings) if ft.designation() else NOT_CONFIGURED.format(ft.config.own_address)
    view, agent = documents["view"], documents[AGENT]
    record = snapshot.role or RoleRecord()
    left_s = lease_left_s(record, ft.clock.boot_id, now_s, ft.clock.wall_s())
    servers = [
        _server(place, settings, here=place is designation)
        | (
            _own(snapshot, left_s, problem, documents["services"])
            if place is designation
            else _peer(view, problem, documents["services"])
        )
        for place in Designation
    ]
    last = ft.journal.recent(1)
    stored = ft.journal.standing()
    standing = documents if stored is None else stored
    return {
        "designation": None if designation is None else str(designation),
        "own_address": ft.config.own_address,
        "settings_revision": revision,
        "settings_error": ft.settings.error,
        "enabled": settings.enabled,
        "problem": problem,
        "age_s": age_s,
        "servers": servers,
        "active": next((s["designation"] for s in servers if s["word"] == "active"), None),
        "decision": documents["decision"],
        "vip": _words(view.get("vip"), "destination") or "unknown",
        "vip_text": VIP_TEXTS.get(_words(view.get("vip"), "destination"), "not known"),
        "lan": _lan(view.get("lan")),
        "clock_warning": "" if problem else _clock_warning(_mapping(view.get("peer")).get("skew_s")),
        "epoch": record.epoch,
        "seen_epoch": record.seen_epoch,
        "lease_left_s": left_s,
        "services": documents["services"],
        "running_switch": _running(documents["switch"], ft.clock.boot_id),
        "failed_attempt": _failed(documents["switch"], ft.clock.boot_id),
        "refused_order": documents["manual"] if documents["manual"].get("outcome") == "refused" else {},
        "last_switch": last[0] if last else {},
        "manual_hold": bool(agent.get("manual_hold")) or ft.journal.manual_hold(),
        "frozen": bool(agent.get("frozen")),
        "pause": dict(in_force(standing.get(PAUSE), ft.clock.boot_id, now_s) or {}),
        "drain": dict(standing.get(DRAIN) or {}),
        "refused_messages": ft.runtime.refused() if snapshot.role is not None else {},
        "expected_failover_s": expected_failover_s(settings),
        "worst_failover_s": worst_failover_s(settings),
        "both_active_bound_s": both_active_bound_s(settings),
    }


def _problem(snapshot: Snapshot, age_s: float | None, settings: Settings) -> str:
    if snapshot.role is None:
        return "The Redis of this server does not answer; nothing is known now."
    if age_s is None:
        return "The agent of this server has not ticked since the server was started."
    if age_s > Timing.of(settings).stale_s:
        return f"The agent of this server has not ticked for {age_s:.0f} s; what it last saw is not shown as current."
    return ""


def _server(place: Designation, settings: Settings, *, here: bool) -> dict[str, Any]:
    return {
        "designation": str(place),
        "label": "Server #1" if place is Designation.SERVER1 else "Server #2",
        "address": settings.address_of(place),
        "here": here,
        "word": "error",
        "status": ERROR,
        "detail": "",
        "progress": 0,
        "total": 0,
    }


def _own(snapshot: Snapshot, left_s: float, problem: str, services: Mapping[str, Any]) -> dict[str, Any]:
    record = snapshot.role
    if record is None:
        return {"detail": "its Redis does not answer"}
    if left_s > 0:
        return _active(record.phase, services, "its agent has not ticked lately" if problem else "")
    if problem:
        return {"detail": "its agent has not ticked lately"}
    detail = {Role.UNDECIDED: "has just started, no role decided yet", Role.ACTIVE: "its lease has run out"}
    return {"word": "standby", "status": STANDBY, "detail": detail.get(record.role, _phase_text(record.phase))}


def _peer(view: Mapping[str, Any], problem: str, services: Mapping[str, Any]) -> dict[str, Any]:
    if problem:
        return {"detail": "not known now"}
    probe, vip = _mapping(view.get("peer")), _mapping(view.get("vip"))
    state = _mapping(probe.get("state"))
    cause = str(probe.get("cause", ""))
    through_vip = not state and bool(_mapping(vip.get("peer_state")))
    if through_vip:
        state = _mapping(vip.get("peer_state"))
    elif not state or cause != "ok":
        return {"detail": cause or "never heard"}
    detail = "heard through the VIP only, the direct path is cut" if through_vip else ""
    left_s = state.get("lease_left_s")
    if state.get("role") == Role.ACTIVE and isinstance(left_s, (int, float)) and left_s > 0:
        phase = Phase.STARTING if state.get("phase") == Phase.STARTING else Phase.READY
        return _active(phase, {}, detail)
    if state.get("eligible") is False:
        detail = detail or "drained: not eligible"
    if state.get("role") == Role.UNDECIDED:
        detail = detail or "has just started, no role decided yet"
    return {"word": "standby", "status": STANDBY, "detail": detail}


def _active(phase: Phase, services: Mapping[str, Any], detail: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"word": "active", "status": ACTIVE, "detail": detail}
    if phase is Phase.STARTING:
        readings = [_mapping(reading) for reading in services.values()]
        shown["progress"] = sum(_count(reading.get("progress")) for reading in readings)
        shown["total"] = sum(_count(reading.get("total")) for reading in readings)
        progress = f" {shown['progress']}/{shown['total']}" if shown["total"] else ""
        shown["detail"] = "; ".join(filter(None, (f"starting{progress}", detail)))
    return shown


def _phase_text(phase: Phase) -> str:
    return "stopping" if phase is Phase.STOPPING else ""


def _running(document: Mapping[str, Any], boot_id: str) -> Mapping[str, Any]:
    if not document or document.get("outcome") != "running" or document.get("boot_id", boot_id) != boot_id:
        return {}
    return document


def _failed(document: Mapping[str, Any], boot_id: str) -> Mapping[str, Any]:
    """The newest switch when it could not be done; from Redis, since a full disk takes neither journal nor log."""
    failed = document.get("outcome") in ("aborted", "failed") and document.get("boot_id", boot_id) == boot_id
    return document if failed else {}


def _lan(value: object) -> str:
    lan = _mapping(value)
    states = (lan.get("carrier"), lan.get("reference"))
    return "down" if "no" in states else "up" if states == ("yes", "yes") else "unknown"


def _clock_warning(skew_s: object) -> str:
    """I-H: skew warns, never refuses. ``skew_s``: how far the other server's clock is ahead, as the last heartbeat saw it."""
    if not isinstance(skew_s, (int, float)) or abs(skew_s) <= SKEW_WARNING_S:
        return ""
    where = "ahead of" if skew_s > 0 else "behind"
    return f"The clock of the other server is {abs(skew_s):.0f} s {where} this one's: set both by the same NTP source."


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: object, key: str) -> str:
    found = _mapping(value).get(key)
    return found if isinstance(found, str) else ""


def _count(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else 0


def new_order(target: Designation, expected_active: str | None, actor: str, reason: str) -> dict[str, Any]:
    """A switchover order (rule M1) for the switch worker."""
    return {
        "kind": "manual",
        "rule": "M1",
        "target": str(target),
        "expected_active": expected_active or None,
        "actor": actor[:200],
        "reason": reason[:500],
        "switch_id": str(uuid.uuid4()),
    }


def order_problem(status: Mapping[str, Any], target: Designation, expected_active: str | None) -> str:
    """Why a switchover to ``target`` cannot be asked for now; empty when it can."""
    if status["problem"]:
        return f"{status['problem']} Nobody here could carry the order out."
    if (expected_active or None) != status["active"]:
        return (
            f"The active server is {status['active'] or 'none'} now, not {expected_active or 'none'} as you expected. "
            "Look at the status again, then decide."
        )
    if status["active"] == target:
        return f"{target} is active already."
    return ""
