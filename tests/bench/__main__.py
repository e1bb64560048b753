"""``python -m tests.bench``: measure everything, or parts with ``--only``. See docs/benchmarks.md for what comes out.

Exit codes: 0 every figure is within its bound; 1 some are not, or could not be measured; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from importlib import import_module
from typing import Any

from demo.cluster import ProcessError, SetupError

from .figures import RUNS, BenchError, Options
from .report import command_line, keep, load_1min, now, show

PARTS = ("failover", "switchover", "monitor", "page", "standby", "wire", "footprint", "replicate", "core")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure, and write docs/benchmarks.md.")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given several times")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each figure (default {RUNS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default 1)")
    parser.add_argument("--dry", action="store_true", help="show the figures, write no file")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: must be at least 1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the clusters too
    chosen = Options(runs=options.runs, seed=options.seed, say=lambda text: print(f"  {text}", flush=True))
    sections: dict[str, dict[str, Any]] = {}
    good = True
    for name in PARTS:
        if options.only and name not in options.only:
            continue
        print(f"{name} …", flush=True)
        facts = {"command": command_line(arguments), "date": now(), "load_before": load_1min()}
        start_s = time.monotonic()
        try:
            section = import_module(f".{name}", __package__).measure(chosen)
        except (BenchError, ProcessError, SetupError) as error:
            print(f"{name} could not be measured: {error}", file=sys.stderr)
            good = False
            continue
        show(section)
        took_s = time.monotonic() - start_s
        sections[name] = facts | {"load_after": load_1min(), "took_s": took_s, "section": section.to_json()}
        good = good and all(figure.verdict in ("", "PASS") for figure in section.figures)
        if not options.dry:
            keep(sections, list(PARTS))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
