"""The status document, from one look into this node's Redis and database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftplugin.core.decision import FROZEN
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.skew import skew_level
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing, both_active_bound_s, expected_failover_s, worst_failover_s
from ftplugin.health import reading
from ftplugin.replicate.shown import summary
from ftplugin.said import Said
from ftplugin.standing import DRAIN, PAUSE, in_force, seconds_left
from ftplugin.state import AGENT, CONTENT, DAILY, agent_age_s, lease_left_s
from ftplugin.store.runtime import Snapshot

from . import servers as cards
from . import starts
from .beats import strip, unpacked
from .daily import daily_of
from .faults import alarms_of as alarms_of_agent
from .ownership import WAY_OUT, alarms_of, alarms_there
from .plain import mapping, number, sequence, text, words
from .why import VIEWER_NOTE_S, peer_word, why

if TYPE_CHECKING:
    from ftplugin.extension import Portal

VIEWER = "viewer"
PROBLEM_WAY_OUT = Said("'ft doctor' on this server says what does not run here, and what to do.")
SHOWN = ("decision", "view", "services", "switch", "heartbeats", "outlook", "peer_status", VIEWER)
DOCUMENTS = (AGENT, *SHOWN, PAUSE, DRAIN, "ack_freeze", "manual", DAILY, CONTENT, "conflicts", *reading.DOCUMENTS)


def status_of(ft: Portal) -> dict[str, Any]:
    """The status document: plain JSON values, times in seconds, keys with units last."""
    revision, settings = ft.settings.current()
    snapshot = ft.runtime.snapshot(DOCUMENTS)
    documents = {name: snapshot.documents.get(name) or {} for name in DOCUMENTS}
    now_s, boot_id = ft.clock.now_s(), ft.clock.boot_id
    quiet_s = Timing.of(settings).quiet_s
    documents["services"] = starts.services_now(documents["services"], documents["switch"], boot_id, now_s, quiet_s)
    view, agent = documents["view"], documents[AGENT]
    age_s = agent_age_s(agent, boot_id, now_s)
    problem = _problem(snapshot, age_s, settings) if ft.designation() else _unconfigured(ft)
    record = snapshot.role or RoleRecord()
    left_s = lease_left_s(record, boot_id, now_s, ft.clock.wall_s())
    found = _servers(ft, settings, snapshot, documents, problem=problem, left_s=left_s, age_s=age_s)
    shown, expected = starts.expectations(ft, settings)
    _add_starts(ft, found, documents["peer_status"], expected["of"])
    last = ft.journal.recent(1)
    stored = ft.journal.standing()
    standing = documents if stored is None else stored
    return {
        "designation": None if (me := ft.designation(settings)) is None else str(me),
        "own_address": ft.config.own_address,
        "instance": ft.config.prefix,
        "at_wall_s": ft.clock.wall_s(),
        "settings_revision": revision,
        "settings_error": ft.settings.error,
        "enabled": settings.enabled,
        "licence": ft.licence.state().sentence,
        "problem": problem,
        "problem_way_out": PROBLEM_WAY_OUT if problem and me is not None else "",
        "age_s": age_s,
        "servers": found,
        "active": next((s["designation"] for s in found if s["word"] == "active"), None),
        "decision": documents["decision"],
        "alarms": [] if problem else [a for a in alarms_of_agent(documents["decision"]) if a != FROZEN],
        "health": reading.of(ft, snapshot, settings).to_json(),
        "vip_address": settings.vip_address,
        "witness": settings.witness,
        **_seen({} if problem else view, found, settings),
        "clock_warning": "" if problem else cards.clock_warning(mapping(view.get("peer")).get("skew_s")),
        "clock_level": "" if problem else str(skew_level(number(mapping(view.get("peer")).get("skew_s")))),
        "epoch": record.epoch,
        "seen_epoch": record.seen_epoch,
        "lease_left_s": left_s,
        "services": documents["services"],
        "running_switch": _running(ft, documents["switch"], expected["of"], quiet_s),
        "failed_attempt": _failed(documents["switch"], boot_id),
        "refused_order": _refused(documents["manual"], documents["switch"]),
        "last_switch": last[0] if last else {},
        "manual_hold": ft.journal.manual_hold(),
        "frozen": bool(agent.get("frozen")) and not _acknowledged(documents["ack_freeze"], age_s, boot_id, now_s),
        "pause": _paused(standing.get(PAUSE), boot_id, now_s, ft.clock.wall_s()),
        "drain": dict(standing.get(DRAIN) or {}),
        "untold": [row for row in (ft.journal.notices() or {}).values() if not row.get("told")],
        "daily": daily_of(ft, settings, documents[DAILY]),
        "refused_messages": ft.runtime.refused() if snapshot.role is not None else {},
        "expected_failover_s": expected_failover_s(shown),
        "worst_failover_s": worst_failover_s(shown),
        "expected_start": expected,
        "measured_switch": (newest := starts.newest_switch(found)),
        "slow_starts": starts.slow_warnings(found, newest, shown),
        "dual_owners": [] if problem else _dual_owners(found, documents["services"]),
        "dual_owner_way_out": WAY_OUT,
        "both_active_bound_s": both_active_bound_s(settings),
        "replication": summary(documents[CONTENT], documents["conflicts"], boot_id=boot_id, now_s=now_s),
        "viewer_age_s": _age_s(documents[VIEWER], boot_id, now_s),
    }


def _acknowledged(document: Mapping[str, Any], agent_age_s: float | None, boot_id: str, now_s: float) -> bool:
    """Whether a freeze was acknowledged since the agent's last tick, which does not know of it yet."""
    acknowledged_s = _age_s(document, boot_id, now_s)
    return acknowledged_s is not None and agent_age_s is not None and acknowledged_s < agent_age_s


def _seen(view: Mapping[str, Any], servers: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """What the agent saw around it at its last tick; ``view``: {} once that is old."""
    destination = words(view.get("vip"), "destination")
    return {
        "vip": destination or "unknown",
        "vip_text": cards.VIP_TEXTS.get(destination, "not known"),
        "lan": cards.lan(view.get("lan")),
        "witness_silent": bool(settings.witness) and cards.is_silent(view, "witness"),
        "nobody_active": cards.nobody_active(view, servers),
    }


def _paused(document: Mapping[str, Any] | None, boot_id: str, now_s: float, wall_s: float) -> dict[str, Any]:
    """The pause in force, with its end by this server's clock as it is now: after a reboot it counts from the boot."""
    pause = in_force(document, boot_id, now_s)
    if pause is None:
        return {}
    left_s = seconds_left(pause, boot_id, now_s)
    return {**pause, "until_wall_s": None if left_s is None else round(wall_s + left_s)}


def look(ft: Portal, status: Mapping[str, Any]) -> None:
    """Note that somebody looks, so that the agent asks the other server for what only that one knows."""
    age_s = status["viewer_age_s"]
    if age_s is None or age_s > VIEWER_NOTE_S:
        ft.runtime.publish(VIEWER, {"at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id})


def _servers(
    ft: Portal,
    settings: Settings,
    snapshot: Snapshot,
    documents: Mapping[str, Any],
    *,
    problem: str,
    left_s: float,
    age_s: float | None,
) -> list[dict[str, Any]]:
    """Both cards, in the order of their designations. The agent's word about the other one is ``age_s`` seconds old."""
    me = ft.designation(settings)
    heard = peer_word(documents["peer_status"], ft.clock.boot_id, ft.clock.now_s(), settings.interval_s)
    found = []
    for place in Designation:
        card = cards.blank(place, settings, here=place is me)
        if place is me:
            card |= cards.own(snapshot, left_s, problem, documents["services"])
            card |= _own_details(
                place, snapshot, documents, left_s=left_s, age_s=age_s, now_s=ft.clock.now_s(), problem=problem
            )
        else:
            services = {} if heard["old"] else mapping(heard["status"].get("services"))
            card |= cards.peer(documents["view"], problem, services)
            card |= _peer_details(place, ft, documents["view"], heard, problem, age_s)
        found.append(card)
    return found


def _own_details(
    place: Designation,
    snapshot: Snapshot,
    documents: Mapping[str, Any],
    *,
    left_s: float,
    age_s: float | None,
    now_s: float,
    problem: str,
) -> dict[str, Any]:
    decision, outlook = documents["decision"], documents["outlook"]
    same = outlook.get("tick_s") == decision.get("tick_s") and outlook.get("boot_id") == documents[AGENT].get("boot_id")
    figures = {}
    if snapshot.role is not None:
        view = {} if problem else documents["view"]  # role and lease are read now; what the agent saw around it is old
        figures = cards.own_figures(snapshot.role, documents[AGENT], view, left_s=left_s, age_s=age_s)
        figures["vip_text"] = cards.vip_text(figures["vip"], place)
    return {
        "old": bool(problem),
        "heard_old": False,
        "figures": figures,
        "service_list": cards.service_list(documents["services"], now_s),
        "heartbeats": strip(documents["heartbeats"]),
        "why": why(decision, outlook if same else {}, age_s),
        "heard_age_s": 0.0,
        "heard_problem": "",
        "switch": {},
    }


def _peer_details(
    place: Designation, ft: Portal, view: Mapping[str, Any], heard: Mapping[str, Any], problem: str, age_s: float | None
) -> dict[str, Any]:
    status = heard["status"]
    aged_s = None if heard["age_s"] is None else heard["age_s"] + (number(status.get("agent_age_s")) or 0.0)
    figures = {} if problem else cards.peer_figures(view, age_s or 0.0)
    around = mapping(status.get("surroundings"))
    known = {"lan": words(around, "lan")[:20], "vip_text": cards.vip_text(words(around, "vip"), place)}
    old = bool(problem) or heard["old"] or status.get("stale") is True
    if figures and around and not old:
        votes = [sequence(vote)[:2] for vote in sequence(around.get("voters"))]
        figures |= {**known, "voters": [[text(x, 80) for x in vote] for vote in votes if len(vote) == 2]}
    outlook = mapping(status.get("outlook"))
    return {
        "old": old,
        "heard_old": heard["old"],
        "figures": figures,
        "service_list": cards.service_list(status.get("services")),
        "heartbeats": strip(unpacked(status.get("heartbeats"), ft.clock.wall_s() - (heard["age_s"] or 0.0))),
        "why": why(mapping(status.get("decision")), outlook, aged_s),
        "heard_age_s": heard["age_s"],
        "heard_problem": heard["problem"],
        "switch": {} if problem or heard["old"] else starts.told_step(mapping(status.get("switch"))),
    }


def _problem(snapshot: Snapshot, age_s: float | None, settings: Settings) -> str:
    if snapshot.role is None:
        return Said("The Redis of this server does not answer; nothing is known now.")
    if age_s is None:
        return Said("The agent of this server has not ticked since the server was started.")
    if age_s > Timing.of(settings).stale_s:
        return Said(
            "The agent of this server has not ticked for %(seconds)s s; what it last saw is not shown as current.",
            seconds=f"{age_s:.0f}",
        )
    return ""


def _unconfigured(ft: Portal) -> str:
    return Said(
        "The IP address of this server (%(address)s) is neither server #1 nor #2: enter both addresses in the settings.",
        address=ft.config.own_address,
    )


def _add_starts(
    ft: Portal, found: list[dict[str, Any]], heard: Mapping[str, Any], expected: Mapping[str, float | None]
) -> None:
    """Expected and measured starts on both cards; of the other server as it has told them itself."""
    wall_s = ft.clock.wall_s()
    heard_wall_s = wall_s - (_age_s(heard, ft.clock.boot_id, ft.clock.now_s()) or 0.0)
    told = mapping(heard.get("status")).get("measured") if heard.get("boot_id") == ft.clock.boot_id else None
    for card in found:
        card["measured"] = starts.measured_here(ft) if card["here"] else starts.unpacked(told, heard_wall_s)
        card["service_list"] = starts.with_figures(card["service_list"], expected, card["measured"])


def _dual_owners(found: list[dict[str, Any]], services: Mapping[str, Any]) -> list[dict[str, Any]]:
    there = [alarm for card in found if not card["here"] for alarm in alarms_there(card)]
    return [*alarms_of(services), *there]


def _running(
    ft: Portal, document: Mapping[str, Any], expected: Mapping[str, float | None], quiet_s: float
) -> Mapping[str, Any]:
    """The switch that runs here. ``silent_s``: so long it has shown no life, where that is longer than it should be."""
    boot_id, now_s, wall_s = ft.clock.boot_id, ft.clock.now_s(), ft.clock.wall_s()
    if not document or document.get("outcome") != "running" or document.get("boot_id", boot_id) != boot_id:
        return {}
    began_s = number(document.get("began_s"))
    running_s = None if began_s is None else max(0.0, now_s - began_s)
    since = {} if running_s is None else {"running_s": running_s, "since_wall_s": wall_s - running_s}
    step, silent_s = starts.running_step(document, now_s, expected), starts.silent_s(document, now_s)
    dead = silent_s > starts.patience_s(ft.config.services, document.get("step"), quiet_s)
    return {**document, **step, **since, "silent_s": silent_s if dead else None}


def _refused(order: Mapping[str, Any], switch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The newest order when it was refused, unless a switch was done here since then."""
    later = (number(switch.get("at_wall_s")) or 0.0) > (number(order.get("at_wall_s")) or 0.0)
    done = switch.get("outcome") == "done" and later
    return order if order.get("outcome") == "refused" and not done else {}


def _failed(document: Mapping[str, Any], boot_id: str) -> Mapping[str, Any]:
    """The newest switch when it could not be done; from Redis, since a full disk takes neither journal nor log."""
    failed = document.get("outcome") in ("aborted", "failed") and document.get("boot_id", boot_id) == boot_id
    return document if failed else {}


def _age_s(document: Mapping[str, Any], boot_id: str, now_s: float) -> float | None:
    at_s = number(document.get("at_s")) if document.get("boot_id") == boot_id else None
    return None if at_s is None else now_s - at_s
