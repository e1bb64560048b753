"""Settings, rows and files of two servers under splits, cut lines, crashes at every write, edits in between and old words:
both come to hold the same, and no edit goes without a trace that an administrator can find.

The rules of merging alone have their own machine (``tests/core/test_replicate_merge.py``); here all that writes is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from .twins import NODES, Crash, Fuse, Twin, fuse_in_place, home, told, twins

FEW, MANY = 8, 1_500
STEPS = 12
TURNS_MAX = 20  # a turn tells as many conflicts as fit into one message
KEYS = (1, 2, "a", "d/b")  # two rows, two files


class Machine(RuleBasedStateMachine):
    """One pair after the other in the same folders."""

    pair: tuple[Twin, Twin]
    fuse: Fuse
    documents = Bundle("documents")

    def __init__(self) -> None:
        super().__init__()
        self.nodes = dict(zip(NODES, self.pair))
        self.count = 0
        self.made: set[str] = set()
        self.replaced: set[str] = {""}  # by a user who saw it
        self.saved: set[int] = set()
        self.fuse.left = None
        for node in self.pair:
            node.empty()

    @initialize(already=st.booleans())
    def begin(self, already: bool) -> None:
        """A pair that has been together, or one of which each server had a life of its own."""
        self.save("server1")
        if already:
            for key in KEYS:
                self.edit("server1", key, False)
            self.settle()
        else:
            self.save("server2")

    # --- users -----------------------------------------------------------------------------------------------------

    def write(self, name: str, key: int | str, text: str) -> None:
        node = self.nodes[name]
        self.replaced.add(node.write_row(key, text) if isinstance(key, int) else node.write_file(key, text))
        self.made.add(text)

    def fresh(self, name: str) -> str:
        self.count += 1
        return f"edit {self.count} of {name}" + "." * self.count  # each of another length: as files it is seen at once

    @rule(name=st.sampled_from(NODES), key=st.sampled_from(KEYS), gone=st.sampled_from([False, False, True]))
    def edit(self, name: str, key: int | str, gone: bool) -> None:
        self.write(name, key, "" if gone else self.fresh(name))

    @rule(key=st.sampled_from(KEYS))
    def edit_apart(self, key: int | str) -> None:
        for name in NODES:
            self.edit(name, key, False)
            self.nodes[name].look()

    @rule(key=st.sampled_from(KEYS))
    def type_the_same(self, key: int | str) -> None:
        text = self.fresh("both")
        for name in NODES:
            self.write(name, key, text)

    @rule(name=st.sampled_from(NODES))
    def save(self, name: str) -> None:
        self.count += 1
        self.nodes[name].pass_by(1)
        self.nodes[name].save(self.count)
        self.saved.add(self.count)

    @rule()
    def save_apart(self) -> None:
        for name in NODES:
            self.save(name)

    # --- the world -------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NODES), cut=st.booleans())
    def line(self, name: str, cut: bool) -> None:
        """One way alone, too."""
        self.nodes[name].cut = cut

    @rule(name=st.sampled_from(NODES), seconds=st.sampled_from([-3600.0, -1.0, 1.0, 3600.0]))
    def clock(self, name: str, seconds: float) -> None:
        self.nodes[name].clock_s += seconds

    @rule(name=st.sampled_from(NODES), late=st.integers(0, 12))
    def crash_in_a_look_or_round(self, name: str, late: int) -> None:
        self.fuse.left = late
        self.work(name)

    @rule(name=st.sampled_from(NODES), questions=st.integers(0, 8))
    def cut_in_a_round(self, name: str, questions: int) -> None:
        self.nodes[name].cut_after = questions
        self.work(name)
        self.nodes[name].cut_after = None

    @rule(
        name=st.sampled_from(NODES), where=st.sampled_from(NODES), key=st.sampled_from(KEYS), question=st.integers(0, 7)
    )
    def edit_in_a_round(self, name: str, where: str, key: int | str, question: int) -> None:
        """Somebody types while ``name`` takes just that: on either side, between any two of its questions."""
        node = self.nodes[name]
        self.edit(node.other.name, key, False)
        node.other.look()
        node.meanwhile = (question, lambda: self.edit(where, key, False))
        self.work(name)
        node.meanwhile = None

    @rule(target=documents, name=st.sampled_from(NODES))
    def word(self, name: str) -> tuple[str, Any]:
        """Settings on their way, to arrive now, later or twice."""
        return name, self.nodes[name].store.document()

    @rule(document=documents)
    def hear(self, document: tuple[str, Any]) -> None:
        name, body = document
        if body["revision"]:
            self.nodes[name].other.take("settings", body)

    # --- the servers -----------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NODES))
    def look(self, name: str) -> None:
        self.nodes[name].look()

    @rule(name=st.sampled_from(NODES))
    def work(self, name: str) -> None:
        """A look and a round, as the thread of replication does; after a crash the process is started again."""
        node = self.nodes[name]
        try:
            node.look()
            node.pull()
        except Crash:
            node.start()
        except Exception as error:
            assert "cannot be asked" in str(error) or "not looked at" in str(error), error
        self.fuse.left = None

    @rule(name=st.sampled_from(NODES))
    def talk(self, name: str) -> None:
        """Settings and conflicts: the turn of a thread, and a heartbeat."""
        node = self.nodes[name]
        node.pass_by(60)
        node.sync.turn()
        node.heartbeat()

    # --- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def no_edit_without_a_trace(self) -> None:
        found = self.pair[0].traces() | self.pair[1].traces()
        assert self.made - self.replaced - found == set(), "text that nobody gave up is on no server"
        kept = self.pair[0].settings_traces() | self.pair[1].settings_traces()
        assert self.saved - kept == set(), "settings that were saved are in no history"

    def settle(self) -> None:
        for node in self.pair:
            node.cut = False
        for turn in range(TURNS_MAX):
            for name in NODES:
                self.work(name)
                self.talk(name)
            if turn and self.agreed():
                return

    def agreed(self) -> bool:
        """Whether nothing is left to be told: the ledgers, the settings and the lists of conflicts are the same."""
        one, two = self.pair
        waiting = [node.conflicts.untold() for node in self.pair]
        return one.roots() == two.roots() and one.mark() == two.mark() and waiting == [[], []]

    def teardown(self) -> None:
        self.settle()
        one, two = self.pair
        assert one.rows() == two.rows() and one.files() == two.files()
        assert one.roots() == two.roots(), ("they would go on comparing for ever", differing(one, two))
        documents = [{**node.store.document(), "ancestors": None} for node in self.pair]
        assert documents[0] == documents[1] and one.store.on_both and two.store.on_both
        assert told(one.conflicts.listed(limit=10_000)) == told(two.conflicts.listed(limit=10_000))
        self.no_edit_without_a_trace()


def differing(one: Twin, two: Twin) -> list[tuple[str, str, str | None, str | None]]:
    """(thing, key, entry on server1, entry on server2)"""
    found = []
    for name in one.things:
        here, there = one.ledger(name), two.ledger(name)
        found += [
            (name, key, here.get(key), there.get(key)) for key in {*here, *there} if here.get(key) != there.get(key)
        ]
    return found


@pytest.fixture
def machine() -> Iterator[type[Machine]]:
    with home() as folder, fuse_in_place() as fuse:
        pair = twins(folder)
        yield type("Pair", (Machine,), {"pair": pair, "fuse": fuse})
        for node in pair:
            node.close()


def run(machine: type[Machine], examples: int, steps: int = STEPS) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_both_sides_converge_and_no_edit_goes_without_a_trace(machine: type[Machine]) -> None:
    run(machine, FEW)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_the_same_many_times_over(machine: type[Machine]) -> None:
    run(machine, MANY, 3 * STEPS)
