"""A wall clock of its own for one node's programs: libfaketime reads its offset from a file at each look at the clock.

CLOCK_MONOTONIC and CLOCK_BOOTTIME stay the host's, as they do when somebody sets a real host's clock.
"""

from __future__ import annotations

import glob
import os
import pathlib

from .config import SetupError

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# Debian's Redis allocates by jemalloc, which looks at the clock in its first malloc, and libfaketime allocates in its
# first look at the clock: a deadlock. This library of glibc takes malloc from jemalloc.
PLAIN_MALLOC = "libc_malloc_debug.so.0"
# Told to leave the monotonic clock alone, that library ends every pthread_cond_timedwait at once. The only such wait of
# our programs is Python's for its GIL, always this long; without the number each thread that waits burns a whole core.
GIL_WAIT_MS = "5"
SHARED_MEMORY = pathlib.Path("/dev/shm")  # nosec B108 # only looked at: libfaketime keeps its clocks there
FAKED_CLOCK = pathlib.Path(__file__).with_name("faked_clock")


def environment(file: pathlib.Path) -> dict[str, str]:
    """For programs whose wall clock follows the file. Raises SetupError when libfaketime is missing."""
    found = glob.glob(LIBRARY)
    if not found:
        raise SetupError(f"a node's own clock needs libfaketime, expected as {LIBRARY}; install the package faketime")
    return {
        "LD_PRELOAD": f"{PLAIN_MALLOC}:{found[0]}",
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",  # a step is seen at once
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_WAIT_MS": GIL_WAIT_MS,
    }


def set_offset(file: pathlib.Path, offset_s: float) -> None:
    """Set the clock that follows the file to the host's plus ``offset_s`` seconds; no reader finds half a file."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{offset_s:+.3f}s\n")
    os.replace(fresh, file)


def clean_up() -> None:
    """Remove what libfaketime leaves in shared memory of processes that were killed."""
    for pattern in ("faketime_shm_*", "sem.faketime_sem_*"):
        for file in SHARED_MEMORY.glob(pattern):
            if not pathlib.Path("/proc", file.name.rpartition("_")[2], "exe").exists():  # also false for a zombie
                file.unlink(missing_ok=True)
