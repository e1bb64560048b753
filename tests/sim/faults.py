"""Seeded faults: up to three at a time, of the kinds of spec 9."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from .world import Node, World

ALL = ("tick", "switch", "guard", "portal", "redis", "service")
RESTART_S = 0.6
FLAP_S = 1.3


def lan_cut(world: World, node: Node, lasts: float) -> None:
    """The node loses everything: LAN, peer, witness, balancer."""
    _cut(
        world,
        [(node.designation, other) for other in ("gateway", node.designation.other, "witness", "balancer")],
        lasts,
    )


def link_cut(world: World, node: Node, lasts: float) -> None:
    """Node-node cut only (I-C)."""
    world.invariants.split_until = max(world.invariants.split_until, world.now + lasts + _healing_s(world))
    _cut(world, [(node.designation, node.designation.other)], lasts)


def one_way(world: World, node: Node, lasts: float) -> None:
    """What this node sends is lost; it still hears."""
    world.invariants.split_until = max(world.invariants.split_until, world.now + lasts + _healing_s(world))
    _cut(world, [(node.designation, node.designation.other)], lasts)


def witness_cut(world: World, node: Node, lasts: float) -> None:
    _cut(world, [(node.designation, "witness")], lasts)


def witness_down(world: World, node: Node, lasts: float) -> None:
    if not world.settings.witness:
        return
    world.witness_up = False
    world.kernel.at(world.now + lasts, lambda: setattr(world, "witness_up", True))


def witness_wipe(world: World, node: Node, lasts: float) -> None:
    world.witness_vote = None


def gateway_reboot(world: World, node: Node, lasts: float) -> None:
    _cut(world, [(d, "gateway") for d in world.nodes], lasts)


def _cut(world: World, pairs: list[tuple[str, str]], lasts: float) -> None:
    for a, b in pairs:
        world.cut(a, b)
    world.note_darkness()

    def heal() -> None:
        for a, b in pairs:
            world.heal(a, b)
        world.note_darkness()

    world.kernel.at(world.now + lasts, heal)


def loss(world: World, node: Node, lasts: float) -> None:
    world.loss = world.random.choice((0.1, 0.3))
    world.kernel.at(world.now + lasts, lambda: setattr(world, "loss", 0.0))


def delay(world: World, node: Node, lasts: float) -> None:
    world.delay = world.random.choice((0.02, 0.1, 0.3)) * world.settings.timeout_s
    world.kernel.at(world.now + lasts, lambda: setattr(world, "delay", 0.001))


def crash(world: World, node: Node, lasts: float) -> None:
    """Power off; boots again afterwards."""
    if not node.up:
        return
    node.crash()
    world.kernel.at(world.now + lasts, lambda: None if node.up else node.boot())


def boot_both(world: World, node: Node, lasts: float) -> None:
    """Both servers lose power; they boot together, or one later."""
    late = world.random.choice((0.0, 0.0, lasts))
    for n in world.nodes.values():
        if n.up:
            n.crash()
    for n, wait in ((node, 1.0), (node.peer, 1.0 + late)):
        world.kernel.at(world.now + wait, lambda n=n: None if n.up else n.boot())  # type: ignore[misc]


def freeze_node(world: World, node: Node, lasts: float) -> None:
    _freeze(world, node, ALL, lasts)


def pause_host(world: World, node: Node, lasts: float) -> None:
    """A virtual machine is paused: CLOCK_BOOTTIME stands still, and the hypervisor sets the wall clock at the end."""
    if node.up and world.now >= node.paused_until:
        node.paused_until = world.now + lasts
        _freeze(world, node, ALL, lasts, lambda: node.stand_still(lasts))


def _freeze(
    world: World, node: Node, names: tuple[str, ...], lasts: float, before_thaw: Callable[[], None] = lambda: None
) -> None:
    names = tuple(n for n in names if node.up and node.processes[n].alive and not node.processes[n].frozen)
    boots = node.boots
    processes = [node.processes[n] for n in names]
    node.freeze(names)

    def thaw() -> None:
        if node.up and node.boots == boots:
            before_thaw()
            node.thaw(tuple(n for n, p in zip(names, processes, strict=True) if node.processes[n] is p))

    world.kernel.at(world.now + lasts, thaw)


def freeze_process(world: World, node: Node, lasts: float) -> None:
    name = world.random.choice(("tick", "switch", "portal", "redis", "guard"))
    world.tell(f"  … it is {name}")
    _freeze(world, node, (name,), lasts)


def freeze_worker_and_redis(world: World, node: Node, lasts: float) -> None:
    _freeze(world, node, ("tick", "switch", "redis"), lasts)


def kill_process(world: World, node: Node, lasts: float) -> None:
    name = world.random.choice(ALL)
    world.tell(f"  … it is {name}")
    if node.up:
        node.kill(name, world.random.choice((RESTART_S, lasts)))


def kill_agent(world: World, node: Node, lasts: float) -> None:
    """Both workers die and stay away; portal, guard, Redis and service live on."""
    if node.up:
        node.kill("tick", lasts)
        node.kill("switch", lasts)


def kill_all(world: World, node: Node, lasts: float) -> None:
    """kill -9 of every process; the supervisor is gone too, until the host boots again."""
    crash(world, node, lasts)


def redis_wipe(world: World, node: Node, lasts: float) -> None:
    from .world import RedisData

    if node.up:
        node.redis = RedisData()


def vip_moves(world: World, node: Node, lasts: float) -> None:
    world.vip_to = node.designation


def clock_step(world: World, node: Node, lasts: float) -> None:
    node.wall_offset += world.random.choice((-3600, 3600, -5, 5))


def slow_service(world: World, node: Node, lasts: float) -> None:
    for service in node.services:
        service.start_s = world.random.choice((2.0, 8.0))


def tick_hang(world: World, node: Node, lasts: float) -> None:
    """Ticks stop (a hung task) while the lease timer goes on."""
    node.hung_until = world.now + lasts


def pause(world: World, node: Node, lasts: float) -> None:
    """An administrator pauses automatic switching on both nodes, then resumes."""
    for n in world.nodes.values():
        n.disk.standing["pause"] = {"owner": "admin", "reason": "test"}

    def resume() -> None:
        for n in world.nodes.values():
            n.disk.standing.pop("pause", None)

    world.kernel.at(world.now + lasts, resume)


def switchover(world: World, node: Node, lasts: float) -> None:
    """An administrator asks for the other server."""
    active = [n for n in world.nodes.values() if n.answers_active()]
    if len(active) == 1:
        target = active[0].designation.other
        order = {
            "kind": "manual",
            "target": str(target),
            "expected_active": str(active[0].designation),
            "actor": "admin",
        }
        world.send(node, "switch", (order,))


def service_dead(world: World, node: Node, lasts: float) -> None:
    """The service dies and cannot be started for a while, in no role."""
    if node.up:
        node.dead_until = max(node.dead_until, world.now + lasts)
        node.kill("service", None)


def service_breaks(world: World, node: Node, lasts: float) -> None:
    """The service runs well in standby, and dies as soon as it is to own."""
    node.breaks_until = max(node.breaks_until, world.now + lasts)
    if node.up and node.services[0].owns:
        node.kill("service", None)


def service_broken_both(world: World, node: Node, lasts: float) -> None:
    for n in world.nodes.values():
        service_breaks(world, n, lasts)


def service_flaps(world: World, node: Node, lasts: float) -> None:
    """It dies every few seconds and comes back by itself, owning nothing."""
    until = world.now + lasts

    def again() -> None:
        if node.up and world.now < until and not node.processes["service"].frozen:
            node.kill("service", FLAP_S)
        if world.now < until:
            world.kernel.at(world.now + 2 * FLAP_S, again)

    again()


def service_sticks(world: World, node: Node, lasts: float) -> None:
    """The service obeys no demotion for a while."""
    node.sticks_until = max(node.sticks_until, world.now + lasts)


def service_stalls(world: World, node: Node, lasts: float) -> None:
    """Its start moves on and does not end, so that the limit of the start strikes."""
    node.stalls_until = max(node.stalls_until, world.now + lasts)


def service_hangs(world: World, node: Node, lasts: float) -> None:
    """It answers nothing any more, until a restart kills it."""
    node.hangs = True
    _freeze(world, node, ("service",), lasts)


SERVICE_FAULTS = (service_dead, service_breaks, service_broken_both, service_flaps, service_sticks)
FAULTS: tuple[Callable[[World, Node, float], None], ...] = (
    lan_cut, link_cut, one_way, witness_cut, witness_down, witness_wipe, gateway_reboot, loss, delay, crash, boot_both,
    freeze_node, freeze_process, freeze_worker_and_redis, kill_process, kill_agent, kill_all, redis_wipe, vip_moves, clock_step,
    slow_service, switchover, tick_hang, pause, pause_host,
)  # fmt: skip


def _healing_s(world: World) -> float:
    s = world.settings
    return 2 * s.threshold * s.interval_s + 4 * s.timeout_s + s.service_stop_s + 2.0


def plan(world: World, rng: random.Random, until: float, quiet_s: float) -> list[tuple[float, str]]:
    """Schedule random faults with at most three at a time; returns what was planned."""
    planned, ends = [], [0.0, 0.0, 0.0]
    now = 8 * world.settings.interval_s
    while True:
        now += rng.expovariate(1 / (6 * world.settings.interval_s))
        slot = min(range(3), key=lambda i: ends[i])
        now = max(now, ends[slot])
        lasts = rng.choice((0.3, 1.0, 2.5, 6.0)) * world.settings.interval_s * rng.uniform(0.5, 2.0)
        if now + lasts > until - quiet_s:
            return planned
        ends[slot] = now + lasts
        fault, node = rng.choice(FAULTS), rng.choice(list(world.nodes.values()))
        planned.append((now, fault.__name__))
        world.kernel.at(now, lambda f=fault, n=node, d=lasts: _inject(world, f, n, d))  # type: ignore[misc]


def plan_services(world: World, rng: random.Random, until: float, quiet_s: float) -> list[tuple[float, str]]:
    """Faults of the services alone, beside the others, some longer than the watchdog's patience. ``rng`` is one of their
    own, so that what else happens in a seed stays as it was without them."""
    planned, now, interval_s = [], 8 * world.settings.interval_s, world.settings.interval_s
    while True:
        now += rng.expovariate(1 / (25 * interval_s))
        lasts = rng.choice((1.0, 6.0, 20.0, 40.0)) * interval_s * rng.uniform(0.5, 1.5)
        if now + lasts > until - quiet_s:
            return planned
        fault, node = rng.choice(SERVICE_FAULTS), rng.choice(list(world.nodes.values()))
        planned.append((now, fault.__name__))
        world.kernel.at(now, lambda f=fault, n=node, d=lasts: _inject(world, f, n, d))  # type: ignore[misc]
        now += lasts


def _inject(world: World, fault: Callable[[World, Node, float], None], node: Node, lasts: float) -> None:
    world.tell(f"FAULT {fault.__name__} {node.designation} for {lasts:.2f} s")
    world.invariants.last_fault = world.now + lasts
    fault(world, node, lasts)
