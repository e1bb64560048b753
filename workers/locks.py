"""One tick worker and one switch worker per node: each holds a lock on a file of the instance folder while it lives."""

from __future__ import annotations

import fcntl
import os
import pathlib
import time

WAIT_S = 3.0  # a predecessor that is being restarted has this long to go


class LockTaken(RuntimeError):
    """Another worker of this role runs on this node."""


def lock_path(instance_dir: pathlib.Path, role: str) -> pathlib.Path:
    """``agent.lock`` of the tick worker, ``switch.lock`` of the switch worker."""
    return instance_dir / f"{'agent' if role == 'tick' else role}.lock"


def take(path: pathlib.Path, wait_s: float = WAIT_S) -> int:
    """Lock ``path`` and return its descriptor. Raises LockTaken after ``wait_s``, naming the holder and the way out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline_s:
                time.sleep(0.1)
                continue
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise LockTaken(
                f"{path}: another worker of this kind runs on this node (pid {holder}); only one may act. "
                "Stop it first, or give this instance its own FT_INSTANCE_DIR or FT_PREFIX."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor
