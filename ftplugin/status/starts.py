"""Starts of services and switches: how long they were expected to take, and what the last ones took (spec 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ftplugin.core.settings import Settings
from ftplugin.core.start import expected_starts, is_slow, with_starts
from ftplugin.core.timing import service_start_s, worst_failover_s
from ftplugin.history.records import MEASURED, MOMENT_S_MAX
from ftplugin.said import Said
from ftplugin.store.events import EventStore

from .plain import mapping, number, sequence, text

if TYPE_CHECKING:
    from ftplugin.extension import Portal

KINDS = {
    "F1": Said("failover"),
    "C3": Said("failover"),
    "F2": Said("following the VIP"),
    "B1": Said("failback"),
    "M1": Said("switchover"),
    "M2": Said("forced takeover"),
}
START = Said("start of the servers")
SERVICE_STEP = "service "
SERVICES_MAX = 16
START_LIMIT_S = 60.0  # of a service whose table does not say (docs/services.md)


def measured_here(ft: Portal) -> dict[str, Any]:
    """What the last promotion of this server took; {} when none is recorded."""
    return measured(EventStore(ft.database, ft.config.log_days).newest(MEASURED))


def measured(value: object) -> dict[str, Any]:
    """{at_wall_s, rule, kind, switch_s, delay_s, start_s, starts: {service: {took_s, waited_s}}} of a recorded event.

    delay_s: from the last heartbeat that heard the other server as active to the end of the start; None when it was not
    heard before, or the switch was asked for.
    """
    facts = mapping(value)
    at_s, switch_s = number(facts.get("wall_s")), number(facts.get("switch_s"))
    if at_s is None or switch_s is None or not 0 < at_s <= MOMENT_S_MAX:
        return {}
    starts = {}
    for name, took in list(mapping(facts.get("starts")).items())[:SERVICES_MAX]:
        took_s, waited_s = (number(x) for x in (sequence(took) + [None, None])[:2])
        if took_s is not None:
            starts[str(name)[:80]] = {"took_s": took_s, "waited_s": waited_s or 0.0}
    rule = text(facts.get("rule"), 8)
    return {
        "at_wall_s": at_s,
        "rule": rule,
        "kind": KINDS.get(rule, START),
        "switch_s": switch_s,
        "delay_s": number(facts.get("delay_s")),
        "start_s": sum(start["took_s"] for start in starts.values()),
        "starts": starts,
    }


def packed(found: Mapping[str, Any], wall_s: float) -> dict[str, Any]:
    """For the way to the peer: the age instead of this clock's time."""
    if not found:
        return {}
    starts = {name: [start["took_s"], start["waited_s"]] for name, start in found["starts"].items()}
    kept = {name: found[name] for name in ("rule", "switch_s", "delay_s")}
    return {**kept, "age_s": round(wall_s - found["at_wall_s"]), "starts": starts}


def unpacked(value: object, wall_s: float) -> dict[str, Any]:
    """As ``measured``. ``wall_s``: this server's clock when the answer came."""
    facts = mapping(value)
    age_s = number(facts.get("age_s"))
    return {} if age_s is None else measured({**facts, "wall_s": wall_s - age_s})


def with_figures(
    services: list[dict[str, Any]], expected: Mapping[str, float | None], last: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A card's services, each with ``start``: {expected_s, took_s, waited_s, at_wall_s, kind, slow}."""
    found = []
    for service in services:
        took = mapping(mapping(last.get("starts")).get(service["name"]))
        expected_s, took_s = expected.get(service["name"]), number(took.get("took_s"))
        waited_s = number(took.get("waited_s")) or 0.0
        slow = expected_s is not None and took_s is not None and is_slow(took_s - waited_s, expected_s)
        figures = {"expected_s": expected_s, "took_s": took_s, "waited_s": waited_s, "slow": slow}
        known = {"at_wall_s": last["at_wall_s"], "kind": last["kind"]} if took_s is not None else {}
        found.append({**service, "start": {**figures, **known}})
    return found


def expectations(ft: Portal, settings: Settings) -> tuple[Settings, dict[str, Any]]:
    """(``settings`` as delays are to be computed from, {source, start_s, of: {service: seconds or None}})."""
    starts, shown = expected_starts(ft.config.services, settings), with_starts(settings, ft.config.services)
    return shown, {"source": starts.source, "start_s": service_start_s(shown), "of": dict(starts.of)}


def newest_switch(servers: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest of what both servers have measured, with ``server``: its label; {} when there is none."""
    known = [{**server["measured"], "server": server["label"]} for server in servers if server["measured"]]
    return max(known, key=lambda found: found["at_wall_s"], default={})


def slow_warnings(servers: list[dict[str, Any]], last: Mapping[str, Any], shown: Settings) -> list[str]:
    """What took longer than the settings assume, in sentences for the page. ``shown``: as ``expectations`` gives it."""
    found: list[str] = []
    for server in servers:
        for service in server["service_list"]:
            start = service["start"]
            if start["slow"]:
                found.append(_slow(server["label"], service["name"], start))
    worst_s, delay_s = worst_failover_s(shown), last.get("delay_s")
    if delay_s is not None and last["rule"] in ("F1", "C3") and delay_s > worst_s:
        found.append(
            Said(
                "The last failover took %(took)s s, longer than the worst of %(worst)s s that the settings assume: see "
                "its steps in the history.",
                took=f"{delay_s:.1f}",
                worst=f"{worst_s:.1f}",
            )
        )
    return found


def _slow(label: str, service: str, start: Mapping[str, Any]) -> str:
    return Said(
        "%(service)s took %(took)s s to start on %(server)s, more than 1.5 times the expected %(expected)s s: find out "
        "why, or raise its expected start (FT_SERVICES, or the CTI settings).",
        service=service,
        took=f"{start['took_s'] - start['waited_s']:.1f}",
        server=Said(label),
        expected=f"{start['expected_s']:.1f}",
    )


def running_step(switch: Mapping[str, Any], now_s: float, expected: Mapping[str, float | None]) -> dict[str, Any]:
    """{elapsed_s, expected_s} of the step that a running switch is at; {} when it has none."""
    began_s, step = number(switch.get("step_began_s")), text(switch.get("step"), 200)
    if began_s is None or not step:
        return {}
    service = step.removeprefix(SERVICE_STEP) if step.startswith(SERVICE_STEP) else ""
    return {"elapsed_s": round(max(0.0, now_s - began_s), 1), "expected_s": expected.get(service) if service else None}


def silent_s(switch: Mapping[str, Any], now_s: float) -> float:
    """Seconds since a running switch last showed life; 0 when its document does not say."""
    updated_s = number(switch.get("updated_s"))
    return 0.0 if updated_s is None else max(0.0, now_s - updated_s)


def patience_s(services: Iterable[Mapping[str, Any]], step: object, quiet_s: float) -> float:
    """How long a switch may say nothing at ``step``: a service that tells no progress may take its whole start.

    services: the tables of FT_SERVICES. quiet_s: ``Timing.quiet_s``.
    """
    limits = {f"{SERVICE_STEP}{table.get('name')}": number(table.get("start_limit_s")) for table in services}
    return max(quiet_s, limits[step] or START_LIMIT_S) if isinstance(step, str) and step in limits else quiet_s


def services_now(
    services: Mapping[str, Any], switch: Mapping[str, Any], boot_id: str, now_s: float, quiet_s: float
) -> dict[str, Any]:
    """The document "services" with what a running switch knows of the service that it starts: it looks more often, unless
    its worker has died in it. quiet_s: ``Timing.quiet_s``."""
    live = mapping(switch.get("service"))
    name = text(live.get("name"), 80)
    if not name or switch.get("outcome") != "running" or switch.get("boot_id") != boot_id:
        return dict(services)
    if silent_s(switch, now_s) > quiet_s:
        return dict(services)
    return {**services, name: {**mapping(services.get(name)), **live}}


def told_step(switch: Mapping[str, Any]) -> dict[str, Any]:
    """The step that a switch of the other server is at, as that one told it; {} when none runs there."""
    found: dict[str, Any] = {name: text(switch.get(name), 200) for name in ("rule", "kind", "step", "detail")}
    if not any(found.values()):
        return {}
    if (elapsed_s := number(switch.get("elapsed_s"))) is not None:
        found |= {"elapsed_s": elapsed_s, "expected_s": number(switch.get("expected_s"))}
    return found
