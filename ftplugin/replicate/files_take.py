"""Files taken from the other node: parts first, each checked, then the whole put in its place by one rename.

A part that has come stays in the staging folder when the link is cut, and is not asked for again. A block that the old file
has at the same place is copied from there. What is replaced is looked at once more before: if it was edited here meanwhile
it stays, and is judged again at the next look.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

from .files import BLOCK_BYTES, Extra, FolderThing, file_digest, folder_digest, read_digests
from .safe_folder import KEPT, MODE_BITS, STAGING, Refused, Seen, exchange
from .thing import Keep, ReplicationError, Wanted

BATCH_FILES, BATCH_BYTES = 64, 4 << 20
SPARE_BYTES = 64 << 20  # left free on the disk
FILE_BYTES_MAX = 1 << 40
Fetch = Callable[[list[list[Any]]], tuple[list[list[int]], memoryview]]


class Described(NamedTuple):
    """What the other node says of a file, checked against its digest."""

    size: int
    mode: int
    mtime_ns: int
    owner: str
    group: str
    blocks: list[bytes]


class _Part(NamedTuple):
    wanted: Wanted
    told: Described
    name: str  # in the staging folder
    fd: int
    missing: list[int]


def described(key: str, digest: str, value: Any) -> Described:
    """Raises ValueError when it is not what the digest covers."""
    try:
        size, mode, mtime_ns = int(value["size"]), int(value["mode"]), int(value["mtime_ns"])
        blocks = [bytes.fromhex(block) for block in value["blocks"]]
        told = Described(size, mode, mtime_ns, str(value["owner"]), str(value["group"]), blocks)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{key[:80]!r}: its description cannot be read: {error}") from None
    if not 0 <= size <= FILE_BYTES_MAX or not 0 <= mode <= MODE_BITS or not 0 <= mtime_ns < 2**62:
        raise ValueError(f"{key[:80]!r}: size, mode or time is out of bounds")
    if key.endswith("/"):
        good = digest == folder_digest(mode)
    else:
        whole = len(blocks) == -(-size // BLOCK_BYTES) and all(len(block) == 32 for block in blocks)
        good = whole and digest == file_digest(mode, size, blocks)
    if not good:
        raise ValueError(f"{key[:80]!r}: its description does not fit its digest")
    return told


class Taken:
    """What has been done so far."""

    def __init__(self) -> None:
        self.done: dict[str, Any] = {}  # extra by key
        self.later: list[str] = []
        self.problems: list[str] = []
        self.bytes = 0


class FileTaker:
    """Writes into one folder. keep: told of what gives way, before it does. fetch: asks for blocks."""

    def __init__(self, thing: FolderThing, extras: Mapping[str, Any], fetch: Fetch, keep: Keep) -> None:
        """``extras``: what the ledger holds of the files that are here. Raises ReplicationError."""
        self._thing, self._extras, self._fetch, self._keep = thing, extras, fetch, keep
        self._folder = thing.open()
        self._result = Taken()
        self._looked: dict[str, os.stat_result] = {}  # what ``_fits`` has found good, by key

    def close(self) -> None:
        self._folder.close()

    # --- new and changed ------------------------------------------------------------------------------------------

    def write(self, wanted: Sequence[Wanted], told: Mapping[str, Any]) -> Taken:
        """Take these; ``told``: the other node's description by key. Raises ReplicationError when the link is cut or the disk
        full; what had come until then is kept."""
        files: list[tuple[Wanted, Described]] = []
        for one in sorted(wanted, key=lambda one: one.key):
            try:
                if one.key not in told:
                    self._result.later.append(one.key)
                    continue
                facts = described(one.key, one.digest, told[one.key])
                if not one.key.endswith("/"):
                    files.append((one, facts))
                elif self._fits(one):
                    self._make_folder(one, facts)
            except (ValueError, OSError) as error:
                self._result.problems.append(_said(one.key, error))
        try:
            with self._folder.reserved(STAGING) as staging:
                for start in range(0, len(files), BATCH_FILES):
                    self._batch(staging, files[start : start + BATCH_FILES])
        except (OSError, Refused) as error:
            raise ReplicationError(f"{self._thing.path}: {_said('', error)}") from None
        return self._result

    def _make_folder(self, one: Wanted, told: Described) -> None:
        with self._folder.parent(one.key, create=True) as (fd, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                _own(below, told)
                with contextlib.suppress(PermissionError):
                    os.fchmod(below, told.mode)
                mode = os.fstat(below).st_mode & MODE_BITS
            finally:
                os.close(below)
        self._result.done[one.key] = [[0, 0, 0, 0, mode], told.mode, ""]

    def _batch(self, staging: int, files: Sequence[tuple[Wanted, Described]]) -> None:
        parts: list[_Part] = []
        try:
            for one, told in files:
                try:
                    if self._fits(one):
                        parts.append(self._begin(staging, one, told))
                except (ValueError, OSError) as error:
                    self._result.problems.append(_said(one.key, error))
            whole = self._fill(parts)
            self._folder.sync()
            for part in whole:
                try:
                    self._place(staging, part)
                except (ValueError, OSError) as error:
                    self._result.problems.append(_said(part.wanted.key, error))
            self._folder.sync()
        finally:
            for part in parts:
                os.close(part.fd)

    def _begin(self, staging: int, one: Wanted, told: Described) -> _Part:
        """Open the part of a file, with what has come before and what the old file has. Raises OSError."""
        disk = os.fstatvfs(staging)
        if disk.f_bavail * disk.f_frsize < told.size + SPARE_BYTES:
            raise ReplicationError(
                f"{self._thing.path}: the disk is full: {told.size} bytes are needed for {one.key!r:.80}"
            )
        name = hashlib.sha256(os.fsencode(one.key) + b"\0" + one.digest.encode()).hexdigest()[:40]
        fresh = True
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=staging)
        except FileExistsError:
            fd, fresh = os.open(name, flags, dir_fd=staging), False
        try:
            have = [] if fresh else read_digests(fd)
            os.ftruncate(fd, told.size)
            missing = [n for n, digest in enumerate(told.blocks) if n >= len(have) or have[n] != digest]
            missing = self._copied(one, told, fd, missing)
        except OSError:
            os.close(fd)
            raise
        return _Part(one, told, name, fd, missing)

    def _copied(self, one: Wanted, told: Described, fd: int, missing: list[int]) -> list[int]:
        """Copy what the old file has at the same place; the blocks still missing."""
        extra = Extra.of(self._extras.get(one.key))
        digests = extra.digests if extra is not None else []
        same = {n for n in missing if n < len(digests) and digests[n] == told.blocks[n]}
        if not same:
            return missing
        try:
            old = self._folder.open_file(one.key)
        except (OSError, Refused):
            return missing
        try:
            for n in sorted(same):
                block = os.pread(old, BLOCK_BYTES, n * BLOCK_BYTES)
                if hashlib.sha256(block).digest() == told.blocks[n]:
                    os.pwrite(fd, block, n * BLOCK_BYTES)
                else:
                    same.discard(n)
        finally:
            os.close(old)
        return [n for n in missing if n not in same]

    def _fill(self, parts: Sequence[_Part]) -> list[_Part]:
        """Ask for the missing blocks, a few MiB at a time; the parts that are whole."""
        lacking = {part.wanted.key: set(part.missing) for part in parts}
        for asked in _questions(parts):
            lengths, data = self._fetch([[p.wanted.key, p.wanted.digest, numbers] for p, numbers in asked])
            at = 0
            for (part, numbers), found in zip(asked, lengths):
                for n, length in zip(numbers, found):
                    if not isinstance(length, int) or length < 0:
                        continue
                    block = data[at : at + length]
                    at += length
                    if hashlib.sha256(block).digest() == part.told.blocks[n]:
                        os.pwrite(part.fd, block, n * BLOCK_BYTES)
                        self._result.bytes += length
                        lacking[part.wanted.key].discard(n)
        self._result.later += [key for key, numbers in lacking.items() if numbers]
        return [part for part in parts if not lacking[part.wanted.key]]

    def _place(self, staging: int, part: _Part) -> None:
        one, told = part.wanted, part.told
        _own(part.fd, told)
        with contextlib.suppress(PermissionError):
            os.fchmod(part.fd, told.mode)
        os.utime(part.fd, ns=(told.mtime_ns, told.mtime_ns))
        with self._folder.parent(one.key, create=True) as (fd, name):
            if not self._fits(one):
                return
            if one.conflict:
                self._keep_aside(one, fd, name)
            self._put(staging, part, fd, name)
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        extra = Extra(Seen.of(facts), told.mode, b"".join(told.blocks))
        self._result.done[one.key] = extra.to_json()

    def _put(self, staging: int, part: _Part, fd: int, name: bytes) -> None:
        """One step for whoever reads. What it replaces is looked at afterwards: an edit of the last instant is kept, too."""
        if part.wanted.key not in self._looked:
            os.link(
                part.name, name, src_dir_fd=staging, dst_dir_fd=fd, follow_symlinks=False
            )  # raises if one came meanwhile
            os.unlink(part.name, dir_fd=staging)
            return
        if not exchange(staging, part.name.encode(), fd, name):  # not on this file system
            os.rename(part.name, name, src_dir_fd=staging, dst_dir_fd=fd)
            return
        self._drop(staging, part.name, part.wanted)

    def _drop(self, staging: int, name: str, one: Wanted) -> None:
        """Remove what was replaced or deleted, unless it is not what was found good before: then it is a conflict."""
        before, after = self._looked[one.key], os.stat(name, dir_fd=staging, follow_symlinks=False)
        if (after.st_ino, after.st_size, after.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            self._keep_aside(one, staging, name.encode(), f"{after.st_ino} {after.st_mtime_ns}")
        os.unlink(name, dir_fd=staging)

    # --- what is there --------------------------------------------------------------------------------------------

    def _fits(self, one: Wanted) -> bool:
        """Whether this file is still what is known of it here; else it is left for later. Raises Refused, OSError."""
        facts = self._folder.seen(one.key)
        self._looked.pop(one.key, None)
        own = one.own_digest
        folder = one.key.endswith("/")
        if facts is None:
            good = not own
        elif folder:
            if not stat.S_ISDIR(facts.st_mode):
                raise Refused(f"{one.key[:80]!r}: something else than a folder stands here; move it away")
            good = True
        else:
            if not stat.S_ISREG(facts.st_mode):
                raise Refused(f"{one.key[:80]!r}: something else than a plain file stands here; move it away")
            extra = Extra.of(self._extras.get(one.key))
            good = bool(own) and ((extra is not None and extra.seen == Seen.of(facts)) or self._digest(one.key) == own)
        if not good:
            self._result.later.append(one.key)
        elif facts is not None:
            self._looked[one.key] = facts
        return good

    def _digest(self, key: str) -> str:
        fd = self._folder.open_file(key)
        try:
            facts = os.fstat(fd)
            return file_digest(facts.st_mode, facts.st_size, read_digests(fd))
        finally:
            os.close(fd)

    def _keep_aside(self, one: Wanted, fd: int, name: bytes, late: str = "") -> None:
        """A second name for the file that gives way, and the record of it. late: tells an edit of the last instant from what was
        kept before. Raises OSError and what ``keep`` raises."""
        kept = hashlib.sha256(os.fsencode(one.key) + (one.own_digest + late).encode()).hexdigest()[:32]
        facts = None
        with contextlib.suppress(FileNotFoundError):
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if facts is not None and stat.S_ISREG(facts.st_mode):
            with self._folder.reserved(KEPT) as kept_fd:
                with contextlib.suppress(FileExistsError):
                    os.link(name, kept, src_dir_fd=fd, dst_dir_fd=kept_fd, follow_symlinks=False)
        else:
            kept = ""
        size = facts.st_size if facts is not None and kept else 0
        path = quote_from_bytes(os.fsencode(one.key))  # as every database keeps it
        self._keep([(one, {"file": kept, "size": size, "path": path})])

    # --- gone -----------------------------------------------------------------------------------------------------

    def delete(self, wanted: Sequence[Wanted]) -> Taken:
        """Delete these here as they were there, what is inside a folder before the folder. Raises ReplicationError."""
        with self._folder.reserved(STAGING) as staging:
            for one in sorted(wanted, key=lambda one: one.key, reverse=True):
                try:
                    self._delete(staging, one)
                except (ValueError, OSError) as error:
                    self._result.problems.append(_said(one.key, error))
        self._folder.sync()
        return self._result

    def _delete(self, staging: int, one: Wanted) -> None:
        if self._folder.seen(one.key) is None:
            self._result.done[one.key] = None
            return
        if not self._fits(one):
            return
        with self._folder.parent(one.key) as (fd, name):
            if one.key.endswith("/"):
                with contextlib.suppress(
                    OSError
                ):  # not empty: the next look finds it, and it comes back on the other server
                    os.rmdir(name, dir_fd=fd)
                self._result.done[one.key] = None
                return
            if one.conflict:
                self._keep_aside(one, fd, name)
            aside = hashlib.sha256(name + one.digest.encode() + b"gone").hexdigest()[:40]
            os.rename(name, aside, src_dir_fd=fd, dst_dir_fd=staging)
            self._drop(staging, aside, one)
        self._result.done[one.key] = None


def _questions(parts: Sequence[_Part]) -> Iterator[list[tuple[_Part, list[int]]]]:
    """The missing blocks in questions of at most BATCH_BYTES."""
    asked: list[tuple[_Part, list[int]]] = []
    size = 0
    for part in parts:
        for n in part.missing:
            if size and size + BLOCK_BYTES > BATCH_BYTES and size + part.told.size > BATCH_BYTES:
                yield asked
                asked, size = [], 0
            if not asked or asked[-1][0] is not part:
                asked.append((part, []))
            asked[-1][1].append(n)
            size += min(BLOCK_BYTES, part.told.size - n * BLOCK_BYTES)
    if asked:
        yield asked


def _own(fd: int, told: Described) -> None:
    """Give it its owner, where this process may."""
    uid = gid = -1
    with contextlib.suppress(KeyError):
        uid = pwd.getpwnam(told.owner).pw_uid
    with contextlib.suppress(KeyError):
        gid = grp.getgrnam(told.group).gr_gid
    with contextlib.suppress(PermissionError):
        os.fchown(fd, uid, gid)
        return
    with contextlib.suppress(PermissionError):
        os.fchown(fd, -1, gid)


def _said(key: str, error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{key[:200]}: {text}" if key and key[:20] not in text else text
