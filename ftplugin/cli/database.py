"""``ft database current`` and ``ft database upgrade``: the tables of this server's database.

Portal and workers upgrade them by themselves when they start, so ``flask ft`` has done so when it comes here. ``ft`` has not:
it is for doing so before, or for finding out.
"""

from __future__ import annotations

from typing import Any, NoReturn

import click
from sqlalchemy.exc import SQLAlchemyError

from ..config import ConfigError, NodeConfig
from ..store import migrations
from ..store.database import Database, DatabaseUnreachable
from .common import REFUSED, UNREACHABLE, WRONG, fail, json_option, say

UPGRADE_CALL_S = 600.0


@click.group(name="database")
def database() -> None:
    """Look at the tables of this server's database, or upgrade them."""


def _configured(context: click.Context, limit_s: float | None = None) -> Database:
    """The database of the mounted portal, else of FT_CONFIG_FILE and the environment."""
    from flask.cli import NoAppException, ScriptInfo

    from ..extension import NAME

    try:
        info = context.find_object(ScriptInfo)
        mounted = info.load_app().extensions.get(NAME) if info is not None else None
        url = mounted.config.database_url if mounted else NodeConfig.from_environment().database_url
        return Database(url) if limit_s is None else Database(url, limit_s)
    except (NoAppException, ConfigError, DatabaseUnreachable) as error:
        fail(WRONG, str(error))


def _not_reached(made: Database, error: Exception) -> NoReturn:
    if isinstance(error, DatabaseUnreachable):
        fail(UNREACHABLE, str(error))
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    fail(UNREACHABLE, f"database {made.shown_url} cannot be used: {cause}")


def _facts(made: Database, found: str | None) -> dict[str, Any]:
    state = str(migrations.state_of(found))
    return {"database": made.shown_url, "revision": found, "newest": migrations.HEAD, "state": state}


@database.command(name="current")
@json_option
@click.pass_context
def current(context: click.Context, as_json: bool) -> None:
    """Show the revision of the tables, and the newest that this version knows. Changes nothing.

    Exit codes: 0 nothing is to be done; 1 an upgrade is due, or the tables are somebody else's; 3 the database is not
    reachable.
    """
    made = _configured(context)
    try:
        facts = _facts(made, made.revision())
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        _not_reached(made, error)
    finally:
        made.close()
    lines = [
        f"database: {facts['database']}",
        f"revision: {facts['revision'] or 'none: made before there were revisions, or empty'}",
        f"newest known: {facts['newest']}",
        f"state: {facts['state']}",
    ]
    say(facts, as_json, lines)
    if facts["state"] in (migrations.State.DUE, migrations.State.FOREIGN):
        raise SystemExit(REFUSED)


@database.command(name="upgrade")
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(2, 86_400),
    default=UPGRADE_CALL_S,
    show_default=True,
    help="Seconds for the whole upgrade; portal and workers give up after 10.",
)
@json_option
@click.pass_context
def upgrade(context: click.Context, limit_s: float, as_json: bool) -> None:
    """Make the tables, or bring them to the newest revision. Portal and workers may run meanwhile.

    A revision only adds: code of the version before goes on with it, and there is no way down. Exit codes: 0 the tables are
    of the newest revision, or newer; 1 they are somebody else's; 3 the database is not reachable.
    """
    made = _configured(context, limit_s)
    try:
        before = made.revision()
        if migrations.state_of(before) is migrations.State.FOREIGN:
            fail(
                REFUSED, f"database {made.shown_url}: its revision {before!r} is none of ftplugin; nothing was changed"
            )
        made.prepare()
        facts = _facts(made, made.revision())
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        _not_reached(made, error)
    finally:
        made.close()
    said = f"Nothing to do: revision {before}." if before == facts["revision"] else ""
    done = f"Upgraded from revision {before or 'none'} to {facts['revision']}."
    say(facts | {"before": before}, as_json, [said or done])
