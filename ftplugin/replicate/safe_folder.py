"""One folder that nothing leaves: every path is walked from its descriptor, name by name, and no symbolic link is followed.

So neither a name from the other node nor a link that somebody swaps in at the wrong moment leads out of it. Names are bytes; in
keys they are text with ``surrogateescape``, as Python gives them. Below RESERVED lie parts that are still coming, and
files that lost; nothing there is replicated, and nobody else may look at it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

RESERVED = ".ft-replica"
STAGING, KEPT = "staging", "conflicts"
PATH_BYTES_MAX, NAME_BYTES_MAX, DEPTH_MAX = 2_000, 255, 60
MODE_BITS = 0o777  # neither setuid nor setgid come from another machine
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(ValueError):
    """A path leads, or would lead, out of the folder, or is no plain file or folder."""


class Seen(NamedTuple):
    """What tells whether a file is still the one that was read. Times in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int

    @classmethod
    def of(cls, facts: os.stat_result) -> Seen:
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_mode)


def parts_of(key: str) -> list[bytes]:
    """The names on the way to ``key`` ("a/b" a file, "a/b/" a folder). Raises Refused."""
    try:
        raw = os.fsencode(key)
    except UnicodeEncodeError as error:
        raise Refused(f"{key[:80]!r}: no path has such characters") from error
    names = raw.removesuffix(b"/").split(b"/")
    if len(raw) > PATH_BYTES_MAX or len(names) > DEPTH_MAX:
        raise Refused(f"{key[:80]!r}: the path is too long")
    for name in names:
        if name in (b"", b".", b"..") or b"\0" in name or len(name) > NAME_BYTES_MAX:
            raise Refused(f"{key[:80]!r}: the path leaves the folder or is none")
    if names[0] == RESERVED.encode():
        raise Refused(f"{key[:80]!r}: is a name of the replication itself")
    return names


class SafeFolder:
    """path: of the folder; a link to it is followed once, here. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.fd = os.open(self.path, _DIRECTORY)

    def close(self) -> None:
        os.close(self.fd)

    @contextlib.contextmanager
    def parent(self, key: str, *, create: bool = False) -> Iterator[tuple[int, bytes]]:
        """(descriptor of the folder that holds ``key``, its last name). Raises Refused, OSError."""
        names = parts_of(key)
        fd = os.dup(self.fd)
        try:
            for name in names[:-1]:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=fd)
                below = _open_folder(name, fd, key)
                os.close(fd)
                fd = below
            yield fd, names[-1]
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def reserved(self, name: str) -> Iterator[int]:
        """Descriptor of STAGING or KEPT, made when it is not there. Raises Refused, OSError."""
        fd = os.dup(self.fd)
        try:
            for part in (RESERVED, name):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=fd)
                below = _open_folder(part.encode(), fd, part)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def open_file(self, key: str) -> int:
        """A descriptor for reading. Raises Refused, OSError."""
        with self.parent(key) as (fd, name):
            return open_plain(name, fd, key)

    def seen(self, key: str) -> os.stat_result | None:
        """What is there, not following a link; None: nothing. Raises Refused, OSError."""
        try:
            with self.parent(key) as (fd, name):
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def sync(self) -> None:
        """Everything written below this folder is on the disk when this returns. Raises OSError."""
        if _libc.syncfs(self.fd):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), self.path)


def _open_folder(name: bytes, fd: int, key: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, fd):
            raise Refused(f"{key[:80]!r}: {os.fsdecode(name)!r} is a symbolic link, which is not followed") from None
        raise


def exchange(fd: int, name: bytes, other_fd: int, other: bytes) -> bool:
    """Let two files change their places in one step (renameat2(2)). False: this file system cannot. Raises OSError."""
    if not _libc.renameat2(fd, name, other_fd, other, RENAME_EXCHANGE):
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), os.fsdecode(other))


def _is_link(name: bytes, fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def open_plain(name: bytes | str, fd: int, key: str) -> int:
    """A descriptor of a plain file below ``fd``. A pipe that stands there makes nobody wait. Raises Refused, OSError."""
    try:
        found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(f"{key[:80]!r}: is a symbolic link, which is not followed") from None
        raise
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise Refused(f"{key[:80]!r}: is no plain file")
    return found
