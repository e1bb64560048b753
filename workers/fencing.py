"""The fence command: what an administrator lets this node run to power the other server off (spec 5.5).

Exit code 0 is its word that the other server owns nothing any more, and counts as a confirmed fence. Any other exit code,
a limit that is reached and a program that cannot be run change nothing. It runs in a process group of its own, which is
killed as a whole at the limit.
"""

from __future__ import annotations

from typing import Callable, Sequence

from ftplugin.core.terms import Designation

from .adapters.services.running import Running, clean_environ
from .ports import Fenced

LOOK_S = 1.0  # how often the page is told that it still runs


class FenceCommand:
    """FencePort by a program. ``argv``: program and arguments, no shell; ``limit_s``: longest run in seconds."""

    def __init__(self, argv: Sequence[str], limit_s: float) -> None:
        self._argv, self._limit_s = tuple(argv), limit_s

    def fence(self, target: Designation, address: str, epoch: int, reason: str, alive: Callable[[str], None]) -> Fenced:
        """Run it against ``target`` at ``address`` for ``epoch``; it takes at most the limit, and raises only what ``alive``
        raises: then its process group is killed at once.

        In its environment: FT_FENCE_TARGET, FT_FENCE_ADDRESS, FT_FENCE_EPOCH, FT_FENCE_REASON, and no other FT_ variable.
        """
        told = {"TARGET": str(target), "ADDRESS": address, "EPOCH": str(epoch), "REASON": reason.replace("\0", " ")}
        environ = clean_environ() | {f"FT_FENCE_{name}": value for name, value in told.items()}
        try:
            running = Running(self._argv, environ, self._limit_s)
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            return Fenced(done=False, detail=f"it cannot be run: {error}")
        looks = 0
        while (ended := running.wait(LOOK_S)) is None:
            looks += 1
            try:
                alive(f"the fence command against {target} has run for {looks * LOOK_S:.0f} of {self._limit_s:g} s")
            except BaseException:
                running.kill("ended before its limit")
                raise
        if ended.code == 0:
            return Fenced(done=True, detail="exit 0" + (f": {ended.output}" if ended.output else ""))
        code = "" if ended.code is None else f"exit {ended.code}"
        return Fenced(done=False, detail=": ".join(filter(None, (code, ended.output))) or "it did not end")
