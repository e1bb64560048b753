"""The node's clocks. Decisions use CLOCK_BOOTTIME: it never steps and counts on while the machine sleeps (spec 5.4)."""

from __future__ import annotations

import pathlib
import time
from functools import cached_property


class SystemClock:
    """Clock port of the real node."""

    @cached_property
    def boot_id(self) -> str:
        """Changes with every boot of the host; a deadline under another boot id is void."""
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))
