"""Memory and processor time of one node's agent, idle."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterator

from demo.cluster import Cluster

from .figures import Figure, Options, Section
from .site import cluster_of

PROGRAMS = ("tick", "switch", "guard")  # beat is a thread of the tick worker
WINDOW_S = 6.0
PSS_MIB_MAX = 120.0
CPU_PERCENT_MAX = 3.0
MIB = 2**20


def measure(options: Options) -> Section:
    with cluster_of(1.0, 1.0, 3) as cluster:
        nodes = {number: _processes(cluster, number) for number in (1, 2)}
        memory: dict[tuple[int, str], list[float]] = {(n, p): [] for n in nodes for p in nodes[n]}
        cpu: dict[tuple[int, str], list[float]] = {(n, p): [] for n in nodes for p in nodes[n]}
        began_s, first = time.monotonic(), {k: cpu_s(p) for k, p in _pids(nodes)}
        for _ in range(options.runs):
            start_s, before = time.monotonic(), {k: cpu_s(p) for k, p in _pids(nodes)}
            time.sleep(WINDOW_S)
            took_s = time.monotonic() - start_s
            for key, pid in _pids(nodes):
                cpu[key].append(100 * (cpu_s(pid) - before[key]) / took_s)
                memory[key].append(pss_mib(pid))
        whole_s = time.monotonic() - began_s
        whole = {n: sum(cpu_s(p) - first[k] for k, p in _pids(nodes) if k[0] == n) / whole_s for n in nodes}
    figures: list[Figure] = []
    for number, role in ((1, "active"), (2, "standby")):
        figures += _of_node(number, role, memory, cpu)
        figures.append(
            Figure(
                name=f"{role} node: processor over {whole_s:.0f} s",
                unit="%",
                values=(100 * whole[number],),
                bound=CPU_PERCENT_MAX,
            )
        )
    return Section(
        title="Footprint of the agent",
        how=(
            "Tick worker with beat as its thread, switch worker and guard of each node of the demo, idle, T = 1 s, "
            f"N = 3. A run is {WINDOW_S:g} s: PSS from `/proc/PID/smaps_rollup` at its end, processor time of user and "
            "system from `/proc/PID/stat` (in steps of 10 ms, so the whole time is given too) in per cent of one core. "
            "Portal, Redis and the service are not the agent.",
        ),
        figures=tuple(figures),
    )


def _of_node(
    number: int, role: str, memory: dict[tuple[int, str], list[float]], cpu: dict[tuple[int, str], list[float]]
) -> Iterator[Figure]:
    for program in PROGRAMS:
        values = tuple(memory[number, program])
        yield Figure(name=f"{role} node: PSS of {program}", unit="MiB", values=values, digits=1)
    pss = tuple(map(sum, zip(*(memory[number, p] for p in PROGRAMS))))
    used = tuple(map(sum, zip(*(cpu[number, p] for p in PROGRAMS))))
    yield Figure(name=f"{role} node: PSS of the agent", unit="MiB", values=pss, bound=PSS_MIB_MAX, digits=1)
    yield Figure(name=f"{role} node: processor", unit="%", values=used, bound=CPU_PERCENT_MAX)


def _processes(cluster: Cluster, number: int) -> dict[str, int]:
    return {program: cluster.node(number).pid(program) for program in PROGRAMS}


def _pids(nodes: dict[int, dict[str, int]]) -> list[tuple[tuple[int, str], int]]:
    return [((number, program), pid) for number, programs in nodes.items() for program, pid in programs.items()]


def cpu_s(pid: int) -> float:
    """User and system time of the process and of children it has waited for, seconds (proc(5))."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    """Proportional set size: its own memory and its share of what it shares."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MIB
    raise ValueError(f"/proc/{pid}/smaps_rollup has no line Pss:")
