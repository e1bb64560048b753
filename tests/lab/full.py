"""``make lab-full``: every fault, crash and race in every variant that matters, and the table of it in docs/lab.md.

    make lab-full                                    everything, some hours
    make lab-full ARGS="--only 'node killed'"        those lines whose section, name or variant contain the words
    make lab-full ARGS="--only isolation --runs 3"   and so many runs each
    make lab-full ARGS=--missing                     only what the table has no line of, or one of fewer runs
    make lab-full ARGS=--list

Each line is kept in docs/lab.json as soon as it is measured, so a run may be ended and gone on with. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Iterator, Sequence

from .lan import missing
from .matrix import Job, jobs
from .site import Site
from .test_crashes import mortal_workers
from .timeline import Timeline

DOCS = pathlib.Path(__file__).parents[2] / "docs"
TABLE, MEASURED = DOCS / "lab.md", DOCS / "lab.json"
WHY_CHARACTERS_MAX = 160
SECTIONS = {
    "faults": "One fault, and its end. *active* is who was active, in order.",
    "isolation": "The active node, without a witness, is cut from the LAN in silence; the other one must not start before it"
    " has stopped. The two take turns.",
    "races": "Two things at once.",
    "crashes": "kill -9 of the switch worker before and after each durable write of `ftplugin/core/sequence.py`, and of the"
    " journal's closing write. `switchover`: server1 and server2 are both healthy; `failover`: the active one is off.",
    "quiet": "A bad LAN and no fault: nothing may switch. Then the active node dies on that same LAN, and the other takes over.",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. ``both_allowed``: what the product promises for this variant (I-C)."""

    section: str
    name: str
    variant: str
    date: str
    runs: int
    good: int
    active: list[str]
    none_s: float
    both_s: float
    both_allowed: str
    why: str

    @property
    def key(self) -> str:
        return f"{self.section} / {self.name} / {self.variant}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one run. ``why``: empty when it was as it should be."""

    active: list[str]
    none_s: float
    both_s: float
    why: str


class Runner:
    """Keeps one site at a time, and begins with a new one after a run that went wrong."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory, self._wanted = directory, ""
        self.site: Site | None = None
        self._undo = contextlib.ExitStack()

    def end(self) -> None:
        self.site = None
        self._undo.close()

    def get(self, job: Job) -> Site:
        wanted = repr((sorted(job.options.items()), job.mortal))
        if self.site is None or wanted != self._wanted:
            self.end()
            place = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
            self._undo.callback(
                shutil.rmtree, place, ignore_errors=True
            )  # after the site has ended; its timeline is kept
            site = self._undo.enter_context(Site(place, **job.options))
            site.bring_back()
            if job.mortal:
                self._undo.enter_context(mortal_workers(site))
            self.site, self._wanted = site, wanted
        return self.site

    def once(self, job: Job, number: int) -> Outcome:
        """One run of a job. A run that does not bring its site back costs it the site, nothing else."""
        site = self.get(job)
        if number == 0 or job.section != "isolation":  # there the roles go to and fro
            site.bring_back()
        began_s, why = site.note(f"RUN {job.key}"), ""
        try:
            job.run(site)
        except Exception as error:  # whatever it is, it is this line's result, and the next line is still wanted
            why = first_line(error)
        timeline = site.timeline
        both, doubled = timeline.both_active_s(began_s), timeline.owners_doubled(began_s)
        if not job.until_healed and (both.times or doubled):
            why = f"both active {both.total_s:.2f} s, ports with two owners {len(doubled)} times; {why}"
        outcome = Outcome(
            active=servers(timeline, began_s),
            none_s=round(timeline.none_active_s(began_s).longest_s, 2),
            both_s=round(both.total_s, 2),
            why=why[:WHY_CHARACTERS_MAX],
        )
        if why:
            file = self.directory / f"{re.sub(r'[^A-Za-z0-9]+', '_', job.key)}_{number}.txt"
            timeline.write(file, began_s)
            print(f"    {why}\n    timeline: {file}", flush=True)
            with contextlib.suppress(
                Exception
            ):  # what ends badly here is said by the next start, which checks its place
                self.end()
        return outcome


def first_line(error: BaseException) -> str:
    """One line without bars, for a cell of the table."""
    return f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")


def servers(timeline: Timeline, since_s: float) -> list[str]:
    found: list[str] = []
    for line in timeline.roles(since_s):
        server, _, word = line.partition(" ")
        if word == "ACTIVE" and found[-1:] != [server]:
            found.append(server)
    return found


def run(runner: Runner, job: Job, runs: int) -> Row:
    """All runs of a job as one line: the worst times, the first reason."""
    outcomes = [runner.once(job, number) for number in range(runs)]
    bad = [o for o in outcomes if o.why]
    shown = bad[0] if bad else outcomes[0]
    return Row(
        section=job.section,
        name=job.name,
        variant=job.variant,
        date=time.strftime("%Y-%m-%d"),
        runs=runs,
        good=runs - len(bad),
        active=shown.active,
        none_s=max(o.none_s for o in outcomes),
        both_s=max(o.both_s for o in outcomes),
        both_allowed="until healed" if job.until_healed else "0",
        why=bad[0].why if bad else "",
    )


# --- the files


def measured() -> dict[str, Row]:
    """What was kept, by key."""
    if not MEASURED.exists():
        return {}
    return {row.key: row for row in (Row(**values) for values in json.loads(MEASURED.read_text()))}


def keep(rows: dict[str, Row], order: Sequence[str]) -> None:
    """Both files, lines in the order of the jobs; a line of a job that is no more is dropped."""
    kept = [rows[key] for key in order if key in rows]
    MEASURED.write_text(json.dumps([asdict(row) for row in kept], indent=1) + "\n")
    TABLE.write_text("\n".join(lines(kept, len(order))) + "\n")


def lines(rows: Sequence[Row], wanted: int) -> Iterator[str]:
    bad = [row for row in rows if row.good < row.runs]
    yield "# Fault lab: the whole matrix\n"
    yield "Written by `make lab-full`, which says how it is run in parts; the lines themselves are in `lab.json`.\n"
    yield f"{len(rows)} of {wanted} lines measured, {len(bad)} of them not as they should be. {os.cpu_count()} cores.\n"
    yield "Times are in seconds, the longest of all runs, from samples 20 ms apart. *none*: nobody said ACTIVE, at a stretch."
    yield "*both*: both said ACTIVE, and what is allowed."
    for section, text in SECTIONS.items():
        found = [row for row in rows if row.section == section]
        if not found:
            continue
        yield f"\n## {section.capitalize()}\n\n{text}\n"
        yield "| what | variant | active | none | both | allowed | ok | date |"
        yield "|---|---|---|---|---|---|---|---|"
        for row in found:
            active = ", ".join(row.active) or "nobody"
            good = "yes" if row.good == row.runs else "**no**"
            ok = good if row.runs == 1 else f"{row.good} of {row.runs}"
            yield (
                f"| {row.name} | {row.variant} | {active} | {row.none_s:.2f} | {row.both_s:.2f} | {row.both_allowed} |"
                f" {ok}{f': {row.why}' if row.why else ''} | {row.date} |"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """0: every line that was run is as it should be; 1: some are not; 2: it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.full", description="The whole matrix of the fault lab.")
    parser.add_argument("--only", action="append", default=[], help="words a line must contain; again: other words too")
    parser.add_argument("--runs", type=int, default=0, help="of each line, instead of its own number")
    parser.add_argument("--missing", action="store_true", help="only lines not in the table, or with fewer runs")
    parser.add_argument("--list", action="store_true", help="say what would be run")
    options = parser.parse_args(argv)
    every = jobs()
    order, rows = [job.key for job in every], measured()
    chosen = [job for job in every if not options.only or any(words in job.key for words in options.only)]
    chosen = [job for job in chosen if not (options.missing and job.key in rows and rows[job.key].runs >= job.runs)]
    chosen.sort(key=lambda job: (repr(sorted(job.options.items())), job.mortal))  # one site after the other
    if options.list or not chosen:
        print("\n".join(f"{job.key} ({options.runs or job.runs} runs)" for job in chosen) or "no line has these words")
        return 0
    if why := missing():
        print(f"the lab cannot run here: {why}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the site is taken down
    runner, good = Runner(pathlib.Path(tempfile.mkdtemp(prefix="ft-lab-full-"))), True
    try:
        for number, job in enumerate(chosen, 1):
            print(f"{number}/{len(chosen)} {job.key}", flush=True)
            row = rows[job.key] = run(runner, job, options.runs or job.runs)
            keep(rows, order)
            good = good and row.good == row.runs
    finally:
        runner.end()
        with contextlib.suppress(OSError):  # timelines of what went wrong are in it
            runner.directory.rmdir()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
