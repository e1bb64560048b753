"""Where structured lines go: a file, standard error, or systemd's journal.

A disk that has gone away, or a pipe that another process has just filled, can hold a write for ever, and no flag prevents that:
such writes are made ``Aside``.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final, Protocol

JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"
STDERR_FD: Final = 2
LINE_BYTES_MAX: Final = 4_096  # PIPE_BUF: a pipe takes so much as one piece, or says that it is full
ASIDE_S: Final = 0.02  # a healthy write takes less; the guard's margin before a lease ends is 0.1 s at least
_LENGTH: Final = struct.Struct("<Q")


class Sink(Protocol):
    def write(self, data: bytes) -> None:
        """Take one line or message, whole and at once. Raises OSError when it is not taken."""


class Aside:
    """Makes one call at a time on a thread of its own. A call that hangs costs one caller ASIDE_S, and later ones nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._hangs = False

    def run(self, call: Callable[[], None]) -> str:
        """ "": made, or on its way. Else why it is not made. call: raises nothing."""
        if not self._lock.acquire(timeout=ASIDE_S):
            return "another line is on its way"
        try:
            return self._run(call)
        finally:
            self._lock.release()

    def _run(self, call: Callable[[], None]) -> str:
        before = self._thread
        if before is not None and before.is_alive():
            before.join(0.0 if self._hangs else ASIDE_S)
            if before.is_alive():
                self._hangs = True
                return "the line before it still hangs"
        self._thread = threading.Thread(target=call, name="ft-log", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads here
            self._thread = None
            return str(error)
        self._thread.join(ASIDE_S)
        self._hangs = self._thread.is_alive()
        return ""


class FileSink:
    """A file, opened for each line: a rotated one is left alone by itself, and no process needs a signal."""

    def __init__(self, path: str) -> None:
        self._path, self._torn = path, False

    def write(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe may have no reader
        descriptor = os.open(self._path, flags, 0o640)
        try:
            whole = b"\n" + data if self._torn else data
            self._torn = (written := os.write(descriptor, whole)) < len(whole)
            if self._torn:
                raise OSError(f"only {written} of {len(whole)} bytes were written: is the disk full?")
        finally:
            os.close(descriptor)


class StderrSink:
    """Standard error, whatever is behind it. It may be shared, so its blocking mode is not ours to change."""

    def write(self, data: bytes) -> None:
        if sys.__stderr__ is None:
            raise OSError("this process was started without standard error")
        if stat.S_ISSOCK(os.fstat(STDERR_FD).st_mode):
            with socket.socket(fileno=os.dup(STDERR_FD)) as stream:
                sent = stream.send(data, socket.MSG_DONTWAIT)
            if sent < len(data):
                raise BlockingIOError(f"standard error took {sent} of {len(data)} bytes")
            return
        if not select.select([], [STDERR_FD], [], 0.0)[1]:
            raise BlockingIOError("nobody reads standard error")
        os.write(STDERR_FD, data)


class JournalSink:
    """systemd-journald by its native protocol: one datagram for each message."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def write(self, data: bytes) -> None:
        self._socket.sendto(data, self._path)


def journal_message(fields: Mapping[str, str]) -> bytes:
    """Fields as the journal takes them: NAME=value, or with its length before it where it has a line break."""
    found = b""
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            found += name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
        else:
            found += name.encode() + b"=" + value + b"\n"
    return found


_saying = Aside()


def say(text: str) -> None:
    """A line on standard error for whoever looks there; nowhere when it takes none."""
    _saying.run(lambda: _say(text.encode("utf-8", "backslashreplace")[: LINE_BYTES_MAX - 1] + b"\n"))


def _say(line: bytes) -> None:
    try:
        StderrSink().write(line)
    except OSError:
        return  # nobody to tell


class SayingStream:
    """For ``logging``: standard error that nobody waits for."""

    def write(self, text: str) -> None:
        say(text.rstrip("\n"))

    def flush(self) -> None:
        """Each line has gone out."""
