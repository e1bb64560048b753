"""History from both nodes' records: what belongs together, in which order, and how long none or two were active."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest

from ftplugin.history import export
from ftplugin.history.clocks import Offset
from ftplugin.history.records import MOMENT_S_MAX, Part, part_of
from ftplugin.history.story import Incident, incidents_of

T = 1_790_000_000.0  # the moment everything here is counted from
NOW = Offset(ahead_s=0.0, error_s=0.01, at_s=T)


def switch(at: float, **changes: Any) -> dict[str, Any]:
    row = {
        "switch_id": f"id-{at:g}",
        "kind": "promote",
        "rule": "F1",
        "reason": "active peer is dead",
        "epoch": 5,
        "actor": "",
        "started_wall_s": T + at,
        "ended_wall_s": T + at + 2,
        "outcome": "done",
        "role_after": "active",
        "detail": "active and ready",
        "steps": [{"step": "fence", "outcome": "ok", "duration_s": 0.5, "detail": ""}],
    }
    return row | changes


def event(number: int, at: float, name: str, **facts: Any) -> dict[str, Any]:
    return {"id": number, "at_wall_s": T + at, "name": name, "facts": {"wall_s": T + at, **facts}}


def begun(number: int, at: float) -> dict[str, Any]:
    return event(number, at, "active_begun", epoch=4, since_wall_s=T + at)


def ended(number: int, earliest: float, latest: float | None = None) -> dict[str, Any]:
    latest = earliest if latest is None else latest
    return event(number, latest, "active_ended", earliest_wall_s=T + earliest, latest_wall_s=T + latest)


def found(number: int, at: float, active: bool = False) -> dict[str, Any]:
    return event(number, at, "role_found", active=active, role="active" if active else "standby")


def part(server: str, switches: list[Any] = [], events: list[Any] = [], active: bool = False, by: float = 0.0) -> Part:
    """by: how far this node's clock is ahead, already in what it wrote."""
    moved = [
        row | {k: row[k] + by for k in ("started_wall_s", "ended_wall_s") if row[k] is not None} for row in switches
    ]
    kept = []
    for row in events:
        facts = {k: v + by if by and k.endswith("wall_s") else v for k, v in row["facts"].items()}
        kept.append(row | {"at_wall_s": row["at_wall_s"] + by, "facts": facts})
    document = {"server": server, "now_s": T + 500 + by, "active_now": active, "switches": moved, "events": kept}
    return part_of(document)


def only(incidents: list[Incident]) -> Incident:
    assert len(incidents) == 1, [(i.kind, i.started_s - T) for i in incidents]
    return incidents[0]


SERVER1_DIED = part("server1", [], [found(1, -900), begun(2, -800), ended(3, 5, 9), found(4, 300)])
SERVER2_TOOK = part("server2", [switch(40)], [found(1, -900), begun(2, 41)], active=True)


def test_a_failover_is_measured_from_the_end_of_one_to_the_begin_of_the_other() -> None:
    one = only(incidents_of(SERVER2_TOOK, SERVER1_DIED, NOW))
    assert (one.kind, one.automatic, one.outcome, one.failed) == ("failover", True, "done", False)
    assert one.none_active.seconds == pytest.approx(34.0)
    assert 2.0 < one.none_active.error_s < 2.3  # its end lies between two moments 4 s apart, and the clocks add theirs
    assert one.two_active.seconds == 0 and one.two_active.error_s == 0


@pytest.mark.parametrize("by", [0.0, 30.0, -3600.0])
def test_the_offset_of_the_clocks_is_taken_out(by: float) -> None:
    peer = part("server1", [], [found(1, -900), begun(2, -800), ended(3, 7), found(4, 300)], by=by)
    one = only(incidents_of(SERVER2_TOOK, peer, Offset(ahead_s=by, error_s=0.2, at_s=T)))
    assert one.none_active.seconds == pytest.approx(34.0)
    assert 0.2 <= one.none_active.error_s < 0.5


def test_overlap_is_two_active_and_not_none_active() -> None:
    peer = part("server1", [], [found(1, -900), begun(2, -800), ended(3, 44), found(4, 300)])
    one = only(incidents_of(SERVER2_TOOK, peer, NOW))
    assert one.none_active.seconds == 0
    assert one.two_active.seconds == pytest.approx(3.0)
    assert 0 < one.two_active.error_s < 0.5


def test_an_overlap_smaller_than_the_error_is_told_as_possible() -> None:
    peer = part("server1", [], [found(1, -900), begun(2, -800), ended(3, 40.9), found(4, 300)])
    for own, other in ((SERVER2_TOOK, peer), (peer, SERVER2_TOOK)):  # the end, or the begin, comes from the other clock
        one = only(incidents_of(own, other, Offset(ahead_s=0, error_s=0.5, at_s=T)))
        assert one.two_active.seconds == 0 and one.two_active.error_s == pytest.approx(0.5, abs=0.05)
        assert one.none_active.seconds == pytest.approx(0.1)


MISSING = "a record of when a server began or ended being active is missing"


@pytest.mark.parametrize(
    ("peer", "now", "why"),
    [
        (None, NOW, "the other server's records could not be read"),
        (SERVER1_DIED, None, "the offset of the two clocks is not known for this time"),
        (
            SERVER1_DIED,
            Offset(ahead_s=0, error_s=9.0, at_s=T),
            "the offset of the two clocks is not known for this time",
        ),
        (part("server1", [], [found(1, -900), begun(2, -800), found(4, 300)]), NOW, MISSING),
        (part("server1", [], [found(1, -900), begun(2, -800)]), NOW, MISSING),
        (part("server1"), NOW, MISSING),
        (part("server1", [], [found(1, -900), begun(2, -800), ended(3, 5), event(4, 20, "clock_step")]), NOW, "step"),
    ],
    ids=["no peer", "no offset", "bad offset", "no end", "end not written", "no events", "clock step"],
)
def test_without_a_record_nothing_is_made_up(peer: Part | None, now: Offset | None, why: str) -> None:
    one = next(i for i in incidents_of(SERVER2_TOOK, peer, now) if i.lead)
    assert one.none_active.seconds is None and one.two_active.seconds is None
    assert why in one.none_active.why
    assert export.document(one)["none_active"]["seconds"] is None


def test_a_dead_host_s_end_is_bounded_by_who_last_heard_it_and_its_boot() -> None:
    up = {"at_s": 12.0, "boot_id": "second"}
    rows = [found(1, -900), begun(2, -800), event(4, 300, "role_found", active=False, **up)]
    heard = event(3, 39, "evidence", switch_id="id-40", bad_streak=5, heard_active_age_s=36.0)
    took = part("server2", [switch(40)], [found(1, -900), begun(2, 41), heard], active=True)
    one = only(incidents_of(took, part("server1", [], rows), NOW))
    assert one.none_active.least_s == 0 and one.none_active.most_s == pytest.approx(38, abs=0.3)  # at most from 3 to 41
    assert one.two_active.seconds is None and "was down before it could record" in one.two_active.why
    assert export.measured_text(one.none_active) == "at most 38.1 s"


def test_a_first_start_has_nobody_before_it() -> None:
    own = part("server1", [switch(10, rule="C2")], [found(1, 0), begun(2, 11)], active=True)
    one = only(incidents_of(own, part("server2", [], [found(1, 0)]), NOW))
    assert one.kind == "start"
    assert one.none_active.why.startswith("no server was active before") and one.two_active.seconds == 0


def test_while_nobody_is_active_the_time_goes_on() -> None:
    own = part("server1", [switch(10, kind="demote", rule="I1")], [found(1, -900), begun(2, -800), ended(3, 10.5)])
    one = only(incidents_of(own, part("server2", [], [found(1, -900)]), NOW))
    assert one.kind == "demotion" and one.none_active.going_on
    assert one.none_active.seconds == pytest.approx(489.5)
    assert "going on" in export.measured_text(one.none_active)


def test_a_fence_belongs_to_the_promotion_of_its_epoch_and_steps_of_both_are_kept() -> None:
    fence = switch(70, kind="demote", rule="fence", switch_id="fence-7", epoch=7, actor="", role_after="standby")
    promote = switch(71, rule="M1", epoch=7, actor="ann", switch_id="m", ended_wall_s=T + 75)
    one = only(incidents_of(part("server1", [fence]), part("server2", [promote]), NOW))
    assert (one.kind, one.actor, one.automatic, one.incident_id) == ("switchover", "ann", False, "m")
    assert [str(s.server) for s in one.switches] == ["server1", "server2"]
    assert one.has("m") and one.has("fence-7") and not one.has("other")
    assert one.duration_s == pytest.approx(5.0)


def test_attempts_that_follow_each_other_are_one_story_and_an_order_begins_its_own() -> None:
    rows = [
        switch(0, outcome="aborted", epoch=5),
        switch(20, outcome="aborted", epoch=7),
        switch(40, outcome="done", epoch=9),
        switch(60, rule="M1", actor="bob", epoch=11),
        switch(600, rule="F1", epoch=13),
    ]
    incidents = incidents_of(part("server2", rows[::-1]), part("server1"), NOW)
    assert [i.kind for i in incidents] == ["failover", "switchover", "failover"]
    first = incidents[-1]
    assert len(first.switches) == 3 and first.outcome == "done" and not first.failed
    assert first.incident_id == "id-40"


def test_what_failed_on_either_node_is_failed() -> None:
    fence = switch(1, kind="demote", rule="fence", epoch=5, outcome="failed", switch_id="fence-5")
    one = only(incidents_of(part("server2", [switch(0)]), part("server1", [fence]), NOW))
    assert one.failed and one.outcome == "failed"


def test_evidence_is_counted_by_cause_and_begins_the_story() -> None:
    facts = {"switch_id": "id-40", "bad_streak": 5, "first_bad_age_s": 30.0, "vip": "nobody", "lan": "up"}
    causes = {"causes": {"timeout": 3, "connection error (connection refused)": 2}}
    own = part("server2", [switch(40)], [event(1, 39, "evidence", **facts, **causes)])
    one = only(incidents_of(own, None, None))
    assert export.evidence_text(one.events[0]) == (
        "5 bad heartbeats: timeout x3, connection error (connection refused) x2; VIP: nobody; LAN: up"
    )
    assert one.started_s == pytest.approx(T + 9)


def test_an_event_without_a_switch_is_an_incident_of_its_own() -> None:
    own = part("server1", [], [event(7, 0, "freeze", switches=3)])
    one = only(incidents_of(own, None, None))
    assert (one.kind, one.outcome, one.incident_id) == ("freeze", "noted", "event-server1-7")


@pytest.mark.parametrize(
    "change",
    [
        {"server": "server3"},
        {"now_s": "soon"},
        {"now_s": float("nan")},
        {"now_s": 1e300},
        {"active_now": "yes"},
        {"switches": {}},
        {"switches": [7]},
        {"switches": [{"epoch": 1}]},
        {"switches": [switch(0, started_wall_s=MOMENT_S_MAX * 2)]},
        {"switches": [switch(0, steps=[{"step": "x", "duration_s": "long"}])]},
        {"events": [{"id": "x", "at_wall_s": 0, "name": "freeze"}]},
        {"events": [event(1, 0, "freeze") | {"facts": {"wall_s": -5.0}}]},
    ],
)
def test_a_document_of_the_wrong_form_is_refused(change: dict[str, Any]) -> None:
    good = {"server": "server1", "now_s": T, "active_now": None, "switches": [], "events": [], "cut_s": None}
    assert part_of(good).server == "server1"
    with pytest.raises(ValueError):
        part_of(good | change)


def test_facts_of_the_wrong_type_lose_a_figure_and_no_page() -> None:
    hostile = [
        event(1, 0, "active_begun", since_wall_s="x"),
        event(2, 5, "active_ended", earliest_wall_s=None, latest_wall_s=[]),
        event(3, 6, "evidence", switch_id="id-40", bad_streak="many", causes=[1], first_bad_age_s="x"),
        event(4, 7, "clock_step", skew_s="nan", skew_error_s={}, skew_wall_s=1),
    ]
    own = part("server2", [switch(40)], hostile)
    for one in incidents_of(own, own_as_peer(hostile), NOW):
        export.document(one)
        assert one.none_active.seconds is None


def own_as_peer(events: list[Any]) -> Part:
    return part("server1", [], events)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =cmd|' /C calc'!A0", "\r=1"])
def test_no_cell_of_the_csv_is_a_formula(text: str) -> None:
    own = part("server2", [switch(40, actor=text, reason=text, detail=f'{text}","\n')])
    out = io.StringIO(newline="")
    export.write_csv(incidents_of(own, None, None), out)
    header, row = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert header == list(export.COLUMNS)
    cells = dict(zip(header, row, strict=True))
    assert cells["actor"] == "'" + text and cells["reason"] == "'" + text
    assert cells["detail"].endswith('","\n')
    assert out.getvalue().startswith("id,kind,started") and "\r\n" in out.getvalue()
    assert cells["started"].endswith("Z") and cells["none_active_s"] == ""


def test_a_pair_that_has_switched_very_often_costs_its_page_no_minutes() -> None:
    count, nodes = 200, {name: ([], []) for name in ("server1", "server2")}  # type: ignore[var-annotated]
    for n in range(count):
        at = 3600.0 * n
        measured = {"skew_s": 0.0, "skew_error_s": 0.01, "skew_wall_s": T + at}
        (switches, mine), (_, theirs) = list(nodes.values())[:: 1 if n % 2 else -1]
        switches.append(switch(at, switch_id=f"s{n}", epoch=n))
        mine.append(event(4 * n, at, "evidence", switch_id=f"s{n}", heard_active_age_s=1.0, **measured))
        mine.append(begun(4 * n + 1, at + 1))
        theirs.append(ended(4 * n + 2, at, at + 0.2) if n else found(2, at))
    one, two = (part(name, *rows, active=last) for (name, rows), last in zip(nodes.items(), (False, True)))
    began_s = time.thread_time()
    assert len(incidents_of(one, two, NOW)) == count
    assert (
        time.thread_time() - began_s < 2.0
    ), "of which nearly all would be the measuring of each overlap by all others"
