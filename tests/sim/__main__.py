"""``python -m tests.sim --seeds 1000 --seed0 0``: run seeds on all cores, print what was covered and every violation."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from .run import Result, run_seed

STORY_LINES = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--seed0", type=int, default=0)
    parser.add_argument("--story", action="store_true", help="print the whole story of each failing seed")
    options = parser.parse_args()
    began_s = time.monotonic()
    results = run_many(range(options.seed0, options.seed0 + options.seeds))
    took_s = time.monotonic() - began_s
    print(summary(results, took_s))
    bad = [r for r in results if r.violation]
    for result in bad:
        lines = result.story if options.story else result.story[-STORY_LINES:]
        print(f"\nseed {result.seed}: {result.violation}\n" + "\n".join(lines))
    return 1 if bad else 0


def run_many(seeds: range) -> list[Result]:
    """All seeds, on every core this process may use; in order."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(run_seed, seeds, chunksize=8))


def summary(results: list[Result], took_s: float) -> str:
    """How much ran, which rules decided, which faults were injected, what failed."""
    ticks = sum(r.ticks for r in results)
    rules: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for result in results:
        rules.update(result.rules)
        faults.update(result.faults)
    bad = [r for r in results if r.violation]
    lines = [
        f"{len(results)} seeds, {ticks} ticks in {took_s:.0f} s,"
        f" {ticks / took_s:.0f} ticks/s, {len(results) / took_s:.1f} seeds/s",
        "rules:  " + ", ".join(f"{name} {n}" for name, n in sorted(rules.items())),
        "faults: " + ", ".join(f"{name} {n}" for name, n in sorted(faults.items())),
        f"seconds with two owners where I-C allows them: {sum(r.both_s for r in results):.1f}",
        f"violations: {len(bad)}" + "".join(f"\n  seed {r.seed}: {r.violation}" for r in bad),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
