"""``make soak``: random faults from a seed against the real stack at T = t = 1 s, N = 3, and what was promised meanwhile.

    python -m tests.lab.soak --minutes 20 --seed 1             [--witness] [--write]
    python -m tests.lab.soak --minutes 20 --quiet              no faults, but four busy loops: nothing may switch

A round is one or two faults at a time (``soak_faults``), each healed after a while. Then the pair must come back by
itself to exactly one active server with its service, which the VIP leads to, and stay so while it is quiet. What is
promised is in ``soak_judge``. Exit codes: 0 all of it held; 1 something did not, and the timeline is kept; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Callable, Iterator
from unittest import mock

from demo.processes import ProcessError
from tests.bench.report import ROOT, keep, load_1min, now, show
from tests.integration.cluster.harness import SETTLE_S, eventually, nothing_for

from .lan import LabError, missing
from .site import Site
from .soak_faults import Placed, Round, next_round
from .soak_judge import Bounds, Done, judge, length_s, total_s
from .soak_summary import Summary, section_of

INTERVAL_S, TIMEOUT_S, THRESHOLD = 1.0, 1.0, 3
BUSY_LOOPS = 4
SWITCHES_MAX = 100_000  # of the journal
FIRST_LIMIT_S = 60.0
STALL_LOOK_S = 0.05
DIRECTORY = ROOT / "instance" / "soak"
# A soak kills the service more often than its watchdog takes for bad luck; giving it up has tests of its own.
WATCHDOG = {"FT_WATCHDOG_RESTARTS_MAX": "1000"}


class Stalls:
    """How long the machine did not run a thread that was due: a bound that is missed by less may be its fault."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._stop = threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        looking = threading.Thread(target=self._look, name="stalls", daemon=True)
        looking.start()
        try:
            yield
        finally:
            self._stop.set()
            looking.join(1.0)

    def _look(self) -> None:
        due_s = time.monotonic() + STALL_LOOK_S
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            self.longest_s = max(self.longest_s, time.monotonic() - due_s)
            due_s = time.monotonic() + STALL_LOOK_S


class Soak:
    """A running soak on a site. ``say`` shows progress."""

    def __init__(self, site: Site, summary: Summary, say: Callable[[str], None]) -> None:
        self.site, self.summary, self._say = site, summary, say
        self.bounds = summary.bounds
        self._before = self._promotions()
        self._began_s = time.monotonic()

    # --- with faults

    def run(self, seconds: float) -> None:
        """Rounds until the time is over, one at least."""
        rng = random.Random(self.summary.seed)
        while True:
            self.round(next_round(rng, witness=self.summary.witness))
            if time.monotonic() - self._began_s >= seconds:
                return

    def round(self, planned: Round) -> None:
        """Faults, the way back, quiet, judgement."""
        summary, since_s = self.summary, time.monotonic()
        summary.rounds += 1
        self.site.note(f"ROUND {summary.rounds}")
        before = self.site.timeline.active_at(since_s - 0.1)
        done = self._inject(planned.faults)
        healed_s = time.monotonic()
        seen = len(summary.violations)
        active = self._come_back(healed_s)
        if active:
            self._stay(active, planned.quiet_s)
        verdict = judge(self.site.timeline, since_s, done, self.bounds, witness=summary.witness)
        summary.violations += [f"round {summary.rounds}: {violation}" for violation in verdict.violations]
        summary.none_s += total_s(verdict.none)
        longest_s = max(map(length_s, verdict.outside), default=0.0)
        summary.none_outside_longest_s = max(summary.none_outside_longest_s, longest_s)
        summary.both_allowed_s += verdict.both_allowed_s
        summary.both_s += verdict.both_s
        summary.owners_allowed += verdict.owners_allowed
        summary.owners += verdict.owners
        summary.promotions, summary.lasted_s = self._promotions() - self._before, time.monotonic() - self._began_s
        self._failover(done, before)
        kinds = " + ".join(d.fault.kind for d in done) or "nothing"
        back = f"back after {summary.returns_s[-1]:.1f} s" if active else "not back"
        self._say(f"{since_s - self._began_s:6.0f} s  round {summary.rounds}: {kinds}; {back}, active {active}")
        for violation in summary.violations[seen:]:
            self._say(f"VIOLATION {violation}")
        if not active:
            self._rescue()

    def _inject(self, faults: tuple[Placed, ...]) -> list[Done]:
        """Begin and end each when its time has come, in this thread: it outlives the supervisors that it starts."""
        start_s, done = time.monotonic(), {}
        acts = [(p.from_s, 0, n) for n, p in enumerate(faults)] + [(p.to_s, 1, n) for n, p in enumerate(faults)]
        for at_s, end, number in sorted(acts):
            fault = faults[number].fault
            time.sleep(max(0.0, start_s + at_s - time.monotonic()))
            if not end:
                done[number] = Done(fault=fault, begun_s=time.monotonic())
                self.summary.faults[fault.kind] += 1
            act = fault.end if end else fault.begin
            try:
                if act is not None:
                    act(self.site)
            except ProcessError as error:  # it is being restarted by its supervisor just now
                self.site.note(f"{fault.kind} could not be {'ended' if end else 'done'}: {error}")
                self.summary.skipped[fault.kind] += 1
            if end:
                done[number].ended_s = time.monotonic()
        return list(done.values())

    def _come_back(self, healed_s: float) -> int:
        """The active server, when exactly one is, with its service, the VIP leads to it and both are healthy; or 0.

        It must stay so for a while: a lease may be about to run out, and what a node last saw may be T old.
        """
        site, summary = self.site, self.summary
        active, since_s = self._active(), time.monotonic()
        while not active or time.monotonic() - since_s < self.bounds.calm_s:
            if time.monotonic() - healed_s > self.bounds.back_s + (self.bounds.calm_s if active else 0.0):
                what = f"not one active, served by the VIP, within {self.bounds.back_s:.1f} s after healing"
                summary.violations.append(f"round {summary.rounds}: {what}: VIP {site.served()}; {site.pair.story()}")
                return 0
            time.sleep(0.1)
            if (found := self._active()) != active:
                active, since_s = found, time.monotonic()
        summary.returns_s.append(since_s - healed_s)
        end_s = time.monotonic() + SETTLE_S
        while problems := site.pair.problems(active):
            if time.monotonic() > end_s:
                summary.violations.append(f"round {summary.rounds}: not healthy in {SETTLE_S:g} s: {problems}")
                return 0
            site.pair.release_hold()  # of a switchover: an administrator's act
            time.sleep(0.1)
        return active

    def _active(self) -> int:
        """The one active server, 0 when not exactly one is or its service or the VIP is not there."""
        site = self.site
        return next((n for n in site.nodes if site.pair.active_on(n) and site.served() == f"server{n} ACTIVE"), 0)

    def _stay(self, active: int, quiet_s: float) -> None:
        """Nothing moves while it is quiet."""
        since_s = time.monotonic()
        nothing_for(quiet_s)
        words = {n: self.site.timeline.words(n, since_s) for n in self.site.nodes}
        if words != {active: ["ACTIVE"], 3 - active: ["STANDBY"]}:
            self.summary.violations.append(f"round {self.summary.rounds}: the roles moved while it was quiet: {words}")

    def _failover(self, done: list[Done], before: list[int]) -> None:
        """How long it took, when the one fault of a round took away the active server."""
        if len(done) != 1 or len(before) != 1 or done[0].fault.away != {f"node{before[0]}"}:
            return
        other_s = self.site.timeline.first(3 - before[0], "ACTIVE", done[0].begun_s)
        if other_s is not None and other_s < done[0].ended_s:
            self.summary.failovers_s.append(other_s - done[0].begun_s)

    def _rescue(self) -> None:
        """By what an administrator could do, so that the next round means something. AssertionError if that fails."""
        self.site.bring_back()

    # --- without

    def run_quiet(self, seconds: float) -> None:
        """Nothing but load, then a kill of the active node as the positive control."""
        summary, since_s = self.summary, time.monotonic()
        with busy():
            while time.monotonic() - self._began_s < seconds:
                time.sleep(min(10.0, seconds))
            verdict = judge(self.site.timeline, since_s, [], self.bounds, witness=summary.witness)
            summary.violations += verdict.violations
            summary.none_s, summary.both_s, summary.owners = total_s(verdict.none), verdict.both_s, verdict.owners
            summary.promotions = self._promotions() - self._before
            if summary.promotions:
                summary.violations.append(f"promotions without a fault, by rule: {dict(summary.promotions)}")
            self._say("nothing was done; now the control: the active node is killed")
            active = self.site.timeline.active_at(time.monotonic() - 1.0)
            if len(active) != 1:
                summary.violations.append(f"not one active server before the control: {active}")
                return
            at_s, other = self.site.kill_node(active[0]), 3 - active[0]
            eventually(
                lambda: self.site.timeline.first(other, "ACTIVE", at_s),
                self.bounds.failover_s,
                lambda: f"the control: server{other} takes over; {self.site.pair.story()}",
            )
        summary.faults["kill node (control)"] += 1
        summary.failovers_s.append((self.site.timeline.first(other, "ACTIVE", at_s) or at_s) - at_s)
        self.site.start_node(active[0])
        self.site.pair.wait_healthy(other)

    # --- the end

    def close(self) -> None:
        """Count what only the end shows."""
        summary = self.summary
        summary.lasted_s = time.monotonic() - self._began_s
        for node in self.site.nodes:
            if still := self.site.pair.portals[node].journal.unfinished():
                summary.violations.append(f"the journal of server{node} has open switches: {still}")

    def _promotions(self) -> Counter[str]:
        """Promotions that were done, by rule, of both nodes."""
        switches = (s for n in self.site.nodes for s in self.site.pair.journal(n, SWITCHES_MAX))
        return Counter(s["rule"] for s in switches if s["kind"] == "promote" and s["outcome"] == "done")


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Four busy loops on the cores of this machine."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait(5)


def soak(
    seconds: float, seed: int, *, witness: bool, quiet: bool, directory: pathlib.Path, say: Callable[[str], None]
) -> Summary:
    """Run one. Its timeline is kept in ``directory`` after a violation, with the files of the nodes.

    Raises LabError or ProcessError when the lab itself fails.
    """
    shutil.rmtree(directory, ignore_errors=True)
    settings = {"flap_budget": 1000}
    made = Site(
        directory, interval_s=INTERVAL_S, timeout_s=TIMEOUT_S, threshold=THRESHOLD, witness=witness, settings=settings
    )
    stalls = Stalls()
    with mock.patch.dict(os.environ, WATCHDOG), made as site, stalls.watched():
        site.pair.wait_healthy(1, FIRST_LIMIT_S)
        bounds = Bounds.of(site.pair.settings())
        summary = Summary(seed=seed, witness=witness, quiet=quiet, bounds=bounds)
        running = Soak(site, summary, say)
        try:
            (running.run_quiet if quiet else running.run)(seconds)
            running.close()
        except AssertionError as error:  # the pair cannot be brought back, so no further round would mean anything
            summary.violations.append(str(error))
        finally:
            summary.stall_s = stalls.longest_s
            if summary.violations or sys.exc_info()[0]:
                summary.timeline = site.directory / "timeline.txt"
                site.timeline.write(summary.timeline)
    if not summary.violations:
        site.remove_files()
    return summary


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.soak", description="Random faults against the real stack."
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1, help="of the faults and their moments")
    parser.add_argument("--witness", action="store_true", help="with a third voter")
    parser.add_argument("--quiet", action="store_true", help="no faults, but four busy loops: nothing may switch")
    parser.add_argument("--write", action="store_true", help="keep the summary in docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes:g}: must be more than 0")
    if why := missing():
        parser.error(why)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the site too
    facts = {
        "command": f"python -m tests.lab.soak {' '.join(arguments)}".strip(),
        "date": now(),
        "load_before": load_1min(),
    }
    name = f"soak{'-quiet' if options.quiet else ''}{'-witness' if options.witness else ''}"
    kind = {"witness": options.witness, "quiet": options.quiet}
    try:
        summary = soak(
            60 * options.minutes,
            options.seed,
            directory=DIRECTORY / name,
            say=lambda text: print(text, flush=True),
            **kind,
        )
    except (LabError, ProcessError, AssertionError) as error:
        print(f"the lab failed, so nothing is known: {error}; see {DIRECTORY / name}", file=sys.stderr)
        return 1
    section = section_of(summary)
    show(section)
    for violation in summary.violations:
        print(f"VIOLATION {violation}")
    if summary.timeline is not None:
        print(f"timeline: {summary.timeline}")
    if options.write:
        took = {"load_after": load_1min(), "took_s": summary.lasted_s}
        keep({name: facts | took | {"section": section.to_json()}}, [])
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
