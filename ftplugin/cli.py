"""``flask ft …`` and ``ft …``: a twin of the admin page's buttons.

Under ``flask`` the app's configuration is used; ``ft`` reads FT_CONFIG_FILE and the environment. Settings are read and
saved in the database directly, so both work without a running portal.

Exit codes: 0 done; 1 refused (the message says why); 2 wrong usage or configuration; 3 Redis or database not reachable.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
from collections.abc import Sequence
from typing import Any, NoReturn

import click
from sqlalchemy.exc import SQLAlchemyError

from .config import ConfigError, NodeConfig
from .core.settings import Problem, SettingsError
from .core.terms import Designation
from .store.database import DatabaseUnreachable

REFUSED, WRONG, UNREACHABLE = 1, 2, 3
SOURCE = "command line"


@click.group(name="ft", help="Hot standby: status, switchover, settings, log.")
def group() -> None:
    """The command group, also mounted as ``flask ft``."""


ft = group  # the name that the ``flask.commands`` entry point looks up


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(code)


def _portal(context: click.Context) -> Any:
    from flask.cli import NoAppException, ScriptInfo

    from .extension import NAME, Portal

    info = context.find_object(ScriptInfo)
    if info is not None:
        try:
            mounted = info.load_app().extensions.get(NAME)
        except NoAppException as error:
            if not os.environ.get("FT_CONFIG_FILE"):
                _fail(WRONG, f"{error}\nOr set FT_CONFIG_FILE to the configuration of this server.")
            mounted = None
        if mounted is not None:
            return mounted
    try:
        return Portal(NodeConfig.from_environment())
    except (ConfigError, DatabaseUnreachable) as error:
        _fail(WRONG, str(error))


def _print(value: Any, as_json: bool, lines: list[str]) -> None:
    click.echo(json.dumps(value, indent=2, default=str) if as_json else "\n".join(lines))


def _listed(problems: Sequence[Problem]) -> str:
    return "\n".join(f"{problem.field}: {problem.message}" for problem in problems)


def _actor() -> str:
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return "command line"


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


@group.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Role of both servers, the last decision, and how old this is."""
    from .status import status_of

    node = _portal(context)
    found = status_of(node)
    lines = [
        f"{s['label']} {s['address'] or '-'}{' (this server)' if s['here'] else ''}: {s['status']}"
        + (f", {s['detail']}" if s["detail"] else "")
        for s in found["servers"]
    ]
    decision = found["decision"]
    if found["problem"]:
        lines.append(found["problem"])
    elif decision:
        lines.append(f"{decision.get('rule') or '-'}: {decision.get('sentence', '')}")
    if failed := found["failed_attempt"]:
        lines.append(f"The last attempt to {failed['kind']} ({failed['rule']}) was given up: {failed['detail']}")
    if found["clock_warning"]:
        lines.append(found["clock_warning"])
    left_s = found["lease_left_s"]
    lines.append(f"epoch {found['epoch']}, lease left {left_s:.1f} s, VIP {found['vip']}, LAN {found['lan']}")
    mode = "on" if found["enabled"] else "off"
    lines.append(f"Hot Standby mode {mode}, settings revision {found['settings_revision']}")
    _print(found, as_json, lines)
    if node.runtime.read_role() is None:
        raise SystemExit(UNREACHABLE)


@group.command()
@click.argument("target", type=click.Choice([str(d) for d in Designation]))
@click.option("--expect", type=click.Choice([*map(str, Designation), "none"]), help="Refuse unless this one is active.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
@click.pass_context
def switch(context: click.Context, target: str, expect: str | None, reason: str, as_json: bool) -> None:
    """Switchover: make TARGET the active server."""
    from .status import new_order, order_problem, status_of

    node = _portal(context)
    found = status_of(node)
    if node.runtime.read_role() is None:
        _fail(UNREACHABLE, found["problem"])
    expected = found["active"] if expect is None else None if expect == "none" else expect
    problem = order_problem(found, Designation(target), expected)
    if problem:
        _fail(REFUSED, problem)
    order = new_order(Designation(target), expected, _actor(), reason)
    refused = node.producer.switch(order)
    if refused:
        _fail(UNREACHABLE, refused)
    node.report.line(SOURCE, f"switchover to {target} asked by {order['actor']}: {reason}")
    _print(order, as_json, [f"Switchover to {target} is ordered (id {order['switch_id']}); see 'ft status'."])


@group.group()
def settings() -> None:
    """Show or change the settings."""


@settings.command(name="show")
@json_option
@click.pass_context
def settings_show(context: click.Context, as_json: bool) -> None:
    """The current settings."""
    node = _portal(context)
    revision, current = node.settings.current()
    if node.settings.error:
        _fail(UNREACHABLE, node.settings.error)
    values = current.to_json()
    lines = [f"revision={revision}"]
    lines += [f"{name}={','.join(value) if isinstance(value, list) else value}" for name, value in values.items()]
    _print({"revision": revision, "values": values}, as_json, lines)


@settings.command(name="set")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--reason", default="", help="Save against warnings; recorded.")
@json_option
@click.pass_context
def settings_set(context: click.Context, pairs: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Change settings, all of them or none."""
    from .store.settings_store import Conflict, Contradictions, WarningsNeedReason

    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} has not the form NAME=VALUE")
        values[name.strip()] = value
    node = _portal(context)
    try:
        revision = node.settings.save(values, _actor(), None, reason)
    except Contradictions as error:
        _fail(REFUSED, _listed(error.problems))
    except WarningsNeedReason as error:
        _fail(REFUSED, _listed(error.problems) + "\nGive --reason to save it all the same.")
    except (Conflict, SettingsError) as error:
        _fail(REFUSED, str(error))
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        _fail(UNREACHABLE, f"not saved: {error}")
    why = f", against warnings: {reason}" if reason else ""
    node.report.line(SOURCE, f"settings revision {revision} saved by {_actor()}{why}")
    _print({"revision": revision}, as_json, [f"Saved as revision {revision}."])


@group.command()
@json_option
def key(as_json: bool) -> None:
    """A new key for FT_SECRET_KEYS; put it on both servers."""
    made = secrets.token_urlsafe(32)
    _print({"key": made}, as_json, [made])


@group.command()
@click.option("--day", help="Name of a day's file; without it the newest.")
@click.option("--list", "only_list", is_flag=True, help="The names of the files.")
@json_option
@click.pass_context
def log(context: click.Context, day: str | None, only_list: bool, as_json: bool) -> None:
    """The fault tolerance log of one day."""
    node = _portal(context)
    days = node.report.days()
    if only_list:
        _print(days, as_json, days)
        return
    name = day or (days[0] if days else "")
    if not name:
        _print({"day": None, "lines": []}, as_json, ["No log yet."])
        return
    try:
        lines = node.report.read(name).splitlines()
    except ValueError as error:
        _fail(WRONG, str(error))
    except OSError as error:
        _fail(REFUSED, f"{name}: {error.strerror or error}")
    _print({"day": name, "lines": lines}, as_json, lines)


@group.command(name="release-hold")
@click.pass_context
def release_hold(context: click.Context) -> None:
    """End the hold of failback that a switchover left, on both servers."""
    node = _portal(context)
    if not node.journal.set_manual_hold(False):
        _fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the hold is still on")
    node.report.line(SOURCE, f"manual hold released by {_actor()}")
    click.echo("The hold is released." + _tell_peer(node, "release_hold"))


@group.command(name="acknowledge-freeze")
@click.pass_context
def acknowledge_freeze(context: click.Context) -> None:
    """Let automatic switches go on after too many of them."""
    node = _portal(context)
    document = {"actor": _actor(), "at_s": node.clock.now_s(), "boot_id": node.clock.boot_id}
    if not node.runtime.publish("ack_freeze", document):
        _fail(UNREACHABLE, "the node's Redis did not take it; the freeze is still on")
    node.report.line(SOURCE, f"freeze acknowledged by {_actor()}")
    click.echo("The freeze is acknowledged." + _tell_peer(node, "acknowledge_freeze"))


@group.command()
@click.option("--reason", required=True, help="Shown on both servers.")
@click.option("--minutes", type=click.IntRange(1, 10_080), help="Ends by itself after these; without it, with resume.")
@click.pass_context
def pause(context: click.Context, reason: str, minutes: int | None) -> None:
    """Probes go on, but nothing is promoted by itself, on both servers. Demotions for safety are never held back."""
    from .standing import OrderError

    node = _portal(context)
    try:
        kept = node.pause(_actor(), reason, minutes)
    except OrderError as error:
        _fail(REFUSED, f"{error}; nothing is paused")
    if not kept:
        _fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; nothing is paused")
    node.report.line(SOURCE, f"automatic switching paused by {_actor()}: {reason}")
    click.echo("Automatic switching is paused." + _tell_peer(node, "pause", reason=reason, minutes=minutes))


@group.command()
@click.pass_context
def resume(context: click.Context) -> None:
    """End a pause on both servers."""
    from .standing import PAUSE

    node = _portal(context)
    if not node.end(PAUSE):
        _fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the pause goes on")
    node.report.line(SOURCE, f"automatic switching resumed by {_actor()}")
    click.echo("Automatic switching is resumed." + _tell_peer(node, "resume"))


@group.command()
@click.option("--end", is_flag=True, help="Make this server eligible again.")
@click.option("--reason", default="", help="Why; shown on the page. Needed to begin a drain.")
@click.pass_context
def drain(context: click.Context, end: bool, reason: str) -> None:
    """This server is never promoted while it is drained. If it is active, the other one takes over first."""
    from .standing import DRAIN, OrderError, hand_over
    from .status import status_of
    from .web.maintenance import ordered_text

    node = _portal(context)
    if end:
        if not node.end(DRAIN):
            _fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; the drain goes on")
        node.report.line(SOURCE, f"drain ended by {_actor()}")
        click.echo("This server is eligible again.")
        return
    target, problem = hand_over(status_of(node))
    if problem:
        _fail(REFUSED, f"{problem}; nothing is drained")
    try:
        kept = node.drain(_actor(), reason)
    except OrderError as error:
        _fail(REFUSED, f"{error}; give --reason TEXT; nothing is drained")
    if not kept:
        _fail(UNREACHABLE, f"database {node.database.shown_url} did not take it; nothing is drained")
    node.report.line(SOURCE, f"drain begun by {_actor()}: {reason}")
    click.echo("This server is drained." + ordered_text(node, target, _actor(), reason))


@group.command()
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(0.2, 30),
    default=2.0,
    show_default=True,
    help="Seconds for each question.",
)
@json_option
@click.pass_context
def doctor(context: click.Context, limit_s: float, as_json: bool) -> None:
    """Look for what may be set up wrong on this server and between the two, and say what to do. Changes nothing.

    Exit codes: 0 nothing is wrong, though there may be warnings; 1 something is wrong; 2 this server is not configured.
    """
    from .doctor import examine, show

    found = examine(_portal(context), limit_s)
    _print(show.document(found), as_json, show.table(found))
    raise SystemExit(show.exit_code(found))


def _tell_peer(node: Any, command: str, **facts: Any) -> str:
    order = {"kind": "tell_peer", "command": command, "actor": _actor(), **facts}
    problem = node.producer.switch(order)
    return f" The other server was not told: {problem}" if problem else ""


def main() -> None:
    """Entry point of the console script ``ft``."""
    group(prog_name="ft")


if __name__ == "__main__":
    main()
