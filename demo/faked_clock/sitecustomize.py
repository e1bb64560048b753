"""For Python under libfaketime, which runs this at its start because this folder is on PYTHONPATH.

Debian's libfaketime mistakes the deadline of ``clock_nanosleep`` for the wall clock although it was told to leave the
monotonic clock alone, and ``time.sleep`` then fails with EINVAL. ``select`` waits for a duration.
"""

import select
import time
from typing import SupportsIndex


def sleep(seconds: float | SupportsIndex, /) -> None:
    """As ``time.sleep``."""
    wait_s = float(seconds)
    if wait_s < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], wait_s)


time.sleep = sleep
