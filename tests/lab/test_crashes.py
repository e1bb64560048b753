"""kill -9 of the switch worker before and after each durable write of a switch, on each node (I-G).

The points come from ``ftplugin.core.sequence`` and from the journal, whose closing write ends each switch. CI takes a
seeded sample, ``make lab-full`` all of them. Afterwards one node is active and owns the service, nothing is open in a
journal, and at no time were there two owners.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from dataclasses import dataclass
from typing import Iterator, Sequence

import pytest

from ftplugin.core.sequence import ServiceLimits, demotion, promotion
from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing
from tests.integration.cluster.harness import SLACK_S, eventually

from .checks import MACHINE_S, settles
from .crash_worker import END, Point
from .site import Site

SAMPLE, SEED = 4, os.environ.get("LAB_SEED", "3")
SERVICES = (ServiceLimits(name="cti", start_limit_s=1.0, stop_limit_s=1.0),)  # the site's one service; limits unused
RESTART_S = 3.0  # a killed worker's next life begins within that time
SWITCH, FAILOVER = "switchover", "failover"


@dataclass(frozen=True, kw_only=True)
class Crash:
    """``way``: what begins the switch. ``node``: whose switch worker dies."""

    way: str
    node: int
    point: Point

    @property
    def name(self) -> str:
        moment = "after" if self.point.after else "before"
        return f"{self.way}: {self.point.kind} on node{self.node}, {moment} {self.point.label}"


def crashes() -> list[Crash]:
    """Every point there is, on both nodes."""
    timing = Timing.of(Settings())
    sequences = (
        (FAILOVER, "promote", promotion(timing, SERVICES, suspect=True)),
        (SWITCH, "promote", promotion(timing, SERVICES, suspect=False)),
        (SWITCH, "demote", demotion(timing, SERVICES)),
    )
    found = []
    for (way, kind, steps), node in itertools.product(sequences, (1, 2)):
        labels = [*(step.label for step in steps if step.durable), END]
        for label, after in itertools.product(labels, (False, True)):
            found.append(Crash(way=way, node=node, point=Point(kind=kind, label=label, after=after)))
    return found


def sample(seed: str = SEED) -> Sequence[Crash]:
    """Four of them, not two alike in what begins the switch, the kind and the node."""
    dice, found = random.Random(seed), crashes()
    dice.shuffle(found)
    kinds = {(c.way, c.point.kind, c.node): c for c in found}
    return sorted(dice.sample(list(kinds.values()), SAMPLE), key=lambda c: (c.node, c.name))


@contextlib.contextmanager
def mortal_workers(site: Site) -> Iterator[None]:
    """Both switch workers can be ordered to die at a point."""
    with contextlib.ExitStack() as undo:
        for node in site.nodes:
            replace_worker(site, node, "-m workers switch", "-m tests.lab.crash_worker switch")
            undo.callback(replace_worker, site, node, "-m tests.lab.crash_worker switch", "-m workers switch")
        site.pair.wait_healthy(1)
        yield


def replace_worker(site: Site, node: int, old: str, new: str) -> None:
    """Start the node's switch worker by another command from now on."""
    supervision = site.cluster.node(node)
    text = supervision.config.read_text()
    assert text.count(old) == 1, f"{old!r} is not once in {supervision.config}"
    supervision.config.write_text(text.replace(old, new))
    if not supervision.running:
        return
    supervision.control("stopProcess", "switch")
    supervision.control("reloadConfig")
    supervision.control("removeProcessGroup", "switch")
    supervision.control("addProcessGroup", "switch")
    eventually(lambda: site.pair.pid(node, "switch"), RESTART_S + SLACK_S, f"switch worker of node{node} runs")


def crash(site: Site, case: Crash) -> float:
    """Begin the switch and let the worker die in it; the longest time with no active node, seconds."""
    target = case.node if case.point.kind == "promote" else 3 - case.node
    make_active(site, 3 - target)
    directory = site.cluster.config.instance_directory(case.node)
    case.point.write(directory)
    try:
        began_s = site.note(f"CRASH {case.name}")
        if case.way == FAILOVER:
            site.power_off(3 - target)
        else:
            site.pair.order_switch(target)
        eventually(lambda: case.point.hit(directory), site.pair.failover_bound_s() + SLACK_S, site.pair.story)
        site.note("the worker has died")
    finally:
        case.point.remove(directory)
    check(site, case, target, began_s)
    return site.timeline.none_active_s(began_s).longest_s


def make_active(site: Site, node: int) -> None:
    """The other way round, if it must be: that node is active, both are healthy."""
    if node == 1:
        return
    site.pair.order_switch(node)
    site.pair.wait_active(node, site.pair.failover_bound_s() + SLACK_S)
    site.pair.wait_healthy_whatever_held(node)


def check(site: Site, case: Crash, target: int, began_s: float) -> None:
    limit_s = 2 * site.pair.failover_bound_s(agent_only=True) + RESTART_S + MACHINE_S  # the try that died, and the next
    active = eventually(
        lambda: next((n for n in site.nodes if site.pair.active_on(n)), None), limit_s + SLACK_S, site.pair.story
    )
    none = site.timeline.none_active_s(began_s)
    assert (
        none.longest_s <= limit_s
    ), f"{case.name}: nobody was active for {none.longest_s:.2f} s, limit {limit_s:.2f} s"
    if case.way == FAILOVER:
        assert active == target, "the other node is off"
        site.start_node(3 - target)
    eventually(lambda: not still_open(site), RESTART_S + SLACK_S, lambda: f"open in a journal: {still_open(site)}")
    site.pair.release_hold()
    settles(site)
    assert not still_open(site)


def still_open(site: Site) -> list[str]:
    """Switches without an end, in either journal."""
    return [
        f"node{node}: {s.kind} epoch {s.epoch}, {[step.step for step in s.steps]}"
        for node in site.nodes
        for s in site.pair.portals[node].journal.unfinished()
    ]


@pytest.fixture
def mortal(site: Site) -> Iterator[Site]:
    with mortal_workers(site):
        yield site


def test_every_durable_write_is_a_point_on_both_nodes() -> None:
    names = [case.name for case in crashes()]
    assert len(names) == len(set(names)) and len(names) > 80
    for part in ("lock", "epoch", "fence", "own", "role", "service cti", "release", "publish", "end"):
        for node in (1, 2):
            assert any(f"on node{node}, before {part}" in name for name in names), part


def test_switch_worker_dies_at_sampled_steps_and_the_pair_recovers(mortal: Site) -> None:
    for case in sample():
        began_s = time.monotonic()
        crash(mortal, case)
        mortal.pair.bring_back()
        both, doubled = mortal.timeline.both_active_s(began_s), mortal.timeline.owners_doubled(began_s)
        assert not both.times and not doubled, f"{case.name}: {both} {doubled[:2]}"
