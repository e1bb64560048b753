"""One round: what is newer on the other node comes here, a part of the buckets at a time, so that memory stays small.

Rows are written with those that they refer to first, and deleted the other way round: ``order`` is that of the foreign keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from ftplugin.store.database import Database

from .conflicts import ConflictStore, Lost, conflict_id, note
from .files import FolderThing
from .files_take import FileTaker
from .ledger import BUCKETS, GONE, Bucket, Ledger, bucket_of, root_of
from .merge import Verdict, entry_of, is_forgotten, judge, plainly_newer
from .rows import RowThing, digest_of
from .thing import ReplicationError, Wanted
from .wire import KEYS_MAX, QUESTION_BYTES_MAX, ContentPeer

ROWS_PAGE, FILES_PAGE, BUCKETS_PAGE = KEYS_MAX, 200, 256
ENTRY_CHARS = 100  # of a key in a question, beside the key itself; quotes in it are doubled, hence the half below
AnyThing = RowThing | FolderThing


@dataclass(kw_only=True)
class Progress:
    """Of one thing. behind: keys that are newer there; ahead: newer here, the other node takes them. bytes: of files, taken."""

    behind: int = 0
    ahead: int = 0
    taken: int = 0
    bytes: int = 0
    conflicts: int = 0
    same: bool = False
    error: str = ""
    problems: list[str] = field(default_factory=list)


class Puller:
    """Takes what is newer on the other node. me, other: "server1" or "server2".

    go_on: asked between two parts; False ends the round, as when the process has lost its claim. told: called when there is
    progress to be shown.
    """

    def __init__(
        self,
        things: Mapping[str, AnyThing],
        database: Database,
        peer: ContentPeer,
        me: str,
        *,
        go_on: Callable[[], bool] = lambda: True,
        told: Callable[[], None] = lambda: None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._things, self._database, self._peer, self._me = things, database, peer, me
        self._other = "server2" if me == "server1" else "server1"
        self._go_on, self._told, self._wall_s = go_on, told, wall_s
        self._conflicts = ConflictStore(database)
        self.progress = {name: Progress() for name in things}

    def round(self) -> dict[str, Progress]:
        """Take everything once. What cannot be done for one thing is its ``error`` and does not stop the others.

        Raises ReplicationError when the other node cannot be asked, and as the ledger when this node's database fails.
        """
        digests = {name: Ledger(self._database, name).digests() for name in self._things}
        roots = {name: root_of(found) for name, found in digests.items()}
        there = self._peer.ask("tree", roots=roots).get("things")
        if not isinstance(there, dict):
            raise ReplicationError("the other server's answer names no things")
        differing: dict[str, list[int]] = {}
        for name, thing in self._things.items():
            progress = self.progress[name]
            try:
                differing[name] = self._differing(thing, there.get(name), digests[name], progress)
            except ReplicationError as error:
                progress.error = str(error)
        gone: dict[str, list[int]] = {}
        for name, buckets in differing.items():
            gone[name] = self._guarded(name, buckets, deleted=False)
        for name in reversed(list(gone)):
            self._guarded(name, gone[name], deleted=True)
        return self.progress

    def _differing(self, thing: AnyThing, facts: Any, own: list[str], progress: Progress) -> list[int]:
        if not isinstance(facts, dict):
            raise ReplicationError(
                f"{thing.name} is not registered on the other server; install the same version there"
            )
        if facts.get("kind") != thing.kind or facts.get("shape") != thing.shape():
            raise ReplicationError(
                f"{thing.name} is not the same on both servers (columns, kind of database or exclusions differ): "
                f"here {thing.shape()}, there {str(facts.get('shape'))[:500]}; install the same version on both"
            )
        if not facts.get("ready"):
            raise ReplicationError(f"{thing.name} was not looked at on the other server yet")
        digests = facts.get("digests")
        if digests is None:
            progress.same = True
            return []
        if not isinstance(digests, list) or len(digests) != BUCKETS:
            raise ReplicationError(f"{thing.name}: the other server's digests cannot be read")
        return [n for n in range(BUCKETS) if digests[n] != own[n]]

    def _guarded(self, name: str, buckets: list[int], *, deleted: bool) -> list[int]:
        try:
            return self._through(self._things[name], buckets, deleted=deleted)
        except (ReplicationError, ValueError) as error:
            self.progress[name].error = str(error)
            return []

    def _through(self, thing: AnyThing, buckets: list[int], *, deleted: bool) -> list[int]:
        """Go through these buckets; those with something that is deleted there."""
        ledger, progress, with_gone = Ledger(self._database, thing.name), self.progress[thing.name], []
        forgotten_s = ledger.forgotten_before_wall_s() if buckets else 0.0
        for page in _pages(buckets, BUCKETS_PAGE):
            left = list(page)
            while left and self._go_on():
                answer = self._peer.ask("entries", thing=thing.name, buckets=left)
                there_left = answer.get("left")
                rest = [n for n in left if n in there_left] if isinstance(there_left, list) else []
                asked = [n for n in left if n not in rest]
                if not asked:
                    raise ReplicationError(f"{thing.name}: the other server answers none of what was asked")
                held = ledger.load(asked)
                theirs = _entries(answer, set(asked))
                wanted, merged = self._judged(theirs, held, progress, forgotten_s, count=not deleted)
                there = [one for one in wanted if one.digest]
                if len(there) < len(wanted):
                    with_gone += asked
                self._take(thing, ledger, held, [one for one in wanted if not one.digest] if deleted else there, merged)
                left = rest
        if buckets:
            ledger.intend({})
        return with_gone

    def _judged(
        self,
        theirs: Mapping[int, dict[str, str]],
        held: dict[int, Bucket],
        progress: Progress,
        forgotten_s: float,
        *,
        count: bool,
    ) -> tuple[list[Wanted], set[int]]:
        """(what to take, buckets whose counters have changed: those are put right in ``held``)."""
        wanted: list[Wanted] = []
        merged: set[int] = set()
        for bucket, entries in theirs.items():
            mine = held[bucket].entries
            for key, their in entries.items():
                text = mine.get(key)
                if text == their:
                    continue
                if bucket_of(key) != bucket:
                    raise ReplicationError(f"the other server's entry {key[:80]!r} is not of what was asked")
                if text is not None and (digest := plainly_newer(text, their, self._me)) is not None:
                    wanted.append(Wanted(key, text, their, digest, False, bucket))
                    continue
                own = entry_of(text) if text is not None else None
                told = entry_of(their)
                verdict, then = judge(own, told)
                if verdict in (Verdict.TAKE, Verdict.TAKE_CONFLICT) and then is not None:
                    apart = own is not None and is_forgotten(own, told, self._me, forgotten_s)
                    conflict = verdict is Verdict.TAKE_CONFLICT or apart
                    wanted.append(Wanted(key, text or "", then.text, then.digest, conflict, bucket))
                elif then is not None and then != own:
                    mine[key] = then.text
                    merged.add(bucket)
                if count and verdict in (Verdict.KEEP, Verdict.KEEP_CONFLICT):
                    progress.ahead += 1
            if count:
                progress.ahead += sum(mine[key][0] != GONE for key in mine.keys() - entries.keys())
        if count:
            progress.behind += len(wanted)
        return wanted, merged

    # --- take -----------------------------------------------------------------------------------------------------

    def _take(
        self,
        thing: AnyThing,
        ledger: Ledger,
        held: dict[int, Bucket],
        wanted: list[Wanted],
        merged: set[int],
    ) -> None:
        if not wanted:
            ledger.save({n: held[n] for n in merged})
            return
        for page in _askable(wanted, ROWS_PAGE if isinstance(thing, RowThing) else FILES_PAGE):
            if not self._go_on():
                return
            ledger.intend({one.key: one.then for one in page})
            taken = self._rows(thing, page) if isinstance(thing, RowThing) else self._files(thing, held, page)
            changed = set(merged)
            for one in page:
                if one.key in taken:
                    held[one.bucket].put(one.key, one.then, taken[one.key])
                    changed.add(one.bucket)
            ledger.save({n: held[n] for n in changed})
            merged = set()
            progress = self.progress[thing.name]
            progress.taken += len(taken)
            progress.behind -= len(taken)
            self._told()

    def _rows(self, thing: RowThing, page: Sequence[Wanted]) -> dict[str, Any]:
        """Ask for the rows and write them, as many at a time as fit into an answer."""
        done: dict[str, Any] = {}
        left: Sequence[Wanted] = page
        while left:
            digests = {one.key: one.digest for one in left if one.digest}
            texts = self._texts(thing, digests) if digests else {}
            ready = [one for one in left if not one.digest or one.key in texts] if len(texts) < len(left) else left
            outcome = thing.take(ready, texts, lambda lost, by: self._keep(thing.name, lost, by))
            self.progress[thing.name].problems += outcome.problems
            done |= dict.fromkeys(outcome.done)
            left = [one for one in left if one.digest and one.key not in texts] if texts else []
        return done

    def _texts(self, thing: RowThing, digests: dict[str, str]) -> dict[str, str]:
        """Those that came; one that was changed there meanwhile did not."""
        head, data = self._peer.ask_bytes("rows", thing=thing.name, wanted=digests)
        lines = str(data, "utf-8", "replace").split("\n")
        if len(lines) != head.get("lines") or len(lines) > len(digests):
            raise ReplicationError(f"{thing.name}: the other server's rows cannot be read")
        texts = {key: row for key, row in zip(digests, lines) if row}
        for key, row in texts.items():
            if digests[key] != digest_of(row):
                raise ReplicationError(f"{thing.name}: what came for {key[:80]} is not the row that was asked for")
        return texts

    def _files(self, thing: FolderThing, held: dict[int, Bucket], page: Sequence[Wanted]) -> dict[str, Any]:
        extras = {one.key: held[one.bucket].extras.get(one.key) for one in page}

        def fetch(parts: list[list[Any]]) -> tuple[list[list[int]], memoryview]:
            head, data = self._peer.ask_bytes("blocks", thing=thing.name, parts=parts)
            lengths = head.get("lengths")
            if not isinstance(lengths, list) or not all(isinstance(found, list) for found in lengths):
                raise ReplicationError(f"{thing.name}: the other server's blocks cannot be read")
            return lengths, data

        taker = FileTaker(thing, extras, fetch, lambda lost: self._keep(thing.name, lost))
        try:
            there = {one.key: one.digest for one in page if one.digest}
            if there:
                told = self._peer.ask("files", thing=thing.name, wanted=there).get("files")
                found = taker.write([one for one in page if one.digest], told if isinstance(told, dict) else {})
            else:
                found = taker.delete(page)
        finally:
            taker.close()
        progress = self.progress[thing.name]
        progress.problems += found.problems
        progress.bytes += found.bytes
        return found.done

    def _keep(self, thing: str, lost: Sequence[tuple[Wanted, Mapping[str, Any]]], by: Connection | None = None) -> None:
        """Record what gives way, before it does. by: in whose transaction that is. Raises as the database."""
        now_s = self._wall_s()
        found = []
        for one, facts in lost:
            own, then = entry_of(one.own) if one.own else None, entry_of(one.then)
            item = one.key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            when = {"at_wall_s": own.at_wall_s if own else now_s, "origin": own.origin if own else self._me}
            won = {"at_wall_s": then.at_wall_s, "origin": then.origin, "deleted": not then.digest}
            found.append(
                Lost(
                    conflict_id=conflict_id(thing, one.key, own.digest if own else "", one.digest, facts.get("file")),
                    subject=thing,
                    item=item,
                    found_wall_s=now_s,
                    kept_on=self._me,
                    lost={**when, "deleted": not (own and own.digest), **facts},
                    won=won,
                )
            )
        # the portal's rows may be in the same file as ours, which it has locked
        if by is not None and self._database.is_written_by(by):
            note(by, found)
        else:
            self._conflicts.note(found)
        self.progress[thing].conflicts += len(found)


def _entries(answer: Mapping[str, Any], buckets: set[int]) -> dict[int, dict[str, str]]:
    """Texts by bucket; one that the other node knows nothing of is empty. Raises ReplicationError."""
    found = answer.get("entries")
    if not isinstance(found, dict):
        raise ReplicationError("the other server's entries cannot be read")
    entries: dict[int, dict[str, str]] = {bucket: {} for bucket in buckets}
    for number, listed in found.items():
        bucket = int(number) if number.isdecimal() and len(number) < 9 else -1
        if bucket not in buckets or not isinstance(listed, dict):
            raise ReplicationError(f"the other server's bucket {number[:20]!r} is not of what was asked")
        entries[bucket] = listed
    return entries


def _askable(wanted: Sequence[Wanted], count_max: int) -> Iterator[list[Wanted]]:
    """Parts of which each fits into one question."""
    part: list[Wanted] = []
    size = 0
    for one in wanted:
        length = ENTRY_CHARS + len(one.key) * (1 if one.key.isascii() else 6)
        if part and (len(part) >= count_max or size + length > QUESTION_BYTES_MAX / 2):
            yield part
            part, size = [], 0
        part.append(one)
        size += length
    if part:
        yield part


def _pages(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
