"""Who wins when two nodes hold different content under one key. Pure; the engine and the state machine test use it.

Each row or file has an ``Entry``: the digest of its content and two counters, the edits made on server #1 and on server #2.
Every edit raises the editor's own counter. So of two entries

    one has both counters at least as high      it was made with the other one known: it is newer, nothing is lost
    each has a higher counter than the other    both were edited apart: a conflict
    the counters are equal, the digests not     a node came back from a backup and counts again: a conflict, too
                                                (``is_forgotten`` for when they are not equal)

In a conflict more edits win, then the later edit, then server #1, then the digest: both nodes decide alike, whatever the
order in which they hear of each other. The node that gives way keeps its own content aside and takes the other one with the
higher of both counters. The winner learns of that when it sees its own content there; until then it must not claim the other
counter, or the loser would take the winner's content for one made with its own edit known.

A deleted row or file keeps its entry, with an empty digest, for as long as the other node may still have the content
(``ledger.Ledger.forget``). Who knows nothing of a key does not take such an entry: nothing is there on either node. The wall
clock is asked only between two that were edited equally often apart, where nothing else tells.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

FIRST_ACTIVE, FIRST_STANDBY = (
    2,
    1,
)  # edits counted when a node begins: so the active node's content wins at the first meeting


class Entry(NamedTuple):
    """What one node knows under one key. In ledgers and messages it is a text: tens of thousands are compared there, few read.

    digest: of the content, "" when deleted. one, two: edits on server1, server2. at_wall_s: of the last edit, seconds since
    1970, in milliseconds. origin: the server of that edit.
    """

    digest: str
    one: int
    two: int
    at_wall_s: float
    origin: str

    @property
    def text(self) -> str:
        """As ``entry_of`` reads it; begins with the digest and a blank."""
        return f"{self.digest} {self.one} {self.two} {stamp_of(self.at_wall_s)} {self.origin}"


_TEXT = re.compile(r"([0-9a-f]{0,64}) (\d{1,15}) (\d{1,15}) (-?\d{1,15}\.\d{3}) (server[12])", re.ASCII)


def entry_of(text: str) -> Entry:
    """Raises ValueError for what is no entry."""
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r:.100} is no entry")
    digest, one, two, at_wall_s, origin = found.groups()
    return Entry(digest, int(one), int(two), float(at_wall_s), origin)


class Verdict(StrEnum):
    """What a node does with what the other one has."""

    SAME = "same"
    KEEP = "keep"  # the own one is newer: the other node will take it
    TAKE = "take"
    KEEP_CONFLICT = "keep conflict"
    TAKE_CONFLICT = "take conflict"  # and keep the own content aside


def edited(before: Entry | None, digest: str, me: str, at_wall_s: float, first: int = 1) -> Entry:
    """The entry after an edit on ``me`` ("server1" or "server2"). first: what a key that was not known counts."""
    one, two = (before.one, before.two) if before is not None else (0, 0)
    step = 1 if before is not None else first
    one, two = (one + step, two) if me == "server1" else (one, two + step)
    return Entry(digest, one, two, round(at_wall_s, 3), me)


def scanned(
    known: Entry | None, intended: Entry | None, digest: str, me: str, at_wall_s: float, first: int = 1
) -> Entry | None:
    """The entry after a look at the content: ``known``, unless it was edited here. None: never was anything there.

    digest: what is there now, "" for nothing. intended: what was about to be taken from the other node when the last round
    ended in the middle; if it is there, it was taken, and is no edit of this node.
    """
    if intended is not None and intended.digest == digest:
        return intended
    if known is None:
        return edited(None, digest, me, at_wall_s, first) if digest else None
    return known if known.digest == digest else edited(known, digest, me, at_wall_s)


def edited_text(text: str, digest: str, me: str, stamp: str) -> str:
    """As ``edited`` of a known entry, on texts of this node: ten thousand at a time. stamp: when, by ``stamp_of``."""
    _, one, two, _ = text.split(" ", 3)
    if me == "server1":
        return f"{digest} {int(one) + 1} {two} {stamp} {me}"
    return f"{digest} {one} {int(two) + 1} {stamp} {me}"


def stamp_of(at_wall_s: float) -> str:
    """A time as it stands in the text of an entry."""
    return f"{at_wall_s:.3f}"


def plainly_newer(own: str, theirs: str, me: str) -> str | None:
    """The digest to take when ``judge`` says TAKE and ``is_forgotten`` has nothing to say, for two texts of which the second
    one may come from anybody. None: ask them.
    """
    found = _TEXT.fullmatch(theirs) if isinstance(theirs, str) else None
    if found is None:
        return None
    digest, one, two = found.group(1, 2, 3)
    own_digest, own_one, own_two, _ = own.split(" ", 3)
    if not digest or digest == own_digest or (one == own_one and two == own_two):
        return None
    if (one != own_one) if me == "server1" else (two != own_two):
        return None
    return digest if int(one) >= int(own_one) and int(two) >= int(own_two) else None


def judge(own: Entry | None, theirs: Entry | None) -> tuple[Verdict, Entry | None]:
    """(what to do, the entry that holds afterwards)."""
    if theirs is None:
        return Verdict.KEEP, own
    if own is None:
        return (Verdict.TAKE, theirs) if theirs.digest else (Verdict.SAME, None)
    one, two = max(own.one, theirs.one), max(own.two, theirs.two)
    if own.digest == theirs.digest:
        newer = max(own, theirs, key=_rank)
        return Verdict.SAME, newer._replace(one=one, two=two)
    if (own.one, own.two) != (theirs.one, theirs.two):
        if (theirs.one, theirs.two) == (one, two):
            return Verdict.TAKE, theirs
        if (own.one, own.two) == (one, two):
            return Verdict.KEEP, own
    if _rank(theirs) > _rank(own):
        return Verdict.TAKE_CONFLICT, theirs._replace(one=one, two=two)
    return Verdict.KEEP_CONFLICT, own


def is_forgotten(own: Entry, theirs: Entry, me: str, forgotten_before_wall_s: float) -> bool:
    """Whether ``own``, older by its counters, may be an edit that ``theirs`` does not know, as this node has counted anew: then
    it is kept aside when that is taken.

    It does so for what it had forgotten as deleted (all that was deleted before ``forgotten_before_wall_s``, seconds since 1970)
    and the other node had not yet; and when it came back from a backup: then the other one knows more of its edits than itself.
    """
    if not own.digest:
        return False
    if not theirs.digest and theirs.at_wall_s < forgotten_before_wall_s:
        return True
    fewer = own.one < theirs.one if me == "server1" else own.two < theirs.two
    return fewer and own.origin == me and own.at_wall_s > theirs.at_wall_s


def _rank(entry: Entry) -> tuple[int, float, bool, str]:
    return entry.one + entry.two, entry.at_wall_s, entry.origin == "server1", entry.digest
