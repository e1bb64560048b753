"""What was changed on this node since the last look: compares the content with the ledger. Catches what goes past the ORM, too.

A brake guards against a disk that is not mounted or a database that came back empty: when most of what was known is gone at
once, or all of a little, nothing is taken for deleted until an administrator has said so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from .ledger import BUCKETS, GONE, Bucket, Ledger, bucket_of
from .merge import FIRST_ACTIVE, FIRST_STANDBY, Entry, edited_text, entry_of, scanned, stamp_of
from .thing import Known, Thing

TURN_KEYS = 500  # looked at before others have their turn
GONE_MIN, GONE_PART = 20, 0.5  # the brake: at least so many, and more than this part of what was there
GONE_ALL_MIN = 3  # or everything, and at least so many: a folder of a few files may not be mounted, either


@dataclass(kw_only=True)
class Scan:
    """Of one look. ``gone``: how many deletions wait for an administrator. ``edited``: keys changed here since the last look."""

    total: int = 0
    edited: int = 0
    gone: int = 0
    problems: list[str] = field(default_factory=list)


class _Sheet:
    """The whole ledger of a thing, and which buckets of it have changed."""

    def __init__(self, ledger: Ledger) -> None:
        self.buckets = ledger.load(range(BUCKETS))
        self.known = Known({}, {})
        for bucket in self.buckets.values():
            self.known.entries.update(bucket.entries)
            self.known.extras.update(bucket.extras)
        self.intentions = {key: entry_of(text) for key, text in ledger.intentions().items()}
        self.changed: dict[int, Bucket] = {}

    def at(self, key: str) -> Bucket:
        """To be changed."""
        number = bucket_of(key)
        self.changed[number] = self.buckets[number]
        return self.buckets[number]


def scan(thing: Thing, ledger: Ledger, me: str, *, active: bool, wall_s: float, gone: str = "") -> Scan:
    """Bring the ledger up to date with the content.

    me: "server1" or "server2". active: this node is, which counts at the first look. gone: what to do with a mass deletion:
    "" ask, "delete" take it for one, "restore" forget what is gone, so that the other node's content comes back.
    Raises ReplicationError, DatabaseUnreachable, SQLAlchemyError; then the ledger is as it was.
    """
    known_before = ledger.known()
    first = FIRST_STANDBY if known_before or not active else FIRST_ACTIVE
    sheet, seen, result = _Sheet(ledger), set(), Scan()
    now = stamp_of(wall_s)
    entries, extras, intentions = sheet.known.entries, sheet.known.extras, sheet.intentions
    for key, digest, extra, at_wall_s in thing.found(sheet.known):
        seen.add(key)
        if not len(seen) % TURN_KEYS:
            time.sleep(0)  # under gevent the portal's answers wait for this loop
        text, intended = entries.get(key), intentions.get(key)
        if text is not None and intended is None and text.startswith(digest + " "):
            if extra != extras.get(key):
                sheet.at(key).put(key, text, extra)
            continue
        if text is not None and intended is None:
            result.edited += 1
            sheet.at(key).put(
                key, edited_text(text, digest, me, now if at_wall_s is None else stamp_of(at_wall_s)), extra
            )
            continue
        known = entry_of(text) if text is not None else None
        entry = scanned(known, intended, digest, me, wall_s if at_wall_s is None else at_wall_s, first)
        if entry is not None:
            result.edited += entry is not intended and entry != known
            sheet.at(key).put(key, entry.text, extra)
    result.total, result.problems = len(seen), thing.problems()
    _missing(sheet, thing, seen, result, me, wall_s, gone)
    ledger.save(sheet.changed if known_before else sheet.changed or {0: sheet.buckets[0]})  # an empty one is known, too
    if intentions:
        ledger.intend({})
    if not result.gone:
        thing.looked()
    return result


def _missing(sheet: _Sheet, thing: Thing, seen: set[str], result: Scan, me: str, wall_s: float, gone: str) -> None:
    """What is known and was not seen."""
    missing: list[tuple[str, Entry]] = [
        (key, entry_of(text))
        for key, text in sheet.known.entries.items()
        if key not in seen and text[0] != GONE and not thing.unseen(key)
    ]
    most = len(missing) >= GONE_MIN and len(missing) > GONE_PART * (len(missing) + result.total)
    if not gone and (most or (not result.total and len(missing) >= GONE_ALL_MIN)):
        result.gone = len(missing)
        return
    for key, known in missing:
        intended = sheet.intentions.get(key)
        entry = scanned(known, intended, "", me, wall_s)
        if gone == "restore" or entry is None:
            sheet.at(key).drop(key)
        else:
            sheet.at(key).put(key, entry.text)
            result.edited += entry is not intended
