"""M1, W1 and a running switch: what an administrator orders, a dead service, and what waits meanwhile."""

from __future__ import annotations

import pytest

from ftplugin.core.policy import Action
from ftplugin.core.terms import Designation, Role

from .cases import DEAD
from .ticks import BOTH, LAN_UNKNOWN, PAUSE, A, S, S1, S2, Ticks, U, acted, settings, vetoes

# --- M1


@BOTH
@pytest.mark.parametrize("role", [S, U])
def test_m1_switches_over_when_the_expected_node_is_active(me: Designation, role: Role) -> None:
    t = Ticks(me, role)
    assert t.tick(order=t.order(expected=me.other), peer=t.good(A)).actions == (Action.PROMOTE_CONFIRMED,)


def test_m1_with_nobody_active_and_nobody_expected() -> None:
    t = Ticks(S2, S)
    assert acted(t.tick(order=t.order(expected=None), peer=t.good(S))) == "M1"


@pytest.mark.parametrize(("expected", "role"), [(S2, A), (None, A), (S1, S)])
def test_m1_is_refused_when_the_expected_active_node_has_changed(expected: Designation | None, role: Role) -> None:
    t = Ticks(S2, S)
    decision = t.tick(order=t.order(expected=expected), peer=t.good(role))
    assert vetoes(decision) == {"expected active"} and "expected" in decision.sentence


def test_m1_beside_a_server_that_is_not_heard_does_not_say_that_nobody_is_active() -> None:
    t = Ticks(S2, S)
    decision = t.tick(order=t.order(expected=S1), peer=t.silent())
    assert vetoes(decision) == {"peer unheard"} and "nobody" not in decision.sentence


def test_m1_for_the_other_node_is_refused_here() -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(order=t.order(target=S1, expected=S1), peer=t.good(A))) == {"expected active"}


@pytest.mark.parametrize(("changes", "veto"), [({"own": None}, "unhealthy"), ({"drained": True}, "drained")])
def test_m1_needs_a_healthy_target_that_is_not_drained(changes: dict[str, object], veto: str) -> None:
    t = Ticks(S2, S)
    assert vetoes(t.tick(order=t.order(expected=S1), peer=t.good(A), **changes)) == {veto}


@pytest.mark.parametrize(
    "changes",
    [{"pause": PAUSE}, {"manual_hold": True}, {"switches": 99}, {"retry_after_s": 2000.0}, {"lan": LAN_UNKNOWN}],
    ids=str,
)
def test_m1_an_administrator_s_order_passes_what_holds_automatic_switches(changes: dict[str, object]) -> None:
    t = Ticks(S2, S, settings(enabled=False))
    assert acted(t.tick(order=t.order(expected=S1), peer=t.good(A), **changes)) == "M1"


# --- W1, a running switch


@pytest.mark.parametrize("role", [A, S])
def test_w1_a_dead_service_is_restarted_in_its_role(role: Role) -> None:
    t = Ticks(S2, role)
    decision = t.tick(peer=t.good(S if role is A else A), services=DEAD)
    assert (acted(decision), decision.actions) == ("W1", (Action.RESTART_SERVICES,))


@pytest.mark.parametrize("role", [A, S, U])
def test_nothing_new_is_started_while_a_switch_runs(role: Role) -> None:
    t = Ticks(S1, role)
    decision = t.tick(switching=True, peer=t.good(S if role is A else U))
    assert (decision.rule, decision.actions) == ("SW", ())
