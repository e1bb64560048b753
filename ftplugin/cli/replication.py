"""``ft sync``, ``ft conflicts`` and ``ft gone``: twins of the page Replication."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from sqlalchemy.exc import SQLAlchemyError

from ..replicate.conflicts import SETTINGS, ConflictStore, Lost
from ..replicate.shown import summary
from ..replicate.thing import ReplicationError
from ..state import CONTENT
from ..store.database import DatabaseUnreachable
from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say

if TYPE_CHECKING:
    from ..extension import Portal

SYNC, ORDER = "sync", "content_order"
SILENT = "the Redis of this server does not answer"


@click.command()
@json_option
@click.pass_context
def sync(context: click.Context, as_json: bool) -> None:
    """Synchronise now: settings, and what the portal registers. The running agent and portal do it within seconds."""
    node = node_of(context)
    note = {"at_s": node.clock.now_s(), "boot_id": node.clock.boot_id, "actor": actor_name()}
    if not node.runtime.publish(SYNC, note):
        fail(UNREACHABLE, SILENT)
    say({"ordered": True}, as_json, ["ordered; see 'ft status' in a few seconds"])


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that are acknowledged.")
@click.option("--acknowledge", metavar="ID", help="Acknowledge this one, or 'all'; the alert ends on both servers.")
@click.option("--put-back", metavar="ID", help="Put this one back, as an edit of now. Of a row: with 'flask ft' only.")
@json_option
@click.pass_context
def conflicts(
    context: click.Context, everything: bool, acknowledge: str | None, put_back: str | None, as_json: bool
) -> None:
    """What was edited on both servers apart and gave way."""
    node = node_of(context)
    store = ConflictStore(node.database)
    try:
        if put_back is not None:
            _put_back(node, store, put_back)
            say({"put_back": put_back}, as_json, ["put back; it replicates like any other edit"])
            return
        if acknowledge is not None:
            count = store.acknowledge("" if acknowledge == "all" else acknowledge, actor_name())
            say({"acknowledged": count}, as_json, [f"{count} acknowledged"])
            return
        found = store.listed(open_only=not everything)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        fail(UNREACHABLE, str(error).splitlines()[0])
    say([lost.to_json() for lost in found], as_json, [_line(lost) for lost in found] or ["none"])


def _line(lost: Lost) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lost.found_wall_s))
    text = (
        f"{lost.conflict_id}  {at}  {lost.subject} {lost.item}: the edit of {lost.lost.get('origin', '-')} gave way to"
    )
    text += f" that of {lost.won.get('origin', '-')}, kept on {lost.kept_on}"
    return text + (f"; acknowledged by {lost.acknowledged_by}" if lost.acknowledged_wall_s else "")


def _put_back(node: Portal, store: ConflictStore, wanted: str) -> None:
    from ..replicate.put_back import put_back

    lost = store.one(wanted)
    if lost is None:
        fail(REFUSED, f"{wanted}: there is no such conflict; 'ft conflicts --all' lists them")
    if lost.subject == SETTINGS:
        fail(REFUSED, f"{wanted}: of settings; load them into the form on the page, or save them by 'ft settings set'")
    thing = node.replicator.things.get(lost.subject) if node.replicator is not None else None
    if thing is None:
        fail(REFUSED, f"{lost.subject} is registered by the portal: use 'flask --app YOURPORTAL ft', or the page")
    try:
        if not put_back(thing, lost):
            fail(REFUSED, f"{wanted}: is kept on {lost.kept_on}; put it back there")
    except (ReplicationError, ValueError, OSError) as error:
        fail(REFUSED, f"nothing was put back: {error}")
    store.acknowledge(wanted, actor_name())
    node.report.line(SOURCE, f"{lost.subject} {lost.item} put back by {actor_name()}")


@click.command()
@click.argument("name", required=False)
@click.option("--take-back", "what", flag_value="restore", help="Take them back from the other server.")
@click.option("--delete", "what", flag_value="delete", help="Delete them on both servers.")
@json_option
@click.pass_context
def gone(context: click.Context, name: str | None, what: str | None, as_json: bool) -> None:
    """What is gone of rows or files NAME, very much at once: it is taken for deleted only when you say so. Alone: list it."""
    node = node_of(context)
    document = node.runtime.fetch(CONTENT)
    if document is None and node.runtime.read_role() is None:
        fail(UNREACHABLE, SILENT)
    things = summary(document, None, boot_id=node.clock.boot_id, now_s=node.clock.now_s())["things"]
    waiting = {key: thing["gone"] for key, thing in things.items() if thing.get("gone")}
    if name is None and what is None:
        say(waiting, as_json, [f"{key}: {count}" for key, count in waiting.items()] or ["none"])
        return
    if name is None or what is None:
        raise click.UsageError("NAME and one of --take-back and --delete belong together")
    if name not in waiting:
        fail(REFUSED, f"nothing of {name[:100]!r} waits for a word; 'ft gone' lists what does")
    stamp = {"at_s": node.clock.now_s(), "boot_id": node.clock.boot_id}
    if not node.runtime.publish(ORDER, {"thing": name, "what": what, **stamp}):
        fail(UNREACHABLE, SILENT)
    node.report.line(SOURCE, f"what is gone of {name}: {what}, said {actor_name()}")
    say({"ordered": what, "thing": name}, as_json, ["ordered; see 'ft gone' in a few seconds"])


COMMANDS = (sync, conflicts, gone)
