"""Switchover by the command line: no instant with two active, and a short gap without any."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from demo.cluster import Cluster
from demo.oracle import Interval, overlaps, read_history
from ftplugin.core.timing import service_start_s

from .figures import BenchError, Figure, Options, Section
from .report import ROOT
from .site import Poller, cluster_of, settle, wait_for

POLL_S = 0.01
SLACK_S = 0.5
LIMIT_S = 30.0
COMMAND = "from ftplugin.cli import main; main()"  # what the console script `ft` runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Seconds. ``gap_s``: the widest that the polls allow; ``both_s``: the overlap that they prove."""

    gap_s: float
    both_s: float
    service_gap_s: float
    ordered_s: float


def measure(options: Options) -> Section:
    with cluster_of(1.0, 1.0, 3) as cluster:
        settings = cluster.settings_store(1).current()[1]
        runs = [_run(cluster, 1 + run % 2, options) for run in range(options.runs)]
        double = overlaps(read_history(cluster.history))
    bound_s = SLACK_S + settings.service_stop_s + service_start_s(settings)
    return Section(
        title="Switchover",
        how=(
            "`ft switch` on the active node, T = 1 s, N = 3, t = 1 s. Two clients ask both nodes `mod=FT` every 10 ms. "
            "The gap is the widest that their answers allow: from the asking of the last `ACTIVE` on the old side to the "
            "arrival of the first on the new one. Two active is what they prove: the new side's first `ACTIVE` had "
            "arrived before the old side was asked for its last. The service's gap is read at the call manager, from the "
            "first port given back until the last port granted.",
            "Bound of the gaps: 0.5 s + service stop + start as configured.",
        ),
        figures=(
            Figure(name="time with two active, by the polls", unit="s", bound=0.0, values=tuple(r.both_s for r in runs)),
            Figure(name="ports with two owners, in all runs", unit="", values=(len(double),), bound=0, digits=0),
            Figure(name="gap without an active node", unit="s", bound=bound_s, values=tuple(r.gap_s for r in runs)),
            Figure(name="service's gap", unit="s", values=tuple(r.service_gap_s for r in runs), bound=bound_s),
            Figure(name="from the start of the command to `ACTIVE` elsewhere", unit="s", values=tuple(r.ordered_s for r in runs)),
        ),
    )


def _run(cluster: Cluster, old: int, options: Options) -> Run:
    new = 3 - old
    with Poller(cluster.address(old), POLL_S) as before, Poller(cluster.address(new), POLL_S) as after:
        wait_for(lambda: before.first("ACTIVE", 0.0), LIMIT_S, f"server{old} answers ACTIVE")
        ordered_s = _order(cluster, old, new)
        wait_for(lambda: after.first("ACTIVE", ordered_s), LIMIT_S, f"server{new} answers ACTIVE")
        settle(cluster, new)
    lost, won = before.last("ACTIVE"), after.first("ACTIVE", 0.0)
    assert lost is not None and won is not None, "both were waited for"
    run = Run(
        gap_s=won.answered_s - lost.asked_s,
        both_s=max(0.0, lost.asked_s - won.answered_s),
        service_gap_s=_service_gap_s(read_history(cluster.history), old, new, ordered_s),
        ordered_s=won.answered_s - ordered_s,
    )
    options.say(f"gap {run.gap_s:.3f} s, service's {run.service_gap_s:.3f} s, {run.ordered_s:.2f} s after the order")
    return run


def _order(cluster: Cluster, old: int, new: int) -> float:
    """Give the order on the active node. CLOCK_MONOTONIC from before the command."""
    started_s = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, "switch", f"server{new}", "--expect", f"server{old}", "--reason", "benchmark"],
        cwd=ROOT,
        env={**os.environ, "FT_CONFIG_FILE": str(cluster.config_file(old))},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
    )
    if ended.returncode:
        raise BenchError(f"ft switch server{new} refused: {ended.stderr.strip()}")
    return started_s


def _service_gap_s(history: list[Interval], old: int, new: int, ordered_s: float) -> float:
    """From the first port that the old side gave back until the last that the new side was granted."""
    freed = [i.to_s for i in history if i.owner == f"server{old}" and i.to_s and i.to_s > ordered_s]
    granted = [i.from_s for i in history if i.owner == f"server{new}" and i.from_s > ordered_s]
    if not freed or not granted:
        raise BenchError("the call manager saw no port move")
    return max(granted) - min(freed)
