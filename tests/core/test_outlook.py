"""The outlook foretells what ``decide`` then does, names the acting row first, and contradicts nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ftplugin.core.decision import decide
from ftplugin.core.diagnosis import Diagnosis as D
from ftplugin.core.diagnosis import diagnose
from ftplugin.core.futures import changes_role
from ftplugin.core.outlook import LACKS, Outlook, outlook, prospect_text
from ftplugin.core.policy import CHOICES, RULES, TABLE, Action
from ftplugin.core.vetoes import VETOES
from ftplugin.core.rulebook import HOLDS, MEANS, NEVER, PASSES, holds_now, rows, rules_of, vetoes_of
from ftplugin.core.terms import ProbeCause, Tri
from ftplugin.core.timing import Timing
from ftplugin.core.view import Probe

from .cases import ADVERSE, PROMOTING, Situation, held_by, situations
from .ticks import A, LAN_DOWN, PAUSE, S, S1, S2, SELF, U, Ticks, settings, vip_on

SITUATIONS = list(situations())
GUIDE = {"timeout_s": 10.0, "interval_s": 30.0, "threshold": 5, "service_stop_s": 5.0}


def outlook_of(t: Ticks, **changes: Any) -> Outlook:
    """After one more tick of ``t``."""
    decision = t.tick(**changes)
    changes = {k: v() if callable(v) else v for k, v in changes.items()}
    return outlook(t.view(**changes), t.settings, decision, t.timing, t.timing)


def texts(found: Outlook) -> list[str]:
    return [prospect_text(p) for p in found.to_json()["prospects"]]


@pytest.mark.parametrize("adverse", [None, *ADVERSE])
@pytest.mark.parametrize("s", SITUATIONS, ids=lambda s: f"{s.role}-{s.diagnosis.name}-{s.view.designation}")
def test_the_row_of_the_decision_comes_first_and_nothing_contradicts_it(s: Situation, adverse: str | None) -> None:
    """In every situation of the table, and in each when it is held back."""
    view, chosen, memory = s.view, s.settings, s.memory
    if adverse is not None:
        from ftplugin.core.policy import S0
        from ftplugin.core.vetoes import Case

        case = ADVERSE[adverse](Case(S0, view, memory, chosen, Timing.of(chosen)))
        view, chosen, memory = case.view, case.settings, case.memory
    decision = decide(view, chosen, memory)
    timing = Timing.of(chosen)
    found = outlook(view, chosen, decision, timing, timing)
    assert (found.rows[0].rule, found.rows[0].why) == (decision.rule, decision.why)
    assert found.rows[0].situation == str(decision.diagnosis) and found.diagnosis is decision.diagnosis
    assert found.rows[0].reasons == tuple(r.sentence for r in decision.refused)
    assert all(row.reasons for row in found.rows[1:]), "every other row says why not"
    assert LACKS[decision.diagnosis](_now(view, chosen, decision)) == "", "the situation that is given lacks nothing"
    if decision.actions and set(decision.actions) & {Action.PROMOTE, Action.PROMOTE_CONFIRMED}:
        assert found.prospects == ()
    json.dumps(found.to_json(), allow_nan=False)


def _now(view: Any, chosen: Any, decision: Any) -> Any:
    from ftplugin.core.futures import Now

    return Now(view=view, decision=decision, settings=chosen, stop_by=Timing.of(chosen), wait_by=Timing.of(chosen))


@pytest.mark.parametrize("me", [S1, S2])
@pytest.mark.parametrize("heard", [1, 2, 4])
@pytest.mark.parametrize("suspect_s", [0.0, 0.4])
def test_what_is_foretold_of_bad_heartbeats_then_happens(me: Any, heard: int, suspect_s: float) -> None:
    """The next n heartbeats are made bad: F1 acts at the n-th, and not before."""
    t = Ticks(me, S, settings(suspect_interval_s=suspect_s))
    for _ in range(heard):
        found = outlook_of(t, peer=lambda: t.good(A))
    said = found.prospects[-1]
    assert said.rule == "F1" and said.in_s is not None, said
    count = int("".join(c for c in said.supposed if c.isdigit()))
    promised_s, began_s = t.now_s + said.in_s, t.now_s
    grid_s, decision = t.now_s - 0.1, t.last
    for tick in range(1, count + 1):
        again_s = decision.again_in_s if decision is not None else None
        early = again_s is not None and t.now_s + again_s < grid_s + 1.0
        begin_s = t.now_s + (again_s or 0.0) if early else max(grid_s + 1.0, t.now_s)
        grid_s = grid_s if early else begin_s
        t.now_s = began_s = begin_s + t.settings.timeout_s
        view = t.view(peer=t.silent(took_s=t.settings.timeout_s), early=early)
        decision = t.last = decide(view, t.settings, t.memory, t.timing)
        t.memory = decision.memory
        assert changes_role(decision) is (tick == count), (tick, decision.sentence)
    assert promised_s == pytest.approx(max(began_s + t.settings.timeout_s, decision.certain_s), abs=0.01)


def test_a_server_that_refuses_connections_is_waited_for_until_it_has_certainly_stopped() -> None:
    """Its probes fail at once, so F1 acts a little before the hold and the gap are over; the role comes with their end."""
    t = Ticks(S2, S)
    for _ in range(2):
        found = outlook_of(t, peer=lambda: t.probe(ProbeCause.CONNECT, took_s=0.01))
    since_s = t.memory.bad_since_s
    assert since_s is not None and found.prospects[0].in_s is not None
    certain_s = since_s + t.timing.hold_s + t.timing.lan_gap_s
    assert t.now_s + found.prospects[0].in_s == pytest.approx(certain_s, abs=0.01)


def test_the_count_goes_down_with_each_bad_heartbeat() -> None:
    t = Ticks(S2, S, settings(**GUIDE))
    outlook_of(t, peer=lambda: t.good(A))
    seen = [outlook_of(t, peer=lambda: t.silent(10.0)) for _ in range(3)]
    assert [p.supposed for found in seen for p in found.prospects] == [
        "the next 4 heartbeats are bad too",
        "the next 3 heartbeats are bad too",
        "the next 2 heartbeats are bad too",
    ]
    assert [f"{s.have} of {s.needed} {s.noun}" for found in seen for s in found.streaks if s.rule == "F1"] == [
        "1 of 5 bad probes",
        "2 of 5 bad probes",
        "3 of 5 bad probes",
    ]
    ends = [p.in_s for found in seen for p in found.prospects]
    assert ends[0] - ends[1] == pytest.approx(30.0) and ends[1] - ends[2] == pytest.approx(30.0), ends


def test_a_pause_is_named_as_what_keeps_it_from_switching() -> None:
    t = Ticks(S2, S)
    found = outlook_of(t, peer=lambda: t.good(A), pause=PAUSE)
    assert texts(found) == ["If the next heartbeats are bad: nothing (paused by anna: new switch in the rack)."]


def test_failback_says_when_it_is_due_and_then_is() -> None:
    chosen = settings(failback=True, failback_stable_s=60.0)
    t = Ticks(S1, S, chosen)
    for _ in range(20):
        found = outlook_of(t, peer=lambda: t.good(A))
    said = found.prospects[0]
    assert (said.supposed, said.rule) == ("everything stays as it is", "B1") and said.in_s is not None
    assert said.held == ("stable for 19 of 60 s",)
    due_s = t.now_s + said.in_s
    while not t.tick(peer=lambda: t.good(A)).actions:
        assert t.now_s < due_s
    assert t.now_s == pytest.approx(due_s, abs=chosen.interval_s)


def test_failback_that_waits_for_an_acknowledgement_gives_no_time() -> None:
    t = Ticks(S1, S, settings(failback=True))
    t.ticks(5, peer=lambda: t.good(A))
    found = outlook_of(t, peer=lambda: t.good(A), switches=9)
    assert found.prospects[0].in_s is None
    assert "acknowledge it to go on" in texts(found)[0]


@pytest.mark.parametrize("change", ["lan", "portal"])
def test_an_active_server_says_when_it_would_stop(change: str) -> None:
    """And stops then: not later than the lease that I-D grants."""
    t = Ticks(S1, A, settings(**GUIDE))
    t.tick()
    found = outlook_of(t)
    said = found.prospects[0 if change == "lan" else 1]
    assert said.then == "this server becomes standby" and said.in_s is not None
    assert said.in_s <= t.timing.lease_s
    seen_s = t.now_s
    while True:
        lan = replace(LAN_DOWN, seen_s=seen_s)
        bad: dict[str, Any] = (
            {"lan": lan, "peer": t.silent} if change == "lan" else {"portal_seen_s": seen_s, "own": t.silent}
        )
        deadline_s = seen_s + t.timing.lease_s
        if t.tick(**bad, lease_deadline_s=deadline_s).actions:
            break
    assert min(t.now_s, deadline_s) == pytest.approx(seen_s + said.in_s, abs=0.1)
    assert t.last is not None and t.last.rule == ("I1" if change == "lan" else "P1")


def test_a_switch_that_was_turned_off_on_both_keeps_the_active_one() -> None:
    t = Ticks(S1, A, settings(enabled=False))
    found = outlook_of(t, peer=lambda: t.good(S, enabled=False))
    assert texts(found)[0] == "If the LAN is lost from now on, and the other server with it: nothing (nothing to do)."


def test_refused_rows_name_what_they_lack() -> None:
    t = Ticks(S1, S, vip_on(failback=False))
    reasons = {(r.rule, r.situation): r.reasons for r in outlook_of(t, peer=lambda: t.good(A)).rows}
    assert reasons["B1", str(D.FAILBACK_DUE)][0] == "failback is off"
    assert reasons["F2", str(D.VIP_HERE)][0] == "the VIP does not lead here (it leads to: unknown)"
    assert reasons["F1", str(D.PEER_SILENT)][0] == "the other server answers well"
    assert "0 of 3 bad probes" in reasons["F1", str(D.PEER_SILENT)]
    assert reasons["M1", str(D.ORDERED)] == ("no switchover was asked for",)
    found = outlook_of(Ticks(S2, S, vip_on()), vip=t.vip(SELF), peer=t.good(A))
    assert found.rows[0].rule == "F2"


def test_an_active_server_says_how_far_each_demotion_is() -> None:
    t = Ticks(S1, A, settings(**GUIDE))
    reasons = {r.situation: r.reasons[0] for r in outlook_of(t).rows[1:]}
    assert reasons[str(D.ISOLATED)] == "the LAN was last seen 0.0 s ago; 113.0 s are left"
    assert reasons[str(D.LEASE_LOST)] == "the lease is valid for 1.0 s more"
    assert reasons[str(D.SUPERSEDED)] == "no higher epoch was seen"


def test_a_long_threshold_and_a_long_wait_are_foretold_in_time() -> None:
    """No tick by tick walk through a week: an outlook is made after each tick."""
    t = Ticks(S1, S, settings(failback=True, failback_stable_s=86_400.0, interval_s=0.2, timeout_s=0.2, threshold=40))
    t.ticks(3, peer=lambda: t.good(A))
    found = outlook_of(t, peer=lambda: t.good(A))
    assert found.prospects[0].in_s == pytest.approx(86_400.0, abs=2.0)


# --- the rule table in words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", PROMOTING, ids=lambda r: f"{r.id} {r.why}")
def test_the_vetoes_of_a_rule_are_those_that_hold_it_back(rule: Any) -> None:
    """Found by asking the vetoes, here against situations that were made by hand."""
    seen = {name for adverse in ADVERSE for name in held_by(rule, adverse).split(", ") if name}
    assert set(vetoes_of(rule, S1)) >= seen
    assert set(vetoes_of(rule, S1)) - seen <= {"own portal dead"}, "two are only together in a situation with both sick"


def test_words_are_there_for_every_veto_and_every_situation() -> None:
    assert set(PASSES) == set(VETOES) and HOLDS <= set(VETOES)
    assert set(MEANS) == set(LACKS) == set(D)


def test_every_choice_of_a_row_is_listed() -> None:
    assert {row for row in TABLE.values() if callable(row)} == set(CHOICES)
    listed = {rule for row in TABLE.values() for rule in rules_of(row)}
    assert listed <= set(RULES)
    for s in SITUATIONS:
        decision = decide(s.view, s.settings, s.memory)
        given = [(r.id, r.why) for r in rules_of(TABLE[s.role, s.diagnosis])]
        assert (decision.rule, decision.why) in given
        assert (s.role, s.diagnosis) not in NEVER


@pytest.mark.parametrize("s", SITUATIONS, ids=lambda s: f"{s.role}-{s.diagnosis.name}-{s.view.designation}")
def test_exactly_one_row_of_the_page_holds_now(s: Situation) -> None:
    decision = decide(s.view, s.settings, s.memory)
    table = [row.to_json() for row in rows(s.settings, s.view.designation)]
    held = [r for r in table if holds_now(r, str(s.role), decision.diagnosis.name, decision.rule, decision.why)]
    assert len(held) == 1, held
    assert held[0]["actions"] == [
        str(a) for a in next(r for r in RULES if (r.id, r.why) == (decision.rule, decision.why)).actions
    ]


def test_figures_of_the_pair_are_in_the_conditions() -> None:
    table = rows(settings(**GUIDE), S2)
    silent = next(r for r in table if r.role is S and r.situations == (D.PEER_SILENT.name,))
    assert "5 bad probes in a row" in silent.conditions
    assert any("no sooner than 120.0 s after the end of the first bad probe" in c for c in silent.conditions)
    nobody = next(r for r in table if r.role is S and r.situations == (D.NOBODY_ACTIVE.name,))
    assert "10 ticks with nobody active in a row" in nobody.conditions
    assert next(r for r in table if r.id == "I1").means.startswith("for 113.0 s no reference host")
    assert not next(r for r in table if r.id == "I1").vetoes, "a demotion is never held back"


def test_the_situation_of_a_guard_that_speaks_lacks_nothing() -> None:
    """LACKS explains the guards; it must not say that something is missing where the guard itself finds it."""
    t = Ticks(S2, S)
    for lan in (LAN_DOWN, replace(LAN_DOWN, carrier=Tri.NO)):
        view = t.view(lan=lan, peer=t.good(S, clear=False))
        decision = decide(view, t.settings, t.memory, t.timing)
        assert diagnose(view, decision.memory, t.settings, t.timing) is D.LAN_DOWN
        assert LACKS[D.LAN_DOWN](_now(view, t.settings, decision)) == ""
    stale = Probe(started_s=999.0, ended_s=999.5, cause=ProbeCause.AGENT_STALE, state=t.good(U).state)
    decision = decide(t.view(peer=stale), t.settings, t.memory, t.timing)
    assert decision.diagnosis is D.PEER_SILENT
    assert LACKS[D.PEER_SILENT](_now(t.view(peer=stale), t.settings, decision)) == ""
