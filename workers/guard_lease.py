"""What the guard remembers of the last lease, also when it is killed and started again while Redis is frozen."""

from __future__ import annotations

import logging
import os
import pathlib
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("workers.guard")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The last lease that was read: until when (CLOCK_BOOTTIME), and under which epoch, the services may own."""

    boot_id: str
    epoch: int
    deadline_s: float


class LeaseFile:
    """The remembered lease in a file of fixed size, overwritten in place: it also works on a full disk.

    later: makes the write; it may do so later, then with the newest lease only.
    """

    _FORM = struct.Struct("=36sqd")

    def __init__(self, path: pathlib.Path, later: Callable[[Callable[[], None]], None] = lambda write: write()) -> None:
        self.path, self._later = path, later
        self._lock = threading.Lock()
        self._newest: bytes | None = None  # None: nothing waits to be written
        self._said = False

    def load(self, boot_id: str) -> Lease | None:
        """The lease remembered under this boot; None when there is none: no service outlives a boot."""
        try:
            stored, epoch, deadline_s = self._FORM.unpack(self.path.read_bytes())
        except (OSError, struct.error):
            return None
        if stored.rstrip(b"\0") != boot_id.encode()[:36]:
            return None
        return Lease(boot_id=boot_id, epoch=epoch, deadline_s=deadline_s)

    def save(self, lease: Lease | None) -> None:
        """None: services own nothing by now. A failure is said once and costs only the memory across a restart."""
        lease = lease or Lease(boot_id="", epoch=0, deadline_s=0.0)
        with self._lock:
            waits = self._newest is not None
            self._newest = self._FORM.pack(lease.boot_id.encode()[:36], lease.epoch, lease.deadline_s)
        if not waits:
            self._later(self._write)

    def _write(self) -> None:
        with self._lock:
            data, self._newest = self._newest, None
        if data is None:
            return
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, data, 0)
            finally:
                os.close(descriptor)
            self._said = False
        except OSError as error:
            if not self._said:
                self._said = True
                _log.error("the lease cannot be remembered in %s: %s", self.path, error)
