"""The switch sequences as data (spec 5.4, 5.5): which steps, in which order, how long each may take, and what a failure means.

A promotion writes three durable things before anything is owned: the lock (voters), the epoch (journal), the peer's
promise (fence). Only then come the votes, the role, the services. A demotion gives up in the opposite order: first the
word ACTIVE, then the services, last the votes that kept others away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Sequence

from .timing import Timing


class StepName(StrEnum):
    LAST_PROBE = "last probe"
    LOCK = "lock"
    EPOCH = "epoch"
    FENCE = "fence"
    WAIT = "wait"
    AGAIN = "fence again"
    OWN = "own"
    ROLE = "role"
    PORTAL = "portal"
    SERVICE = "service"
    RELEASE = "release"
    PUBLISH = "publish"


class OnFailure(StrEnum):
    """ABORT: nothing was owned yet, give up lock and epoch. COMPENSATE: demote again under a new epoch. RECORD: go on."""

    ABORT = "abort"
    COMPENSATE = "compensate"
    RECORD = "record"


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step; ``service`` is set for service steps; ``durable`` tells that it writes something that outlives a crash."""

    name: StepName
    limit_s: float
    on_failure: OnFailure
    service: str = ""
    durable: bool = False

    @property
    def label(self) -> str:
        return f"{self.name} {self.service}" if self.service else str(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceLimits:
    name: str
    start_limit_s: float
    stop_limit_s: float


def promotion(
    timing: Timing, services: Sequence[ServiceLimits], *, suspect: bool, witness: bool = False
) -> tuple[Step, ...]:
    """Steps of a promotion.

    witness: three voters are asked at once and two suffice, so a dead one costs nothing and each may take long.

    suspect: the peer is silent, so the last hedged probe comes first and lock, fence and votes together take at most
    min(t, 2 s) (spec 5.5); otherwise the peer is asked to stop and gets its stop time.
    """
    share_s = timing.fence_s / (2 if witness else 4) if suspect else timing.network_s
    fence_s = timing.fence_s / 2 if suspect else timing.fence_s + timing.stop_s
    abort = OnFailure.ABORT
    first = (Step(name=StepName.LAST_PROBE, limit_s=timing.timeout_s, on_failure=abort),) if suspect else ()
    return (
        *first,
        Step(name=StepName.LOCK, limit_s=share_s, on_failure=abort, durable=True),
        Step(name=StepName.EPOCH, limit_s=1.0, on_failure=abort, durable=True),
        Step(name=StepName.FENCE, limit_s=fence_s, on_failure=abort, durable=True),
        Step(name=StepName.OWN, limit_s=share_s, on_failure=abort, durable=True),
        Step(name=StepName.ROLE, limit_s=0.2, on_failure=abort, durable=True),
        Step(name=StepName.PORTAL, limit_s=min(timing.timeout_s, 1.0), on_failure=OnFailure.RECORD),
        *(
            Step(
                name=StepName.SERVICE,
                service=s.name,
                limit_s=s.start_limit_s,
                on_failure=OnFailure.COMPENSATE,
                durable=True,
            )
            for s in services
        ),
        Step(name=StepName.PUBLISH, limit_s=1.0, on_failure=OnFailure.RECORD, durable=True),
    )


def forced(timing: Timing, services: Sequence[ServiceLimits], *, wait_s: float) -> tuple[Step, ...]:
    """Steps of a forced takeover (M2): a fence without an answer is waited for, then sent once more.

    wait_s: how long the other server may still own something.
    """
    steps: list[Step] = []
    for step in promotion(timing, services, suspect=False):
        if step.name is StepName.FENCE:
            fence = replace(step, limit_s=timing.fence_s)
            steps += [fence, replace(fence, name=StepName.WAIT, limit_s=wait_s), replace(fence, name=StepName.AGAIN)]
        else:
            steps.append(step)
    return tuple(steps)


def demotion(timing: Timing, services: Sequence[ServiceLimits]) -> tuple[Step, ...]:
    """Steps of a demotion: every one is tried, whatever the one before did; services in reverse order."""
    record = OnFailure.RECORD
    return (
        Step(name=StepName.EPOCH, limit_s=1.0, on_failure=record, durable=True),
        Step(name=StepName.ROLE, limit_s=0.2, on_failure=record, durable=True),
        *(
            Step(name=StepName.SERVICE, service=s.name, limit_s=s.stop_limit_s, on_failure=record, durable=True)
            for s in reversed(services)
        ),
        Step(name=StepName.RELEASE, limit_s=timing.network_s, on_failure=record, durable=True),
        Step(name=StepName.PUBLISH, limit_s=1.0, on_failure=record, durable=True),
    )
