"""``ft uninstall``: takes away what this product has put on this server, and says what is left."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import click
import redis
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from .common import REFUSED, UNREACHABLE, fail, json_option, node_of, say
from .offline import LOCKS, in_the_way
from .pair import own_redis
from ..alerts.kept import FILE as ALERTS_FILE
from ..extension import Portal
from ..licence.keep import ALARM as LICENCE_ALARM
from ..licence.keep import FILE as LICENCE_FILE
from ..pairing.secrets import KEYS_FILE, PEER_PASSWORD_FILE, REDIS_USERS_FILE
from ..pairing.session import FILE as PAIRING_FILE
from ..replicate.thing import LOCK_FILE as REPLICATE_LOCK
from ..store.database import DatabaseUnreachable
from ..store.keys import AGENT_QUEUE
from ..store.migrations import VERSION_TABLE
from ..store.tables import METADATA

_NAMED = {
    KEYS_FILE,
    PEER_PASSWORD_FILE,
    REDIS_USERS_FILE,
    PAIRING_FILE,
    LICENCE_FILE,
    LICENCE_ALARM,
    ALERTS_FILE,
    REPLICATE_LOCK,
    "guard.lease",
    *LOCKS,
}
_NAMED |= {"ft.sqlite3", "ft.sqlite3-wal", "ft.sqlite3-shm"}
_STARTS = re.compile(r"(http|command|systemd|supervisord|ocf)-[^/]+\.(start|standby)")
_BESIDE = re.compile(
    rf"\.({'|'.join(map(re.escape, sorted(_NAMED)))})\.[a-z0-9_]+"
)  # locks of files, and what a crash left
_LOG = re.compile(r"FT_REPORT_\d{6}\.txt")
LEFT = (
    "redis.conf: take out its line 'include .../redis-users.conf', or Redis does not start any more",
    "the configuration file (FT_CONFIG_FILE) and redis.conf, which hold passwords",
    "the programs under your supervisor, and the packages",
    "the settings of your balancer",
    "the folder .ft-replica in each folder that was replicated, with files that gave way to others",
)


@click.command(name="uninstall")
@click.option("--yes", is_flag=True, help="Do it. Without it the list is shown and nothing is changed.")
@click.option("--with-logs", is_flag=True, help="Remove the log files FT_REPORT_*.txt too.")
@json_option
@click.pass_context
def uninstall(context: click.Context, yes: bool, with_logs: bool, as_json: bool) -> None:
    """Remove this instance's tables, Redis keys, key files and node files.

    Refused while this server is active or its workers run. Only what this product has made is touched; a file that it
    does not know stays. Without --yes: exit code 1, after the list.
    """
    node = node_of(context)
    if problem := in_the_way(node):
        fail(REFUSED, problem)
    try:
        tables = _tables(node)
        found = {"tables": tables, "redis": _redis_keys(node), "files": [str(path) for path in _files(node, with_logs)]}
        if yes:
            _remove(node, found)
    except (DatabaseUnreachable, SQLAlchemyError, redis.RedisError, OSError) as error:
        fail(UNREACHABLE, f"stopped, run it again: {str(error).splitlines()[0]}")
    lines = [f"{what}: {name}" for what, names in found.items() for name in names]
    lines += [
        "Removed." if yes else "Nothing was changed; --yes removes these.",
        *(f"Left for you: {item}" for item in LEFT),
    ]
    say({**found, "removed": yes, "left": LEFT}, as_json, lines)
    if not yes:
        raise SystemExit(REFUSED)


def _tables(node: Portal) -> list[str]:
    file = node.database.url.database if node.database.url.get_backend_name() == "sqlite" else None
    if file and not pathlib.Path(file).exists():
        return []  # to look would make it
    there = set(inspect(node.database.engine).get_table_names())
    return [name for name in (*METADATA.tables, VERSION_TABLE) if name in there]


def _redis_keys(node: Portal) -> list[str]:
    """Of this instance alone: another one in this Redis has another prefix. A Redis that is down keeps nothing."""
    client: Any = own_redis(node)
    if client is None:
        return []
    names = node.keys.instance
    exchanges = [names, f"{names}.pidbox", f"{names}-events"]
    queues = [node.keys.queue(name) for name in ("tick", "switch", AGENT_QUEUE)]
    stems = "|".join(map(re.escape, exchanges + queues))
    own = re.compile(rf"{re.escape(names)}:.*|(_kombu\.binding(_permanent)?\.)?({stems})(\x06.*)?")
    return sorted(name for name in client.scan_iter("*ft*", count=1000) if own.fullmatch(name))


def _files(node: Portal, with_logs: bool) -> list[pathlib.Path]:
    folder = node.config.instance_dir
    if not folder.is_dir():
        return []
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name in _NAMED or _STARTS.fullmatch(path.name) or _BESIDE.fullmatch(path.name))
    ]
    logs = folder / "logs"
    if with_logs and logs.is_dir():
        found += [path for path in sorted(logs.iterdir()) if _LOG.fullmatch(path.name)]
    return found


def _remove(node: Portal, found: dict[str, list[str]]) -> None:
    """Keys last: what broke off before can be run again with the same configuration."""
    if found["tables"]:
        with node.database.engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                table.drop(connection, checkfirst=True)
            connection.execute(text(f"DROP TABLE IF EXISTS {VERSION_TABLE}"))
    node.database.close()
    client: Any = own_redis(node)
    if client is not None and found["redis"]:
        client.delete(*found["redis"])
    for name in found["files"]:
        pathlib.Path(name).unlink(missing_ok=True)
    for folder in (node.config.instance_dir / "logs", node.config.instance_dir):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
