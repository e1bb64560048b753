"""How often an active node renews its lease: more often once what it heard last is old."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role
from ftplugin.core.timing import Timing
from workers.node_role import HURRY, NodeRole

SETTINGS = Settings(interval_s=1.0, timeout_s=1.0, threshold=3, service_stop_s=0.3)
TIMING = Timing.of(SETTINGS)
NOW_S = 1_000.0


@pytest.mark.parametrize(
    "role, left_share, times_as_often",
    [(Role.ACTIVE, 0.95, 1), (Role.ACTIVE, 0.71, 1), (Role.ACTIVE, 0.69, HURRY), (Role.STANDBY, 0.0, 1)],
)
def test_the_lease_is_renewed_more_often_while_answers_are_missing(
    role: Role, left_share: float, times_as_often: int
) -> None:
    node = SimpleNamespace(
        settings=lambda: (1, SETTINGS, TIMING, TIMING),
        record=RoleRecord(role=role),
        deadline_s=NOW_S + left_share * TIMING.lease_s,
        ports=SimpleNamespace(clock=SimpleNamespace(now_s=lambda: NOW_S)),
    )
    assert HURRY > 1
    assert NodeRole.renew_period_s(cast(NodeRole, node)) == pytest.approx(TIMING.renew_s / times_as_often)
