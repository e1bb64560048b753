"""When something is told, how often, by whom; and how long a target is tried."""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

import pytest

from ftplugin.alerts.causes import KINDS, Cause, Fact, Phase, Severity
from ftplugin.alerts.facts import Look, lasting_for, of_daily, of_documents, of_licence, of_switch
from ftplugin.alerts.incidents import OPEN_MAX, SETTLE_S, Here, Incidents, make_test
from ftplugin.alerts.message import Message
from ftplugin.alerts.outbox import BATCH_MAX, GAP_S_MAX, GAP_S_MIN, TRIES_MAX, WAITING_MAX, Outbox, gap_s
from ftplugin.alerts.targets import targets_of

LOST = Fact(cause=Cause.PEER_LOST, title="server2 does not answer", text="5 bad probes in a row: timeout", rule="F1")
SKEW = Fact(cause=Cause.CLOCK_SKEW, title="The clocks differ", text="40 s")
FAILED = Fact(cause=Cause.SWITCH_FAILED, title="Failover aborted", text="the lock was refused", item="promote F1")
HERE = Here(server="server1", address="10.0.0.11:8080")
REPEAT_S = 600.0
BOTH = frozenset({Cause.PEER_LOST, Cause.CLOCK_SKEW})
NONE: frozenset[Cause] = frozenset()


def incidents(repeat_s: float = REPEAT_S) -> Incidents:
    made = Incidents(repeat_s, lambda: 1_800_000_000.0)
    made.here = HERE
    return made


def phases(messages: list[Message]) -> list[str]:
    return [str(message.phase) for message in messages]


def test_what_lasts_is_told_once_and_again_after_the_time_of_repetition_and_when_it_is_over() -> None:
    told = incidents()
    first = told.look([LOST], BOTH, 100.0, speaks=True)
    assert phases(first) == ["raised"] and first[0].severity is Severity.CRITICAL
    assert first[0].headline == "[Hot Standby server1] server2 does not answer"
    assert told.look([LOST], BOTH, 100.0 + REPEAT_S - 1, speaks=True) == []
    again = told.look([LOST], BOTH, 100.0 + REPEAT_S, speaks=True)
    assert phases(again) == ["repeated"] and "It has lasted 600 s." in again[0].text
    assert told.look([], BOTH, 800.0, speaks=True) == []
    over = told.look([], BOTH, 800.0 + SETTLE_S, speaks=True)
    assert phases(over) == ["resolved"] and over[0].severity is Severity.INFO
    assert "It has lasted 700 s." in over[0].text and "5 bad probes" in over[0].text
    assert len({first[0].incident_id, again[0].incident_id, over[0].incident_id}) == 1
    assert len({first[0].message_id, again[0].message_id, over[0].message_id}) == 3
    assert told.look([], BOTH, 2000.0, speaks=True) == [] and not told.open


def test_what_flaps_is_one_incident() -> None:
    told, found = incidents(), []
    for step in range(40):
        found += told.look([] if step % 3 else [LOST], BOTH, 100.0 + step * SETTLE_S / 3, speaks=True)
    assert phases(found) == ["raised"]


def test_what_cannot_be_told_any_more_is_not_over() -> None:
    told = incidents(0.0)
    assert phases(told.look([SKEW], BOTH, 100.0, speaks=True)) == ["raised"]
    for later_s in (200.0, 300.0, 400.0):
        assert told.look([], frozenset({Cause.PEER_LOST}), later_s, speaks=True) == []
    assert "clock_skew:" in told.open


def test_repetition_can_be_switched_off() -> None:
    told = incidents(0.0)
    told.look([LOST], BOTH, 100.0, speaks=True)
    assert told.look([LOST], BOTH, 1e6, speaks=True) == []


def test_what_both_servers_see_is_told_by_the_one_that_speaks_alone() -> None:
    one, other = incidents(), incidents()
    assert phases(one.look([SKEW], BOTH, 100.0, speaks=True)) == ["raised"]
    assert other.look([SKEW], BOTH, 100.0, speaks=False) == []
    assert phases(other.look([LOST], BOTH, 101.0, speaks=False)) == ["raised"], "this one it sees alone"
    both_over = [one.look([], BOTH, at_s, speaks=False) for at_s in (200.0, 240.0)]
    assert phases(both_over[1]) == ["resolved"], "it told the begin, so it tells the end, whoever speaks by then"
    silent = [other.look([], frozenset({Cause.CLOCK_SKEW}), at_s, speaks=True) for at_s in (200.0, 240.0)]
    assert silent == [[], []]


def test_the_other_server_takes_over_telling_when_it_is_time_to_repeat() -> None:
    other = incidents()
    assert other.look([SKEW], BOTH, 100.0, speaks=False) == []
    assert other.look([SKEW], BOTH, 130.0, speaks=True) == [], "it was told by the one that has gone since"
    assert phases(other.look([SKEW], BOTH, 100.0 + REPEAT_S, speaks=True)) == ["raised"]
    other.look([], BOTH, 900.0, speaks=True)
    assert phases(other.look([], BOTH, 900.0 + SETTLE_S, speaks=True)) == ["resolved"]


def test_a_switch_that_fails_again_and_again_is_told_once_with_the_number_of_the_others_later() -> None:
    told = incidents()
    assert phases(told.happened(FAILED, 100.0)) == ["once"]
    assert [told.happened(FAILED, 100.0 + n) for n in range(1, 6)] == [[]] * 5
    later = told.happened(FAILED, 100.0 + REPEAT_S)
    assert later[0].count == 6 and "(6 of these since the last message)" in later[0].text
    told.forget(Cause.SWITCH_FAILED)
    assert phases(told.happened(FAILED, 101.0 + REPEAT_S)) == ["once"], "a switch was done meanwhile: this one is news"


def test_without_repetition_a_failure_is_news_again_after_an_hour_and_after_a_reboot() -> None:
    told = incidents(0.0)
    assert phases(told.happened(FAILED, 100.0)) == ["once"] and told.happened(FAILED, 3699.0) == []
    rows = json.loads(json.dumps(told.to_json()))
    assert phases(told.happened(FAILED, 3700.0)) == ["once"]
    rebooted = incidents(0.0)
    rebooted.resume(rows, 5.0, same_boot=False)
    assert phases(rebooted.happened(FAILED, 6.0)) == ["once"]


def test_every_switch_is_news() -> None:
    told = incidents()
    switch = Fact(cause=Cause.SWITCH, title="Failover: server1 is active", text="")
    assert [phases(told.happened(switch, 100.0 + n)) for n in range(3)] == [["once"]] * 3


def test_a_restarted_worker_goes_on_where_it_was() -> None:
    before = incidents()
    first = before.look([LOST], BOTH, 100.0, speaks=True)
    rows = json.loads(json.dumps(before.to_json()))
    after = incidents()
    broken: list[Any] = [{"key": "of another version"}, {**rows[0], "key": "x", "said_s": "soon"}, 5]
    after.resume([*broken, *rows], 105.0, same_boot=True)
    assert list(after.open) == [LOST.key]
    assert after.look([LOST], BOTH, 106.0, speaks=True) == []
    after.look([], BOTH, 110.0, speaks=True)
    over = after.look([], BOTH, 150.0, speaks=True)
    assert phases(over) == ["resolved"] and over[0].incident_id == first[0].incident_id
    rebooted = incidents()
    rebooted.resume(rows, 5.0, same_boot=False)
    rebooted.look([], BOTH, 10.0, speaks=True)
    assert "at least 5 s" in rebooted.look([], BOTH, 10.0 + SETTLE_S, speaks=True)[0].text


def test_incidents_are_bounded_and_what_lasts_comes_before_what_happened() -> None:
    told = incidents()
    for n in range(OPEN_MAX):
        told.happened(Fact(cause=Cause.SWITCH_FAILED, title="x", text="", item=str(n)), 1.0)
    assert phases(told.look([LOST], BOTH, 2.0, speaks=True)) == ["raised"] and len(told.open) == OPEN_MAX
    many = [Fact(cause=Cause.GIVEN_UP, title="x", text="", item=str(n)) for n in range(2 * OPEN_MAX)]
    told.look(many, NONE, 3.0, speaks=True)
    assert len(told.open) == OPEN_MAX and LOST.key in told.open


def test_a_services_own_words_forge_no_header_and_no_line() -> None:
    told = incidents()
    fact = Fact(cause=Cause.GIVEN_UP, title="Service a\r\nBcc: x@y was given up", text="b\n\nServer: forged", item="a")
    message = told.look([fact], NONE, 1.0, speaks=True)[0]
    assert message.title == "Service a  Bcc: x@y was given up" and "\n" not in message.text


# --- the outbox -------------------------------------------------------------------------------------------------------

TARGETS = targets_of(["json://127.0.0.1/one", "json://127.0.0.1/two"], [])


def message(n: int = 0) -> Message:
    return incidents().happened(Fact(cause=Cause.SWITCH, title=f"switch {n}", text="why"), 1.0)[0]


def test_a_dead_target_is_tried_with_growing_gaps_for_about_a_day_and_holds_up_no_other() -> None:
    outbox, one = Outbox(TARGETS), message()
    outbox.add(one, 0.0, 0.0)
    dead, well = TARGETS
    assert [target for target, _ in outbox.due(0.0, 9)] == [dead, well]
    assert outbox.tried(well.key, one.message_id, "", 1.0, 1.0) == "delivered"
    now_s, gaps, word = 0.0, [], ""
    while not word:
        word = outbox.tried(dead.key, one.message_id, "refused", now_s, now_s)
        next_s = outbox.next_s()
        if next_s is not None:
            assert outbox.due(next_s - 0.1, 9) == [], "not before it is due"
            assert [target for target, _ in outbox.due(next_s, 9)] == [dead]
            gaps.append(next_s - now_s)
            now_s = next_s
    assert word == "given up" and len(gaps) == TRIES_MAX - 1 and not outbox.waiting
    assert gaps == sorted(gaps) and gaps[0] == GAP_S_MIN and gaps[-1] == GAP_S_MAX and 80_000 < sum(gaps) < 90_000
    assert [(row.word, row.tries) for row in outbox.history] == [("given up", TRIES_MAX), ("delivered", 1)]


def test_one_process_at_a_time_goes_to_a_target_with_a_bounded_number_of_messages() -> None:
    outbox = Outbox(TARGETS[:1])
    for n in range(BATCH_MAX + 3):
        outbox.add(message(n), 0.0, 0.0)
    first = outbox.due(0.0, 9)
    assert [m.title for m in first[0][1]] == [f"switch {n}" for n in range(BATCH_MAX)]
    assert outbox.due(1.0, 9) == [], "it still sends"
    for sent in first[0][1]:
        outbox.tried(TARGETS[0].key, sent.message_id, "", 2.0, 2.0)
    assert len(outbox.due(2.0, 9)[0][1]) == 3


def test_no_more_targets_are_begun_than_there_is_room_for() -> None:
    outbox = Outbox(TARGETS)
    outbox.add(message(), 0.0, 0.0)
    assert outbox.due(0.0, 0) == []
    assert [target for target, _ in outbox.due(0.0, 1)] == [TARGETS[0]]
    assert [target for target, _ in outbox.due(0.0, 1)] == [TARGETS[1]]


def test_the_queue_is_bounded_and_the_oldest_gives_way_to_the_newest() -> None:
    outbox = Outbox(TARGETS[:1])
    for n in range(WAITING_MAX + 5):
        outbox.add(message(n), 0.0, 0.0)
    assert len(outbox.waiting) == WAITING_MAX and outbox.dropped == 5
    assert outbox.waiting[-1].message.title == f"switch {WAITING_MAX + 4}"
    assert {row.word for row in outbox.history} == {"given up"} and "too many wait" in outbox.history[0].detail


def test_a_repetition_is_left_out_while_an_earlier_message_of_its_incident_waits() -> None:
    told, outbox = incidents(), Outbox(TARGETS[:1])
    for at_s in (1.0, 1.0 + REPEAT_S):
        for one in told.look([LOST], BOTH, at_s, speaks=True):
            outbox.add(one, at_s, at_s)
    assert [item.message.phase for item in outbox.waiting] == [Phase.RAISED]


@pytest.mark.parametrize("being_sent", [False, True])
def test_a_begin_that_was_not_taken_does_not_come_after_the_end(being_sent: bool) -> None:
    told, outbox = incidents(), Outbox(TARGETS[:1])
    begin = told.look([LOST], BOTH, 1.0, speaks=True)[0]
    outbox.add(begin, 1.0, 1.0)
    if being_sent:
        outbox.due(1.0, 9)
    told.look([], BOTH, 2.0, speaks=True)
    end = told.look([], BOTH, 2.0 + SETTLE_S, speaks=True)[0]
    outbox.add(end, 40.0, 40.0)
    if being_sent:
        assert outbox.tried(TARGETS[0].key, begin.message_id, "refused", 41.0, 41.0) == "given up"
    assert [item.message for item in outbox.waiting] == [end]
    assert "the message of its end tells it" in outbox.history[0].detail


def test_a_target_that_has_not_taken_a_message_rests_however_many_wait() -> None:
    outbox = Outbox(TARGETS[:1])
    for n in range(3 * BATCH_MAX):
        outbox.add(message(n), 0.0, 0.0)
    for one in outbox.due(0.0, 9)[0][1]:
        outbox.tried(TARGETS[0].key, one.message_id, "refused", 1.0, 1.0)
    assert outbox.due(0.9 + GAP_S_MIN, 9) == [] and outbox.due(1.0 + GAP_S_MIN, 9)


def test_a_result_stays_with_its_target_when_others_are_configured() -> None:
    outbox, one = Outbox(TARGETS), message()
    outbox.add(one, 0.0, 0.0)
    for target, word in zip(TARGETS, ("", "refused")):
        outbox.tried(target.key, one.message_id, word, 1.0, 1.0)
    again = Outbox(targets_of([TARGETS[1].url, TARGETS[0].url], []))
    again.resume(json.loads(json.dumps(outbox.to_json())), 2.0, same_boot=True)
    assert [(row["target"][0], row["word"]) for row in again.shown(2.0)["history"]] == [("2", "delivered")]
    assert TARGETS[0].key not in json.dumps(again.shown(2.0))


def test_a_test_is_tried_once() -> None:
    outbox, one = Outbox(TARGETS[:1]), make_test(HERE, "admin", 0.0)
    outbox.add(one, 0.0, 0.0)
    outbox.due(0.0, 9)
    assert outbox.tried(TARGETS[0].key, one.message_id, "no answer", 1.0, 1.0) == "given up"


def test_what_waits_outlives_a_restart_and_a_reboot_but_not_its_target() -> None:
    outbox, one = Outbox(TARGETS), message()
    outbox.add(one, 100.0, 0.0)
    outbox.due(100.0, 9)
    outbox.tried(TARGETS[0].key, one.message_id, "refused", 100.0, 0.0)
    kept = json.loads(json.dumps(outbox.to_json()))
    again = Outbox(TARGETS)
    again.resume(kept, 101.0, same_boot=True)
    assert [t.label for t, _ in again.due(101.0, 9)] == [TARGETS[1].label], "it was being sent: it is sent again"
    assert again.due(100.0 + GAP_S_MIN, 9)[0][0] == TARGETS[0] and again.waiting[0].message == one
    rebooted = Outbox(TARGETS[:1])
    rebooted.resume({**kept, "waiting": [{"message": "of another version"}, *kept["waiting"]]}, 5.0, same_boot=False)
    assert list(rebooted.waiting[0].left) == [TARGETS[0].key] and rebooted.next_s() == 5.0 + gap_s(1)


# --- facts ------------------------------------------------------------------------------------------------------------


def switch(**changes: Any) -> dict[str, Any]:
    plain = {
        "kind": "promote",
        "rule": "F1",
        "outcome": "done",
        "epoch": 4,
        "reason": "active peer is dead",
        "actor": "",
    }
    return plain | {"detail": "active and ready"} | changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, (Cause.SWITCH, "Failover: server2 is active")),
        ({"rule": "M1", "actor": "anna"}, (Cause.SWITCH, "Switchover: server2 is active")),
        ({"rule": "C3"}, (Cause.SWITCH, "Failover: server2 is active")),
        ({"rule": "C2"}, None),
        ({"kind": "demote", "rule": "fence"}, None),
        ({"kind": "demote", "rule": "I1"}, (Cause.SWITCH, "server2 is no longer active")),
        ({"kind": "reassert", "rule": "X1"}, None),
        ({"outcome": "running"}, None),
        ({"outcome": "aborted"}, (Cause.SWITCH_FAILED, "Failover aborted on server2")),
        ({"outcome": "undone", "rule": "M1"}, (Cause.SWITCH_FAILED, "Switchover undone on server2")),
        ({"kind": "demote", "rule": "fence", "outcome": "failed"}, (Cause.SWITCH_FAILED, "Demotion failed on server2")),
        ({"rule": "C2", "outcome": "failed"}, (Cause.SWITCH_FAILED, "Start failed on server2")),
    ],
)
def test_of_two_servers_records_of_one_switch_one_is_told(changes: dict[str, Any], told: Any) -> None:
    fact = of_switch(switch(**changes), "server2")
    assert (None if fact is None else (fact.cause, fact.title)) == told


def test_a_switch_that_was_broken_off_before_it_changed_anything_is_less_bad_than_one_that_failed() -> None:
    aborted, failed = (of_switch(switch(outcome=word), "server2") for word in ("aborted", "failed"))
    assert aborted is not None and failed is not None
    told = [incidents().happened(fact, 1.0)[0].severity for fact in (aborted, failed)]
    assert told == [Severity.WARNING, Severity.CRITICAL]


def test_a_switch_that_somebody_asked_for_is_no_warning_and_names_who() -> None:
    fact = of_switch(switch(rule="M1", actor="anna"), "server1")
    assert fact is not None and fact.severity is Severity.INFO and "Asked for by anna." in fact.text
    message = incidents().happened(fact, 1.0)[0]
    assert (message.severity, message.rule, message.epoch) == (Severity.INFO, "M1", 4)


def test_documents_that_are_missing_say_nothing_and_empty_ones_say_that_it_is_over() -> None:
    assert of_documents({"services": None, "conflicts": None}, "boot") == Look()
    calm = of_documents({"services": {"cti": {}}, "conflicts": {"open": 0}}, "boot")
    assert calm.known == {Cause.TWO_OWNERS, Cause.CONFLICT} and not calm.holds
    dual = {"boot_id": "boot", "also_owned": [["port 7101", "server2"]] * 5}
    found = of_documents({"services": {"cti": {"dual": dual}}, "conflicts": {"open": 3}}, "boot").holds
    assert [fact.title for fact in found] == [
        "Service cti has two owners",
        "The configuration was edited on both servers",
    ]
    assert "and 2 more" in found[0].text and "3 wait" in found[1].text
    assert not of_documents({"services": {"cti": {"dual": dual}}}, "after a reboot").holds


def test_the_licence_is_told_while_the_portal_complains_of_it() -> None:
    today = datetime.date(2026, 11, 23)
    for day, holds in (("2026-11-23", True), ("2026-11-22", True), ("2026-11-20", False), ("2026-11-24", False)):
        found = of_licence(f"{day} The licence of this server expires on 2026-12-01.", today, "server1")
        assert bool(found.holds) is holds and found.known == {Cause.LICENCE}
    assert not of_licence(None, today, "").holds and not of_licence("no day", today, "").holds


def test_a_failed_daily_restart_is_told_once() -> None:
    document = {"result": {"part": "portal", "ok": False, "detail": "code 1", "at_wall_s": 5.0}}
    fact, told_s = of_daily(document, 0.0)
    assert fact is not None and fact.title == "The daily restart of the portal failed" and fact.text == "code 1"
    assert of_daily(document, told_s) == (None, 5.0)
    assert of_daily({"result": {"part": "portal", "ok": True, "at_wall_s": 9.0}}, 5.0) == (None, 9.0)
    assert of_daily(None, 5.0) == (None, 5.0)


def test_a_fact_counts_when_it_has_held_for_its_time() -> None:
    since: dict[str, float] = {}
    look, calm = Look(holds=(SKEW,), known=BOTH), Look(known=BOTH)
    assert not lasting_for(look, since, 0.0, 60.0).holds and not lasting_for(look, since, 59.0, 60.0).holds
    assert lasting_for(look, since, 60.0, 60.0).holds == (SKEW,)
    assert not lasting_for(calm, since, 61.0, 60.0).holds
    assert not lasting_for(look, since, 62.0, 60.0).holds, "it counts from anew"


def test_every_cause_has_its_own_number() -> None:
    assert {kind.number for kind in KINDS.values()} == set(range(1, len(Cause) + 1)) and set(KINDS) == set(Cause)


def test_the_documentation_names_every_cause() -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    assert [cause for cause in Cause if f"| `{cause}` |" not in text] == [Cause.TEST]
