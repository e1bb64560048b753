"""``ft alerts show`` and ``ft alerts test``: twin of the alerts page.

The test of the command line sends itself, without the agent: so it also says whether this server reaches its targets while
no worker runs.
"""

from __future__ import annotations

import time
from typing import Any

import click

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say
from ..alerts import page
from ..alerts.child import LIMIT_S, Child
from ..alerts.incidents import Here, make_test


@click.group(name="alerts")
def alerts() -> None:
    """What this server tells by mail, chat, webhook or SNMP trap."""


@alerts.command(name="show")
@json_option
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """Targets, what lasts, what waits and the last deliveries. Exit code 1 while the agent sends nothing."""
    from ..web.page import clock

    node = node_of(context)
    if node.runtime.read_role() is None:
        fail(UNREACHABLE, "The Redis of this server does not answer; nothing is known now.")
    found = page.shown(node.runtime, node.clock.boot_id, node.clock.now_s())
    facts: dict[str, Any] = {
        "age_s": found.age_s,
        "old": found.old,
        "targets": list(found.targets),
        "open": list(found.open),
        "waiting": list(found.waiting),
        "history": list(found.history),
        "dropped": found.dropped,
        "problem": found.problem,
    }
    lines = [f"target {name}" for name in found.targets]
    lines += [
        f"lasts since {clock(row.get('begun_wall_s'))}: {row.get('title')}: {row.get('text')}" for row in found.open
    ]
    lines += [
        f"waits for {row.get('target')}: {row.get('title')} ({row.get('tries')} tries: {row.get('detail') or 'none yet'})"
        for row in found.waiting
    ]
    lines += [
        f"{clock(row.get('at_wall_s'))} {row.get('word')} to {row.get('target')}: {row.get('title')}"
        for row in found.history
    ]
    if found.age_s is None:
        lines = ["The agent of this server sends no alerts: it has no target, or it does not run."]
    elif found.old:
        lines.insert(0, f"The agent has said nothing about its alerts for {found.age_s:.0f} s; this is old.")
    say(facts, as_json, lines)
    if found.old:
        raise SystemExit(REFUSED)


@alerts.command(name="test")
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(1, 120),
    default=LIMIT_S,
    show_default=True,
    help="Seconds for each target.",
)
@json_option
@click.pass_context
def test(context: click.Context, limit_s: float, as_json: bool) -> None:
    """Send a test to every target now, from here, and say how it went. Exit code 1 when one did not take it."""
    node = node_of(context)
    targets = node.config.alert_targets
    if not targets:
        fail(REFUSED, "No target is configured: set FT_ALERT_URLS or FT_SNMP_TARGETS.")
    here = Here(server=str(node.designation() or ""), address=node.config.own_address, instance=node.config.prefix)
    node.report.line(SOURCE, f"test of the alerts by {actor_name()}")
    message = make_test(here, actor_name(), time.time())
    children = [(target, Child(target, [message], limit_s)) for target in targets]
    problems = {target.label: child.wait()[message.message_id] for target, child in children}
    lines = [f"{label}: {problem or 'delivered'}" for label, problem in problems.items()]
    say({"targets": [{"target": k, "delivered": not v, "problem": v} for k, v in problems.items()]}, as_json, lines)
    if any(problems.values()):
        raise SystemExit(REFUSED)
