"""``mod=FT`` and ``/active`` under load, beside a Flask view that does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from .alone import alone, answers, process
from .figures import BenchError, Figure, Options, Section
from .report import ROOT
from .site import START_LIMIT_S, wait_for

CONNECTIONS = 8
RUN_S = 1.5
RATIO_MIN = 0.7
BARE, MONITOR, ACTIVE = "bare view", "`mod=FT`", "`/active`"
TARGETS: Mapping[str, str] = {BARE: "/bare", MONITOR: "/ft/monitor?mod=FT", ACTIVE: "/ft/active"}

Sample = dict[str, float]


def measure(options: Options) -> Section:
    samples: dict[str, list[Sample]] = {name: [] for name in TARGETS}
    with alone(1.0, 1.0, 3) as node:
        bare = f"{node.cluster.net}.12:{node.cluster.portal_port}"
        log = node.cluster.directory / "bare.log"
        with process([sys.executable, "-m", "tests.bench.bare", bare], {}, log):
            wait_for(lambda: answers(bare, "/bare"), START_LIMIT_S, f"the bare view answers; see {log}")
            for run in range(options.runs + 1):  # the first round warms up and does not count
                names = list(TARGETS)[:: 1 if run % 2 else -1]
                node.agent_ticked()
                for name in names:
                    sample = _load(bare if name is BARE else node.address, TARGETS[name])
                    if run:
                        samples[name].append(sample)
                if run:
                    options.say("   ".join(f"{name} {samples[name][-1]['per_s']:,.0f}/s" for name in TARGETS))
    return Section(
        title="Monitor under load",
        how=(
            f"{CONNECTIONS} kept connections from one client process, each asking again as soon as it has its answer, "
            f"{RUN_S:g} s a run. The bare view is an app of one rule and one constant answer in a process of its own, "
            f"under the same server (waitress) with the same settings; the monitor is the demo's whole portal, active, "
            "with its Redis; it answers before Flask does (docs/architecture.md). The three take turns in each round, in "
            "changing order, and the ratio is that of one round.",
        ),
        figures=tuple(_figures(samples)),
    )


def _figures(samples: Mapping[str, list[Sample]]) -> list[Figure]:
    figures: list[Figure] = []
    for name in TARGETS:
        rates = tuple(s["per_s"] for s in samples[name])
        figures.append(Figure(name=f"{name}: requests", unit="/s", values=rates, digits=0))
        figures.append(Figure(name=f"{name}: p99", unit="ms", values=tuple(s["p99_ms"] for s in samples[name])))
    for name in (MONITOR, ACTIVE):
        ratios = tuple(s["per_s"] / b["per_s"] for s, b in zip(samples[name], samples[BARE], strict=True))
        figures.append(Figure(name=f"{name} ÷ bare view", unit="", values=ratios, bound=RATIO_MIN, at_least=True))
    return figures


def _load(address: str, target: str) -> Sample:
    command = [sys.executable, "-m", "tests.bench.load", address, target, str(CONNECTIONS), str(RUN_S)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_S + 20, stdin=subprocess.DEVNULL
    )
    if ended.returncode:
        raise BenchError(f"load on {target}: {ended.stderr.strip()[-300:]}")
    result = json.loads(ended.stdout)
    if result.pop("body") != "ACTIVE":
        raise BenchError(f"{target} did not answer ACTIVE all the time")
    return dict(result)
