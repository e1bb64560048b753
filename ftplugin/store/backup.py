"""What a node must know, in one file: settings with history, journal, events, epoch, orders, licence. No secret.

A gzip file of JSON lines: a head, one row a line, an end with a hash of all lines before it. It is read through once,
and only then anything is changed; the change is one transaction. A restored node

- is standby, with no lease, and its open switches are closed: it promotes by the rules of a start alone (C1 to C4);
- has an epoch ``EPOCH_GAP`` above the highest in the backup and in the database: higher than any it can have had since.

What the portal itself replicates is not in it, nor what this node knows of it (``ft_ledger``): it catches up from the
peer.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from .database import Database
from .migrations import HEAD
from .tables import INSTANCE, LEDGER, METADATA, NODE, SETTINGS, STANDING, SWITCH

FORMAT = 1
EPOCH_GAP = 2_000_000  # a million changes of role; even, so that the parity (whose epoch it is) stays
LINE_BYTES_MAX = 64_000_000  # a row that lost may be as long as an answer of the other server (``replicate.wire``)
ROWS_AT_ONCE = 500
LEFT_OUT = (LEDGER.name,)
RESTORED = "closed: this server was restored from a backup"


class BackupError(RuntimeError):
    """A backup cannot be made or used; the message says why and the way out. Nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a backup holds. head: its first line. rows: by table."""

    head: Mapping[str, Any]
    rows: Mapping[str, int]
    files: Mapping[str, bytes]


def _tables() -> list[Table]:
    """Parents before children."""
    return [table for table in METADATA.sorted_tables if table.name not in LEFT_OUT]


def write(
    path: pathlib.Path, database: Database, head: Mapping[str, Any], files: Mapping[str, bytes]
) -> dict[str, int]:
    """Write a backup, mode 0600; how many rows of each table it has. head: facts of this node, shown at the restore.

    files: name -> content of small files that come along. Raises BackupError, OSError, DatabaseUnreachable,
    SQLAlchemyError.
    """
    counts: dict[str, int] = {}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise BackupError(f"{path}: is there already; name another file") from None
    try:
        with open(descriptor, "wb") as opened, gzip.GzipFile(fileobj=opened, mode="wb") as packed:
            hashed = hashlib.sha256()

            def put(line: Mapping[str, Any]) -> None:
                data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
                if len(data) > LINE_BYTES_MAX:  # it could not be read back
                    raise BackupError(f"a row of {line.get('table')} has {len(data)} bytes, more than {LINE_BYTES_MAX}")
                hashed.update(data)
                packed.write(data)

            with database.transaction() as connection:
                _begin(connection)
                put({"format": FORMAT, "revision": HEAD, "made_wall_s": time.time(), **head})
                for table in _tables():
                    counts[table.name] = _put_rows(connection, table, put)
            for name, content in files.items():
                put({"file": name, "data": base64.b64encode(content).decode()})
            packed.write(json.dumps({"end": hashed.hexdigest()}).encode() + b"\n")
        with open(path, "rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return counts


def _begin(connection: Connection) -> None:
    """All tables are read as they are at one moment: a switch that begins meanwhile would leave steps without it."""
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql("BEGIN" if sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _put_rows(connection: Connection, table: Table, put: Callable[[Mapping[str, Any]], None]) -> int:
    count = 0
    for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings():
        put({"table": table.name, "row": dict(row)})
        count += 1
    return count


def _lines(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Every line but the last, which must fit them. Raises BackupError at the first thing that is wrong."""
    hashed = hashlib.sha256()
    broken = f"{path}: is damaged or cut off; take another backup"
    try:
        with gzip.open(path, "rb") as opened:
            while data := opened.readline(LINE_BYTES_MAX):
                line = json.loads(data)
                if not isinstance(line, dict):
                    raise ValueError
                if "end" in line:
                    if line["end"] != hashed.hexdigest() or opened.read(1):
                        raise ValueError
                    return
                hashed.update(data)
                yield line
    except FileNotFoundError:
        raise BackupError(f"{path}: is not there") from None
    except (OSError, EOFError, ValueError, RecursionError):
        raise BackupError(broken) from None
    raise BackupError(broken)


def read(path: pathlib.Path) -> Contents:
    """Look through the whole file. Raises BackupError."""
    head: dict[str, Any] | None = None
    rows: dict[str, int] = {}
    files: dict[str, bytes] = {}
    names = {table.name for table in _tables()}
    for line in _lines(path):
        if head is None:
            head = line
            if head.get("format") != FORMAT:
                raise BackupError(f"{path}: is no backup of this product, or one of a newer version")
            if str(head.get("revision", "")) > HEAD:
                raise BackupError(
                    f"{path}: was made by a newer version ({head.get('version')}); update this server first"
                )
        elif line.get("table") in names and isinstance(line.get("row"), dict):
            rows[line["table"]] = rows.get(line["table"], 0) + 1
        elif "file" in line and "/" not in str(line["file"]):
            files[str(line["file"])] = base64.b64decode(str(line.get("data", "")))
        else:
            raise BackupError(f"{path}: has a line that this version does not know; update this server first")
    if head is None:
        raise BackupError(f"{path}: is damaged or cut off; take another backup")
    return Contents(head=head, rows=rows, files=files)


def is_empty(database: Database) -> bool:
    """Whether nothing was saved or switched here yet. Raises DatabaseUnreachable, SQLAlchemyError."""
    with database.transaction() as connection:
        return not any(connection.scalar(select(func.count()).select_from(table)) for table in (SETTINGS, SWITCH))


def restore(path: pathlib.Path, database: Database, prefix: str) -> int:
    """Replace what the database holds by the backup, in one transaction; the epoch that the node has now.

    prefix: of this instance, to which the backup must belong. Raises as ``read``, DatabaseUnreachable, SQLAlchemyError.
    """
    read(path)
    by_name = {table.name: table for table in _tables()}
    now_s = time.time()
    with database.transaction() as connection:
        known = _epoch(connection)
        for table in reversed(METADATA.sorted_tables):
            connection.execute(delete(table))
        waiting: dict[str, list[dict[str, Any]]] = {}
        for line in _lines(path):
            if "table" in line:
                table = by_name[line["table"]]
                row = {name: value for name, value in line["row"].items() if name in table.columns}
                waiting.setdefault(table.name, []).append(row)
                if len(waiting[table.name]) >= ROWS_AT_ONCE:
                    connection.execute(insert(table), waiting.pop(table.name))
                for name in [name for name in waiting if name != table.name]:  # a parent before its children
                    connection.execute(insert(by_name[name]), waiting.pop(name))
        for name, rows in waiting.items():
            connection.execute(insert(by_name[name]), rows)
        if connection.dialect.name == "postgresql":
            _count_on(connection)
        owner = connection.scalar(select(STANDING.c.document).where(STANDING.c.name == INSTANCE))
        if owner is not None and owner.get("prefix", "") != prefix:
            raise BackupError(
                f"{path}: is of the instance with FT_PREFIX={owner.get('prefix')!r}, this one has {prefix!r}"
            )
        epoch = max(known, _epoch(connection)) + EPOCH_GAP
        facts = {"epoch": epoch, "role": "standby", "boot_id": "", "lease_epoch": 0, "lease_deadline_s": 0.0}
        if not connection.execute(update(NODE).where(NODE.c.id == 1).values(**facts)).rowcount:
            connection.execute(insert(NODE).values(id=1, role_epoch=0, manual_hold=False, **facts))
        closed = {"ended_wall_s": now_s, "outcome": "failed", "role_after": "standby", "detail": RESTORED}
        connection.execute(update(SWITCH).where(SWITCH.c.ended_wall_s.is_(None)).values(**closed))
    return epoch


def _count_on(connection: Connection) -> None:
    """PostgreSQL would give the next switch and the next event a number that a restored one has."""
    from ftplugin.replicate.rows import raise_sequence

    for table in _tables():
        if table.autoincrement_column is not None:
            raise_sequence(connection, table, table.autoincrement_column)


def _epoch(connection: Connection) -> int:
    """The highest durable one; 0 when there is none."""
    node = connection.scalar(select(func.max(NODE.c.epoch))) or 0
    return max(node, connection.scalar(select(func.max(SWITCH.c.epoch))) or 0)
