"""Files that hold secrets: mode 0600, replaced as a whole, refused when others may read them.

A process that runs as root gives a file to the owner of the one that it replaces, a new one to the owner of the folder:
so ``ft`` in a root shell leaves no file that the portal cannot read.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping

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
    with staged({path: text}) as put:
        put()


@contextlib.contextmanager
def staged(texts: Mapping[pathlib.Path, str]) -> Iterator[Callable[[], None]]:
    """Files that change together: all are written beside the old ones first, where a full disk or a lost right shows.

    Gives what then puts them in place, in that order; without that call nothing changes. Raises OSError.
    """
    passing: dict[pathlib.Path, pathlib.Path] = {}

    def put() -> None:
        for path, written in passing.items():
            os.replace(written, path)
        for folder in {path.parent for path in passing}:
            _sync(folder)

    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            passing[path] = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            descriptor = os.open(passing[path], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
            with open(descriptor, "wb") as opened:
                _hand_over(descriptor, path)
                opened.write(text.encode("utf-8"))
                opened.flush()
                os.fsync(descriptor)
        yield put
    finally:
        for written in passing.values():
            with contextlib.suppress(
                OSError
            ):  # mostly put in place; what cannot be removed is told by what failed first
                written.unlink()


def _sync(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_one(path: pathlib.Path) -> Iterator[None]:
    """One process at a time between reading and writing ``path``. Raises SecretFileError after 5 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        _hand_over(descriptor, path)
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


def _hand_over(descriptor: int, path: pathlib.Path) -> None:
    if os.geteuid() == 0:
        owner = path.lstat() if os.path.lexists(path) else path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
