"""The simulator's Redis models against the real Lua scripts on a real Redis: the same operations, the same answers.

    FT_AGREE_SEEDS=2000 python -m pytest tests/sim/test_models_agree.py

runs more sequences. A disagreement names the seed, the step and both answers.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from demo.layout import redis_binary
from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.store.keys import Keys
from ftplugin.store.runtime import RuntimeStore, connect
from workers.adapters.redis_votes import RedisVotes

from .kernel import Process
from .ports import SimRuntime, SimVotes
from .run import build, settings_of
from .world import PROCESSES, S1, S2, RedisData, World

SEEDS = int(os.environ.get("FT_AGREE_SEEDS", "60"))
STEPS = 60
KEYS = Keys()


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis of its own, from the system or the bundled binary."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home: Path = tmp_path_factory.mktemp("redis")
    command = [
        redis_binary(),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(home),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not _answers(port):
            assert process.poll() is None and time.monotonic() < deadline, "the Redis of this test did not start"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port, socket_connect_timeout=0.2).ping())
    except redis.RedisError:
        return False


class Quiet:
    """Invariants are not what is compared here."""

    world: Any = None

    def on_active(self, *_: Any) -> None: ...
    def on_renew(self, *_: Any) -> None: ...


class FollowingClock:
    """The clock of the real adapter follows the simulated one."""

    boot_id = "b"

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.now_s = now_s


def simulated(seed: int, body: Callable[[World], None]) -> None:
    """Run ``body`` as a task of a simulated process, where every port is up."""
    rng = random.Random(seed)
    world = build(replace(settings_of(rng), witness="10.0.0.3:2011"), seed)
    world.invariants = Quiet()
    for designation, node in world.nodes.items():
        node.up, node.boots = True, 1
        node.processes = {name: Process(f"{designation} {name}") for name in PROCESSES}
    world.witness_up, world.delay = True, 0.0
    done: list[BaseException | None] = []

    def run() -> None:
        try:
            body(world)
            done.append(None)
        except AssertionError as error:
            done.append(error)

    world.kernel.spawn(world.nodes[S1].processes["tick"], run)
    world.kernel.run(1e6)
    world.kernel.close()
    assert done, "the sequence did not end"
    if done[0] is not None:
        raise done[0]


# --- votes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(SEEDS))
def test_votes(redis_port: int, seed: int) -> None:
    client = redis.Redis(port=redis_port)
    client.flushall()
    simulated(seed, lambda world: _votes(world, random.Random(seed), client, redis_port))


def _votes(world: World, rng: random.Random, client: redis.Redis, port: int) -> None:
    settings = replace(world.settings, witness=f"127.0.0.1:{port}")
    sims = {d: SimVotes(world.nodes[d]) for d in (S1, S2)}
    reals = {
        d: RedisVotes(
            own_url=f"redis://127.0.0.1:{port}/0",
            settings=lambda: settings,
            designation=lambda d=d: d,  # type: ignore[misc]
            keys=KEYS,
            clock=FollowingClock(world.nodes[d].now_s),  # type: ignore[arg-type]
        )
        for d in (S1, S2)
    }
    marks: list[str | None] = [None, "missing"]
    epochs, told = {S1: 2, S2: 3}, []
    for step in range(STEPS):
        me: Designation = rng.choice((S1, S2))
        name = rng.choice(
            ("lock", "lock", "own", "own", "renew", "release", "reading", "reading", "epoch", "wait", "wipe")
        )
        if name == "epoch":
            epochs[me] += rng.choice((0, 2, 4))
            continue
        if name == "wait":
            world.kernel.sleep(rng.choice((0.1, 1.0)))
            continue
        if name == "wipe":
            if rng.random() < 0.15:
                client.delete(KEYS.vote)
                world.witness_vote = None
                told.append("wipe")
            continue
        epoch = epochs[me] if rng.random() < 0.85 else max(2, epochs[me] - 2)
        mark = rng.choice(marks[-4:] + marks[:2])
        arguments: tuple[Any, ...] = {
            "lock": (epoch, mark),
            "own": (epoch, mark, rng.random() < 0.3),
            "reading": (),
        }.get(name, (epoch,))
        told.append(f"{me} {name} {arguments}")
        where = f"step {step}: " + "; ".join(told[-8:])
        real = getattr(reals[me], name)("witness", *arguments, 1.0)
        sim = getattr(sims[me], name)("witness", *arguments, 1.0)
        if real.mark not in marks:
            marks.append(real.mark)
        if name == "reading":
            assert replace(sim, still_since_s=real.still_since_s) == real, f"{where}: {real} in Redis, {sim} simulated"
            assert sim.still_since_s == pytest.approx(real.still_since_s), where
        else:
            assert replace(sim, detail=real.detail) == real, f"{where}: {real} in Redis, {sim} simulated"
    for votes in reals.values():
        votes.close()


# --- the role record --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(SEEDS))
def test_runtime(redis_port: int, seed: int) -> None:
    client = connect(f"redis://127.0.0.1:{redis_port}/0", 2.0)
    client.flushall()
    simulated(seed, lambda world: _runtime(world, random.Random(seed), RuntimeStore(client, KEYS)))


def _runtime(world: World, rng: random.Random, real: RuntimeStore) -> None:
    node = world.nodes[S1]
    sim, told = SimRuntime(node), []
    for step in range(STEPS):
        epoch, moment = rng.randrange(0, 8), round(rng.uniform(0, 100), 3)
        name = rng.choice(
            (
                "write_role",
                "write_role",
                "renew",
                "see_epoch",
                "set_progress",
                "set_clear",
                "read_role",
                "wipe",
                "publish",
                "fetch",
            )
        )
        if name == "wipe":
            if rng.random() < 0.3:
                real.client.flushall()
                node.redis = RedisData()
                told.append("wipe")
            continue
        record = RoleRecord(
            role=rng.choice(tuple(Role)),
            phase=rng.choice(tuple(Phase)),
            epoch=epoch,
            boot_id=rng.choice(("b1", "b2")),
            deadline_s=moment,
            clear=rng.random() < 0.5,
            progress_s=rng.choice((None, moment)),
            since_wall_s=moment,
        )
        arguments: tuple[Any, ...] = {
            "write_role": (record,),
            "renew": (epoch, moment, "b1", 1e9),
            "see_epoch": (epoch,),
            "set_progress": (epoch, rng.choice(tuple(Phase)), moment),
            "set_clear": (epoch, rng.random() < 0.5),
            "read_role": (),
            "publish": ("switch", {"step": step, "outcome": "running"}),
            "fetch": (rng.choice(("switch", "pause")),),
        }[name]
        told.append(f"{name} {arguments}")
        where = f"step {step}: " + "; ".join(told[-6:])
        theirs, ours = getattr(real, name)(*arguments), getattr(sim, name)(*arguments)
        assert ours == theirs, f"{where}: {theirs!r} in Redis, {ours!r} simulated"
        assert (
            sim.read_role() == real.read_role()
        ), f"{where}: afterwards {real.read_role()!r} in Redis, {sim.read_role()!r} simulated"
