"""Order and limits of the steps of a switch (spec 5.4, 5.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftplugin.core.sequence import OnFailure, ServiceLimits, Step, StepName, demotion, promotion
from ftplugin.core.settings import Settings
from ftplugin.core.timing import FENCE_S_MAX, Timing

SERVICES = [
    ServiceLimits(name="first", start_limit_s=20, stop_limit_s=3),
    ServiceLimits(name="second", start_limit_s=200, stop_limit_s=5),
]
TIMING = Timing.of(Settings(interval_s=30, timeout_s=10, threshold=5))
N = StepName


def labels(steps: tuple[Step, ...]) -> list[str]:
    return [step.label for step in steps]


ANSWERED = ["lock", "epoch", "fence", "own", "role", "portal", "service first", "service second", "publish"]


def test_a_promotion_over_a_silent_peer() -> None:
    steps = promotion(TIMING, SERVICES, suspect=True)
    assert labels(steps) == ["last probe", *ANSWERED]


def test_a_promotion_with_a_peer_that_answers_needs_no_last_probe() -> None:
    steps = promotion(TIMING, SERVICES, suspect=False)
    assert labels(steps) == ANSWERED


@pytest.mark.parametrize("suspect", [True, False])
def test_lock_before_epoch_before_fence_before_votes_before_role_before_services(suspect: bool) -> None:
    steps = promotion(TIMING, SERVICES, suspect=suspect)
    names = [step.name for step in steps]
    order = [N.LOCK, N.EPOCH, N.FENCE, N.OWN, N.ROLE, N.SERVICE, N.PUBLISH]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
    assert all(step.durable for step in steps if step.name in order)


def test_before_the_role_a_failure_aborts_a_service_that_fails_is_compensated() -> None:
    steps = promotion(TIMING, SERVICES, suspect=True)
    by_name = {step.name: step.on_failure for step in steps}
    assert {by_name[n] for n in (N.LAST_PROBE, N.LOCK, N.EPOCH, N.FENCE, N.OWN, N.ROLE)} == {OnFailure.ABORT}
    assert by_name[N.SERVICE] is OnFailure.COMPENSATE
    assert {by_name[n] for n in (N.PORTAL, N.PUBLISH)} == {OnFailure.RECORD}


def test_a_demotion_gives_up_in_reverse_order_and_the_votes_last() -> None:
    steps = demotion(TIMING, SERVICES)
    assert labels(steps) == ["epoch", "role", "service second", "service first", "release", "publish"]
    assert {step.on_failure for step in steps} == {OnFailure.RECORD}
    assert [step.limit_s for step in steps if step.name is N.SERVICE] == [5, 3]


@given(st.floats(0.2, 3600), st.floats(0.05, 1), st.integers(2, 20), st.integers(0, 60_000))
def test_lock_fence_and_votes_together_take_at_most_min_t_2_s_over_a_silent_peer(
    interval_s: float, share: float, threshold: int, rtt_ms: int
) -> None:
    timing = Timing.of(
        Settings(interval_s=interval_s, timeout_s=share * interval_s, threshold=threshold, rtt_ms=rtt_ms)
    )
    steps = promotion(timing, [], suspect=True)
    total_s = sum(step.limit_s for step in steps if step.name in (N.LOCK, N.FENCE, N.OWN))
    assert total_s <= min(timing.timeout_s, FENCE_S_MAX) + 1e-9


def test_a_peer_that_answers_gets_its_stop_time() -> None:
    fence = next(s for s in promotion(TIMING, [], suspect=False) if s.name is N.FENCE)
    assert fence.limit_s == TIMING.fence_s + TIMING.stop_s


def test_each_service_has_its_own_limit_and_none_is_without() -> None:
    steps = promotion(TIMING, SERVICES, suspect=True)
    assert [step.limit_s for step in steps if step.name is N.SERVICE] == [20, 200]
    assert all(step.limit_s > 0 for step in (*steps, *demotion(TIMING, SERVICES)))
