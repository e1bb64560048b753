"""The pure core: decisions a second, and the simulator built on it."""

from __future__ import annotations

import time

from ftplugin.core.decision import decide
from ftplugin.core.hysteresis import Memory
from tests.core.ticks import S1, S2, A, S, Ticks
from tests.sim.run import run_seed

from .figures import BenchError, Figure, Options, Section

BATCH_S = 0.5
SEEDS_PER_RUN = 3
TICKS_AIM = 20_000.0


def measure(options: Options) -> Section:
    steady = tuple(_decisions_per_s(Ticks(S1, A), silent=False) for _ in range(options.runs))
    waiting = tuple(_decisions_per_s(Ticks(S2, S), silent=True) for _ in range(options.runs))
    seeds, ticks = [], []
    for run in range(options.runs):
        start_s, done = time.perf_counter(), 0
        for number in range(SEEDS_PER_RUN):
            result = run_seed(options.seed + run * SEEDS_PER_RUN + number)
            if result.violation:
                raise BenchError(f"seed {result.seed} fails: {result.violation}; see 'make sim'")
            done += result.ticks
        took_s = time.perf_counter() - start_s
        seeds.append(SEEDS_PER_RUN / took_s)
        ticks.append(done / took_s)
        options.say(f"{seeds[-1]:.2f} seeds a second, {ticks[-1]:,.0f} ticks a second")
    return Section(
        title="Core and simulator",
        how=(
            "`decide()` on one core, memory carried from tick to tick. A simulated tick is a tick of the real agent "
            "(collect, decide, persist, execute) with in-memory ports, faults and the invariants' checks included, and "
            f"the simulated guards, portals and services beside it. {SEEDS_PER_RUN} seeds a run, one process; "
            "20,000 ticks a second is the aim.",
        ),
        figures=(
            Figure(name="`decide()`, active, steady", unit="/s", values=steady, digits=0),
            Figure(name="`decide()`, standby, peer silent", unit="/s", values=waiting, digits=0),
            Figure(name="simulated seeds", unit="/s", values=tuple(seeds)),
            Figure(name="simulated ticks", unit="/s", values=tuple(ticks), bound=TICKS_AIM, at_least=True, digits=0),
        ),
    )


def _decisions_per_s(node: Ticks, *, silent: bool) -> float:
    view = node.view(peer=node.silent()) if silent else node.view()
    memory, settings, timing = Memory(), node.settings, node.timing
    count, start_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - start_s) < BATCH_S:
        for _ in range(200):
            memory = decide(view, settings, memory, timing).memory
        count += 200
    return count / took_s
