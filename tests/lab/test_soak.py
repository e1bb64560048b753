"""The soak itself: a short one holds, and its judge would have seen it if not."""

from __future__ import annotations

import pathlib
import random
from typing import Any, Sequence

import pytest

from demo.oracle import Overlap
from ftplugin.core.settings import Settings

from .lan import missing
from .soak import INTERVAL_S, THRESHOLD, TIMEOUT_S, soak
from .soak_faults import LINK, Fault, next_round
from .soak_judge import OPEN, Bounds, Done, Span, judge, nobody_can, without

SECONDS, SEED = 25.0, 1445  # it begins with server1 frozen for 7 s; then two faults at a time
BOUNDS = Bounds.of(
    Settings(interval_s=INTERVAL_S, timeout_s=TIMEOUT_S, threshold=THRESHOLD, service_stop_s=0.3, release_delay_s=1.0)
)


@pytest.mark.timeout(150)
def test_short_soak_holds_and_nothing_is_left_open(tmp_path: pathlib.Path) -> None:
    if why := missing():
        pytest.skip(why)
    told: list[str] = []
    summary = soak(SECONDS, SEED, witness=False, quiet=False, directory=tmp_path / "soak", say=told.append)
    assert summary.violations == [], f"{told}; see {summary.timeline}"
    assert summary.faults.total() >= 2 and summary.rounds == len(told)
    assert len(summary.failovers_s) >= 1 and summary.automatic >= 1, "the other server took over from the frozen one"
    assert len(summary.returns_s) == summary.rounds, "the pair came back from every round"
    assert summary.lasted_s >= SECONDS
    assert not (tmp_path / "soak").exists(), "nothing is kept of a good run"


class Seen:
    """What the judge reads of a timeline."""

    started_s = 0.0

    def __init__(self, *, both: Sequence[Span] = (), none: Sequence[Span] = (), owners: Sequence[Span] = ()) -> None:
        self._both, self._none, self._owners = list(both), list(none), owners

    def both_active(self, since_s: float) -> list[Span]:
        return self._both

    def none_active(self, since_s: float) -> list[Span]:
        return self._none

    def owners_doubled(self, since_s: float) -> list[Overlap]:
        names = ("server1", "server2")
        return [Overlap(port=7101, owners=names, from_s=a, to_s=None if b == OPEN else b) for a, b in self._owners]


def fault(*away: str, resumes: bool = False) -> Fault:
    return Fault(kind="test", touches=frozenset(), away=frozenset(away), resumes=resumes, begin=lambda site: None)


def done(from_s: float, to_s: float, *away: str, resumes: bool = False) -> Done:
    return Done(fault=fault(*away, resumes=resumes), begun_s=from_s, ended_s=to_s)


def violations(seen: Seen, *faults: Done, witness: bool = False) -> tuple[str, ...]:
    timeline: Any = seen
    return judge(timeline, 0.0, faults, BOUNDS, witness=witness).violations


@pytest.mark.parametrize(
    ("seen", "faults", "witness", "found"),
    [
        ({"both": [(5.0, 6.0)]}, [], False, "both said ACTIVE"),
        ({"both": [(5.0, 5.0)]}, [], False, "both said ACTIVE"),
        ({"both": [(5.0, 6.0)]}, [done(4.0, 5.5, LINK)], False, ""),
        ({"both": [(5.0, 6.0)]}, [done(4.0, 5.5, LINK)], True, "both said ACTIVE"),
        ({"both": [(3.9, 6.0)]}, [done(4.0, 5.5, LINK)], False, "from 3.900 to 4.000"),
        ({"both": [(5.0, 6.0 + BOUNDS.decide_s)]}, [done(4.0, 5.5, LINK)], False, "both said ACTIVE"),
        ({"both": [(5.0, 6.0)]}, [done(4.0, 5.5, "node1")], False, "both said ACTIVE"),
        ({"owners": [(5.0, OPEN)]}, [done(4.0, 5.5, LINK)], False, "owners server1 and server2"),
        ({"owners": [(5.0, 6.0)]}, [done(4.0, 5.5, LINK)], False, ""),
        ({"owners": [(5.5, 5.7)]}, [done(1.0, 5.5, "node1", resumes=True)], False, ""),
        ({"owners": [(5.5, 7.0)]}, [done(1.0, 5.5, "node1", resumes=True)], False, "owners server1 and server2"),
        ({"none": [(1.0, 6.0)]}, [done(1.0, 30.0, "node1")], False, ""),
        ({"none": [(1.0, 25.0)]}, [done(1.0, 30.0, "node1")], False, "none was active"),
        ({"none": [(1.0, 25.0)]}, [done(1.0, 30.0, "node1"), done(1.0, 30.0, "node2")], False, ""),
        ({"none": [(1.0, 25.0)]}, [done(1.0, 30.0, "node1"), done(1.0, 30.0, "witness")], True, ""),
        ({"none": [(1.0, 25.0)]}, [done(1.0, 30.0, "node1"), done(1.0, 30.0, "witness")], False, "none was active"),
    ],
)
def test_judge_tells_what_is_allowed_from_what_is_not(
    seen: dict[str, Any], faults: list[Done], witness: bool, found: str
) -> None:
    text = "; ".join(violations(Seen(**seen), *faults, witness=witness))
    assert (found in text) if found else text == ""


def test_seconds_with_two_active_are_counted_apart() -> None:
    timeline: Any = Seen(both=[(3.0, 6.0)])
    verdict = judge(timeline, 0.0, [done(4.0, 5.5, LINK)], BOUNDS, witness=False)
    assert (verdict.both_allowed_s, verdict.both_s) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("away", "witness", "nobody"),
    [
        ({"node1"}, False, False),
        ({"node1", "node2"}, False, True),
        ({"node1", "gateway"}, False, True),
        ({LINK, "gateway"}, False, True),
        ({"gateway"}, False, False),
        ({"node1", LINK}, False, False),
        ({"node2", "witness"}, True, True),
        ({"witness"}, True, False),
    ],
)
def test_one_thing_away_is_no_excuse(away: set[str], witness: bool, nobody: bool) -> None:
    assert nobody_can(away, witness=witness) is nobody


def test_span_in_a_hole_is_gone_and_a_point_outside_is_not() -> None:
    assert list(without((1.0, 5.0), [(2.0, 3.0), (4.0, 9.0)])) == [(1.0, 2.0), (3.0, 4.0)]
    assert list(without((2.5, 2.5), [(2.0, 3.0)])) == []
    assert list(without((3.5, 3.5), [(2.0, 3.0)])) == [(3.5, 3.5)]


def test_plan_follows_from_its_seed_and_two_at_a_time_do_not_touch_the_same() -> None:
    def plan(seed: int) -> list[list[tuple[str, float, float]]]:
        rng = random.Random(seed)
        rounds = [next_round(rng, witness=True) for _ in range(300)]
        for one in rounds:
            touched = [part for placed in one.faults for part in placed.fault.touches]
            assert len(touched) == len(set(touched)), one
        return [[(p.fault.kind, p.from_s, p.to_s) for p in one.faults] for one in rounds]

    assert plan(1) == plan(1) != plan(2)
    kinds = {kind for one in plan(1) for kind, _, _ in one}
    assert {"kill tick", "freeze node", "reboot", "wipe Redis", "switchover", "witness cut"} <= kinds
