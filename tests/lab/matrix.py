"""What ``make lab-full`` runs: each fault in each variant that matters for it, isolations, crashes, races, quiet times."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Iterator, Mapping

from tests.integration.cluster.harness import SLACK_S

from . import test_network, test_quiet, test_races
from .checks import nothing_switches, settles, takes_over, watch
from .site import Site
from .test_crashes import crash, crashes
from .timeline import ACTIVE

ISOLATIONS, QUIET_RUNS, QUIET_S = 20, 10, 60.0
SWITCH_RACES, OTHER_RACES, SEED = 20, 5, 1
MOVES, STAYS, EITHER = "moves", "stays", "either"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One line of the table. ``options``: of the site. ``run``: raises AssertionError when it is not as it should be."""

    section: str
    name: str
    options: Mapping[str, Any]
    run: Callable[[Site], object]
    runs: int = 1
    mortal: bool = False  # the switch workers are those of ``tests.lab.crash_worker``
    until_healed: bool = False  # both may be active until the link heals (I-C)

    @property
    def variant(self) -> str:
        o = self.options
        words = [f"T={o.get('interval_s', 0.5):g}", f"t={o.get('timeout_s', 0.5):g}", f"N={o.get('threshold', 3)}"]
        return ", ".join(words + [name.replace("_", " ") for name in TOGGLES if o.get(name)])

    @property
    def key(self) -> str:
        return f"{self.section} / {self.name} / {self.variant}"


TOGGLES = ("witness", "failback", "vip_test")


# --- one fault, and its end


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``then``: what the other node does; ``matters``: what is tried on and off, beside the witness."""

    name: str
    make: Callable[[Site], float]
    end: Callable[[Site], float]
    then: str = MOVES
    agent_only: bool = False
    matters: tuple[str, ...] = ()


def _heal(site: Site) -> float:
    return site.heal()


def _frozen(program: str, then: str, matters: tuple[str, ...] = ()) -> Fault:
    return Fault(
        name=f"{program} frozen",
        make=lambda site: site.freeze(1, program),
        end=lambda site: site.thaw(1, program),
        then=then,
        agent_only=True,
        matters=matters,
    )


def _link(link: str) -> Fault:
    cut = partial(test_network.cut_link, link=link)
    return Fault(name=f"link cut {link}", make=cut, end=_heal, then=STAYS, matters=("vip_test",))


FAULTS = (
    Fault(
        name="node killed",
        make=lambda s: s.kill_node(1),
        end=lambda s: s.start_node(1),
        matters=("failback", "vip_test"),
    ),
    Fault(name="node frozen", make=lambda s: s.freeze(1), end=lambda s: s.thaw(1), matters=("failback",)),
    Fault(name="node powered off", make=lambda s: s.power_off(1), end=lambda s: s.start_node(1), matters=("failback",)),
    Fault(name="active node cut, silent", make=lambda s: s.cut(1), end=_heal, matters=("failback", "vip_test")),
    Fault(name="active node cut, no carrier", make=lambda s: s.cut(1, carrier=True), end=_heal, matters=("failback",)),
    Fault(name="standby node cut", make=lambda s: s.cut(2), end=_heal, then=STAYS, matters=("vip_test",)),
    Fault(name="standby node cut, no carrier", make=lambda s: s.cut(2, carrier=True), end=_heal, then=STAYS),
    Fault(name="balancer cut from the active node", make=lambda s: s.cut_between("balancer", 1), end=_heal, then=STAYS),
    Fault(name="a third of the frames twice", make=lambda s: s.duplicate(1, 30), end=_heal, then=STAYS),
    Fault(name="a third of the frames 50 ms late", make=lambda s: s.reorder(1, 30, 0.05), end=_heal, then=STAYS),
    Fault(
        name="little bandwidth",
        make=lambda s: s.limit_rate(1, test_network.BYTES_PER_S),
        end=_heal,
        then=STAYS,
    ),
    *(_link(link) for link in test_network.LINKS),
    Fault(name="redis killed", make=lambda s: s.kill(1, "redis"), end=lambda s: s.note("it is restarted"), then=EITHER),
    _frozen("redis", MOVES, ("failback",)),
    Fault(name="redis wiped", make=lambda s: s.wipe_redis(1), end=lambda s: s.note("written again"), then=EITHER),
    _frozen("portal", MOVES, ("failback",)),
    _frozen("tick", MOVES, ("failback",)),
    _frozen("switch", STAYS),
    _frozen("guard", STAYS),
    Fault(name="reference host reboots", make=lambda s: s.cut("gateway"), end=_heal, then=STAYS, matters=("vip_test",)),
)


def fault(site: Site, case: Fault) -> None:
    """Make it, see what should happen, end it, see that the pair is whole again."""
    settings, epoch, then = site.pair.settings(), site.pair.status(1)["epoch"], case.then
    at_s = case.make(site)
    if then == MOVES:
        takes_over(site, 2, at_s, agent_only=case.agent_only)
    else:
        watch(site)
    if then == STAYS:
        nothing_switches(site, at_s, epoch)
    ended_s = case.end(site)
    returns = (
        settings.failback and not settings.vip_test
    )  # with both, a VIP that follows the role never lets it (spec 4)
    if then == MOVES and returns:
        site.pair.wait_active(1, 3 * site.pair.failover_bound_s() + 2 * SLACK_S)
    active = settles(site)
    if then == STAYS or returns:
        assert active == 1, f"server{active} is active in the end"
    elif then == MOVES:
        assert active == 2 and ACTIVE not in site.timeline.words(1, ended_s), "it has come back by itself"


def isolation(site: Site) -> None:
    """The active node, whichever it is, is cut from the LAN: it has stopped before the other starts."""
    active = next(n for n in site.nodes if site.pair.active_on(n))
    at_s = site.cut(active)
    takes_over(site, 3 - active, at_s)
    stopped_s, started_s = site.timeline.last(active, ACTIVE), site.timeline.first(3 - active, ACTIVE, at_s)
    assert stopped_s is not None and started_s is not None and stopped_s < started_s, "it had not stopped"
    site.note(f"stopped after {stopped_s - at_s:.3f} s, the other started after {started_s - at_s:.3f} s")
    site.heal()
    site.pair.wait_healthy(3 - active)


def link_cut_and_death(site: Site, link: str) -> None:
    """With a witness: the cut switches nothing, and two voters carry a failover in spite of it."""
    test_network.link_cut_with_witness(site, link)
    test_network.active_dies(site)


# --- the list


def jobs() -> list[Job]:
    return [*_faults(), *_splits(), *_isolations(), *_races(), *_crashes(), *_quiet()]


@dataclass(frozen=True, kw_only=True)
class _Dice:
    """One draw for each run, the same ones in each whole run."""

    dice: random.Random = field(default_factory=lambda: random.Random(SEED))

    def switch_against_failover(self, site: Site) -> None:
        test_races.switch_against_failover(site, self.dice.uniform(*test_races.KILL_S))


def _faults() -> Iterator[Job]:
    for interval_s, case in itertools.product((0.5, 1.0), FAULTS):
        toggles = [name for name in TOGGLES if name in ("witness", *case.matters)]
        for values in itertools.product((False, True), repeat=len(toggles)):
            on = {name: True for name, value in zip(toggles, values) if value}
            options = {"interval_s": interval_s, "timeout_s": interval_s} | on
            yield Job(section="faults", name=case.name, options=options, run=partial(fault, case=case))


def _splits() -> Iterator[Job]:
    """The link between the two nodes, together with a second fault."""
    run: Callable[[Site], object]
    for interval_s, link in itertools.product((0.5, 1.0), test_network.LINKS):
        times = {"interval_s": interval_s, "timeout_s": interval_s}
        run, name = partial(test_network.split_until_healed, link=link), f"link cut {link}, VIP silent"
        yield Job(section="faults", name=name, options=times, run=run, until_healed=True)
        run, name = partial(link_cut_and_death, link=link), f"link cut {link}, then the active node dies"
        yield Job(section="faults", name=name, options=times | {"witness": True}, run=run)
    for interval_s in (0.5, 1.0):
        vip = {"interval_s": interval_s, "timeout_s": interval_s, "vip_test": True}
        run, name = test_network.split_until_the_vip_decides, "link cut both ways, VIP silent, then back"
        yield Job(section="faults", name=name, options=vip, run=run, until_healed=True)


def _isolations() -> Iterator[Job]:
    for interval_s in (0.5, 1.0):
        options = {"interval_s": interval_s, "timeout_s": interval_s}
        yield Job(section="isolation", name="active node cut", options=options, run=isolation, runs=ISOLATIONS)


def _races() -> Iterator[Job]:
    plain: dict[str, Any] = {}
    witness = {"witness": True}

    def race(name: str, options: Mapping[str, Any], run: Callable[[Site], object], runs: int = OTHER_RACES) -> Job:
        return Job(section="races", name=name, options=options, run=run, runs=runs)

    for options in (plain, witness):
        yield race("switchover and death of the active node", options, _Dice().switch_against_failover, SWITCH_RACES)
        for dies in ("the one that comes", "the one that goes"):
            run = partial(test_races.failback_against_death, dies=dies)
            yield race(f"failback, and {dies} dies", options, run)
        for step in ("fence", "service"):
            yield race(f"cable heals in step {step}", options, partial(test_races.heal_in_promotion, step=step))
        yield race("settings saved in a switch", options, test_races.settings_in_a_switch)
        yield race("both nodes cut, healed", options, test_network.both_cut)
        for way in ("cannot send", "cannot hear"):
            yield race(f"active node {way}", options, partial(test_network.one_way, way=way))
    yield race("settings saved on both sides of a split", witness, test_races.settings_on_both_sides)
    yield race("longer T saved while cut off", witness, test_races.longer_while_cut_off)
    yield race("shorter T saved while cut off", witness, test_races.shorter_while_cut_off)


def _crashes() -> Iterator[Job]:
    for options, case in itertools.product(({}, {"witness": True}), crashes()):
        yield Job(section="crashes", name=case.name, options=options, run=partial(crash, case=case), mortal=True)


def _quiet() -> Iterator[Job]:
    spoilt = (
        ("30 % loss each way", test_quiet.FAST, test_quiet.LOSS),
        ("100 ms each way", test_quiet.FAST, test_quiet.DELAY),
        ("500 ms each way", test_quiet.SLOW, test_quiet.LONG_DELAY),
    )
    for name, options, spoil in spoilt:
        run = partial(test_quiet.quiet, spoil=spoil, seconds=QUIET_S)
        yield Job(
            section="quiet", name=f"{name}, {QUIET_S:g} s, then a kill", options=options, run=run, runs=QUIET_RUNS
        )
