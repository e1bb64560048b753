"""What was changed on this node since the last look: compares the content with the ledger. Catches what goes past the ORM, too.

A brake guards against a disk that is not mounted or a database that came back empty: when most of what was known is gone at
once, nothing is taken for deleted until an administrator has said so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .ledger import BUCKETS, Ledger, Record, bucket_of
from .merge import FIRST_ACTIVE, FIRST_STANDBY, scanned
from .thing import Thing

GONE_MIN, GONE_PART = 20, 0.5  # the brake: at least so many, and more than this part of what was there


@dataclass(kw_only=True)
class Scan:
    """Of one look. ``gone``: how many deletions wait for an administrator. ``edited``: keys changed here since the last look."""

    total: int = 0
    edited: int = 0
    gone: int = 0
    problems: list[str] = field(default_factory=list)


def scan(thing: Thing, ledger: Ledger, me: str, *, active: bool, wall_s: float, gone: str = "") -> Scan:
    """Bring the ledger up to date with the content.

    me: "server1" or "server2". active: this node is, which counts at the first look. gone: what to do with a mass deletion:
    "" ask, "delete" take it for one, "restore" forget what is gone, so that the other node's content comes back.
    Raises ReplicationError, DatabaseUnreachable, SQLAlchemyError; then the ledger is as it was.
    """
    known_before = ledger.known()
    first = FIRST_STANDBY if known_before or not active else FIRST_ACTIVE
    intentions = ledger.intentions()
    held = ledger.load(range(BUCKETS))
    changed: set[int] = set() if known_before else {0}  # an empty one is known too, from now on
    seen: set[str] = set()
    result = Scan()
    for key, digest, extra, at_wall_s in thing.found(lambda key: held[bucket_of(key)].get(key)):
        seen.add(key)
        bucket = bucket_of(key)
        record, intended = held[bucket].get(key), intentions.get(key)
        known = record.entry if record is not None else None
        if record is not None and intended is None and record.entry.digest == digest:
            if extra != record.extra:
                held[bucket][key] = Record(record.entry, extra)
                changed.add(bucket)
            continue
        entry = scanned(known, intended, digest, me, wall_s if at_wall_s is None else at_wall_s, first)
        if entry is not None and (entry != known or (record is not None and extra != record.extra)):
            result.edited += entry is not intended
            held[bucket][key] = Record(entry, extra)
            changed.add(bucket)
    result.total, result.problems = len(seen), thing.problems()
    missing = [
        (bucket, key, record.entry)
        for bucket, entries in held.items()
        for key, record in entries.items()
        if record.entry.digest and key not in seen and not thing.unseen(key)
    ]
    if not gone and len(missing) >= GONE_MIN and len(missing) > GONE_PART * (len(missing) + result.total):
        result.gone = len(missing)
        missing = []
    for bucket, key, known in missing:
        entry = scanned(known, intentions.get(key), "", me, wall_s)
        if gone == "restore" or entry is None:
            del held[bucket][key]
        else:
            held[bucket][key] = Record(entry)
            result.edited += entry is not intentions.get(key)
        changed.add(bucket)
    ledger.save({bucket: held[bucket] for bucket in changed})
    if intentions:
        ledger.intend({})
    return result
