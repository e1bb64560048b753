"""The cards of the two servers: the own one from the own Redis, the other one from the last heartbeat and its own word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.skew import skew_level
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.said import Said
from ftplugin.store.runtime import Snapshot

from .faults import trouble_of
from .ownership import other_owners
from .plain import count, mapping, number, sequence, text, words

ACTIVE, STANDBY, ERROR = "Active (Primary)", "Standby (Backup)", "Error"
LABELS = {Designation.SERVER1: "Server #1", Designation.SERVER2: "Server #2"}
VIP_TEXTS = {"self": "this server", "peer": "the other server", "both": "both servers", "nobody": "nobody"}
JUST_STARTED, NOT_TICKED = Said("has just started, no role decided yet"), Said("its agent has not ticked lately")


def blank(place: Designation, settings: Settings, *, here: bool) -> dict[str, Any]:
    """A server of which nothing is known."""
    return {
        "designation": str(place),
        "label": LABELS[place],
        "address": settings.address_of(place),
        "here": here,
        "word": "error",
        "status": ERROR,
        "detail": "",
        "starting": False,
        "progress": 0,
        "total": 0,
    }


def own(snapshot: Snapshot, left_s: float, problem: str, services: Mapping[str, Any]) -> dict[str, Any]:
    record = snapshot.role
    if record is None:
        return {"detail": Said("its Redis does not answer")}
    if left_s > 0:
        return _active(record.phase, services, NOT_TICKED if problem else "")
    if problem:
        return {"detail": NOT_TICKED}
    detail = {Role.UNDECIDED: JUST_STARTED, Role.ACTIVE: Said("its lease has run out")}
    return {"word": "standby", "status": STANDBY, "detail": detail.get(record.role, _phase_text(record.phase))}


def peer(view: Mapping[str, Any], problem: str, services: Mapping[str, Any]) -> dict[str, Any]:
    """``services``: as the other server has told them itself, empty when it has not lately."""
    if problem or not view:  # without a view: lost with Redis, until the next tick
        return {"detail": Said("not known now")}
    probe, vip = mapping(view.get("peer")), mapping(view.get("vip"))
    state = mapping(probe.get("state"))
    cause = str(probe.get("cause", ""))
    through_vip = not state and bool(mapping(vip.get("peer_state")))
    if through_vip:
        state = mapping(vip.get("peer_state"))
    elif not state or cause != "ok":
        return {"detail": Said(cause) if cause else Said("never heard")}
    detail = Said("heard through the VIP only, the direct path is cut") if through_vip else ""
    left_s = state.get("lease_left_s")
    if state.get("role") == Role.ACTIVE and isinstance(left_s, (int, float)) and left_s > 0:
        phase = Phase.STARTING if state.get("phase") == Phase.STARTING else Phase.READY
        return _active(phase, services, detail)
    if state.get("eligible") is False:
        detail = detail or Said("drained: not eligible")
    if state.get("role") == Role.UNDECIDED:
        detail = detail or JUST_STARTED
    return {"word": "standby", "status": STANDBY, "detail": detail}


def _active(phase: Phase, services: Mapping[str, Any], detail: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"word": "active", "status": ACTIVE, "detail": detail}
    if phase is Phase.STARTING:
        shown["starting"] = True
        readings = [mapping(reading) for reading in services.values()]
        shown["progress"] = sum(count(reading.get("progress")) for reading in readings)
        shown["total"] = sum(count(reading.get("total")) for reading in readings)
        progress = f" {shown['progress']}/{shown['total']}" if shown["total"] else ""
        starting = Said("starting%(progress)s", progress=progress)
        shown["detail"] = Said("%(one)s; %(other)s", one=starting, other=detail) if detail else starting
    return shown


def _phase_text(phase: Phase) -> str:
    return Said("stopping") if phase is Phase.STOPPING else ""


# --- figures of a card ---------------------------------------------------------------------------------------------


def own_figures(
    record: RoleRecord, agent: Mapping[str, Any], view: Mapping[str, Any], *, left_s: float, age_s: float | None
) -> dict[str, Any]:
    """Figures of this server; the agent's word on LAN, VIP and voters among them."""
    return {
        "epoch": record.epoch,
        "seen_epoch": record.seen_epoch,
        "lease_left_s": left_s,
        "agent_age_s": age_s,
        "revision": count(agent.get("settings_revision")),
        "version": text(agent.get("version"), 40),
        "skew_s": None,
        **surroundings(view),
    }


def peer_figures(view: Mapping[str, Any], age_s: float) -> dict[str, Any]:
    """Figures of the other server as it signed them at the last heartbeat, ``age_s`` seconds ago; {} when it did not.

    A lease can only have become shorter or have been renewed since: "at least so much" is what remains of the old one.
    """
    probe = mapping(view.get("peer"))
    state = mapping(probe.get("state")) or mapping(mapping(view.get("vip")).get("peer_state"))
    if not state:
        return {}
    agent_s, left_s = number(state.get("agent_age_s")), number(state.get("lease_left_s")) or 0.0
    return {
        "epoch": count(state.get("epoch")),
        "seen_epoch": count(state.get("seen_epoch")),
        "lease_left_s": max(0.0, left_s - age_s),
        "agent_age_s": None if agent_s is None else agent_s + age_s,
        "revision": count(state.get("settings_revision")),
        "version": text(state.get("version"), 40),
        "skew_s": number(probe.get("skew_s")),
    }


def vip_text(destination: str, place: Designation) -> str:
    """Where the VIP leads as the server ``place`` sees it, by name; "" when that one tests no VIP."""
    names = {"self": LABELS[place], "peer": LABELS[place.other], "both": "both servers", "nobody": "nobody"}
    return names.get(destination, "not known") if destination else ""


def surroundings(view: Mapping[str, Any]) -> dict[str, Any]:
    """LAN, VIP and voters as one server sees them; plain words."""
    destination = words(view.get("vip"), "destination")
    return {
        "lan": lan(view.get("lan")),
        "vip": destination or "unknown",
        "voters": [_voter(mapping(vote)) for vote in sequence(view.get("votes"))],
    }


def _voter(vote: Mapping[str, Any]) -> list[str]:
    """[voter, what it shows]."""
    mark, owner, lock = vote.get("mark"), text(vote.get("owner"), 20), text(vote.get("lock_owner"), 20)
    if mark is None:
        shown = "does not answer"
    elif mark == "missing":
        shown = "empty"
    else:
        shown = f"lease of {owner}, epoch {count(vote.get('epoch'))}" if owner else "no lease"
        shown += f", locked by {lock}" if lock else ""
    return [text(vote.get("voter"), 20), shown]


def nobody_active(view: Mapping[str, Any], servers: list[dict[str, Any]]) -> bool:
    """Whether neither server was active at the last heartbeat. Of one from before the own role changed nothing follows."""
    return view.get("role") in (Role.STANDBY, Role.UNDECIDED) and all(server["word"] == "standby" for server in servers)


def is_silent(view: Mapping[str, Any], voter: str) -> bool:
    """Whether the agent had no answer of this voter at its last tick."""
    votes = [mapping(vote) for vote in sequence(view.get("votes"))]
    return any(vote.get("voter") == voter and vote.get("mark") is None for vote in votes)


def lan(value: object) -> str:
    reading = mapping(value)
    states = (reading.get("carrier"), reading.get("reference"))
    return "down" if "no" in states else "up" if states == ("yes", "yes") else "unknown"


def service_list(services: object, now_s: float | None = None) -> list[dict[str, Any]]:
    """[{name, state, progress, total, detail, owners, …}] of a document "services"; owners: who else owns what it owns; the
    rest is its trouble, as ``faults.trouble_of`` tells it with ``now_s``."""
    found = []
    for name, value in mapping(services).items():
        reading = mapping(value)
        found.append(
            {
                "name": str(name)[:80],
                "state": text(reading.get("state"), 20) or "unknown",
                "progress": count(reading.get("progress")),
                "total": count(reading.get("total")),
                "detail": text(reading.get("detail"), 200),
                "owners": other_owners(reading),
                **trouble_of(reading, now_s),
            }
        )
    return found


def clock_warning(skew_s: object) -> str:
    """I-H: skew warns, never refuses. ``skew_s``: how far the other server's clock is ahead, as last heard."""
    if not isinstance(skew_s, (int, float)) or not skew_level(skew_s):
        return ""
    seconds = f"{abs(skew_s):.0f}"
    if skew_s > 0:
        return Said(
            "The clock of the other server is %(seconds)s s ahead of this one's: set both by the same NTP source.",
            seconds=seconds,
        )
    return Said(
        "The clock of the other server is %(seconds)s s behind this one's: set both by the same NTP source.",
        seconds=seconds,
    )
