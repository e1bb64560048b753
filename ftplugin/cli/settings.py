"""``ft settings show|set|check|preview|history``: twin of the settings page.

Exit codes as of every ``ft`` command: 0 done; 1 refused, or what was checked could not be saved as it is; 2 wrong usage;
3 the database is not reachable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import SQLAlchemyError

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, listed, node_of, say
from ..core.settings import Settings, SettingsError

if TYPE_CHECKING:
    from ..extension import Portal
    from ..preview import Preview
    from ..replication import Replication
    from ..store.settings_history import Revision

pairs_argument = click.argument("pairs", nargs=-1, metavar="[NAME=VALUE]...")


@click.group()
def settings() -> None:
    """Show, check or change the settings."""


@contextmanager
def _told() -> Iterator[None]:
    """Refusals become a message and an exit code."""
    from ..store.database import DatabaseUnreachable
    from ..store.settings_store import Conflict, Contradictions, WarningsNeedReason

    try:
        yield
    except Contradictions as error:
        fail(REFUSED, listed(error.problems))
    except WarningsNeedReason as error:
        fail(REFUSED, listed(error.problems) + "\nGive --reason to save it all the same.")
    except (Conflict, SettingsError) as error:
        fail(REFUSED, str(error))
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        fail(UNREACHABLE, f"database: {error}")


def _current(node: Portal) -> tuple[int, Settings]:
    from ..store.database import DatabaseUnreachable

    found = node.settings.current()
    if node.settings.error:
        raise DatabaseUnreachable(node.settings.error)
    return found


def _values(pairs: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} has not the form NAME=VALUE")
        values[name.strip()] = value
    return values


def _plain(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


@settings.command(name="show")
@json_option
@click.pass_context
def show(context: click.Context, as_json: bool) -> None:
    """The current settings, and whether the other server has them."""
    from ..replication import replication_of

    node = node_of(context)
    with _told():
        revision, current = _current(node)
        replicated = replication_of(node)
    values = current.to_json()
    lines = [f"revision={revision}", *(f"{name}={_plain(value)}" for name, value in values.items())]
    document = {"revision": revision, "values": values, "replication": replicated.to_json()}
    say(document, as_json, [*lines, f"# {_where(replicated)}"])


def _where(found: Replication) -> str:
    from ..web.page import clock

    other = found.other or "the other server"
    if not found.revision:
        return "nothing was saved yet"
    if found.on_both:
        return f"on {other} since {clock(found.since_wall_s)}" if found.since_wall_s else f"on {other}"
    if found.redis_silent:
        return f"not yet on {other}: the Redis of this server does not answer, so nothing newer is known"
    if found.agent_silent:
        return f"not yet on {other}: the agent of this server has not ticked lately"
    if found.other_revision is not None:
        return f"not yet on {other}: it runs by revision {found.other_revision}"
    heard = clock(found.heard_wall_s)
    return f"not yet on {other}: " + (f"not heard since {heard}" if heard else "never heard")


@settings.command(name="set")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--reason", default="", help="Save against warnings; recorded.")
@click.option("--expect", type=int, help="Refuse unless this revision is the current one.")
@json_option
@click.pass_context
def set_(context: click.Context, pairs: tuple[str, ...], reason: str, expect: int | None, as_json: bool) -> None:
    """Change settings, all of them or none."""
    values, node = _values(pairs), node_of(context)
    with _told():
        revision = node.settings.save(values, actor_name(), expect, reason)
    why = f", against warnings: {reason}" if reason else ""
    node.report.line(SOURCE, f"settings revision {revision} saved by {actor_name()}{why}")
    say({"revision": revision}, as_json, [f"Saved as revision {revision}."])


@settings.command(name="check")
@pairs_argument
@json_option
@click.pass_context
def check(context: click.Context, pairs: tuple[str, ...], as_json: bool) -> None:
    """Check a change, or with no change what is saved. Exit code 1: refused, or to be saved with a reason only."""
    from ..store.settings_store import Contradictions

    node, errors, warnings = node_of(context), [], []
    with _told():
        _, current = _current(node)
        try:
            warnings = list(node.settings.examined(_values(pairs), current)[1])
        except Contradictions as error:
            errors = list(error.problems)
    problems = errors + warnings
    lines = [f"{p.severity}: {p.field}: {p.message}" for p in problems] or ["Nothing is wrong."]
    listed = {"errors": errors, "warnings": warnings}
    document = {k: [{"field": p.field, "message": p.message} for p in found] for k, found in listed.items()}
    say(document, as_json, lines)
    if problems:
        raise SystemExit(REFUSED)


@settings.command(name="preview")
@pairs_argument
@json_option
@click.pass_context
def preview(context: click.Context, pairs: tuple[str, ...], as_json: bool) -> None:
    """What a change would mean: delays, warnings, and what both servers do after a crash and after a LAN cut."""
    from ..preview import preview as preview_of

    node = node_of(context)
    with _told():
        _, current = _current(node)
        new, warnings = node.settings.examined(_values(pairs), current)
    found = preview_of(current, new, warnings, node.config.services)
    say(found.to_json(), as_json, _lines(found))


def _lines(found: Preview) -> list[str]:
    from ..status.daily import told
    from ..web.timeline_svg import FAULTS, event_text

    lines = [f"{c.name}: {_plain(c.old)} -> {_plain(c.new)}" for c in found.changes] or ["Nothing changes."]
    lines += [f"warning: {w.field}: {w.message}" for w in found.warnings]
    lines += [f"{d.name}: {_seconds(d.old_s)} -> {_seconds(d.new_s)}" for d in found.delays]
    if found.daily:
        lines.append(f"next daily restart {told(found.daily, 'standby server:', 'active server:')}")
    for forecast in found.forecasts:
        lines += ["", f"{FAULTS[forecast.fault]}:"]
        lines += [f"{e.at_s:10.1f} s  {e.server}  {event_text(e, forecast.fault)}" for e in forecast.events]
    return lines


def _seconds(value_s: float | None) -> str:
    return "until healed" if value_s is None else f"{value_s:g} s"


@settings.command(name="history")
@click.argument("revision", type=click.IntRange(1, 2**31 - 1), required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=25, show_default=True, help="Newest revisions listed.")
@json_option
@click.pass_context
def history(context: click.Context, revision: int | None, limit: int, as_json: bool) -> None:
    """Who saved what, when and why; with REVISION its values."""
    from ..store.settings_history import history as revisions, revision_of

    node = node_of(context)
    with _told():
        one = revision_of(node.database, revision) if revision is not None else None
        found = revisions(node.database, limit=limit) if revision is None else []
    if revision is not None and one is None:
        fail(REFUSED, f"there is no revision {revision}; see 'ft settings history'")
    if one is not None:
        values = one.settings.to_json()
        say(one.to_json(), as_json, [*_told_of(one), *(f"{n}={_plain(v)}" for n, v in values.items())])
        return
    lines = [line for item in found for line in _told_of(item)] or ["Nothing was saved yet."]
    say([item.to_json() for item in found], as_json, lines)


def _told_of(found: Revision) -> list[str]:
    from ..web.page import clock

    both = f"on both since {clock(found.both_since_wall_s)}" if found.both_since_wall_s else "on both"
    where = both if found.acknowledged else "not yet on both"
    lines = [f"revision {found.revision}, {clock(found.saved_wall_s)}, {found.actor} on {found.origin}, {where}"]
    lines += [f"    {c.name}: {_plain(c.old)} -> {_plain(c.new)}" for c in found.changes]
    return lines + ([f"    reason: {found.override_reason}"] if found.override_reason else [])
