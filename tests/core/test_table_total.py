"""The table answers every situation; every rule of spec 5.1 can happen; nothing holds a demotion back."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ftplugin.core.decision import decide
from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import PROMOTIONS, RULES, TABLE, Action, Rule
from ftplugin.core.vetoes import VETOES, Case, refusals
from ftplugin.core.terms import Designation, Phase, ProbeCause, Role, ServiceState, SplitStance, Tri, VipDestination
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, LanReading, NodeState, Probe, ServiceReading, VipReading, VoteReading

from .cases import ADVERSE, DEAD, PROMOTING, Situation, held_by, quiet_refusals, ripe, situations
from .ticks import A, LAN_DOWN, PAUSE, S1, S2, Ticks, acted, settings, vip_on

SPEC_IDS = {"C0", "C1", "C2", "C3", "C4", "F1", "F2", "B1", "X1", "I1", "P1", "M1", "W1", "H1"}
SITUATIONS = list(situations())
CAN_OCCUR = {(s.role, s.diagnosis) for s in SITUATIONS}


def test_every_role_and_diagnosis_has_a_row() -> None:
    assert set(TABLE) == set(product(Role, D))


def test_every_rule_of_the_table_is_listed() -> None:
    assert {row.id for row in TABLE.values() if isinstance(row, Rule)} <= {rule.id for rule in RULES}


@pytest.mark.parametrize("s", SITUATIONS, ids=lambda s: f"{s.role}-{s.diagnosis.name}-{s.view.designation}")
def test_each_row_that_can_occur_does_and_names_its_rule(s: Situation) -> None:
    decision = decide(s.view, s.settings, s.memory)
    assert (decision.diagnosis, decision.rule) == (s.diagnosis, s.rule), decision.sentence
    assert decision.refused == (), decision.sentence


def test_every_rule_of_the_spec_is_reached_through_decide() -> None:
    reached = {acted(decide(s.view, s.settings, s.memory)) for s in SITUATIONS}
    assert SPEC_IDS | {"L1"} <= reached


def test_rows_that_cannot_occur_do_nothing_dangerous() -> None:
    """They exist so that the table is total; none of them may promote a node."""
    for (role, diagnosis), row in TABLE.items():
        if (
            (role, diagnosis) not in CAN_OCCUR
            and isinstance(row, Rule)
            and (role, diagnosis) != (Role.STANDBY, D.PEER_STARTING)
        ):
            assert not row.promotes, (role, diagnosis)


# --- vetoes ---------------------------------------------------------------------------------------------------------

DEMOTING = [
    s
    for s in SITUATIONS
    if s.rule in ("I1", "P1", "X1", "L1", "W1", "C1", "C4") and decide(s.view, s.settings, s.memory).actions
]


@pytest.mark.parametrize("adverse", ADVERSE)
@pytest.mark.parametrize("s", DEMOTING, ids=lambda s: f"{s.role}-{s.diagnosis.name}-{s.view.designation}")
def test_nothing_holds_a_demotion_back(s: Situation, adverse: str) -> None:
    """Pause, freeze, drain, a manual hold, the LAN, missing streaks: they veto promotions only (spec 5.1)."""
    decision = decide(s.view, s.settings, s.memory)
    case = Case(
        next(r for r in RULES if r.id == s.rule and r.actions == decision.actions),
        s.view,
        s.memory,
        s.settings,
        Timing.of(s.settings),
    )
    assert refusals(ADVERSE[adverse](case)) == ()


@pytest.mark.parametrize(
    "situation",
    [
        {"pause": PAUSE},
        {"drained": True},
        {"manual_hold": True},
        {"switches": 99},
        {"switching": True},
        {"retry_after_s": 2000.0},
        {"clock_stepped": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("rule", ["I1", "P1", "L1", "X1"])
def test_a_node_that_must_give_up_does_so_through_decide(rule: str, situation: dict[str, object]) -> None:
    t = Ticks(S2, A)
    t.memory = ripe(t)
    changes: dict[str, object] = {
        "I1": {"lan": LanReading(carrier=Tri.YES, reference=Tri.NO, seen_s=990.0), "peer": t.silent()},
        "P1": {"portal_seen_s": 990.0},
        "L1": {"lease_deadline_s": 999.0},
        "X1": {"peer": t.good(A, stance=SplitStance.STAY)},
    }[
        rule
    ]  # type: ignore[assignment]
    decision = t.tick(**changes, **situation)
    assert acted(decision) == rule and Action.DEMOTE in decision.actions, decision.sentence


@pytest.mark.parametrize("rule", PROMOTING, ids=lambda r: f"{r.id} {r.why}")
def test_a_promotion_passes_when_every_condition_holds(rule: Rule) -> None:
    assert quiet_refusals(rule) == ""


@pytest.mark.parametrize("rule", PROMOTING, ids=lambda r: f"{r.id} {r.why}")
def test_every_automatic_promotion_needs_mode_on_no_pause_no_drain_and_a_lan(rule: Rule) -> None:
    for adverse, name in (
        ("off", "off"),
        ("paused", "paused"),
        ("drained", "drained"),
        ("lan down", "lan"),
        ("lan unknown", "lan"),
    ):
        wanted = name if rule.id != "M1" or adverse == "drained" else ""
        assert name in held_by(rule, adverse) if wanted else held_by(rule, adverse) == "", (rule.id, adverse)


def test_every_veto_holds_something_back() -> None:
    seen = {name for rule in PROMOTING for adverse in ADVERSE for name in held_by(rule, adverse).split(", ")}
    assert seen - {""} == set(VETOES)


# --- any view at all ------------------------------------------------------------------------------------------------

maybe_age = st.one_of(st.none(), st.floats(0, 20))
tri = st.sampled_from(Tri)
names = st.sampled_from([(), ("cti",), ("axl", "cti")])


@st.composite
def node_states(draw: st.DrawFn, designation: Designation) -> NodeState:
    return NodeState(
        designation=designation,
        role=draw(st.sampled_from(Role)),
        phase=draw(st.sampled_from(Phase)),
        epoch=draw(st.integers(0, 20)),
        agent_age_s=draw(maybe_age),
        lease_left_s=draw(st.sampled_from([0.0, 1.0])),
        clear=draw(st.booleans()),
        stance=draw(st.sampled_from(SplitStance)),
        heard_asker_age_s=draw(maybe_age),
        enabled=draw(st.booleans()),
        manual_hold=draw(st.booleans()),
        switches=draw(st.integers(0, 8)),
        healthy=draw(st.booleans()),
        given_up=draw(names),
        failed=draw(names),
    )


@st.composite
def views(draw: st.DrawFn) -> ClusterView:
    me = draw(st.sampled_from(Designation))
    said = st.one_of(st.none(), node_states(me.other))

    def probe() -> Probe:
        return Probe(
            started_s=draw(st.floats(990, 995)),
            ended_s=draw(st.floats(995, 1000)),
            cause=draw(st.sampled_from(ProbeCause)),
            state=draw(said),
        )

    t = Ticks(me, draw(st.sampled_from(Role)))
    return t.view(
        peer=draw(st.sampled_from([None, probe()])),
        own=draw(st.sampled_from([None, t.well(), t.sick()])),
        lan=LanReading(carrier=draw(tri), reference=draw(tri), seen_s=draw(st.one_of(st.none(), st.floats(980, 1000)))),
        portal_seen_s=draw(st.one_of(st.none(), st.floats(980, 1000))),
        vip=VipReading(destination=draw(st.sampled_from(VipDestination)), peer_state=draw(said)),
        votes=tuple(
            VoteReading(
                voter=str(v),
                owner=draw(st.sampled_from(["", "server1", "server2"])),
                lock_owner=draw(st.sampled_from(["", "server1", "server2"])),
                still_since_s=draw(st.one_of(st.none(), st.floats(980, 1000))),
            )
            for v in Designation
        ),
        lease_deadline_s=draw(st.one_of(st.none(), st.floats(995, 1005))),
        resumable=draw(st.booleans()),
        clear=draw(st.booleans()),
        superseded_by_epoch=draw(st.integers(0, 6)),
        switching=draw(st.booleans()),
        progress_age_s=draw(maybe_age),
        services=draw(st.sampled_from([(), DEAD, (ServiceReading(name="cti", state=ServiceState.UNKNOWN),)])),
        order=draw(st.sampled_from([None, t.order(), t.order(me.other), t.order(expected=me.other)])),
        pause=draw(st.sampled_from([None, PAUSE])),
        drained=draw(st.booleans()),
        manual_hold=draw(st.booleans()),
        freeze_acknowledged=draw(st.booleans()),
        switches=draw(st.integers(0, 8)),
        retry_after_s=draw(st.one_of(st.none(), st.floats(990, 1010))),
        clock_stepped=draw(st.booleans()),
        in_failback_hours=draw(st.booleans()),
        invited_epoch=draw(st.none() | st.integers(0, 9)),
        given_up=draw(names),
        failed=draw(names),
        next_try_s=draw(st.one_of(st.none(), st.floats(990, 1010))),
        handed=draw(names),
        handed_s=draw(st.one_of(st.none(), st.floats(990, 1000))),
        can_fence=draw(st.booleans()),
        start_failed_epoch=draw(st.integers(0, 6)),
        stuck=draw(st.sampled_from([(), ("cti is unknown",)])),
    )


counts, times = st.integers(0, 20), st.one_of(st.none(), st.floats(900, 1000))
memories = st.builds(
    Memory,
    last_tick_s=times,
    bad_streak=counts,
    bad_since_s=times,
    nobody_streak=counts,
    stuck_streak=counts,
    taken=names,
    vip_self_streak=counts,
    combined_streak=counts,
    combined_since_s=times,
    own_ok_streak=counts,
    own_ok_since_s=times,
    owner_word_s=times,
    peer_heard_s=times,
    vouched_s=times,
    peer_enabled=st.booleans(),
    frozen=st.booleans(),
)


@limits(max_examples=400, deadline=None)
@given(view=views(), memory=memories, enabled=st.booleans(), failback=st.booleans(), vip_test=st.booleans())
def test_any_view_gives_a_decision_that_keeps_the_promises(
    view: ClusterView, memory: Memory, enabled: bool, failback: bool, vip_test: bool
) -> None:
    chosen = (vip_on if vip_test else settings)(enabled=enabled, failback=failback)
    decision = decide(view, chosen, memory)
    assert (view.role, decision.diagnosis) in CAN_OCCUR
    assert decision.sentence
    if decision.refused:
        assert decision.actions == ()
    if Action.DEMOTE in decision.actions:
        assert view.role is A
    if PROMOTIONS & set(decision.actions):
        assert view.role is not A
        assert not view.drained
        assert decision.rule == "M1" or (enabled and view.pause is None and view.lan.up is Tri.YES)
        assert Action.PROMOTE_CONFIRMED in decision.actions or not (view.peer and view.peer.good)
        if decision.rule == "H1":
            said = view.peer_state
            assert said is not None and view.self_healthy and not view.given_up and not view.manual_hold
            assert set(said.given_up) - set(memory.taken), "once per fault"
            assert not set(view.failed) & set(said.failed) and not decision.memory.frozen
    if view.role is A and view.superseded_by_epoch > view.epoch:
        assert decision.actions == (Action.DEMOTE, Action.INVITE_PEER)


def test_lan_down_alone_does_not_make_an_active_node_give_up_at_once() -> None:
    t = Ticks(S1, A)
    assert acted(t.tick(lan=LAN_DOWN)) == ""
