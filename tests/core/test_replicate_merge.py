"""Two nodes, edits on both, splits, crashes, old messages: they come to hold the same, and no edit goes without a trace.

The machine's nodes look, pull and crash as the real ones do, and decide by the functions that those use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from ftplugin.replicate.merge import (
    FIRST_ACTIVE,
    FIRST_STANDBY,
    Entry,
    Verdict,
    edited,
    edited_text,
    entry_of,
    is_forgotten,
    plainly_newer,
    judge,
    scanned,
    stamp_of,
)

KEYS = ("a", "b")
NODES = ("server1", "server2")


@dataclass
class Node:
    """``content``: what a user sees; "" or absent: nothing. The rest is its ledger."""

    name: str
    content: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    intended: dict[str, Entry] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    clock_s: float = 0.0
    forgot: int = 0  # when; what was told before is not heard any more: a node forgets between two rounds

    @property
    def live(self) -> dict[str, Entry]:
        return {key: entry for key, entry in self.entries.items() if entry.digest}

    def look(self, first: int = 1) -> None:
        for key in KEYS:
            digest = self.content.get(key, "")
            found = scanned(self.entries.get(key), self.intended.get(key), digest, self.name, self.clock_s, first)
            if found is not None:
                self.entries[key] = found
        self.intended = {}

    def pull(self, theirs: dict[str, Entry], crash: str = "") -> None:
        """``crash``: "" or the step after which the process ends. The digest stands for the content."""
        for key in KEYS:
            own, their = self.entries.get(key), theirs.get(key)
            verdict, then = judge(own, their)
            if verdict not in (Verdict.TAKE, Verdict.TAKE_CONFLICT):
                if own is not None and then is not None:
                    self.entries[key] = then
                continue
            assert then is not None
            self.intended = {key: then}
            if crash == "intended":
                return
            here = self.content.get(key, "")
            if here not in (own.digest if own is not None else "", then.digest):
                continue  # edited since the last look
            if verdict is Verdict.TAKE_CONFLICT and here:
                self.kept.add(here)
            self.content[key] = then.digest
            if crash == "content":
                return
            self.entries[key] = then
        self.intended = {}


class Machine(RuleBasedStateMachine):
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.nodes = {name: Node(name) for name in NODES}
        self.made: set[str] = set()
        self.replaced: set[str] = set()  # by a user who saw it
        self.count = 0

    @rule(
        name=st.sampled_from(NODES),
        key=st.sampled_from(KEYS),
        delete=st.sampled_from([False, False, True]),
        look=st.booleans(),
    )
    def edit(self, name: str, key: str, delete: bool, look: bool) -> None:
        node = self.nodes[name]
        self.count += 1
        text = "" if delete else f"{key}{self.count} by {name}"
        self.replaced.add(node.content.get(key, ""))
        node.content[key] = text
        self.made.add(text)
        if look:
            node.look()

    @rule(key=st.sampled_from(KEYS), first=st.sampled_from(NODES), hears=st.sampled_from(NODES), gap_s=st.floats(-9, 9))
    def edit_apart(self, key: str, first: str, hears: str, gap_s: float) -> None:
        """The case that all this is about: both edit, then one of them hears the other."""
        second = NODES[1 - NODES.index(first)]
        self.nodes[second].clock_s += gap_s
        self.edit(first, key, False, True)
        self.edit(second, key, False, True)
        self.exchange(hears)

    @rule(key=st.sampled_from(KEYS))
    def type_the_same_on_both(self, key: str) -> None:
        self.count += 1
        for node in self.nodes.values():
            self.replaced.add(node.content.get(key, ""))
            node.content[key] = f"{key}{self.count} by both"
        self.made.add(f"{key}{self.count} by both")

    @rule(name=st.sampled_from(NODES), seconds=st.floats(-100, 100))
    def clock(self, name: str, seconds: float) -> None:
        self.nodes[name].clock_s += seconds

    @rule(name=st.sampled_from(NODES))
    def look(self, name: str) -> None:
        self.nodes[name].look()

    @rule(target=messages, name=st.sampled_from(NODES))
    def tell(self, name: str) -> tuple[str, dict[str, Entry], int]:
        """What the other node may hear now, later, or twice."""
        return name, dict(self.nodes[name].entries), self.count

    @rule(name=st.sampled_from(NODES))
    def forget(self, name: str) -> None:
        """What is deleted, when both hold the same; each at its own time."""
        one, two = self.nodes.values()
        if {key: entry[:3] for key, entry in one.live.items()} == {key: entry[:3] for key, entry in two.live.items()}:
            self.count += 1
            self.nodes[name].entries = self.nodes[name].live
            self.nodes[name].forgot = self.count

    @rule(message=messages, crash=st.sampled_from(["", "", "intended", "content"]))
    def hear(self, message: tuple[str, dict[str, Entry], int], crash: str) -> None:
        """Entries may be old, but content is asked for now and has to fit: what changed since then does not come."""
        sender, entries, at = message
        there = self.nodes[sender].content
        fresh = {key: entry for key, entry in entries.items() if not entry.digest or there.get(key, "") == entry.digest}
        node = self.nodes[NODES[1 - NODES.index(sender)]]
        if at < node.forgot:
            return
        node.pull(fresh, crash)
        if crash:
            node.look()  # as at its next start

    @rule(name=st.sampled_from(NODES))
    def exchange(self, name: str) -> None:
        other = self.nodes[NODES[1 - NODES.index(name)]]
        self.hear((other.name, dict(other.entries), self.count), "")

    @invariant()
    def no_edit_without_a_trace(self) -> None:
        there = {text for node in self.nodes.values() for text in (*node.content.values(), *node.kept)}
        assert self.made - there - self.replaced - {""} == set()

    def teardown(self) -> None:
        one, two = self.nodes.values()
        for _ in range(4):
            one.look()
            two.look()
            two.pull(dict(one.entries))
            one.pull(dict(two.entries))
        assert {k: v for k, v in one.content.items() if v} == {k: v for k, v in two.content.items() if v}
        counters = [{key: entry[:3] for key, entry in node.live.items()} for node in (one, two)]
        assert counters[0] == counters[1], "or their digests would differ for ever"


Machine.TestCase.settings = settings(
    max_examples=200, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestConvergence = Machine.TestCase


def entry(digest: str, one: int, two: int, at_wall_s: float = 0.0, origin: str = "server1") -> Entry:
    return Entry(digest, one, two, at_wall_s, origin)


@pytest.mark.parametrize(
    ("own", "theirs", "verdict"),
    [
        (None, entry("x", 1, 0), Verdict.TAKE),
        (None, entry("", 5, 0), Verdict.SAME),  # deleted there, never known or forgotten here
        (entry("x", 1, 0), None, Verdict.KEEP),
        (entry("x", 1, 0), entry("y", 2, 0), Verdict.TAKE),
        (entry("x", 2, 1), entry("y", 2, 0), Verdict.KEEP),
        (entry("x", 2, 0), entry("x", 0, 5), Verdict.SAME),
        (entry("x", 2, 0), entry("y", 1, 2), Verdict.TAKE_CONFLICT),  # more edits
        (entry("x", 1, 0, 5.0), entry("y", 0, 1, 4.0, "server2"), Verdict.KEEP_CONFLICT),  # the later one
        (entry("x", 1, 0, 5.0), entry("y", 0, 1, 6.0, "server2"), Verdict.TAKE_CONFLICT),
        (entry("", 1, 0, 5.0), entry("y", 0, 1, 6.0, "server2"), Verdict.TAKE_CONFLICT),
        (entry("x", 3, 3), entry("y", 3, 3), Verdict.TAKE_CONFLICT),  # a backup that counts again: the digest decides
    ],
)
def test_who_wins(own: Entry | None, theirs: Entry | None, verdict: Verdict) -> None:
    assert judge(own, theirs)[0] is verdict
    if own is not None and theirs is not None and "conflict" in verdict:
        other = {Verdict.TAKE_CONFLICT: Verdict.KEEP_CONFLICT, Verdict.KEEP_CONFLICT: Verdict.TAKE_CONFLICT}[verdict]
        assert judge(theirs, own)[0] is other, "the other node decides alike"


@pytest.mark.parametrize(
    ("known", "intended", "digest", "expected"),
    [
        (entry("x", 1, 0), None, "x", entry("x", 1, 0)),
        (entry("x", 1, 0), None, "y", entry("y", 2, 0, 7.0)),
        (entry("x", 1, 1), None, "", entry("", 2, 1, 7.0)),
        (None, None, "y", entry("y", 1, 0, 7.0)),
        (None, None, "", None),
        (entry("x", 1, 0), entry("z", 1, 1), "z", entry("z", 1, 1)),  # taken before the crash
        (entry("x", 1, 0), entry("z", 1, 1), "x", entry("x", 1, 0)),  # not taken
        (entry("x", 1, 0), entry("z", 1, 1), "y", entry("y", 2, 0, 7.0)),  # edited besides
        (entry("x", 1, 0), entry("", 1, 1), "", entry("", 1, 1)),
    ],
)
def test_what_a_look_makes_of_what_it_finds(
    known: Entry | None, intended: Entry | None, digest: str, expected: Entry | None
) -> None:
    assert scanned(known, intended, digest, "server1", 7.0) == expected


ENTRIES = st.builds(
    Entry,
    digest=st.sampled_from(["", "0a", "0b"]),
    one=st.integers(0, 3),
    two=st.integers(0, 3),
    at_wall_s=st.sampled_from([0.0, 1.5, 1767225600.123]),
    origin=st.sampled_from(NODES),
)


@given(ENTRIES, ENTRIES)
def test_what_is_told_from_texts_alone_is_what_the_entries_say(own: Entry, theirs: Entry) -> None:
    assert entry_of(own.text) == own
    taken = judge(own, theirs)[0] is Verdict.TAKE and theirs.digest
    for me, counted in (("server1", own.one == theirs.one), ("server2", own.two == theirs.two)):
        found = plainly_newer(own.text, theirs.text, me)
        assert found == (theirs.digest if taken and counted else None)
        assert found is None or not is_forgotten(own, theirs, me, 1e12)
    for me in NODES:
        assert entry_of(edited_text(own.text, "0c", me, stamp_of(1.25))) == edited(own, "0c", me, 1.25)


def test_at_the_first_meeting_the_active_node_wins() -> None:
    active = edited(None, "x", "server2", 1.0, FIRST_ACTIVE)
    standby = edited(None, "y", "server1", 9.0, FIRST_STANDBY)
    assert judge(standby, active)[0] is Verdict.TAKE_CONFLICT
    assert judge(active, standby)[0] is Verdict.KEEP_CONFLICT
