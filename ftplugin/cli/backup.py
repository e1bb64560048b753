"""``ft backup FILE`` and ``ft restore FILE`` (``ftplugin.store.backup``)."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from .common import REFUSED, SOURCE, UNREACHABLE, actor_name, fail, json_option, node_of, say
from .offline import in_the_way
from ..extension import Portal
from ..licence.keep import FILE as LICENCE_FILE
from ..pairing.files import write_secret
from ..store import backup as store
from ..store.database import Database, DatabaseUnreachable

LIMIT_S = 600.0
_path = click.Path(dir_okay=False, path_type=pathlib.Path)


@click.command(name="backup")
@click.argument("file", type=_path)
@json_option
@click.pass_context
def backup(context: click.Context, file: pathlib.Path, as_json: bool) -> None:
    """Write settings with their history, journal, events, epoch and licence of this server into FILE, mode 0600.

    Possible at any time. Keys and passwords are not in it: a new machine gets its own by 'ft pair'. Nor are the
    configuration file and the logs.
    """
    node = node_of(context)
    head = {"version": node.version, "own_address": node.config.own_address, "prefix": node.config.prefix}
    try:
        with _patient(node) as database:
            counts = store.write(file, database, head, _files(node))
    except store.BackupError as error:
        fail(REFUSED, str(error))
    except (DatabaseUnreachable, SQLAlchemyError, OSError) as error:
        fail(UNREACHABLE, f"no backup was made: {str(error).splitlines()[0]}")
    size = file.stat().st_size
    node.report.line(SOURCE, f"a backup was written by {actor_name()}")
    say(
        {"file": str(file), "rows": counts, "bytes": size},
        as_json,
        [f"{file}: {sum(counts.values())} rows, {size} bytes."],
    )


@contextlib.contextmanager
def _patient(node: Portal) -> Iterator[Database]:
    """The same database with a limit for all rows at once, not for the few of a heartbeat."""
    database = Database(node.config.database_url, LIMIT_S)
    try:
        yield database
    finally:
        database.close()


def _files(node: Portal) -> dict[str, bytes]:
    licence = node.config.instance_dir / LICENCE_FILE
    return {LICENCE_FILE: licence.read_bytes()} if licence.is_file() else {}


@click.command(name="restore")
@click.argument("file", type=_path)
@click.option(
    "--replace", is_flag=True, help="Also when this server has settings or switches of its own: they are lost."
)
@json_option
@click.pass_context
def restore(context: click.Context, file: pathlib.Path, replace: bool, as_json: bool) -> None:
    """Bring back what 'ft backup' has kept. Stop the programs of this server first.

    The server starts as standby, with an epoch above any that it has had; it takes newer settings from the other server
    by itself. Pair it ('ft pair') if its keys are gone.
    """
    node = node_of(context)
    if problem := in_the_way(node):
        fail(REFUSED, problem)
    try:
        contents = store.read(file)
        if not replace and not store.is_empty(node.database):
            fail(REFUSED, "this server has settings or switches already; --replace puts the backup in their place")
        with _patient(node) as database:
            epoch = store.restore(file, database, node.config.prefix)
        _keep_files(node, contents.files)
    except store.BackupError as error:
        fail(REFUSED, str(error))
    except (DatabaseUnreachable, SQLAlchemyError, OSError) as error:
        fail(UNREACHABLE, f"not restored: {str(error).splitlines()[0]}")
    made = _made(contents.head)
    node.report.line(SOURCE, f"restored from a backup of {made} by {actor_name()}; epoch {epoch}")
    lines = [
        f"Restored: {sum(contents.rows.values())} rows of {made}. The epoch is {epoch}; this server starts as standby."
    ]
    if contents.head.get("own_address") != node.config.own_address:
        was = contents.head.get("own_address")
        lines += [f"The backup is of {was}, this server is {node.config.own_address}: see the settings."]
    lines += [] if node.config.secret_keys else ["It has no key: run 'ft pair' on the other server."]
    say({"rows": contents.rows, "made_wall_s": contents.head.get("made_wall_s"), "epoch": epoch}, as_json, lines)


def _made(head: Mapping[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(float(head.get("made_wall_s", 0))))


def _keep_files(node: Portal, files: Mapping[str, bytes]) -> None:
    if LICENCE_FILE in files:
        write_secret(node.config.instance_dir / LICENCE_FILE, files[LICENCE_FILE].decode("utf-8"))
