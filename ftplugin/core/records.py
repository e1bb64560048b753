"""What is stored: the role record of the node's Redis and the lines of the switch journal."""

from __future__ import annotations

from dataclasses import dataclass

from .terms import Phase, Role


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleRecord:
    """The node's role as its Redis holds it. ``seen_epoch``: the highest epoch anybody commanded or showed.

    ``clear``: owns nothing. ``progress_s``: when a running start last moved. ``deadline_s`` counts on ``boot_id``'s clock.
    ``wall_ahead_s``: how far the wall clock was ahead of CLOCK_BOOTTIME when the lease was last renewed.
    """

    role: Role = Role.UNDECIDED
    phase: Phase = Phase.READY
    epoch: int = 0
    seen_epoch: int = 0
    boot_id: str = ""
    deadline_s: float = 0.0
    clear: bool = False
    progress_s: float | None = None
    since_wall_s: float = 0.0
    wall_ahead_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """One step of a switch as journalled: outcome is "ok", "failed", "skipped" or "running"."""

    step: str
    outcome: str
    duration_s: float = 0.0
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenSwitch:
    """A journalled switch that has no end: the agent crashed in it."""

    switch_id: str
    kind: str
    rule: str
    epoch: int
    steps: tuple[StepResult, ...] = ()
