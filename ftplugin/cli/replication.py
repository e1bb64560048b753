"""``ft sync`` and ``ft conflicts``: twins of the page Replication."""

from __future__ import annotations

import time

import click
from sqlalchemy.exc import SQLAlchemyError

from ..replicate.conflicts import ConflictStore
from ..store.database import DatabaseUnreachable
from .common import UNREACHABLE, actor_name, fail, json_option, node_of, say

SYNC = "sync"


@click.command()
@json_option
@click.pass_context
def sync(context: click.Context, as_json: bool) -> None:
    """Synchronise now: settings, and what the portal registers. The running agent and portal do it within seconds."""
    node = node_of(context)
    note = {"at_s": node.clock.now_s(), "boot_id": node.clock.boot_id, "actor": actor_name()}
    if not node.runtime.publish(SYNC, note):
        fail(UNREACHABLE, "the Redis of this server does not answer")
    say({"ordered": True}, as_json, ["ordered; see 'ft status' in a few seconds"])


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that are acknowledged.")
@click.option("--acknowledge", metavar="ID", help="Acknowledge this one, or 'all'; the alert ends on both servers.")
@json_option
@click.pass_context
def conflicts(context: click.Context, everything: bool, acknowledge: str | None, as_json: bool) -> None:
    """What was edited on both servers apart and gave way. Putting it back: on the page Replication."""
    store = ConflictStore(node_of(context).database)
    try:
        if acknowledge is not None:
            count = store.acknowledge("" if acknowledge == "all" else acknowledge, actor_name())
            say({"acknowledged": count}, as_json, [f"{count} acknowledged"])
            return
        found = store.listed(open_only=not everything)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        fail(UNREACHABLE, str(error).splitlines()[0])
    lines = [
        f"{lost.conflict_id}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(lost.found_wall_s))}  {lost.subject} "
        f"{lost.item}: the edit of {lost.lost.get('origin', '-')} gave way to that of {lost.won.get('origin', '-')}, kept on "
        f"{lost.kept_on}" + (f"; acknowledged by {lost.acknowledged_by}" if lost.acknowledged_wall_s else "")
        for lost in found
    ]
    say([lost.to_json() for lost in found], as_json, lines or ["none"])


COMMANDS = (sync, conflicts)
