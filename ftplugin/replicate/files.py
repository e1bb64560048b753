"""The files of one folder: found with digests of their blocks, read for the other node.

Key of a file is its path, of a folder its path and "/". The digest of a file covers the SHA-256 of each block, size and
mode; that of a folder its mode. Owner and time of change travel along but are no content. A file whose size, times and inode
are as they were is not read again.
"""

from __future__ import annotations

import base64
import fnmatch
import grp
import hashlib
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from .ledger import Ledger, bucket_of
from .safe_folder import DEPTH_MAX, MODE_BITS, RESERVED, Refused, SafeFolder, Seen, open_plain, parts_of
from .thing import Found, Known, ReplicationError, check_name

BLOCK_BYTES = 1 << 20
FILES_MAX = 20_000
ANSWER_BYTES_MAX = 8 << 20
FRESH_S = 1.0  # a file changed so recently may change again within one tick of its time stamps
PROBLEMS_MAX = 20


def file_digest(mode: int, size: int, blocks: Sequence[bytes]) -> str:
    """Hex SHA-256 over the facts and the SHA-256 of each block."""
    return hashlib.sha256(b"file %o %d " % (mode & MODE_BITS, size) + b"".join(blocks)).hexdigest()


def folder_digest(mode: int) -> str:
    return hashlib.sha256(b"folder %o" % (mode & MODE_BITS)).hexdigest()


class Extra:
    """What the ledger holds of a file beside its entry: [seen, mode, blocks]. seen None: to be read again at the next look."""

    __slots__ = ("seen", "mode", "blocks")

    def __init__(self, seen: Seen | None, mode: int, blocks: bytes = b"") -> None:
        self.seen, self.mode, self.blocks = seen, mode, blocks

    def to_json(self) -> list[Any]:
        return [list(self.seen) if self.seen else None, self.mode, base64.b64encode(self.blocks).decode()]

    @classmethod
    def of(cls, value: Any) -> Extra | None:
        if not isinstance(value, list) or len(value) != 3:
            return None
        return cls(Seen(*value[0]) if value[0] else None, value[1], base64.b64decode(value[2]))

    @property
    def digests(self) -> list[bytes]:
        return [self.blocks[at : at + 32] for at in range(0, len(self.blocks), 32)]


def read_digests(fd: int) -> list[bytes]:
    """SHA-256 of each block of an open file. Raises OSError."""
    found: list[bytes] = []
    buffer = memoryview(_buffer())
    at = 0
    while count := os.preadv(fd, [buffer], at):
        filled = count
        while filled < BLOCK_BYTES and (count := os.preadv(fd, [buffer[filled:]], at + filled)):
            filled += count
        found.append(hashlib.sha256(buffer[:filled]).digest())
        time.sleep(0)  # under gevent the portal's answers wait for this loop
        at += filled
        if filled < BLOCK_BYTES:
            break
    return found


@lru_cache(maxsize=1)
def _buffer() -> bytearray:
    return bytearray(BLOCK_BYTES)


class FolderThing:
    """One registered folder. exclude: patterns as ``*.tmp`` or ``cache/*``, of a name or of a path from the folder."""

    kind = "files"

    def __init__(self, path: str | os.PathLike[str], exclude: Sequence[str] = (), name: str = "") -> None:
        """Raises ValueError."""
        self.path = os.path.abspath(os.fspath(path))
        self.name = check_name(name or os.path.basename(self.path))
        self.exclude = tuple(exclude)
        self._problems: list[str] = []
        self._unseen: set[str] = set()
        self._unseen_below: list[str] = []

    def open(self) -> SafeFolder:
        """Raises ReplicationError when the folder is not there."""
        try:
            return SafeFolder(self.path)
        except OSError as error:
            raise ReplicationError(f"{self.path} cannot be opened: {error.strerror}") from None

    def shape(self) -> Any:
        return {"block": BLOCK_BYTES, "exclude": sorted(self.exclude)}

    def problems(self) -> list[str]:
        more = len(self._problems) - PROBLEMS_MAX
        return self._problems[:PROBLEMS_MAX] + ([f"and {more} more"] if more > 0 else [])

    def looked(self) -> None:
        """Nothing: each file is looked at again before it is written."""

    def close(self) -> None:
        """Nothing is kept open."""

    def unseen(self, key: str) -> bool:
        return key in self._unseen or any(key.startswith(below) for below in self._unseen_below) or self._excluded(key)

    def _excluded(self, key: str) -> bool:
        if not self.exclude:
            return False
        path = key.removesuffix("/")
        name = path.rpartition("/")[2]
        return any(fnmatch.fnmatchcase(path, p) or fnmatch.fnmatchcase(name, p) for p in self.exclude)

    # --- look -----------------------------------------------------------------------------------------------------

    def found(self, known: Known) -> Iterator[Found]:
        """Every file and folder; what cannot be read is a problem and no deletion."""
        self._problems, self._unseen, self._unseen_below = [], set(), []
        folder, count = self.open(), 0
        try:
            for one in self._below(folder.fd, "", known, 0):
                count += 1
                if count > FILES_MAX:
                    raise ReplicationError(f"{self.path} has more than {FILES_MAX} files and folders; exclude some")
                yield one
        finally:
            folder.close()

    def _below(self, fd: int, path: str, known: Known, depth: int) -> Iterator[Found]:
        try:
            with os.scandir(fd) as listing:
                listed = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._cannot(path, error)
            return
        for entry in listed:
            key = path + entry.name
            if (not path and entry.name == RESERVED) or self._excluded(key):
                continue
            try:
                parts_of(key)
                facts = os.stat(entry.name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    yield from self._folder(fd, entry.name, key + "/", facts, known, depth)
                elif stat.S_ISREG(facts.st_mode):
                    one = self._file(fd, entry.name, key, facts, known)
                    if one is not None:
                        yield one
                else:
                    what = "a symbolic link" if stat.S_ISLNK(facts.st_mode) else "no plain file"
                    self._problems.append(f"{_shown(key)} is {what} and is not replicated")
                    self._left_alone(key)
            except FileNotFoundError:
                continue  # gone since it was listed
            except Refused as error:
                self._problems.append(str(error))
            except OSError as error:
                self._cannot(key, error)

    def _cannot(self, key: str, error: OSError) -> None:
        self._problems.append(f"{_shown(key) or self.path} cannot be read: {error.strerror}")
        self._left_alone(key)

    def _left_alone(self, key: str) -> None:
        """What was known there, and below it, is not taken for deleted."""
        self._unseen.add(key)
        self._unseen_below.append(key if not key or key.endswith("/") else key + "/")

    def _folder(self, fd: int, name: str, key: str, facts: os.stat_result, known: Known, depth: int) -> Iterator[Found]:
        if depth >= DEPTH_MAX:
            raise Refused(f"{_shown(key)}: is nested too deeply")
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            mode = facts.st_mode & MODE_BITS
            digest = known.entries.get(key, "").partition(" ")[0]
            extra = Extra.of(known.extras.get(key))
            if not digest or extra is None or extra.seen is None or extra.seen.mode != mode:
                digest, extra = folder_digest(mode), Extra(Seen(0, 0, 0, 0, mode), mode)
            yield Found(key, digest, extra.to_json())
            yield from self._below(below, key, known, depth + 1)
        finally:
            os.close(below)

    def _file(self, fd: int, name: str, key: str, facts: os.stat_result, known: Known) -> Found | None:
        """None: it is being written at this moment."""
        digest = known.entries.get(key, "").partition(" ")[0]
        if digest and (listed := known.extras.get(key)) and listed[0] == list(Seen.of(facts)):
            return Found(key, digest, listed)
        opened = open_plain(name, fd, key)
        try:
            before = Seen.of(os.fstat(opened))
            blocks = read_digests(opened)
            after = Seen.of(os.fstat(opened))
        finally:
            os.close(opened)
        if before != after:
            self._unseen.add(key)
            return None
        newest_s = max(after.mtime_ns, after.ctime_ns) / 1e9
        mode = after.mode & MODE_BITS
        extra = Extra(after if time.time() - newest_s > FRESH_S else None, mode, b"".join(blocks))
        return Found(key, file_digest(mode, after.size, blocks), extra.to_json(), after.ctime_ns / 1e9)

    # --- for the other node ---------------------------------------------------------------------------------------

    def described(self, ledger: Ledger, wanted: Mapping[str, str]) -> dict[str, Any]:
        """Size, mode, time, owner and blocks of each of these files (digest by path) that is still as the ledger says.

        Raises ReplicationError.
        """
        held = ledger.load({bucket_of(key) for key in wanted})
        folder, found = self.open(), {}
        try:
            for key, digest in wanted.items():
                bucket = held[bucket_of(key)]
                same = bucket.entries.get(key, "").startswith(digest + " ")
                extra = Extra.of(bucket.extras.get(key)) if same else None
                facts = _seen(folder, key) if extra is not None else None
                if extra is None or facts is None:
                    continue
                found[key] = {
                    "size": 0 if key.endswith("/") else facts.st_size,
                    "mode": extra.mode,
                    "mtime_ns": facts.st_mtime_ns,
                    "owner": _user(facts.st_uid),
                    "group": _group(facts.st_gid),
                    "blocks": [block.hex() for block in extra.digests],
                }
        finally:
            folder.close()
        return found

    def blocks(self, ledger: Ledger, parts: Sequence[Sequence[Any]]) -> tuple[list[list[int]], list[bytes]]:
        """(the length of each block asked for, -1: not to be had any more; the blocks), up to ANSWER_BYTES_MAX.

        Raises ReplicationError.
        """
        lengths: list[list[int]] = []
        found: list[bytes] = []
        left, folder = ANSWER_BYTES_MAX, self.open()
        try:
            for key, _digest, numbers in parts:
                lengths.append([])
                try:
                    fd = folder.open_file(key)
                except (Refused, OSError):
                    lengths[-1] = [-1] * len(numbers)
                    continue
                try:
                    for number in numbers:
                        block = os.pread(fd, BLOCK_BYTES, number * BLOCK_BYTES) if left >= BLOCK_BYTES else b""
                        lengths[-1].append(len(block) or -1)
                        found.append(block)
                        left -= len(block)
                finally:
                    os.close(fd)
        finally:
            folder.close()
        return lengths, found


def _seen(folder: SafeFolder, key: str) -> os.stat_result | None:
    try:
        return folder.seen(key)
    except (Refused, OSError):
        return None


@lru_cache(maxsize=256)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=256)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def _shown(key: str) -> str:
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
