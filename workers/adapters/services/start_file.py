"""What the processes of one node must know of each other about a service that knows no epoch itself.

The switch worker starts it, the guard stops it, and neither can ask the other: it may be frozen. So the start command
that runs, the highest epoch started and the last demotion are in one small file. It has a fixed size and is overwritten
in place, so it also works on a full disk. It counts for one boot: no command outlives a boot.

Nobody waits for a frozen process. The starter writes down its command, which waits at a gate, looks for a demotion
since it asked, and only then opens the gate; who demotes writes that down first and then looks for a command. One of
the two sees the other. The file lock only keeps two writers of the same part apart and is waited for a moment.

Nobody who stops waits for a disk that hangs either: a demotion and the end of a start are written beside, and waited for
a moment. A start does wait: what cannot be noted must not start.
"""

from __future__ import annotations

import fcntl
import logging
import os
import pathlib
import secrets
import signal
import struct
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Iterator

from ftplugin.clock import SystemClock

LOCK_LIMIT_S = 0.1
WRITE_LIMIT_S = 0.5
KILL_LIMIT_S = 1.0
READS_MAX = 3  # a reader may catch a writer half way
LOOK_S = 0.005

_FORM = struct.Struct("=36sqqqQ")  # boot id, epoch, pid, start time of the pid, token
_SUM = struct.Struct("=I")
_SLOT = _FORM.size + _SUM.size
_STARTED, _DEMOTED = 0, 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One part of the file. ``token`` is new at each demotion; ``born`` is in clock ticks since boot."""

    epoch: int = 0
    pid: int = 0
    born: int = 0
    token: int = 0


class StartFile:
    """The file of one service; without a path one in memory, which only this process sees.

    ``begin`` and ``starts`` raise OSError: what cannot be noted must not start. The others raise nothing.
    """

    def __init__(self, path: pathlib.Path | None, name: str) -> None:
        self._boot = SystemClock().boot_id.encode()[:36]
        self._path = str(path) if path else f"/proc/self/fd/{os.memfd_create(f'ft-{name}'[:200])}"
        self.where = f" (in {path})" if path else ""
        self._said = False
        self._demoted_epoch = 0  # the highest that a demotion of this process was under
        self._beside: dict[str, threading.Thread] = {}
        try:
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
            with self._turn() as descriptor:
                os.posix_fallocate(descriptor, 0, 2 * _SLOT)  # room for it, should the disk be full later
        except OSError as error:
            _log.error("the start file cannot be made%s: %s", self.where, error)

    def demotion(self) -> int:
        """A token that changes with each demotion."""
        return self._read(_DEMOTED).token

    def wanted(self) -> bool:
        """Whether a promotion was the last word to it. In doubt not: what nobody promoted owns nothing."""
        return self._read(_STARTED).epoch > self._read(_DEMOTED).epoch

    def begin(self, epoch: int) -> str:
        """Note that ``epoch`` is to own. Why a start under it must not be; empty when it may."""
        highest = max(self._read(_STARTED).epoch, self._read(_DEMOTED).epoch)
        if epoch < highest:
            return f"refused: epoch {epoch} is below {highest}{self.where}"
        try:
            with self._turn() as descriptor:
                known = self._read(_STARTED)
                epoch = max(epoch, known.epoch)
                self._write(descriptor, _STARTED, Slot(epoch=epoch, pid=known.pid, born=known.born))
        except OSError as error:
            return f"not started: nobody could stop it, as its start file cannot be written: {error}"
        return ""

    def demote(self, epoch: int) -> None:
        """Note a demotion, so that no start begun before it goes on and none under a lower epoch begins."""
        self._demoted_epoch = max(epoch, self._demoted_epoch)
        self._write_beside("a demotion", self._note_demotion)

    def _note_demotion(self) -> None:
        noted = -1
        while noted < self._demoted_epoch:  # a further one came while the disk hung
            with self._turn() as descriptor:
                noted = max(self._demoted_epoch, self._read(_DEMOTED).epoch)
                self._write(descriptor, _DEMOTED, Slot(epoch=noted, token=secrets.randbits(63) | 1))

    def _write_beside(self, what: str, write: Callable[[], None]) -> None:
        """On a thread, waited for a moment: who stops a service must not hang with the disk. One that hangs is not joined by
        a second; it notes the latest once the disk is back."""

        def work() -> None:
            try:
                write()
            except OSError as error:
                _log.error("%s cannot be noted%s: %s", what, self.where, error)  # stopping is right all the same

        before = self._beside.get(what)
        if before is not None and before.is_alive():
            return
        thread = self._beside[what] = threading.Thread(target=work, name="ft-start-file", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads here
            _log.error("%s cannot be noted%s: %s", what, self.where, error)
            return
        thread.join(WRITE_LIMIT_S)
        if thread.is_alive():
            _log.error("%s is not noted%s: the disk does not answer; stopping all the same", what, self.where)

    def starts(self, pid: int) -> bool:
        """Note the start command ``pid``; False when another one runs."""
        with self._turn() as descriptor:
            known = self._read(_STARTED)
            if _lives(known) and known.pid != pid:
                return False
            self._write(descriptor, _STARTED, Slot(epoch=known.epoch, pid=pid, born=_born(pid)))
        return True

    def ended(self, pid: int) -> None:
        """Note that the start command ``pid`` has ended; its pid is checked anyway."""
        self._write_beside("the end of a start", lambda: self._note_end(pid))

    def _note_end(self, pid: int) -> None:
        with self._turn() as descriptor:
            known = self._read(_STARTED)
            if known.pid == pid:
                self._write(descriptor, _STARTED, Slot(epoch=known.epoch))

    def running(self) -> int:
        """The pid of the start command that runs, of whichever process; 0 when none does."""
        known = self._read(_STARTED)
        return known.pid if _lives(known) else 0

    def kill(self, limit_s: float) -> None:
        """End the process group of the start command that runs, and wait at most ``limit_s`` seconds for its end."""
        known = self._read(_STARTED)
        if not _lives(known):
            return
        try:
            os.killpg(known.pid, signal.SIGKILL)
        except ProcessLookupError:
            _log.debug("start command %d had ended already", known.pid)
        except PermissionError as error:
            _log.error("start command %d cannot be ended: %s", known.pid, error)
        deadline_s = time.monotonic() + min(limit_s, KILL_LIMIT_S)
        while _lives(known) and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
        if not _lives(known):
            self.ended(known.pid)

    def _read(self, part: int) -> Slot:
        for _ in range(READS_MAX):
            data = self._bytes(part)
            if len(data) < _SLOT or not data.strip(b"\0"):
                return Slot()
            if _SUM.unpack(data[_FORM.size :])[0] == zlib.crc32(data[: _FORM.size]):
                boot, epoch, pid, born, token = _FORM.unpack(data[: _FORM.size])
                known = Slot(epoch=epoch, pid=pid, born=born, token=token)
                return known if boot.rstrip(b"\0") == self._boot else Slot()
            time.sleep(0.001)
        _log.error("part %d of the start file is damaged%s", part, self.where)
        return Slot()

    def _bytes(self, part: int) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, _SLOT, part * _SLOT)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._said:
                self._said = True
                _log.error("the start file cannot be read%s: %s", self.where, error)
            return b""

    def _write(self, descriptor: int, part: int, slot: Slot) -> None:
        data = _FORM.pack(self._boot, slot.epoch, slot.pid, slot.born, slot.token)
        os.pwrite(descriptor, data + _SUM.pack(zlib.crc32(data)), part * _SLOT)

    @contextmanager
    def _turn(self) -> Iterator[int]:
        """The file open for writing, locked if the lock is free within its limit: its holder may be frozen."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline_s = time.monotonic() + LOCK_LIMIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        _log.warning("another process holds the start file%s; going on without its lock", self.where)
                        break
                    time.sleep(LOOK_S)
            yield descriptor
        finally:
            os.close(descriptor)


def _born(pid: int) -> int:
    """Start time of a process (proc(5), stat field 22) in clock ticks since boot; 0 when it is gone or a zombie."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _lives(slot: Slot) -> bool:
    """Whether this very command runs; a process that got its pid later has another start time."""
    return slot.pid > 1 and slot.born > 0 and _born(slot.pid) == slot.born
