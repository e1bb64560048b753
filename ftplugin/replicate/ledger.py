"""What this node knows of each row or file of one thing: in the node's own database, many entries in one row of it.

A key belongs to one of BUCKETS buckets by its hash, on both nodes alike, so that one short digest a bucket tells where two
nodes differ. A row of the table holds a whole bucket as JSON: an entry for each key in a row of its own would cost more than
the row that is replicated.

Before content is taken from the other node, the entries it will have are written as intentions, in a bucket of their own; so
a crash between the content and the ledger leaves no edit that nobody made (``merge.scanned``).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from ftplugin.store.database import Database
from ftplugin.store.tables import LEDGER

from .merge import Entry

BUCKETS = 256
DIGEST_BYTES = 9
EMPTY = ""  # digest of a bucket without entries
INTENTIONS = -1  # its bucket


class Record(NamedTuple):
    """``extra``: what a thing wants to find again at its next look, as the size and time of a file; never sent."""

    entry: Entry
    extra: Any = None


def bucket_of(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % BUCKETS


def bucket_digest(entries: Mapping[str, Record]) -> str:
    """The same on both nodes exactly when they hold the same content with the same counters."""
    if not entries:
        return EMPTY
    lines = [f"{key}\n{e[0]}\n{e[1]}\n{e[2]}\n" for key, (e, _) in sorted(entries.items())]
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def root_of(digests: Iterable[str]) -> str:
    """One digest over those of all buckets."""
    return hashlib.blake2b(",".join(digests).encode(), digest_size=DIGEST_BYTES).hexdigest()


class Ledger:
    """The entries of one thing. Used by the one process that replicates; others only read.

    Every method raises DatabaseUnreachable or SQLAlchemyError when the database cannot be read or written.
    """

    def __init__(self, database: Database, thing: str) -> None:
        self.database, self.thing = database, thing

    def digests(self) -> list[str]:
        """One for each bucket."""
        query = select(LEDGER.c.bucket, LEDGER.c.digest).where(LEDGER.c.thing == self.thing)
        found = [EMPTY] * BUCKETS
        with self.database.transaction() as connection:
            for bucket, digest in connection.execute(query):
                if 0 <= bucket < BUCKETS:
                    found[bucket] = digest
        return found

    def known(self) -> bool:
        """Whether this thing was ever scanned here."""
        query = select(LEDGER.c.bucket).where(LEDGER.c.thing == self.thing, LEDGER.c.bucket >= 0).limit(1)
        with self.database.transaction() as connection:
            return connection.scalar(query) is not None

    def load(self, buckets: Iterable[int]) -> dict[int, dict[str, Record]]:
        """The entries of these buckets, an empty one for each that was never written."""
        wanted = sorted(set(buckets))
        found: dict[int, dict[str, Record]] = {bucket: {} for bucket in wanted}
        query = select(LEDGER.c.bucket, LEDGER.c.entries).where(LEDGER.c.thing == self.thing)
        if len(wanted) < BUCKETS:
            query = query.where(LEDGER.c.bucket.in_(wanted))
        with self.database.transaction() as connection:
            rows = connection.execute(query).all()
        for bucket, packed in rows:
            if bucket in found:
                found[bucket] = _unpacked(packed)
        return found

    def save(self, buckets: Mapping[int, Mapping[str, Record]]) -> None:
        """Write whole buckets, in one transaction."""
        if not buckets:
            return
        rows = [
            {"thing_": self.thing, "bucket_": n, "digest": bucket_digest(entries), "entries": _packed(entries)}
            for n, entries in buckets.items()
        ]
        of_this = LEDGER.c.thing == self.thing
        with self.database.transaction() as connection:
            have = set(connection.scalars(select(LEDGER.c.bucket).where(of_this)))
            changed = [row for row in rows if row["bucket_"] in have]
            fresh = [row for row in rows if row["bucket_"] not in have]
            if changed:
                this = update(LEDGER).where(of_this, LEDGER.c.bucket == bindparam("bucket_"))
                connection.execute(this.values(digest=bindparam("digest"), entries=bindparam("entries")), changed)
            if fresh:
                names: dict[str, Any] = {"thing": bindparam("thing_"), "bucket": bindparam("bucket_")}
                connection.execute(
                    insert(LEDGER).values(**names, digest=bindparam("digest"), entries=bindparam("entries")), fresh
                )

    def intend(self, intentions: Mapping[str, Entry]) -> None:
        """What is about to be taken, in place of what was before."""
        packed = json.dumps(intentions, separators=(",", ":")).encode()
        with self.database.transaction() as connection:
            this = (LEDGER.c.thing == self.thing, LEDGER.c.bucket == INTENTIONS)
            if not connection.execute(update(LEDGER).where(*this).values(entries=packed)).rowcount:
                known = {"thing": self.thing, "bucket": INTENTIONS, "digest": EMPTY}
                connection.execute(insert(LEDGER).values(**known, entries=packed))

    def intentions(self) -> dict[str, Entry]:
        """What was about to be taken when the last round ended."""
        query = select(LEDGER.c.entries).where(LEDGER.c.thing == self.thing, LEDGER.c.bucket == INTENTIONS)
        with self.database.transaction() as connection:
            packed = connection.scalar(query)
        return {key: Entry(*entry) for key, entry in json.loads(packed).items()} if packed else {}

    def entries(self) -> Iterator[tuple[str, Record]]:
        """All of them, a part of the buckets at a time."""
        for start in range(0, BUCKETS, 16):
            for entries in self.load(range(start, start + 16)).values():
                yield from entries.items()

    def forget(self) -> None:
        """Know nothing of this thing any more."""
        with self.database.transaction() as connection:
            connection.execute(delete(LEDGER).where(LEDGER.c.thing == self.thing))


def _packed(entries: Mapping[str, Record]) -> bytes:
    return json.dumps(entries, separators=(",", ":")).encode()  # named tuples become lists


def _unpacked(packed: bytes) -> dict[str, Record]:
    return {key: Record(Entry(*entry), extra) for key, (entry, extra) in json.loads(packed).items()}
