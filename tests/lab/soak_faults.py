"""What a soak does to a site: random faults, one or two at a time. A plan follows from its seed alone.

A fault says what it touches, so that two at a time never undo each other, and what is away while it lasts, so that the
judge knows when no server can be active: the rules promise something for one thing away at a time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable

from ftplugin.core.terms import Designation
from ftplugin.status import new_order

from .impostor import MANNERS
from .site import Site

PROGRAMS = ("redis", "cti", "portal", "guard", "tick", "switch")
VITAL = {"redis", "portal", "tick", "switch"}  # without one of them a server cannot promote itself
HOLD_S = (1.0, 10.0)
SECOND_S = (0.0, 5.0)  # the second of two begins so much after the first
QUIET_S = (1.0, 4.0)
TWO_AT_A_TIME = 0.4  # chance
LOSS_PERCENT, DELAY_S = (5.0, 30.0), (0.02, 0.25)
SLOW_START_S = (1.0, 6.0)
LINK = "link"  # between the two nodes

Act = Callable[[Site], object]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a plan.

    ``touches``: what no other fault may touch meanwhile. ``away``: nodes, hosts or the link that do not work while it
    lasts. ``resumes``: at its end a machine goes on that was frozen with everything on it.
    """

    kind: str
    touches: frozenset[str]
    begin: Act
    end: Act | None = None
    away: frozenset[str] = frozenset()
    resumes: bool = False


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A fault with its begin and end, seconds from the start of its round."""

    fault: Fault
    from_s: float
    to_s: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """One or two faults, then quiet for so long after the pair has come back."""

    faults: tuple[Placed, ...]
    quiet_s: float


def next_round(rng: random.Random, *, witness: bool) -> Round:
    """The next round of a plan."""
    first = draw(rng, witness=witness)
    placed = [Placed(fault=first, from_s=0.0, to_s=rng.uniform(*HOLD_S))]
    if rng.random() < TWO_AT_A_TIME:
        second = draw(rng, witness=witness)
        while second.touches & first.touches:
            second = draw(rng, witness=witness)
        from_s = rng.uniform(*SECOND_S)
        placed.append(Placed(fault=second, from_s=from_s, to_s=from_s + rng.uniform(*HOLD_S)))
    return Round(faults=tuple(placed), quiet_s=rng.uniform(*QUIET_S))


def draw(rng: random.Random, *, witness: bool) -> Fault:
    """One fault of a random kind, each kind as likely as another."""
    node = rng.choice((1, 2))
    make = rng.choice(MAKERS + (WITNESS_MAKERS if witness else ()))
    return make(rng, node)


def switch_over(site: Site, ordered_on: int) -> None:
    """A switchover as the page of that node orders it, away from the active one; nothing when none is known there."""
    active = site.pair.status(ordered_on)["active"]
    site.note(f"switchover ordered on {site.host(ordered_on)}, active is {active or 'not known'}")
    if active is None:
        return
    target = Designation("server2" if active == "server1" else "server1")
    with site.on(ordered_on):
        site.pair.portals[ordered_on].producer.switch(new_order(target, active, "soak", "a random moment"))


def _touches(node: int, *parts: str) -> frozenset[str]:
    return frozenset(f"node{node} {part}" for part in parts)


def _whole(node: int) -> frozenset[str]:
    return _touches(node, "cable", *PROGRAMS)


def _host(node: int) -> frozenset[str]:
    return frozenset({f"node{node}"})


# --- programs and nodes


def _kill(rng: random.Random, node: int) -> Fault:
    program = rng.choice(PROGRAMS)
    return Fault(kind=f"kill {program}", touches=_touches(node, program), begin=lambda site: site.kill(node, program))


def _freeze(rng: random.Random, node: int) -> Fault:
    program = rng.choice(PROGRAMS)
    return Fault(
        kind=f"freeze {program}",
        touches=_touches(node, program),
        away=_host(node) if program in VITAL else frozenset(),
        begin=lambda site: site.freeze(node, program),
        end=lambda site: site.thaw(node, program),
    )


def _down(kind: str, node: int, begin: Act, end: Act | None, *, resumes: bool = False) -> Fault:
    """A fault of everything that a node runs, its cable too."""
    return Fault(kind=kind, touches=_whole(node), away=_host(node), resumes=resumes, begin=begin, end=end)


def _kill_node(_: random.Random, node: int) -> Fault:
    return _down("kill node", node, lambda site: site.kill_node(node), lambda site: site.start_node(node))


def _power_off(_: random.Random, node: int) -> Fault:
    return _down("power off, on again", node, lambda site: site.power_off(node), lambda site: site.start_node(node))


def _reboot(rng: random.Random, node: int) -> Fault:
    down_s = rng.uniform(0.2, 2.0)
    return _down("reboot", node, lambda site: site.reboot(node, down_s), None)


def _freeze_node(_: random.Random, node: int) -> Fault:
    return _down("freeze node", node, lambda site: site.freeze(node), lambda site: site.thaw(node), resumes=True)


# --- the LAN


def _cable(kind: str, host: int | str, begin: Act, *, away: frozenset[str]) -> Fault:
    name = Site.host(host)
    return Fault(
        kind=kind, touches=frozenset({f"{name} cable"}), away=away, begin=begin, end=lambda site: site.heal(host)
    )


def _cut(rng: random.Random, node: int) -> Fault:
    carrier = rng.random() < 0.5
    kind = f"cut from the LAN{', no carrier' if carrier else ''}"
    return _cable(kind, node, lambda site: site.cut(node, carrier=carrier), away=_host(node))


def _lose(rng: random.Random, node: int) -> Fault:
    percent = round(rng.uniform(*LOSS_PERCENT))
    return _cable("loss", node, lambda site: site.lose(node, percent), away=_host(node))


def _delay(rng: random.Random, node: int) -> Fault:
    delay_s = round(rng.uniform(*DELAY_S), 3)
    return _cable("delay", node, lambda site: site.delay(node, delay_s, delay_s / 4), away=_host(node))


def _between(rng: random.Random, node: int) -> Fault:
    one_way = rng.random() < 0.5
    return Fault(
        kind=f"node–node cut{', one way' if one_way else ''}",
        touches=_touches(1, "cable") | _touches(2, "cable"),
        away=frozenset({LINK}),
        begin=lambda site: site.cut_between(node, 3 - node, one_way=one_way),
        end=lambda site: site.heal(node),
    )


def _cut_balancer(_: random.Random, node: int) -> Fault:
    return Fault(
        kind="balancer cut from a node",
        touches=_touches(node, "cable"),
        begin=lambda site: site.cut_between("balancer", node),
        end=lambda site: site.heal("balancer"),
    )


def _cut_gateway(_: random.Random, __: int) -> Fault:
    return _cable("LAN reference away", "gateway", lambda site: site.cut("gateway"), away=frozenset({"gateway"}))


def _cut_witness(_: random.Random, __: int) -> Fault:
    return _cable("witness cut", "witness", lambda site: site.cut("witness"), away=frozenset({"witness"}))


def _kill_witness(_: random.Random, __: int) -> Fault:
    return Fault(
        kind="restart witness",
        touches=frozenset({"witness cable"}),
        away=frozenset({"witness"}),
        begin=lambda site: site.kill("witness", "witness"),
    )


# --- Redis, monitor, service, administrator


def _wipe(_: random.Random, node: int) -> Fault:
    return Fault(kind="wipe Redis", touches=_touches(node, "redis"), begin=lambda site: site.wipe_redis(node))


def _misbehave(rng: random.Random, node: int) -> Fault:
    manner, only = rng.choice(MANNERS), rng.choice(("mod=IPSWS", ""))
    return Fault(
        kind="monitor misbehaves",
        touches=_touches(node, "portal"),
        away=_host(node),
        begin=lambda site: site.misbehave(node, manner, only=only),
        end=lambda site: site.behave(node),
    )


def _no_start(_: random.Random, node: int) -> Fault:
    def begin(site: Site) -> None:
        site.trouble(node, no_start=True)
        site.kill(node, "cti")

    return Fault(
        kind="service killed, will not start",
        touches=_touches(node, "cti"),
        away=_host(node),
        begin=begin,
        end=lambda site: site.trouble(node),
    )


def _slow_start(rng: random.Random, node: int) -> Fault:
    start_s = round(rng.uniform(*SLOW_START_S), 1)

    def begin(site: Site) -> None:
        site.trouble(node, start_s=start_s)
        site.kill(node, "cti")

    return Fault(
        kind="service killed, starts slowly",
        touches=_touches(node, "cti"),
        begin=begin,
        end=lambda site: site.trouble(node),
    )


def _switchover(_: random.Random, node: int) -> Fault:
    return Fault(kind="switchover", touches=_whole(node), begin=lambda site: switch_over(site, node))


def _no_stop(_: random.Random, node: int) -> Fault:
    """A service that cannot be stopped blocks the other server (spec 5.5), so none may be active: both are away."""

    def begin(site: Site) -> None:
        for each in site.nodes:
            site.trouble(each, no_stop=True)
        switch_over(site, node)

    def end(site: Site) -> None:
        for each in site.nodes:
            site.trouble(each)

    return Fault(
        kind="switchover, service will not stop",
        touches=_whole(1) | _whole(2),
        away=_host(1) | _host(2),
        begin=begin,
        end=end,
    )


MAKERS: tuple[Callable[[random.Random, int], Fault], ...] = (
    _kill,
    _freeze,
    _kill_node,
    _power_off,
    _reboot,
    _freeze_node,
    _cut,
    _lose,
    _delay,
    _between,
    _cut_balancer,
    _cut_gateway,
    _wipe,
    _misbehave,
    _no_start,
    _slow_start,
    _switchover,
    _no_stop,
)
WITNESS_MAKERS = (_cut_witness, _kill_witness)
