"""What lies beside the files of a folder: those that lost, to be put back, and parts that nobody continues."""

from __future__ import annotations

import os
import time

from .files import BLOCK_BYTES, FolderThing
from .safe_folder import KEPT, MODE_BITS, STAGING, Refused, open_plain
from .thing import ReplicationError

STAGED_AGE_S = 7 * 86_400.0


def tidy(thing: FolderThing, now_wall_s: float | None = None) -> int:
    """Remove parts that nobody has continued for a week. How many; 0 also when the folder cannot be used now."""
    now_wall_s = time.time() if now_wall_s is None else now_wall_s
    count = 0
    try:
        folder = thing.open()
    except ReplicationError:
        return 0  # the look before has said so
    try:
        with folder.reserved(STAGING) as staging, os.scandir(staging) as listing:
            for entry in listing:
                if now_wall_s - entry.stat(follow_symlinks=False).st_mtime > STAGED_AGE_S:
                    os.unlink(entry.name, dir_fd=staging)
                    count += 1
    except (OSError, Refused):
        return count  # looked at again in an hour
    finally:
        folder.close()
    return count


def restore(thing: FolderThing, key: str, kept: str) -> None:
    """Put a file that had lost in its place again, as an edit of this node. Raises ReplicationError, Refused, OSError."""
    if len(kept) != 32 or not kept.isalnum():
        raise Refused(f"{kept!r:.50} is no kept file")
    folder = thing.open()
    try:
        with folder.reserved(KEPT) as kept_fd, folder.reserved(STAGING) as staging:
            source = open_plain(kept, kept_fd, key)
            try:
                facts = os.fstat(source)
                target = os.open(kept, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=staging)
                try:
                    at = 0
                    while block := os.pread(source, BLOCK_BYTES, at):
                        os.pwrite(target, block, at)
                        at += len(block)
                    os.fchmod(target, facts.st_mode & MODE_BITS)
                    os.fsync(target)
                finally:
                    os.close(target)
            finally:
                os.close(source)
            with folder.parent(key, create=True) as (fd, name):
                os.rename(kept, name, src_dir_fd=staging, dst_dir_fd=fd)
    finally:
        folder.close()
