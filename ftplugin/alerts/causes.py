"""What is told. The numbers are those of the MIB (deploy/snmp): they never change and are never used again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Phase(StrEnum):
    """ONCE: it happened, there is nothing to wait for. RAISED, REPEATED, RESOLVED: it began, still lasts, is over."""

    ONCE = "once"
    RAISED = "raised"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


class Cause(StrEnum):
    SWITCH = "switch"
    SWITCH_FAILED = "switch_failed"
    FREEZE = "freeze"
    SPLIT_BRAIN = "split_brain"
    TWO_OWNERS = "two_owners"
    PEER_LOST = "peer_lost"
    GIVEN_UP = "given_up"
    LICENCE = "licence"
    CONFLICT = "conflict"
    BALANCER_DRIFT = "balancer_drift"
    CLOCK_SKEW = "clock_skew"
    DAILY_RESTART = "daily_restart"
    WITNESS_LOST = "witness_lost"
    TEST = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """``number``: of the notification in the MIB. ``shared``: both servers see it, and one of them tells it."""

    number: int
    severity: Severity
    shared: bool = False


KINDS: dict[Cause, Kind] = {
    Cause.SWITCH: Kind(number=1, severity=Severity.WARNING),
    Cause.SWITCH_FAILED: Kind(number=2, severity=Severity.CRITICAL),
    Cause.FREEZE: Kind(number=3, severity=Severity.CRITICAL, shared=True),
    Cause.SPLIT_BRAIN: Kind(number=4, severity=Severity.CRITICAL, shared=True),
    Cause.TWO_OWNERS: Kind(number=5, severity=Severity.CRITICAL),
    Cause.PEER_LOST: Kind(number=6, severity=Severity.CRITICAL),
    Cause.GIVEN_UP: Kind(number=7, severity=Severity.CRITICAL),
    Cause.LICENCE: Kind(number=8, severity=Severity.WARNING),
    Cause.CONFLICT: Kind(number=9, severity=Severity.WARNING, shared=True),
    Cause.BALANCER_DRIFT: Kind(number=10, severity=Severity.WARNING),
    Cause.CLOCK_SKEW: Kind(number=11, severity=Severity.WARNING, shared=True),
    Cause.DAILY_RESTART: Kind(number=12, severity=Severity.WARNING),
    Cause.TEST: Kind(number=13, severity=Severity.INFO),
    Cause.WITNESS_LOST: Kind(number=14, severity=Severity.CRITICAL, shared=True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """What is or has happened. ``item`` tells incidents of one cause apart: a service, an address, a rule.

    ``title``, ``text``: one line and one sentence or more, in English. ``rule``: of spec 5.1, "" without one.
    """

    cause: Cause
    title: str
    text: str
    item: str = ""
    rule: str = ""
    epoch: int = 0
    severity: Severity | None = None  # None: that of the cause

    @property
    def key(self) -> str:
        return f"{self.cause}:{self.item}"
