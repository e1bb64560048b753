"""Files that hold secrets: mode 0600, replaced as a whole, refused when others may read them.

A process that runs as root gives a new file to the owner of its folder, so that ``ft`` in a root shell leaves no file
that the portal cannot read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import secrets
import stat
import time
from collections.abc import Iterator

BYTES_MAX = 65_536
MODE = 0o600
LOCK_WAIT_S = 5.0
_RETRY_S = 0.05


class SecretFileError(ValueError):
    """A file with secrets cannot be used; the message names it, what is wrong and the way out."""


def read_secret(path: pathlib.Path) -> str:
    """The text of the file. Raises SecretFileError when others may read it; FileNotFoundError when it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SecretFileError(f"{path}: cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as opened:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise SecretFileError(f"{path}: is no regular file; put the secret into a file of its own")
        if facts.st_mode & 0o077:
            mode = f"{stat.S_IMODE(facts.st_mode):04o}"
            raise SecretFileError(f"{path}: mode {mode} lets others read it; run: chmod 600 {path}")
        data = opened.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise SecretFileError(f"{path}: is larger than {BYTES_MAX} bytes; it should hold a few lines")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise SecretFileError(f"{path}: must hold ASCII text alone; make keys with 'ft key'") from None


def write_secret(path: pathlib.Path, text: str) -> None:
    """Replace the file as a whole, durable, mode 0600. A reader sees the old text or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with open(descriptor, "wb") as opened:
            _hand_over(descriptor, path.parent)
            opened.write(text.encode("ascii"))
            opened.flush()
            os.fsync(descriptor)
        os.replace(passing, path)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def only_one(path: pathlib.Path) -> Iterator[None]:
    """One process at a time between reading and writing ``path``. Raises SecretFileError after 5 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        _hand_over(descriptor, path.parent)
        end_s = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    raise SecretFileError(f"{path}: another process has been changing it for 5 s; try again") from None
                time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


def _hand_over(descriptor: int, folder: pathlib.Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
