"""What this node knows of each row or file of one thing: in the node's own database, many entries in one row of it.

A key belongs to one of BUCKETS buckets by its hash, on both nodes alike, so that one short digest a bucket tells where two
nodes differ. A row of the table holds a whole bucket as JSON: an entry for each key in a row of its own would cost more than
the row that is replicated. Entries stay texts (``merge.Entry.text``): most are compared and never read.

Before content is taken from the other node, the entries it will have are written as intentions, in a bucket of their own; so
a crash between the content and the ledger leaves no edit that nobody made (``merge.scanned``).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from ftplugin.store.database import Database
from ftplugin.store.tables import LEDGER

from .merge import entry_of

BUCKETS = 256
DIGEST_BYTES = 9
EMPTY = ""  # digest of a bucket without entries
INTENTIONS, FORGOTTEN = -1, -2  # their buckets
GONE = " "  # how the entry of something deleted begins: without a digest
NO_EXTRAS = b",{}]"  # how a stored bucket without any ends


class Bucket:
    """entries: text by key. extras: what a thing wants to find again at its next look, as size and time of a file; never sent."""

    __slots__ = ("entries", "extras")

    def __init__(self, entries: dict[str, str], extras: dict[str, Any]) -> None:
        self.entries, self.extras = entries, extras

    def put(self, key: str, entry: str, extra: Any = None) -> None:
        self.entries[key] = entry
        if extra is None:
            self.extras.pop(key, None)
        else:
            self.extras[key] = extra

    def drop(self, key: str) -> None:
        self.entries.pop(key, None)
        self.extras.pop(key, None)

    @property
    def digest(self) -> str:
        """The same on both nodes exactly when they hold the same content with the same counters. What is deleted does not count:
        one node may have forgotten it before the other one."""
        text = "\n".join([f"{key} {entry}" for key, entry in sorted(self.entries.items()) if entry[0] != GONE])
        if not text:
            return EMPTY
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).hexdigest()


def bucket_of(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % BUCKETS


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

    def entries_json(self, buckets: Iterable[int]) -> dict[int, str]:
        """The entries of these buckets as they are stored, a JSON object each; those that were never written are "{}"."""
        found = {}
        for bucket, packed in self._packed(sorted(set(buckets))):
            bare = packed.endswith(NO_EXTRAS)  # as with all rows: ten thousand are not read only to be written again
            found[bucket] = packed[1 : -len(NO_EXTRAS)].decode() if bare else _packed(json.loads(packed)[0]).decode()
        return dict.fromkeys(buckets, "{}") | found

    def load(self, buckets: Iterable[int]) -> dict[int, Bucket]:
        """These buckets, an empty one for each that was never written."""
        wanted = sorted(set(buckets))
        found = {bucket: Bucket({}, {}) for bucket in wanted}
        for bucket, packed in self._packed(wanted):
            found[bucket] = Bucket(*json.loads(packed))
        return found

    def _packed(self, wanted: list[int]) -> list[tuple[int, bytes]]:
        query = select(LEDGER.c.bucket, LEDGER.c.entries).where(LEDGER.c.thing == self.thing, LEDGER.c.bucket >= 0)
        if len(wanted) < BUCKETS:
            query = query.where(LEDGER.c.bucket.in_(wanted))
        with self.database.transaction() as connection:
            return [(bucket, bytes(packed)) for bucket, packed in connection.execute(query) if bucket < BUCKETS]

    def save(self, buckets: Mapping[int, Bucket]) -> None:
        """Write whole buckets, in one transaction."""
        if not buckets:
            return
        rows = [
            {"n": n, "thing_": self.thing, "digest_": bucket.digest, "packed": _packed([bucket.entries, bucket.extras])}
            for n, bucket in buckets.items()
        ]
        of_this = LEDGER.c.thing == self.thing
        values: dict[str, Any] = {"digest": bindparam("digest_"), "entries": bindparam("packed")}
        with self.database.transaction() as connection:
            have = set(connection.scalars(select(LEDGER.c.bucket).where(of_this)))
            changed = [{k: v for k, v in row.items() if k != "thing_"} for row in rows if row["n"] in have]
            fresh = [row for row in rows if row["n"] not in have]
            if changed:
                this = update(LEDGER).where(of_this, LEDGER.c.bucket == bindparam("n"))
                connection.execute(this.values(values), changed)
            if fresh:
                names: dict[str, Any] = {"thing": bindparam("thing_"), "bucket": bindparam("n")}
                connection.execute(insert(LEDGER).values(names | values), fresh)

    def forget(self, before_wall_s: float) -> int:
        """Drop what is known of keys that were deleted before this moment (seconds since 1970); how many.

        Only when both nodes hold the same: then neither has the content any more, and no entry is needed to delete it there.
        """
        changed, count = {}, 0
        for number, bucket in self.load(range(BUCKETS)).items():
            gone = [
                k for k, text in bucket.entries.items() if text[0] == GONE and entry_of(text).at_wall_s < before_wall_s
            ]
            for key in gone:
                bucket.drop(key)
            if gone:
                changed[number] = bucket
                count += len(gone)
        if count:
            self._put(FORGOTTEN, max(before_wall_s, self.forgotten_before_wall_s()))
            self.save(changed)
        return count

    def forgotten_before_wall_s(self) -> float:
        """What was deleted before this moment is forgotten here; seconds since 1970."""
        return float(self._get(FORGOTTEN) or 0.0)

    def intend(self, intentions: Mapping[str, str]) -> None:
        """What is about to be taken, in place of what was before."""
        self._put(INTENTIONS, intentions)

    def intentions(self) -> dict[str, str]:
        """What was about to be taken when the last round ended."""
        return dict(self._get(INTENTIONS) or {})

    def _put(self, bucket: int, value: Any) -> None:
        with self.database.transaction() as connection:
            this = (LEDGER.c.thing == self.thing, LEDGER.c.bucket == bucket)
            if not connection.execute(update(LEDGER).where(*this).values(entries=_packed(value))).rowcount:
                known = {"thing": self.thing, "bucket": bucket, "digest": EMPTY}
                connection.execute(insert(LEDGER).values(**known, entries=_packed(value)))

    def _get(self, bucket: int) -> Any:
        query = select(LEDGER.c.entries).where(LEDGER.c.thing == self.thing, LEDGER.c.bucket == bucket)
        with self.database.transaction() as connection:
            packed = connection.scalar(query)
        return json.loads(packed) if packed else None


def _packed(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), check_circular=False).encode()
