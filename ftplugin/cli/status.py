"""``ft status``, ``ft why`` and ``ft rules``: twins of the status and rules pages, in text or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click
from ..replicate.shown import sentence
from .common import UNREACHABLE, json_option, node_of, say

POLL_S = 0.2
EXIT_CODES = "Exit codes: 0 shown; 2 wrong usage or configuration; 3 the Redis of this server does not answer."


@click.command(epilog=EXIT_CODES)
@json_option
@click.option(
    "--watch",
    "period_s",
    type=click.FloatRange(0.2, 3600),
    metavar="S",
    help="Show it again every S seconds until interrupted; with --json one object a line.",
)
@click.pass_context
def status(context: click.Context, as_json: bool, period_s: float | None) -> None:
    """Both servers, the last decision, and how old this is."""
    node = node_of(context)
    while period_s is not None:
        found = _look(node)
        click.echo(json.dumps(found, default=str) if as_json else "\n".join([*status_lines(found), ""]))
        time.sleep(period_s)
    found = _look(node)
    say(found, as_json, status_lines(found))
    _leave(node)


@click.command(epilog=EXIT_CODES)
@json_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 60),
    default=5.0,
    show_default=True,
    metavar="S",
    help="For the other server's own word: its agent is asked only while somebody looks.",
)
@click.pass_context
def why(context: click.Context, as_json: bool, wait_s: float) -> None:
    """Why each server is what it is, what would make it switch and when, and what else was weighed."""
    node = node_of(context)
    end_s = time.monotonic() + wait_s
    found = _look(node)
    while _waits(found) and time.monotonic() < end_s:
        time.sleep(POLL_S)
        found = _look(node)
    document = [
        {key: server[key] for key in ("designation", "here", "status", "old", "heard_age_s", "heard_problem", "why")}
        for server in found["servers"]
    ]
    say({"problem": found["problem"], "servers": document}, as_json, why_lines(found))
    _leave(node)


@click.command(epilog=EXIT_CODES)
@json_option
@click.pass_context
def rules(context: click.Context, as_json: bool) -> None:
    """The whole rule table with this pair's figures; '>' marks the row that holds now on this server."""
    from ..status import status_of
    from ..web.rules_page import tables

    node = node_of(context)
    found = tables(node, status_of(node))
    lines = []
    for role, rows in found:
        lines += ["", f"While the server is {role}:"]
        for row in rows:
            lines += _rule_lines(row)
    say([row for _, rows in found for row in rows], as_json, lines[1:])
    _leave(node)


def _look(node: Any) -> dict[str, Any]:
    from ..status import look, status_of

    found = status_of(node)
    look(node, found)
    return found


def _leave(node: Any) -> None:
    if node.runtime.read_role() is None:
        raise SystemExit(UNREACHABLE)


def _waits(found: Mapping[str, Any]) -> bool:
    """The other server's word may still come: this agent ticks, and has not failed to ask for it."""
    if found["problem"]:
        return False
    return any(not s["here"] and s["heard_old"] and not s["heard_problem"] for s in found["servers"])


def status_lines(found: Mapping[str, Any]) -> list[str]:
    """The status in text, one fact a line; what is old says so."""
    from ..status.daily import lines_of

    lines = [f"instance {found['instance']}"] if found["instance"] else []
    for server in found["servers"]:
        here = " (this server)" if server["here"] else ""
        detail = f", {server['detail']}" if server["detail"] else ""
        lines.append(f"{server['label']} {server['address'] or '-'}{here}: {server['status']}{detail}")
        lines += [f"    {line}" for line in _card_lines(server)]
    if found["nobody_active"]:
        lines.append("ALARM: neither server was active at the last heartbeat; 'ft why' says why, and what comes next")
    if found["witness_silent"]:
        lines.append(
            f"ALARM: the witness {found['witness']} is silent; the loss of either server now stops the services"
        )
    lines += [f"ALARM: {alarm}" for alarm in found["alarms"]]
    for alarm in found["dual_owners"]:
        lines.append(f"ALARM, two owners: service {alarm['service']}: {alarm['text']}. {found['dual_owner_way_out']}")
    decision = found["decision"]
    if found["problem"]:
        lines.append(f"{found['problem']} {found['problem_way_out']}".rstrip())
    elif decision:
        lines.append(f"{decision.get('rule') or '-'}: {decision.get('sentence', '')}")
    lines += _holding_lines(found)
    lines += _health_lines(found["health"])
    lines += _switch_lines(found)
    lines += _start_lines(found)
    lines += lines_of(found["daily"], found["active"])
    lines += [found["licence"]] if found["licence"] else []
    if found["clock_warning"]:
        lines.append(("ALARM: " if found["clock_level"] == "alarm" else "") + found["clock_warning"])
    left_s = found["lease_left_s"]
    lines.append(f"epoch {found['epoch']}, lease left {left_s:.1f} s, VIP {found['vip']}, LAN {found['lan']}")
    mode = "on" if found["enabled"] else "off"
    lines.append(f"Hot Standby mode {mode}, settings revision {found['settings_revision']}")
    if text := sentence(found["replication"]):
        lines.append(text)
    return lines


def _holding_lines(found: Mapping[str, Any]) -> list[str]:
    """What somebody ordered, and what holds switches back, each with its end."""
    lines = []
    if found["settings_error"]:
        lines.append("The settings cannot be read now; the last good ones are in force.")
    for name in ("pause", "drain"):
        if order := found[name]:
            until_s = order.get("until_wall_s")
            until = f" until about {_clock(until_s)}" if isinstance(until_s, (int, float)) else ""
            lines.append(f"{name} by {order.get('owner', '')}{until}: {order.get('reason', '')}")
    for row in found["untold"]:
        command = str(row.get("command")).replace("_", " ")
        lines.append(f"the other server does not know yet of: {command}, by {row.get('actor')}")
    if found["frozen"]:
        lines.append(
            "frozen: too many automatic switches; see 'ft acknowledge-freeze'. Only a failover goes on, slower"
        )
    if found["manual_hold"]:
        lines.append("a manual switchover holds failback and the VIP rule; see 'ft release-hold'")
    return lines


def _switch_lines(found: Mapping[str, Any]) -> list[str]:
    """The switch that runs, and the last one that could not be done, each with its time."""
    lines = []
    if running := found["running_switch"]:
        words = f"{running.get('step', '')} {running.get('detail', '')}".strip()
        age = f", for {running['running_s']:.0f} s" if "running_s" in running else ""
        lines.append(f"a switch is running ({running.get('rule', '')}{age}): {words}{elapsed_text(running)}")
        if running["silent_s"]:
            lines.append(f"    no life for {running['silent_s']:.0f} s: does the switch worker of this server run?")
    if failed := found["failed_attempt"]:
        at, steps = _clock(failed.get("at_wall_s")), (
            f"; see 'ft follow {failed['switch_id']}'" if failed.get("switch_id") else ""
        )
        lines.append(
            f"The last attempt to {failed['kind']} ({failed['rule']}) was given up at {at}: {failed['detail']}{steps}"
        )
    if refused := found["refused_order"]:
        lines.append(f"A switchover was refused at {_clock(refused.get('at_wall_s'))}: {refused.get('detail', '')}")
    return lines


def _health_lines(health: Mapping[str, Any]) -> list[str]:
    """The health checks of this server; what is too old to be believed says so."""
    lines = ["health: IPSWS=OK" if health["ok"] else f"health: IPSWS=KO, {'; '.join(health['failed'])}"]
    for check in health["checks"]:
        old, detail = "old: " if check["old"] else "", f": {check['detail']}" if check["detail"] else ""
        shown = f"{old}check {check['name']}: {check['state']}{detail}"
        lines.append(f"    {shown} ({check['age_s']:.0f} s ago, took {check['duration_s']:.2f} s)")
    return lines


def _card_lines(server: Mapping[str, Any]) -> list[str]:
    facts, beats, lines = server["figures"], server["heartbeats"], list[str]()
    old = "old: " if server["old"] else ""
    if facts:
        ticked = "never" if facts["agent_age_s"] is None else f"{facts['agent_age_s']:.1f} s ago"
        skew = "" if facts["skew_s"] is None else f", clock {facts['skew_s']:+.2f} s"
        lines.append(
            f"epoch {facts['epoch']}, lease left {facts['lease_left_s']:.1f} s, agent ticked {ticked}, settings revision "
            f"{facts['revision']}, version {facts['version'] or 'not known'}{skew}"
        )
        lines += [f"voter {voter}: {shown}" for voter, shown in facts.get("voters", [])]
    if beats["bars"]:
        marks = {"good": ".", "bad": "X", "none": " "}
        strip = "".join(marks[bar["state"]] for bar in beats["bars"])
        median = (
            ""
            if beats["median_ms"] is None
            else f", last {beats['last_ms']:.1f} ms, median {beats['median_ms']:.1f} ms"
        )
        lines.append(f"{old}heartbeats [{strip}] {beats['good']} good, {beats['bad']} bad{median}")
        lines += [f"bad: {cause['count']} x {cause['cause']}" for cause in beats["causes"]]
    for service in server["service_list"]:
        progress = f" {service['progress']}/{service['total']}" if service["total"] else ""
        owners = f" ALSO OWNED BY {', '.join(service['owners'])}" if service["owners"] else ""
        lines.append(
            f"{old}service {service['name']}: {service['state']}{progress}{owners}{_trouble(service)} "
            f"{service['detail']}".rstrip()
        )
        if figures := _figures(service["start"]):
            lines.append(f"    {figures}")
    if not server["here"] and server["heard_age_s"] is not None:
        lines.append(f"its own word: {server['heard_age_s']:.0f} s old{', old' if server['old'] else ''}")
    if server["heard_problem"]:
        lines.append(f"it could not be asked: {server['heard_problem']}")
    if switch := server["switch"]:
        words = f"{switch['step']} {switch['detail']}".strip()
        lines.append(f"a switch is running there ({switch['rule']}): {words}{elapsed_text(switch)}")
    return lines


def _trouble(service: Mapping[str, Any]) -> str:
    """What the watchdog thinks of a service: ", given up, next try in 40 s, no answer for 75 s"."""
    words = []
    if service["given_up"]:
        next_s = service["next_try_in_s"]
        words.append("given up" + ("" if next_s is None else f", next try in {next_s:.0f} s"))
    elif service["restarts"]:
        words.append(f"restarts lately: {service['restarts']}")
    if service["silent_for_s"] is not None:
        words.append(f"no answer for {service['silent_for_s']:.0f} s")
    return "".join(f", {word}" for word in words)


def elapsed_text(timed: Mapping[str, Any]) -> str:
    """How long the step of a running switch has taken, and what was expected: " (1.2 s, expected 3.0 s)"."""
    if "elapsed_s" not in timed:
        return ""
    expected = "" if timed["expected_s"] is None else f", expected {timed['expected_s']:.1f} s"
    return f" ({timed['elapsed_s']:.1f} s{expected})"


def _figures(start: Mapping[str, Any]) -> str:
    """Expected and last measured start of one service."""
    parts = [] if start["expected_s"] is None else [f"start expected {start['expected_s']:.1f} s"]
    if start["took_s"] is not None:
        waited = f", {start['waited_s']:.1f} s of it waiting" if start["waited_s"] else ""
        parts.append(f"last measured {start['took_s']:.1f} s on {_clock(start['at_wall_s'])} ({start['kind']}){waited}")
    return ", ".join(parts) + (": slow" if start["slow"] else "")


def _start_lines(found: Mapping[str, Any]) -> list[str]:
    """Expected against measured delay of a failover, and what was slow."""
    start = found["expected_start"]
    source = "FT_SERVICES" if start["source"] == "services" else "the CTI settings"
    lines = [
        f"expected failover {found['expected_failover_s']:.1f} s, at worst {found['worst_failover_s']:.1f} s; "
        f"{start['start_s']:.1f} s of it the start of the services ({source})"
    ]
    if last := found["measured_switch"]:
        delay_s = last["delay_s"]
        since = "" if delay_s is None else f"{delay_s:.1f} s since the other one was last heard active, "
        lines.append(
            f"measured at the last switch: {since}{last['switch_s']:.1f} s of switch "
            f"({last['kind']} to {last['server']}, {_clock(last['at_wall_s'])})"
        )
    return lines + [f"Warning: {text}" for text in found["slow_starts"]]


def _clock(wall_s: object) -> str:
    if not isinstance(wall_s, (int, float)):
        return "a time not known"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_s))


def why_lines(found: Mapping[str, Any]) -> list[str]:
    """The outlook of both servers in text."""
    lines = [found["problem"]] if found["problem"] else []
    for server in found["servers"]:
        reason, old = server["why"], " (old)" if server["old"] else ""
        lines.append(f"{server['label']}{' (this server)' if server['here'] else ''}: {server['status']}{old}")
        if server["heard_problem"]:
            lines.append(f"    it could not be asked: {server['heard_problem']}")
        if not reason["sentence"]:
            lines.append("    not known")
            continue
        lines.append(f"    {reason['rule'] or '-'}: {reason['sentence']}")
        if server["old"]:
            continue
        lines += [f"    counted: {text}" for text in reason["streaks"]]
        lines += [f"    {text}" for text in reason["prospects"]]
        for row in reason["refused"]:
            lines.append(f"    not {row['rule']} ({row['situation']}): {'; '.join(row['reasons'])}")
    return lines


def _rule_lines(row: Mapping[str, Any]) -> list[str]:
    mark = ">" if row["now"] else " "
    means = f" ({row['means']})" if row["means"] else ""
    lines = [f"{mark} {row['id']:<3} {'; '.join(row['words'])}{means}: {row['why']}"]
    lines += [f"        needs: {text}" for text in (*row["conditions"], *row["vetoes"])]
    if row["actions"]:
        lines.append(f"        does: {'; '.join(row['actions'])}")
    return lines
