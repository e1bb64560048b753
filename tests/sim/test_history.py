"""The history's figures against the truth of the simulated site: what it measures from records is what happened."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

from ftplugin.core.terms import Designation
from ftplugin.history.clocks import Offset
from ftplugin.history.export import evidence_text
from ftplugin.history.records import HISTORY_EVENTS, Part, part_of
from ftplugin.history.story import Incident, incidents_of

from .ports import SimJournal, SimLog
from .script import _options, _Run, load

SAMPLE_S = 0.02
S1, S2 = Designation.SERVER1, Designation.SERVER2


@dataclass
class Told:
    """What the agents kept, and how many nodes answered ACTIVE at each sample."""

    run: Any
    events: dict[Designation, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[tuple[Designation, str], float] = field(default_factory=dict)
    samples: list[tuple[float, int]] = field(default_factory=list)

    def part(self, designation: Designation) -> Part:
        node = self.run.world.nodes[designation]
        wall_s = node.wall_s() - self.run.world.now
        rows = [
            {
                "switch_id": switch_id,
                **{name: row[name] for name in ("kind", "rule", "epoch", "actor")},
                "outcome": row["outcome"] or "",
                "started_wall_s": wall_s + row["at"],
                "ended_wall_s": wall_s + self.ended.get((designation, switch_id), row["at"]),
                "steps": [],
            }
            for switch_id, row in node.disk.switches.items()
        ]
        active = any(n.designation is designation for n in self.run._active())
        document = {"server": str(designation), "now_s": node.wall_s(), "active_now": active, "switches": rows}
        return part_of(document | {"events": self.events[designation], "cut_s": None})

    def incidents(self, own: Designation, error_s: float = 0.01) -> list[Incident]:
        here, there = self.part(own), self.part(own.other)
        now = Offset(ahead_s=there.now_s - here.now_s, error_s=error_s, at_s=here.now_s)
        return incidents_of(here, there, now)

    def truth(self, low_s: float, high_s: float) -> tuple[float, float]:
        inside = [count for at_s, count in self.samples if low_s <= at_s < high_s]
        return SAMPLE_S * inside.count(0), SAMPLE_S * inside.count(2)


@pytest.fixture
def tell(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def play(text: str, seed: int, ahead: float = 0.0) -> Told:
        path = tmp_path / "story.txt"
        path.write_text(f"# story\n{text}")
        scenario = load(path)
        told = Told(_Run(scenario, _options(scenario), seed))
        told.run.world.nodes[S2].wall_offset += ahead
        done = SimJournal.end

        def keep(log: Any, name: str, **facts: Any) -> None:
            log.world.kernel.check()
            if name in HISTORY_EVENTS:
                rows = told.events[log.node.designation]
                rows.append({"id": len(rows) + 1, "at_wall_s": log.node.wall_s(), "name": name, "facts": facts})

        def end(journal: Any, switch_id: str, *rest: Any) -> bool:
            told.ended[journal.node.designation, switch_id] = journal.world.now
            return done(journal, switch_id, *rest)

        monkeypatch.setattr(SimLog, "event", keep)
        monkeypatch.setattr(SimJournal, "end", end)
        told.run._every(SAMPLE_S, lambda: told.samples.append((told.run.world.now, len(told.run._active()))))
        told.run.go()
        return told

    return play


CRASH = (
    "settings T=1 t=1 N=3\nat 0 boot both\nby 10 active server1\nat 20 crash server1\nat 60 boot server1\nuntil 80\n"
)
KILLED = (
    "settings T=1 t=1 N=3\nat 0 boot both\nby 10 active server1\nat 40 kill server1 {late} for 36\n"
    "at 40 kill server1 {early} for 35\nuntil 110\n"
)
ISOLATED = "settings T=1 t=1 N=3\nat 0 boot both\nby 10 active server1\nat 20 lan_cut server1 for 30\nuntil 80\n"
SWITCH = "settings T=1 t=1 N=3\nat 0 boot both\nby 10 active server1\nat 20 switchover server2 at server1\nuntil 60\n"
SPLIT = "settings T=1 t=1 N=3\nat 0 boot both\nby 10 active server1\nat 20 link_cut server1 for 15\nuntil 80\n"


@pytest.mark.parametrize("ahead", [0.0, 40.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("story", [CRASH, ISOLATED, SWITCH, SPLIT], ids=["crash", "isolated", "switchover", "split"])
def test_seconds_with_none_and_with_two_active_are_what_they_were(
    tell: Any, story: str, seed: int, ahead: float
) -> None:
    told = tell(story, seed, ahead)
    none_s, two_s = told.truth(15, 79)
    for own in (S1, S2):
        later = [i for i in told.incidents(own) if i.lead and i.started_s > 1e9 + 15]
        known = [i for i in later if i.none_active.seconds is not None]
        assert known, [(i.kind, i.none_active.why) for i in later]
        measured_none = max(i.none_active.seconds or 0 for i in known)
        error_none = max(i.none_active.error_s for i in known) + 4 * SAMPLE_S
        assert measured_none == pytest.approx(none_s, abs=error_none), [(i.kind, i.none_active) for i in later]
        two = max(known, key=lambda i: i.two_active.seconds or 0).two_active
        if story == CRASH:  # down for 40 s without a record: no figure, and a reason
            assert two.seconds is None and "was down before it could record" in two.why
        else:
            assert two.seconds == pytest.approx(two_s, abs=two.error_s + 4 * SAMPLE_S)
            assert error_none < 1.0 and two.error_s < 1.0


@pytest.mark.parametrize("ahead", [0.0, 40.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("first", ["tick", "switch"])
def test_a_node_killed_as_a_whole_ended_after_it_was_last_heard_and_not_with_its_last_record(
    tell: Any, seed: int, ahead: float, first: str
) -> None:
    """Its host goes on and its Redis is lost: all that it finds again is how it once became active, 30 s before."""
    late = "switch" if first == "tick" else "tick"
    told = tell(KILLED.format(early=f"redis+guard+portal+service+{first}", late=late), seed, ahead)
    none_s, _ = told.truth(35, 109)
    assert none_s > 2, "nobody was active for some seconds"
    here = told.part(S2)
    while_down = incidents_of(here, None, None, ("it is down",))
    for own, incidents in ((S1, told.incidents(S1)), (S2, told.incidents(S2)), (S2, while_down)):
        one = next(i for i in incidents if i.kind == "failover")
        most_s = one.none_active.most_s
        assert one.none_active.seconds is not None, one.none_active.why
        assert one.none_active.least_s - SAMPLE_S <= none_s <= most_s + SAMPLE_S, (str(own), one.none_active)
        assert most_s - none_s < 1.0 + 1.0 + 0.5, f"within T, a heartbeat's own time and the clocks: {one.none_active}"


def test_the_evidence_of_a_failover_counts_its_bad_heartbeats(tell: Any) -> None:
    told = tell(CRASH, 1)
    failover = next(i for i in told.incidents(S2) if i.kind == "failover")
    assert "3 bad heartbeats: " in evidence_text(failover.evidence[0]), evidence_text(failover.evidence[0])
    assert "LAN: up" in evidence_text(failover.evidence[0])
