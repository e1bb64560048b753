"""``ft switch``, ``force``, ``follow``, ``pause``, ``resume``, ``drain``, ``undrain``, ``acknowledge-freeze``, ``release-hold``.

Exit codes as in ``common.py``. ``follow``: 0 the switch was done, 1 it was not, or has not ended within the limit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
from flask import Flask

from .common import REFUSED, SOURCE, UNREACHABLE, WRONG, actor_name, fail, json_option, node_of, said_why, say
from ..core.terms import Designation

if TYPE_CHECKING:
    from ..extension import Portal

LOOK_S = 0.5


def portal_app(context: click.Context) -> Flask:
    """The portal's app under ``flask ft``, for its own checks; a bare one under ``ft``, which has none."""
    from flask.cli import NoAppException, ScriptInfo

    info = context.find_object(ScriptInfo)
    try:
        return info.load_app() if info is not None else Flask(__name__)
    except NoAppException:
        return Flask(__name__)


def _parameter(context: click.Context, name: str) -> click.Parameter:
    return next(parameter for parameter in context.command.params if parameter.name == name)


def _said(node: Portal, command: str, done: str, as_json: bool, **facts: Any) -> None:
    """The result of what counts for both servers, and whether the other one is being told."""
    from ..switching.telling import tell_peer

    untold = tell_peer(node, command, actor_name(), **facts)
    text = done + (f" The other server was not told: {untold}." if untold else "")
    say({"done": done, "peer_told": not untold, "problem": untold}, as_json, [text])


@click.command()
@click.argument("target", type=click.Choice([str(d) for d in Designation]))
@click.option("--expect", type=click.Choice([*map(str, Designation), "none"]), help="Refuse unless this one is active.")
@click.option("--reason", default="", help="Why; it is recorded. Needed to order it.")
@click.option("--check", "only_check", is_flag=True, help="List the checks and order nothing. Exit code 1: one blocks.")
@json_option
@click.pass_context
def switch(
    context: click.Context, target: str, expect: str | None, reason: str, only_check: bool, as_json: bool
) -> None:
    """Switchover: make TARGET the active server. Refused when one of the checks of the page blocks it."""
    from ..prechecks import Level, blocks, prechecks
    from ..status import new_order, status_of
    from ..switching.story import note_order

    if not only_check:
        reason = said_why(context, _parameter(context, "reason"), reason)
    node = node_of(context)
    found = status_of(node)
    if node.runtime.read_role() is None:
        fail(UNREACHABLE, found["problem"])
    expected = found["active"] if expect is None else None if expect == "none" else expect
    checks = prechecks(node, portal_app(context), found, Designation(target), expected)
    if only_check:
        say([check.to_json() for check in checks], as_json, [f"{c.level}: {c.name}: {c.sentence}" for c in checks])
        raise SystemExit(REFUSED if blocks(checks) else 0)
    if problem := blocks(checks):
        fail(REFUSED, problem)
    order = new_order(Designation(target), expected, actor_name(), reason)
    if refused := node.producer.switch(order):
        fail(UNREACHABLE, refused)
    note_order(node, order)
    node.report.line(SOURCE, f"switchover to {target} asked by {order['actor']}: {reason}")
    warnings = [check.sentence for check in checks if check.level is Level.WARNING]
    lines = [
        *(f"Warning: {text}" for text in warnings),
        f"Switchover to {target} is ordered; 'ft follow {order['switch_id']}'.",
    ]
    say({**order, "checks": [check.to_json() for check in checks]}, as_json, lines)


@click.command()
@click.option("--reason", required=True, callback=said_why, help="Why; it is recorded.")
@click.option(
    "--checked", is_flag=True, help="The other server is switched off or cut off: I have checked it. No wait."
)
@click.option("--yes-i-know", "typed", metavar="NAME", help="The name of this server, instead of typing it.")
@json_option
@click.pass_context
def force(context: click.Context, reason: str, checked: bool, typed: str | None, as_json: bool) -> None:
    """Forced takeover of this server (rule M2), past pause, freeze, mode off, streaks and an unknown LAN.

    Without a witness both servers become active if the other one is alive and cut off from this one only.
    """
    from ..switching.force import force_problem, held_back, longest_wait_s, new_force
    from ..status import status_of
    from ..switching.story import note_order

    node = node_of(context)
    found = status_of(node)
    if node.runtime.read_role() is None:
        fail(UNREACHABLE, found["problem"])
    if problem := force_problem(found):
        fail(REFUSED, problem)
    me = str(found["designation"])
    if typed is None:
        settings = node.settings.cached()[1]
        for item in held_back(found, node.runtime.fetch("view")):
            click.echo(f"{'passed over' if item['passed'] else 'still holds'}: {item['sentence']}", err=True)
        click.echo(f"A silent other server is waited for, about {longest_wait_s(settings):.0f} s at most.", err=True)
        if not settings.witness:
            click.echo("If it is alive and cut off from this one only, BOTH become active.", err=True)
        typed = click.prompt(f"Type {me} to take over by force", err=True, default="", show_default=False)
    if typed.strip() != me:
        fail(WRONG, f"Nothing was ordered: {typed!r} is not the name of this server, {me}.")
    order = new_force(node, me, actor_name(), reason, checked=checked)
    if refused := node.producer.switch(order):
        fail(UNREACHABLE, refused)
    note_order(node, order)
    word = ", who says that the other server is off or cut off" if checked else ""
    node.report.line(SOURCE, f"forced takeover of {me} asked by {order['actor']}{word}: {reason}")
    say(order, as_json, [f"A forced takeover of {me} is ordered; 'ft follow {order['switch_id']}'."])


@click.command()
@click.argument("switch_id")
@click.option("--limit", "limit_s", type=click.FloatRange(0, 3600), default=300.0, show_default=True, help="Seconds.")
@json_option
@click.pass_context
def follow(context: click.Context, switch_id: str, limit_s: float, as_json: bool) -> None:
    """Wait for the end of an ordered switch; its steps as they come.

    Exit codes: 0 it was done; 1 it was not, is not known, or has not ended within the limit.
    """
    from ..switching.story import story_of

    node = node_of(context)
    end_s, shown, told = time.monotonic() + limit_s, 0, ""
    while True:
        story = story_of(node, switch_id)
        if story is None:
            fail(REFUSED, f"This server knows no switch {switch_id}.")
        ready = [step for step in story["steps"] if step.get("outcome") != "running"]
        for step in ready[shown:] if not as_json else []:
            click.echo(
                f"{step['step']}: {step['outcome']}, {step.get('duration_s') or 0:.2f} s {step.get('detail', '')}"
            )
        shown = max(shown, len(ready))
        if not as_json and story["step"] and not story["ended"] and (running := _running_text(story)) != told:
            click.echo(told := running)
        if story["ended"] or time.monotonic() >= end_s:
            break
        time.sleep(LOOK_S)
    value = {key: item for key, item in story.items() if key != "status"}
    end = " ".join(filter(None, (story["state"], story["detail"], story["way_out"])))
    say(value, as_json, [f"{end}. Active now: {story['active'] or 'nobody'}."])
    raise SystemExit(0 if story["state"] == "done" else REFUSED)


def _running_text(story: dict[str, Any]) -> str:
    """The step that a switch is at, with its progress: "service cti: running, 2/3 registering 2/3, expected 3.0 s"."""
    expected_s = story.get("expected_s")
    expected = "" if expected_s is None else f", expected {expected_s:.1f} s"
    return f"{story['step']}: running, {story['detail']}".rstrip(", ") + expected


@click.command(name="release-hold")
@json_option
@click.pass_context
def release_hold(context: click.Context, as_json: bool) -> None:
    """End the hold of failback that a switchover left, on both servers."""
    node = node_of(context)
    if not node.journal.set_manual_hold(False):
        fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the hold is still on")
    node.report.line(SOURCE, f"manual hold released by {actor_name()}")
    _said(node, "release_hold", "The hold is released.", as_json)


@click.command(name="acknowledge-freeze")
@json_option
@click.pass_context
def acknowledge_freeze(context: click.Context, as_json: bool) -> None:
    """Let automatic switches go on after too many of them."""
    node = node_of(context)
    document = {"actor": actor_name(), "at_s": node.clock.now_s(), "boot_id": node.clock.boot_id}
    if not node.runtime.publish("ack_freeze", document):
        fail(UNREACHABLE, "the node's Redis did not take it; the freeze is still on")
    node.report.line(SOURCE, f"freeze acknowledged by {actor_name()}")
    _said(node, "acknowledge_freeze", "The freeze is acknowledged.", as_json)


@click.command()
@click.option("--reason", required=True, help="Shown on both servers.")
@click.option("--minutes", type=click.IntRange(1, 10_080), help="Ends by itself after these; without it, with resume.")
@json_option
@click.pass_context
def pause(context: click.Context, reason: str, minutes: int | None, as_json: bool) -> None:
    """Probes go on, but nothing is promoted by itself, on both servers. Demotions for safety are never held back."""
    from ..standing import OrderError

    node = node_of(context)
    try:
        kept = node.pause(actor_name(), reason, minutes)
    except OrderError as error:
        fail(REFUSED, f"{error}; nothing is paused")
    if not kept:
        fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; nothing is paused")
    node.report.line(SOURCE, f"automatic switching paused by {actor_name()}: {reason}")
    _said(node, "pause", "Automatic switching is paused.", as_json, reason=reason.strip(), minutes=minutes)


@click.command()
@json_option
@click.pass_context
def resume(context: click.Context, as_json: bool) -> None:
    """End a pause on both servers."""
    from ..standing import PAUSE

    node = node_of(context)
    if not node.end(PAUSE):
        fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the pause goes on")
    node.report.line(SOURCE, f"automatic switching resumed by {actor_name()}")
    _said(node, "resume", "Automatic switching is resumed.", as_json)


def _undrain(node: Portal, as_json: bool) -> None:
    from ..standing import DRAIN

    if not node.end(DRAIN):
        fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the drain goes on")
    node.report.line(SOURCE, f"drain ended by {actor_name()}")
    done = "This server is eligible again."
    say({"done": done}, as_json, [done])


@click.command()
@json_option
@click.pass_context
def undrain(context: click.Context, as_json: bool) -> None:
    """Make this server eligible again."""
    _undrain(node_of(context), as_json)


@click.command()
@click.option("--end", is_flag=True, help="As 'ft undrain'.")
@click.option("--reason", default="", help="Why; shown on the page. Needed to begin a drain.")
@json_option
@click.pass_context
def drain(context: click.Context, end: bool, reason: str, as_json: bool) -> None:
    """This server is never promoted while it is drained. If it is active, the other one takes over first."""
    from ..standing import OrderError, hand_over
    from ..status import status_of
    from ..web.maintenance import ordered_text

    node = node_of(context)
    if end:
        _undrain(node, as_json)
        return
    target, problem = hand_over(status_of(node))
    if problem:
        fail(REFUSED, f"{problem}; nothing is drained")
    try:
        kept = node.drain(actor_name(), reason)
    except OrderError as error:
        fail(REFUSED, f"{error}; give --reason TEXT; nothing is drained")
    if not kept:
        fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; nothing is drained")
    node.report.line(SOURCE, f"drain begun by {actor_name()}: {reason}")
    done = "This server is drained." + ordered_text(node, target, actor_name(), reason)
    say({"done": done, "switchover_to": target}, as_json, [done])


COMMANDS = (switch, force, follow, release_hold, acknowledge_freeze, pause, resume, drain, undrain)
