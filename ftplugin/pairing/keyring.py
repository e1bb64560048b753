"""The keys of the pair, in a file: one a line, the first signs, every one verifies.

Who holds a ``KeyRing`` holds the keys as they are now: it looks at the file again when it is used and has not looked
for ``REREAD_S``. So a rotation needs no restart, and so long after a change of the file no process uses what was in it
before. What becomes of the file while the process runs (removed, readable by others, garbled) takes no key away from
it: a pair whose heartbeats stop for that would fail over. It is said in the log, and the next start refuses.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from ..protocol import KEY_BYTES_MIN
from .files import SecretFileError, read_secret, write_secret

T = TypeVar("T")
REREAD_S = 0.2
KEYS_MAX = 4
_HEAD = "# Keys of the pair: the first signs, each verifies. Change them with 'ft keys'.\n"
_log = logging.getLogger(__name__)


class Watched(Generic[T]):
    """What a secret file holds, read again when it has changed. ``absent``: what counts while there is no file.

    Raises SecretFileError when the file cannot be used at the first reading.
    """

    def __init__(self, path: pathlib.Path, parse: Callable[[str], T], absent: T) -> None:
        self.path, self._parse, self._absent = path, parse, absent
        self._lock = threading.Lock()
        self._looked_s = time.monotonic()
        self._mark: tuple[int, ...] = ()
        self._problem = ""
        self._value = self._load(absent)

    def current(self) -> T:
        """The value; at most ``REREAD_S`` seconds old."""
        if time.monotonic() - self._looked_s < REREAD_S:
            return self._value
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s < REREAD_S:
                return self._value
            try:
                self._value = self._load(self._value)
                self._problem = ""
            except (SecretFileError, OSError) as error:
                self._say(str(error))
            self._looked_s = now_s
            return self._value

    def _load(self, known: T) -> T:
        try:
            facts = os.stat(self.path)
        except FileNotFoundError:
            if self._mark:
                self._say(f"{self.path}: is not there any more; this process keeps what it has read")
            return known
        except OSError as error:
            raise SecretFileError(f"{self.path}: cannot be read: {error.strerror}") from None
        mark = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
        if mark == self._mark:
            return known
        try:
            value = self._parse(read_secret(self.path))
        except FileNotFoundError:
            return known  # gone since; the next look says so
        self._mark = mark
        return value

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.error("%s", problem)


class KeyRing(Sequence[str]):
    """The keys of a file. Empty while it is not there: this server is not paired yet."""

    def __init__(self, path: pathlib.Path) -> None:
        """Raises SecretFileError."""
        self.path = path
        self._watched: Watched[tuple[str, ...]] = Watched(path, lambda text: keys_in(text, path), ())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._watched.current()[index]

    def __len__(self) -> int:
        return len(self._watched.current())

    def __iter__(self) -> Iterator[str]:
        return iter(self._watched.current())  # one reading: a change in between must not mix two rings

    def __repr__(self) -> str:
        return f"KeyRing({str(self.path)!r}, {', '.join(map(fingerprint, self))})"


def new_key() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def fingerprint(key: str) -> str:
    """How a key is named where it may be seen: 8 hexadecimal digits that reveal nothing of a random key."""
    return hashlib.sha256(b"ftplugin key " + key.encode()).hexdigest()[:8]


def keys_in(text: str, path: pathlib.Path) -> tuple[str, ...]:
    """The keys in a file's text. Raises SecretFileError, which never shows one."""
    keys = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not keys:
        raise SecretFileError(f"{path}: holds no key; remove the file and run 'ft pair', or put a key of 'ft key' in")
    if len(keys) > KEYS_MAX:
        raise SecretFileError(f"{path}: holds {len(keys)} keys; at most {KEYS_MAX} are used, one a line")
    for number, key in enumerate(keys, start=1):
        if len(key) < KEY_BYTES_MIN:
            raise SecretFileError(f"{path}: key {number} is shorter than {KEY_BYTES_MIN} characters; use 'ft key'")
    return keys


def read_keys(path: pathlib.Path) -> tuple[str, ...]:
    """What the file holds now; empty when it is not there. Raises SecretFileError."""
    try:
        return keys_in(read_secret(path), path)
    except FileNotFoundError:
        return ()


def write_keys(path: pathlib.Path, keys: Sequence[str]) -> None:
    """Replace the ring; doubles go. Raises SecretFileError when there would be none or too many, OSError."""
    write_secret(path, keys_text(path, keys))


def keys_text(path: pathlib.Path, keys: Sequence[str]) -> str:
    """What ``write_keys`` writes. Raises SecretFileError."""
    text = _HEAD + "".join(f"{key}\n" for key in dict.fromkeys(keys))
    keys_in(text, path)
    return text
