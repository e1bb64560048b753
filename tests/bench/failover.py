"""Failover: kill -9 of everything on the active node, nothing restarted there."""

from __future__ import annotations

import random
import time

from demo.cluster import Cluster
from demo.oracle import read_history
from ftplugin.core.settings import Settings
from ftplugin.core.timing import service_start_s, worst_failover_s

from .figures import Figure, Options, Section
from .site import Poller, cluster_of, settle, wait_for

POLL_S = 0.02
SLACK_S = 0.3
SETS = ((0.5, 3, 0.5), (1.0, 3, 1.0))  # T, N, t


def measure(options: Options) -> Section:
    figures: list[Figure] = []
    rng = random.Random(options.seed)
    for interval_s, threshold, timeout_s in SETS:
        with cluster_of(interval_s, timeout_s, threshold) as cluster:
            settings = cluster.settings_store(1).current()[1]
            runs = [_run(cluster, 1 + run % 2, rng, options) for run in range(options.runs)]
        figures += _figures(settings, runs)
    return Section(
        title="Failover",
        how=(
            "Everything of the active node is killed by `kill -9`, its supervisor first, at a random moment of the "
            f"interval (seed {options.seed}), and stays dead. A client asks the standby node `mod=FT` every 20 ms on one "
            "kept connection. The time runs from before the first signal until `ACTIVE` has arrived, and until the call "
            "manager has granted the last port. Then the dead node is started again, and the next run kills the other.",
            "Bound: N·T + t + service start + 0.3 s, where the start is the computed one of guide 6.2 (200 ms a port). "
            "I-B is the worst case of spec 5.2.",
        ),
        figures=tuple(figures),
    )


def _figures(settings: Settings, runs: list[tuple[float, float]]) -> list[Figure]:
    s, start_s = settings, service_start_s(settings)
    bound_s = s.threshold * s.interval_s + s.timeout_s + start_s + SLACK_S
    which = f"T = {s.interval_s:g} s, N = {s.threshold}, t = {s.timeout_s:g} s"
    answers, owned = tuple(run[0] for run in runs), tuple(run[1] for run in runs)
    return [
        Figure(name=f"{which}: standby answers `ACTIVE`", unit="s", values=answers, bound=bound_s),
        Figure(name=f"{which}: the same, bound without the start", unit="s", values=answers, bound=bound_s - start_s),
        Figure(name=f"{which}: its service owns every port", unit="s", values=owned, bound=bound_s),
        Figure(name=f"{which}: the same, worst case I-B", unit="s", values=owned, bound=worst_failover_s(s)),
    ]


def _run(cluster: Cluster, active: int, rng: random.Random, options: Options) -> tuple[float, float]:
    """Seconds from the kill until the other node answers ``ACTIVE``, and until its service owns every port."""
    standby, interval_s = 3 - active, cluster.config.interval_s
    limit_s = 10.0 + 10 * interval_s
    with Poller(cluster.address(standby), POLL_S) as client:
        time.sleep(rng.uniform(0.0, interval_s))
        killed_s = time.monotonic()
        cluster.stop_supervision(active)
        look = wait_for(lambda: client.first("ACTIVE", killed_s), limit_s, f"server{standby} answers ACTIVE")
        owned_s = wait_for(lambda: _owned_s(cluster, standby, killed_s), limit_s, f"server{standby} owns every port")
    answered_s = look.answered_s - killed_s
    options.say(f"T {interval_s:g} s: ACTIVE after {answered_s:.2f} s, service after {owned_s - killed_s:.2f} s")
    cluster.start_node(active)
    settle(cluster, standby)
    return answered_s, owned_s - killed_s


def _owned_s(cluster: Cluster, node: int, after_s: float) -> float | None:
    """When the node had been granted every port (the call manager shares this clock)."""
    granted = {i.port: i.from_s for i in read_history(cluster.history) if _new(i.owner, i.from_s, node, after_s)}
    return max(granted.values()) if len(granted) == cluster.config.cti_ports else None


def _new(owner: str, from_s: float, node: int, after_s: float) -> bool:
    return owner == f"server{node}" and from_s >= after_s
