"""Run seeds: each is one site with random settings, phases and faults, at least 200 ticks a node."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from ftplugin.core.settings import Settings
from ftplugin.core.timing import worst_failover_s

from .faults import plan, plan_services
from .invariants import Invariants, Violation
from .world import S1, World

TICKS_MIN = 200
REVIEW_S = 0.05
SERVICE_SHARE = 0.35  # of the seeds: services that break, and a watchdog that gives them up
WINDOW_S = 15.0


@dataclass
class Result:
    """What one seed showed."""

    seed: int
    violation: str = ""
    story: list[str] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ticks: int = 0
    both_s: float = 0.0


def settings_of(rng: random.Random, suspect: float = 0.0) -> Settings:
    """A random valid set: fast and slow, with and without witness, failback, VIP test. ``suspect``: share of T, 0: off."""
    interval, threshold = rng.choice(((0.5, 3), (1.0, 3), (1.0, 5), (2.0, 4)))
    vip = rng.random() < 0.5
    return Settings(
        server1_address="10.0.0.1",
        server2_address="10.0.0.2",
        enabled=True,
        timeout_s=interval * rng.choice((1.0, 1.0, 0.5)),
        interval_s=interval,
        threshold=threshold,
        failback=rng.random() < 0.4,
        vip_address="10.0.0.100" if vip else "",
        vip_test=vip and rng.random() < 0.7,
        witness="10.0.0.3:2011" if rng.random() < 0.4 else "",
        service_stop_s=0.3,
        rtt_ms=20,
        flap_budget=1000,
        portal_restart_s=1.0,
        release_delay_s=0.0,
        lan_references=("10.0.0.254",),
        suspect_interval_s=max(0.2, suspect * interval) if suspect else 0.0,
    )


def build(settings: Settings, seed: int) -> World:
    world = World(settings, seed, Invariants())
    world.vip_to = S1
    return world


def quiet_time_s(settings: Settings) -> float:
    """After the last fault everything must be settled: the worst failover, X1, a failback, and their retries."""
    return 4 * worst_failover_s(settings, agent_only=True) + 40.0


def suspect_share_of(seed: int) -> float:
    """Suspect mode is on in two seeds of three. Drawn apart, so that all else of a seed stays as it was without it."""
    return random.Random(f"suspect {seed}").choice((0.0, 0.1, 0.5))


def run_seed(seed: int) -> Result:
    rng = random.Random(seed)
    settings = settings_of(rng, suspect_share_of(seed))
    world = build(settings, seed)
    quiet_s = quiet_time_s(settings)
    until = TICKS_MIN * settings.interval_s * 1.1 + quiet_s
    for designation, node in world.nodes.items():
        world.kernel.at(rng.uniform(0, 2 * settings.interval_s), node.boot)
    faults = plan(world, rng, until, quiet_s)
    of_services = random.Random(f"services {seed}")
    if of_services.random() < SERVICE_SHARE:
        faults += plan_services(world, of_services, until, quiet_s)
        for node in world.nodes.values():
            node.config = replace(node.config, watchdog_restarts_max=2, watchdog_window_s=WINDOW_S)
            node.fences = of_services.random() < 0.3
    vip_follower(world)
    result = Result(seed, faults=Counter(name for _, name in faults))
    return finish(world, until, result)


def vip_follower(world: World) -> None:
    """Half of the sites have a balancer that follows mod=FT; the others' VIP moves by faults alone."""
    if not world.settings.vip_address or world.random.random() < 0.5:
        return

    def look() -> None:
        active = [d for d, n in world.nodes.items() if n.answers_active() and world.linked("balancer", d)]
        if len(active) == 1:
            world.vip_to = active[0]
        world.kernel.at(world.now + world.settings.interval_s, look)

    world.kernel.at(0.0, look)


def finish(world: World, until: float, result: Result) -> Result:
    """Run to the end, invariants sampled every 50 ms of virtual time."""

    def sample() -> None:
        world.invariants.sample()
        world.kernel.at(world.now + REVIEW_S, sample)

    world.kernel.at(0.0, sample)
    try:
        world.kernel.run(until)
        world.invariants.at_end()
    except Violation as error:
        result.violation = str(error)
    finally:
        result.story, result.ticks, result.both_s = world.story, world.ticks, world.invariants.both_s
        result.violation = result.violation or world.invariants.violation
        result.rules.update(world.rules)
        world.kernel.close()
    return result
