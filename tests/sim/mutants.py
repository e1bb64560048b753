"""Deliberate faults in core and agent. Each must be caught: by a named invariant of the simulator, or by a table.

``python -m tests.sim.mutants`` runs them all and prints which catcher caught which. A mutant that nothing catches means
that the tests are blind there.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator

import ftplugin.core.decision as decision
import ftplugin.core.diagnosis as diagnosis
import ftplugin.core.forced as core_forced
import ftplugin.core.hysteresis as hysteresis
import ftplugin.core.policy as policy
import ftplugin.core.vetoes as vetoes
import ftplugin.core.timing as timing
import ftplugin.core.watchdog as watchdog
import tests.sim.ports as sim_ports
import workers.agent as agent
import workers.collect as collect
import workers.execute as execute
import workers.forced as forced
import workers.lease_keeper as lease_keeper
import workers.node_role as node_role
import workers.orders as orders
import workers.promotion as promotion
import workers.switch_run as switch_run
import workers.telling as telling
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Role, SplitStance

from .run import build, run_seed
from .world import S1, S2, World

SEEDS_MAX = 80


@contextmanager
def patched(owner: Any, name: Any, value: Any) -> Iterator[None]:
    """``owner.name`` (or ``owner[name]``) is ``value`` inside the block."""
    is_dict = isinstance(owner, dict)
    before = owner[name] if is_dict else owner.__dict__[name]
    put = owner.__setitem__ if is_dict else lambda k, v: setattr(owner, k, v)
    put(name, value)
    try:
        yield
    finally:
        put(name, before)


@dataclass(frozen=True)
class Mutant:
    """A fault to plant. ``table`` is a check that must fail under it, or None when the simulator must catch it."""

    name: str
    owner: Any
    attribute: Any
    value: Any
    table: Callable[[], None] | None = None


# --- tables: small facts that must hold --------------------------------------------------------------------------


def pause_never_holds_a_demotion() -> None:
    assert vetoes.refusals(_case(policy.I1, paused=True)) == ()
    assert vetoes.refusals(_case(policy.F1, paused=True)) != ()


def failback_needs_a_confirmed_demotion() -> None:
    for rule in (policy.B1, policy.F2, policy.M1, policy.F1_NOBODY, policy.C2_PROMOTE):
        assert policy.Action.PROMOTE not in rule.actions, rule


def failback_needs_the_lan() -> None:
    assert "lan" in [r.veto for r in vetoes.refusals(_case(policy.B1))]


def server2_waits_longer() -> None:
    one, two = _case(policy.F1_NOBODY), _case(policy.F1_NOBODY, server2=True)
    assert two.ticks_needed == 2 * one.ticks_needed


def a_moving_vote_delays_the_pass() -> None:
    from ftplugin.core.view import VoteReading

    case = _case(policy.F1)
    vote = VoteReading(voter="server1", mark="x", owner="server2", epoch=3, still_since_s=99.0)
    moving = replace(case, view=replace(case.view, votes=(vote,)))
    assert vetoes.passable_s(moving) >= 99.0 + case.timing.watch_s


def _told(name: str, seed: int = 1) -> None:
    from pathlib import Path

    from . import script

    script.run(script.load(Path(__file__).with_name("scenarios") / f"{name}.txt"), seed)


def a_forced_takeover_waits_for_the_lease() -> None:
    _told("m2_at_once_after_a_good_heartbeat")


def a_forced_takeover_stops_a_server_that_is_heard_again() -> None:
    _told("m2_link_heals_during_the_wait")


def a_forced_takeover_against_the_majority_fails() -> None:
    _told("m2_with_witness_against_a_majority")


def an_administrator_s_word_is_not_believed_against_an_answer() -> None:
    _told("m2_checked_but_it_answers")


def mode_off_has_no_end_to_wait_for() -> None:
    _told("m2_mode_off_has_no_end_to_wait_for")


def what_is_untold_is_told_later() -> None:
    _told("pause_reaches_a_server_that_was_down")


def an_ended_pause_stays_ended() -> None:
    for seed in (1, 2, 3, 4):
        _told("pause_ordered_on_both_sides_of_a_cut", seed)


def a_fault_is_handed_over_once() -> None:
    """The first attempt is broken off after the old server has stopped; the second one must not come."""
    for seed in (1, 2, 3):
        _told("h1_broken_on_both_once_and_never_back", seed)
    from tests.core.test_handover import test_once_for_each_fault as once

    once()


def a_service_given_up_on_both_stays_where_it_is() -> None:
    for seed in (1, 2, 3):
        _told("h1_broken_on_both_once_and_never_back", seed)


def a_common_cause_moves_nothing() -> None:
    _told("h1_third_party")


def a_flapping_service_is_given_up() -> None:
    _told("w1_status_flaps")


def a_hanging_service_is_not_offered() -> None:
    _told("w1_frozen_service_is_not_offered")


def one_broken_service_keeps_no_server_from_its_role() -> None:
    for seed in (1, 2, 3):
        _told("h1_broken_on_both_once_and_never_back", seed)


def who_could_not_start_lets_the_other_one_go_first() -> None:
    _told("m1_target_cannot_start")


def nobody_starts_beside_a_service_that_did_not_stop() -> None:
    _told("f1_stop_failed_and_drained")


def a_server_that_boots_names_one_that_did_not_stop() -> None:
    _told("c2_other_server_did_not_stop")


def an_interrupted_start_is_no_failed_one() -> None:
    _told("c2_interrupted_start_is_no_failed_start")


def a_start_that_made_no_progress_is_a_failed_one() -> None:
    _told("l1_stalled_start_lets_the_other_one_go_first")


def what_does_not_start_beside_a_dead_server_costs_one_attempt() -> None:
    _told("f1_service_does_not_start_beside_a_dead_server")


def the_last_word_of_a_dead_server_is_known() -> None:
    _told("f1_service_broken_on_both_and_the_active_dies")


def who_takes_its_role_back_is_not_powered_off() -> None:
    _told("f1_fence_command_takes_long")


def who_has_said_that_it_stays_stays() -> None:
    for seed in (17, 18):
        _told("x1_vip_leads_to_each_in_turn", seed)


def what_hangs_without_a_role_is_stopped() -> None:
    _told("application_error_and_a_service_that_hangs")


def a_split_gives_a_fault_back() -> None:
    _told("h1_link_cut_at_own_of_the_hand_over")


def services_move_a_role_only_to_a_better_server() -> None:
    from tests.core.test_handover import (
        test_a_switch_for_services_goes_only_to_a_server_that_is_better_off_and_so_never_back as better,
    )

    for rule in ("H1", "F1"):
        better(rule, ("scheduler",), ("cti",), "scheduler was given up on this server")


def a_switchover_fences_nobody() -> None:
    _told("f1_fence_command")


def votes_are_released_last() -> None:
    from ftplugin.core.sequence import ServiceLimits, StepName

    names = [
        s.name
        for s in execute.demotion(
            timing.Timing.of(_SETTINGS), [ServiceLimits(name="a", start_limit_s=1, stop_limit_s=1)]
        )
    ]
    assert names.index(StepName.SERVICE) < names.index(StepName.RELEASE)


def a_streak_ends_when_the_probe_ended() -> None:
    from ftplugin.core.terms import ProbeCause
    from ftplugin.core.view import Probe

    case = _case(policy.F1)
    view = replace(case.view, peer=Probe(started_s=98.0, ended_s=99.0, cause=ProbeCause.TIMEOUT))
    assert hysteresis.advance(hysteresis.Memory(), view, _SETTINGS, case.timing).bad_since_s == 99.0


def a_gap_restarts_the_streak() -> None:
    from ftplugin.core.terms import ProbeCause
    from ftplugin.core.view import Probe

    case = _case(policy.F1)
    view = replace(case.view, peer=Probe(started_s=99.0, ended_s=100.0, cause=ProbeCause.TIMEOUT))
    before = hysteresis.Memory(last_tick_s=90.0, bad_streak=9, bad_since_s=80.0)
    assert decision.decide(view, _SETTINGS, before).memory.bad_streak == 1


def a_silent_peer_gets_its_hold() -> None:
    assert "hold" in [
        r.veto
        for r in vetoes.refusals(replace(_case(policy.F1), memory=hysteresis.Memory(bad_streak=9, bad_since_s=99.5)))
    ]


def a_good_last_probe_ends_the_failover() -> None:
    world = _story()
    world.send(world.nodes[S2], "switch", ({"kind": "promote", "action": "PROMOTE", "rule": "F1", **_order(world)},))
    world.kernel.run(world.now + 3)
    active = [str(d) for d, n in world.nodes.items() if n.answers_active()]
    world.kernel.close()
    assert active == ["server1"], active


def a_switchover_stops_the_active_server_first() -> None:
    world = _story()
    world.send(
        world.nodes[S2], "switch", ({"kind": "promote", "action": "PROMOTE_CONFIRMED", "rule": "M1", **_order(world)},)
    )
    world.kernel.run(world.now + 3)  # an invariant raises here when both own
    active = [str(d) for d, n in world.nodes.items() if n.answers_active()]
    world.kernel.close()
    assert active == ["server2"], active


def a_higher_epoch_ends_a_start() -> None:
    world = _story()
    node = world.nodes[S2]
    node.services[0].start_s = 30.0
    world.send(node, "switch", ({"kind": "promote", "action": "PROMOTE_CONFIRMED", "rule": "M1", **_order(world)},))
    world.kernel.run(world.now + 2)
    assert node.redis.role is not None and node.redis.role.role is Role.ACTIVE
    node.redis.role = replace(node.redis.role, seen_epoch=node.redis.role.epoch + 10)
    world.kernel.run(world.now + 0.5)
    role = node.redis.role.role
    world.kernel.close()
    assert role is not Role.ACTIVE, role


def _story() -> World:
    """A healthy pair, server1 active for a while."""
    world = build(_SETTINGS, 1)
    for node in world.nodes.values():
        world.kernel.at(0.0, node.boot)
    world.kernel.run(10.0)
    assert world.nodes[S1].answers_active()
    return world


def _order(world: World) -> dict[str, Any]:
    node = world.nodes[S2]
    return {"boot_id": node.boot_id, "ordered_s": node.now_s(), "not_before_s": 0.0, "passable_s": 0.0}


_SETTINGS = Settings(
    server1_address="10.0.0.1",
    server2_address="10.0.0.2",
    enabled=True,
    interval_s=1.0,
    timeout_s=1.0,
    threshold=3,
    service_stop_s=0.3,
)


def _case(rule: policy.Rule, paused: bool = False, server2: bool = False) -> vetoes.Case:
    from ftplugin.core.terms import Designation
    from ftplugin.core.view import ClusterView, Pause

    me = Designation.SERVER2 if server2 else Designation.SERVER1
    view = ClusterView(
        now_s=100.0, designation=me, role=Role.STANDBY, pause=Pause(owner="a", reason="b") if paused else None
    )
    return vetoes.Case(
        rule, view, hysteresis.Memory(bad_streak=9, bad_since_s=1.0), _SETTINGS, timing.Timing.of(_SETTINGS)
    )


def _power_off_unasked(self: Any, why: str) -> str:
    self.confirmed = True
    return why


# --- the mutants -------------------------------------------------------------------------------------------------

_judge = watchdog.judge
_refusals, _advance, _seq_stopped = vetoes.refusals, hysteresis.advance, promotion.has_stopped
_contact, _may, _state = lease_keeper.contact_s, lease_keeper.LeaseKeeper._may_renew, lease_keeper.lease_deadline_s


def _paused_demotions(case: vetoes.Case) -> Any:
    found = _refusals(case)
    return found or ((vetoes.Refusal("paused", "paused"),) if case.view.pause else ())


def _from_probe_start(memory: Any, view: Any, settings: Any, t: Any) -> Any:
    peer = view.peer and replace(view.peer, ended_s=view.peer.started_s)
    return _advance(memory, replace(view, peer=peer), settings, t)


def _no_gap(memory: Any, view: Any, settings: Any, t: Any) -> Any:
    return _advance(replace(memory, last_tick_s=None), view, settings, t)


def _late_deadline(**facts: Any) -> float:
    return _state(**{**facts, "before_s": facts["before_s"] + 0.2})


def _no_cap(**facts: Any) -> float:
    return _state(**{**facts, "connected_s": None, "portal_s": None})


def _may_without_ticks(self: Any, record: Any, now_s: float, t: Any) -> bool:
    self.tick_s = now_s
    return _may(self, record, now_s, t)


def _may_expired(self: Any, record: Any, now_s: float, t: Any) -> bool:
    self.deadline_s = max(self.deadline_s, now_s + 1.0)
    return _may(self, record, now_s, t)


def _silent_guard(node: Any) -> None:
    return None


def _demotion_releases_first(t: Any, services: Any) -> Any:
    from ftplugin.core.sequence import StepName, demotion

    steps = demotion(t, services)
    return tuple(sorted(steps, key=lambda s: s.name is not StepName.RELEASE))


def _swap(rule: policy.Rule, action: policy.Action) -> policy.Rule:
    return policy.Rule(rule.id, (action,), rule.why)


def _both_stay(view: Any, settings: Any) -> bool:
    return False


def _fence_passes(self: Any, step: Any) -> str:
    self.confirmed = True
    return "skipped"


def _no_epoch_check(self: Any, epoch: int) -> Any:
    return self.ports.runtime.read_role() or RoleRecord()


def _unjournalled(self: Any, epoch: int) -> bool:
    self.epoch = epoch
    return True


def suspect_mode_hastens_bad_probes_alone() -> None:
    from ftplugin.core.terms import ProbeCause
    from ftplugin.core.view import Probe

    case = _case(policy.F1)
    probe = Probe(started_s=99.5, ended_s=100.0, cause=ProbeCause.TIMEOUT)
    view = replace(case.view, peer=probe, own=replace(probe, cause=ProbeCause.OK), early=True)
    after = hysteresis.advance(hysteresis.Memory(bad_streak=1, own_ok_streak=1), view, _SETTINGS, case.timing)
    assert (after.bad_streak, after.own_ok_streak) == (2, 1)


def suspect_mode_leaves_the_hold_alone() -> None:
    case = _case(policy.F1)
    hasty = replace(case, settings=replace(case.settings, suspect_interval_s=0.2))
    hasty = replace(hasty, memory=hysteresis.Memory(bad_streak=9, bad_since_s=99.0))
    assert vetoes.not_before_s(hasty) >= 99.0 + case.timing.hold_s


def _every_streak(*arguments: Any) -> Any:
    memory, view, *rest = arguments
    return _advance(memory, replace(view, early=False), *rest)


def _short_hold(case: Any) -> float:
    """A hold of the suspect interval, as a load balancer that owns nothing may have it."""
    short_s = case.settings.suspect_interval_s or case.timing.interval_s
    since_s = case.memory.bad_since_s
    return case.view.now_s if since_s is None else float(since_s) + (case.settings.threshold - 1) * short_s


def _deaf_fence(self: Any, target: Any, address: str, epoch: int, reason: str, alive: Any) -> Any:
    return _fence(self, target, address, epoch, reason, lambda text: None)


P, V = policy, vetoes
_fence = sim_ports.SimFence.fence
MUTANTS = (
    Mutant(
        "suspect mode hastens every streak",
        hysteresis,
        "advance",
        _every_streak,
        suspect_mode_hastens_bad_probes_alone,
    ),
    Mutant(
        "the hold follows the suspect interval",
        V,
        "not_before_s",
        _short_hold,
        suspect_mode_leaves_the_hold_alone,
    ),
    Mutant(
        "LAN check removed from B1",
        V.VETOES,
        "lan",
        lambda c: "" if c.rule.id == "B1" else V._lan(c),
        failback_needs_the_lan,
    ),
    Mutant("LAN check removed from every rule", V.VETOES, "lan", lambda c: ""),
    Mutant(
        "streak counted from the start of the probe",
        hysteresis,
        "advance",
        _from_probe_start,
        a_streak_ends_when_the_probe_ended,
    ),
    Mutant(
        "failback with a best-effort fence", P, "B1", _swap(P.B1, P.Action.PROMOTE), failback_needs_a_confirmed_demotion
    ),
    Mutant("I1 vetoed by pause", V, "refusals", _paused_demotions, pause_never_holds_a_demotion),
    Mutant("lease deadline taken after the reply", lease_keeper, "lease_deadline_s", _late_deadline),
    Mutant("lease not capped by the last contact", lease_keeper, "lease_deadline_s", _no_cap),
    Mutant("equal epochs", promotion, "next_epoch", lambda seen, me: seen + 1),
    Mutant("epoch not durable before acting", switch_run.Run, "begin", _unjournalled),
    Mutant("an expired lease is revived", lease_keeper.LeaseKeeper, "_may_renew", _may_expired),
    Mutant(
        "a host that stood still is believed", lease_keeper.LeaseKeeper, "_verify", lambda self, record, t, me: True
    ),
    Mutant("lease renewed without ticks", lease_keeper.LeaseKeeper, "_may_renew", _may_without_ticks),
    Mutant(
        "the fence is skipped", promotion.Promotion, "_fence", _fence_passes, a_switchover_stops_the_active_server_first
    ),
    Mutant("an unconfirmed answer passes as confirmed", promotion, "has_stopped", lambda state, epoch: True),
    Mutant("streaks survive a gap", decision, "advance", _no_gap, a_gap_restarts_the_streak),
    Mutant("no hold after the streak", V.VETOES, "hold", lambda c: "", a_silent_peer_gets_its_hold),
    Mutant(
        "promotion although the last probe was good",
        promotion.Promotion,
        "_last_probe",
        lambda self, step: "skipped",
        a_good_last_probe_ends_the_failover,
    ),
    Mutant("nobody yields when two are active", diagnosis, "yields", _both_stay),
    Mutant("no guard", sim_ports, "guard_loop", _silent_guard),
    Mutant(
        "votes released before the services stopped",
        execute,
        "demotion",
        _demotion_releases_first,
        votes_are_released_last,
    ),
    Mutant(
        "server2 as quick as server1 with nobody active",
        V.Case,
        "ticks_needed",
        property(lambda c: 3),
        server2_waits_longer,
    ),
    Mutant("moving votes ignored", V, "passable_s", lambda c: 0.0, a_moving_vote_delays_the_pass),
    Mutant(
        "a resumed role needs no lease", collect, "ClusterView", lambda **k: _VIEW(**{**k, "resumable": k["epoch"] > 0})
    ),
    Mutant(
        "a higher epoch does not interrupt",
        execute.SwitchRunner,
        "check",
        _no_epoch_check,
        a_higher_epoch_ends_a_start,
    ),
    Mutant(
        "forced takeover does not wait",
        orders,
        "force",
        lambda *a, **k: replace(core_forced.force(*a, **k), certain_s=0.0),
        a_forced_takeover_waits_for_the_lease,
    ),
    Mutant(
        "forced takeover does not ask again",
        forced.ForcedPromotion,
        "_again",
        lambda self, step: "not needed",
        a_forced_takeover_stops_a_server_that_is_heard_again,
    ),
    Mutant(
        "forced takeover waives the wait with a witness",
        orders,
        "force",
        lambda *a, checked, **k: replace(core_forced.force(*a, checked=checked, **k), waived=checked),
        a_forced_takeover_against_the_majority_fails,
    ),
    Mutant(
        "forced takeover passes an answer without confirmation",
        promotion.Promotion,
        "_ask_to_stop",
        lambda self, step: "",
        an_administrator_s_word_is_not_believed_against_an_answer,
    ),
    Mutant("mode off is waited for", core_forced, "ENDLESS", "", mode_off_has_no_end_to_wait_for),
    Mutant("nobody tells later", telling.Telling, "look", lambda self, view: None, what_is_untold_is_told_later),
    Mutant(
        "any notice counts", sim_ports, "is_newer", lambda known, command, revision: True, an_ended_pause_stays_ended
    ),
    Mutant(
        "hands over twice for one fault", hysteresis, "_taken", lambda memory, view: (), a_fault_is_handed_over_once
    ),
    Mutant(
        "hands over to a peer that gave up the same",
        V.VETOES,
        "given up",
        lambda c: "",
        a_service_given_up_on_both_stays_where_it_is,
    ),
    Mutant("a common cause is no veto", V.VETOES, "shared", lambda c: "", a_common_cause_moves_nothing),
    Mutant(
        "a fault ends with the first good look",
        watchdog,
        "judge",
        lambda t, c, **k: _judge(watchdog.Trouble() if c is watchdog.Condition.WELL else t, c, **k),
        a_flapping_service_is_given_up,
    ),
    Mutant(
        "offers what it cannot stop", agent, "to_offer", lambda view: view.given_up, a_hanging_service_is_not_offered
    ),
    Mutant(
        "a service that was given up fails the promotion",
        promotion.Promotion,
        "_spared",
        lambda self: set(),
        one_broken_service_keeps_no_server_from_its_role,
    ),
    Mutant(
        "who could not start tries again first",
        V.Case,
        "deference",
        property(lambda c: 0),
        who_could_not_start_lets_the_other_one_go_first,
    ),
    Mutant(
        "a service that did not stop is passed",
        promotion,
        "has_stopped",
        lambda state, epoch: state.seen_epoch >= epoch and not state.is_active,
    ),
    Mutant(
        "the fence command runs in any switch", promotion, "FENCING", ("F1", "C3", "M1"), a_switchover_fences_nobody
    ),
    Mutant(
        "no fence command is needed beside a service that did not stop",
        promotion.Promotion,
        "_power_off",
        _power_off_unasked,
    ),
    Mutant(
        "a server that boots waits for ever beside one that did not stop",
        P.TABLE,
        (Role.UNDECIDED, diagnosis.Diagnosis.PEER_STUCK),
        P.S0,
        a_server_that_boots_names_one_that_did_not_stop,
    ),
    Mutant(
        "any start that ended early has failed",
        promotion.Promotion,
        "_did_not_start",
        lambda self, error: True,
        an_interrupted_start_is_no_failed_one,
    ),
    Mutant(
        "a start without progress has not failed",
        promotion,
        "stall_limit_s",
        lambda t: 1e9,
        a_start_that_made_no_progress_is_a_failed_one,
    ),
    Mutant(
        "what does not start stops everything, again and again",
        promotion.Promotion,
        "_noted",
        lambda self, name: {},
        what_does_not_start_beside_a_dead_server_costs_one_attempt,
    ),
    Mutant(
        "the last word of a silent server is forgotten",
        node_role.NodeRole,
        "promotion_facts",
        lambda self, view, decided: _FACTS(self, view, decided) | {"services": []},
        the_last_word_of_a_dead_server_is_known,
    ),
    Mutant(
        "the fence command runs on against a server that is active again",
        sim_ports.SimFence,
        "fence",
        _deaf_fence,
        who_takes_its_role_back_is_not_powered_off,
    ),
    Mutant(
        '"I stay" is taken back',
        collect,
        "ClusterView",
        lambda **k: _VIEW(**{**k, "stance": SplitStance.NONE}),
        who_has_said_that_it_stays_stays,
    ),
    Mutant(
        "what hangs is left alone without the role",
        watchdog,
        "_silence",
        lambda trouble, state, now_s: replace(trouble, silent_s=None),
        what_hangs_without_a_role_is_stopped,
    ),
    Mutant("a split keeps the fault", decision, "X1_YIELD", None, a_split_gives_a_fault_back),
    Mutant(
        "a service given up here is no reason to stay",
        V,
        "no_better",
        lambda view, offers: "",
        services_move_a_role_only_to_a_better_server,
    ),
    Mutant("lost lease is not noticed", diagnosis, "_active", lambda view, m, s, t: diagnosis.Diagnosis.STEADY),
)
_VIEW, _FACTS = collect.ClusterView, node_role.NodeRole.promotion_facts


def caught_by(mutant: Mutant, seeds_max: int = SEEDS_MAX) -> str:
    """What caught the mutant; empty when nothing did."""
    if mutant.table is not None:
        mutant.table()  # without the fault it holds
    with patched(mutant.owner, mutant.attribute, mutant.value):
        if mutant.table is not None:
            try:
                mutant.table()
            except AssertionError:
                return f"table: {mutant.table.__name__.replace('_', ' ')}"
            return ""
        for seed in range(seeds_max):
            try:
                violation = run_seed(seed).violation
            except Exception as error:  # a mutant may break the agent outright; that is caught too
                return f"seed {seed}: {type(error).__name__}: {error}"
            if violation:
                return f"seed {seed}: {violation}"
    return ""


def main() -> int:
    missed = []
    for mutant in MUTANTS:
        by = caught_by(mutant)
        print(f"{'caught' if by else 'MISSED':7} {mutant.name:55} {by}", flush=True)
        if not by:
            missed.append(mutant.name)
    print(f"{len(MUTANTS) - len(missed)} of {len(MUTANTS)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
