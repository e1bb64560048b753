"""``make bench-peers``: the outage that a client sees, ours beside HAProxy and keepalived, on the same hosts of the lab.

    python -m tests.bench.peers --only ours --only HAProxy --faults kill        a piece; the others are kept

Needs root. Exit codes: 0 every figure is within its bound; 1 some are not, or could not be measured; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import http.client
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from demo.processes import ProcessError
from tests.lab.lan import LabError, Lan, missing
from tests.lab.site import VIP

from .figures import BenchError, Figure, Options, Section
from .peer_systems import CUT, FREEZE, KILL, LIMIT_S, NAMES, NODE, PACES, PORT, SYSTEMS, Ours, Pace, System
from .report import former, keep, load_1min, now, show
from .site import wait_for

PART = "peers"
POLL_S, ASK_LIMIT_S = 0.02, 0.12
ASKERS = round(ASK_LIMIT_S / POLL_S)  # so that one that waits for its limit delays no other
GOOD_S = 1.0  # served so long without a gap: the outage is over
RUNS = 5
SLACK_S = 0.3
FAULTS = {KILL: "kill -9 of the service", NODE: "kill -9 of everything", FREEZE: "frozen node", CUT: "LAN cut"}
OUTAGE, START = "outage", "service start as configured"
COUNTED = "ports with two owners"
ZERO = ("both said `ACTIVE`", COUNTED)
Values = dict[str, tuple[float, ...]]


class Client:
    """Asks one address every 20 ms, each time on a new connection, from the client's host. A good answer is ``ACTIVE``."""

    def __init__(self, lan: Lan, path: str) -> None:
        self._lan, self._path, self._stop = lan, path, threading.Event()
        self.looks: list[tuple[float, float, bool]] = []  # asked, answered, good
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(ASKERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(1.0)

    def _run(self, number: int) -> None:
        due_s = time.monotonic() + number * POLL_S
        with self._lan.inside("client"):
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                asked_s = time.monotonic()
                good = self._ask()
                self.looks.append((asked_s, time.monotonic(), good))
                due_s = max(due_s + ASKERS * POLL_S, time.monotonic())

    def _ask(self) -> bool:
        connection = http.client.HTTPConnection(VIP, PORT, timeout=ASK_LIMIT_S)
        try:
            connection.request("GET", self._path)
            answer = connection.getresponse()
            return answer.status == 200 and answer.read(64).strip() == b"ACTIVE"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def served(self, since_s: float) -> bool:
        """Every answer of the last second was good, and was asked after that."""
        now_s = time.monotonic()
        last = [good for asked_s, _, good in list(self.looks) if asked_s >= max(since_s, now_s - GOOD_S)]
        return now_s - since_s > GOOD_S and len(last) > GOOD_S / POLL_S / 2 and all(last)

    def outage_s(self, since_s: float) -> float:
        """The longest time without a good answer since then."""
        good = sorted(answered_s for _, answered_s, good in list(self.looks) if good and answered_s >= since_s)
        return max((b - a for a, b in zip([since_s, *good], good)), default=time.monotonic() - since_s)

    def failed(self, since_s: float) -> bool:
        """Some question since then had no good answer."""
        return any(not good for asked_s, _, good in list(self.looks) if asked_s >= since_s)


def measure(options: Options, systems: list[str], paces: list[str], faults: list[str]) -> Iterator[Values]:
    """Every single value by the name of its figure, one fault of one system at a time."""
    rng = random.Random(options.seed)
    for pace in paces:
        for name in systems:
            with SYSTEMS[name](PACES[pace]) as system, Client(system.lan, system.path) as client:
                for fault in faults:
                    runs = [run(system, client, fault, rng) for _ in range(options.runs)]
                    shown = ", ".join(f"{one[OUTAGE]:.2f}" for one in runs)
                    options.say(f"{name}, {pace}, {FAULTS[fault]}: {shown} s")
                    yield {figure_name(pace, fault, name, what): tuple(r[what] for r in runs) for what in runs[0]}
                if isinstance(system, Ours):
                    yield {f"{pace}, {START}": (system.start_s,)}


def run(system: System, client: Client, fault: str, rng: random.Random) -> dict[str, float]:
    """One fault at a random moment, until the client is served again; then it is taken back."""
    begun_s = time.monotonic()
    system.calm()
    wait_for(lambda: client.served(begun_s), LIMIT_S, "the client is served")
    time.sleep(rng.uniform(0.0, system.interval_s))
    system.calm()  # still so, else the fault would hit the one that nobody uses
    at_s = system.fault(fault)
    wait_for(lambda: client.failed(at_s), LIMIT_S, f"the client notices: {FAULTS[fault]}")
    wait_for(lambda: client.served(at_s + 2 * GOOD_S), LIMIT_S, f"the client is served again after: {FAULTS[fault]}")
    figures = {OUTAGE: client.outage_s(at_s)} | system.extra(at_s)
    system.heal()
    return figures


def figure_name(pace: str, fault: str, system: str, what: str) -> str:
    return f"{pace}, {FAULTS[fault]}: {system}" + ("" if what == OUTAGE else f", {what}")


def section_of(values: Values) -> Section:
    """With the bounds, as far as what they are made of is known."""
    return Section(
        title="Beside HAProxy and keepalived",
        how=(*(_how(pace, PACES[pace]) for pace in PACES), HOW, "\n".join(_table(values))),
        figures=tuple(_figures(values)),
    )


HOW = (
    "`make bench-peers`: seven hosts of network namespaces on one switch, made anew for each system; a client on one "
    "of them asks the VIP every 20 ms, each time on a new connection with a limit of 0.12 s. The outage is its "
    "longest time without a good answer after the fault, which comes at a random moment. **kill -9 of the service** "
    "is the death of what answers behind the VIP on the active node, and nothing restarts it: of the plain server, "
    "and of our portal. **kill -9 of everything** there has no bound beside HAProxy: it counts refused connections, "
    "and starts nothing; ours starts a service, and before that waits until the lease of the agent that died with the "
    "rest must have run out, since a refused connection does not prove that it is dead. **Frozen node**: every "
    "process there is stopped and its port is silent. **LAN cut**: its port is silent. The plain servers are one "
    "constant answer under the portal's own web server. Our VIP is a HAProxy that asks `/ft/active` every T, of a "
    "server that is down every T/4 but 50 ms at least; its delay is within our figures. Bound: HAProxy's median + 0.3 "
    "s + service start; two owners and two active: never. Two nodes with keepalived's VIP keep it for as long as the "
    "fault lasts, here until about 3 s after its begin. Pieces can be measured apart (`--only`, `--pace`, "
    "`--faults`); the line at the end is the last piece's."
)


def _how(pace: str, p: Pace) -> str:
    return (
        f"*{pace}*: ours T = {p.interval_s:g} s, N = {p.threshold}, t = {p.timeout_s:g} s, stop time {p.stop_s:g} s"
        + (", the fastest that no rule refuses (I-D)" if pace == "fastest" else "")
        + f"; HAProxy alone inter {1000 * p.haproxy_inter_s:g} ms, fall 3, timeout check {1000 * p.haproxy_inter_s:g} ms; "
        f"keepalived advert {p.advert_s:g} s, script {p.script_s:g} s × 3."
    )


def _table(values: Values) -> Iterator[str]:
    """Medians at a glance."""
    yield f"| system | setting | {' | '.join(FAULTS.values())} | both active seen |"
    yield "|---|---|" + "---|" * (len(FAULTS) + 1)
    for pace in PACES:
        for system in NAMES:
            cells = [values.get(figure_name(pace, fault, system, OUTAGE)) for fault in FAULTS]
            shown = [Figure(name="", unit="s", values=cell) for cell in cells if cell]
            if len(shown) == len(FAULTS):
                row = (f"{f.median:.2f} ({min(f.values):.2f} – {max(f.values):.2f})" for f in shown)
                yield f"| {system} | {pace} | {' | '.join(row)} | {_both(values, pace, system)} |"


def _both(values: Values, pace: str, system: str) -> str:
    if system == "HAProxy":
        return "– (the servers have no role)"
    what = "the VIP on both nodes" if system == "keepalived" else ZERO[0]
    seen = {FAULTS[f]: max(values.get(figure_name(pace, f, system, what), (0.0,))) for f in FAULTS}
    worst = ", ".join(f"{fault} {longest_s:.1f} s" for fault, longest_s in seen.items() if longest_s > 0)
    owners = sum(sum(values.get(figure_name(pace, f, system, COUNTED), ())) for f in FAULTS)
    return "; ".join(filter(None, (worst, f"{owners:.0f} ports with two owners" if owners else ""))) or "none"


def _figures(values: Values) -> Iterator[Figure]:
    for pace in PACES:
        start = values.get(f"{pace}, {START}")
        for fault in FAULTS:
            for system in NAMES:
                prefix = figure_name(pace, fault, system, OUTAGE)
                for name in (n for n in values if n == prefix or n.startswith(f"{prefix}, ")):
                    what = name.removeprefix(prefix).removeprefix(", ")
                    bound: float | None = 0.0 if what in ZERO else None
                    beside = values.get(figure_name(pace, fault, "HAProxy", OUTAGE))
                    if system == "ours" and not what and beside and start and fault != NODE:
                        bound = Figure(name="", unit="s", values=beside).median + SLACK_S + start[0]
                    whole = what == COUNTED
                    unit, digits = ("", 0) if whole else ("s", 2)
                    yield Figure(name=name, unit=unit, values=values[name], bound=bound, digits=digits)
        if start:
            yield Figure(name=f"{pace}, {START}", unit="s", values=start)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers", description="Ours beside HAProxy and keepalived."
    )
    parser.add_argument("--only", action="append", choices=NAMES, help="this system; may be given several times")
    parser.add_argument(
        "--pace", action="append", choices=tuple(PACES), help="this setting; may be given several times"
    )
    parser.add_argument(
        "--faults", action="append", choices=tuple(FAULTS), help="this fault; may be given several times"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each figure (default {RUNS})")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments (default 1)")
    parser.add_argument("--dry", action="store_true", help="show the figures, write no file")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: must be at least 1")
    if why := missing():
        parser.error(why)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the hosts too
    facts = {
        "command": f"python -m tests.bench.peers {' '.join(arguments)}" if arguments else "make bench-peers",
        "date": now(),
        "load_before": load_1min(),
    }
    chosen = Options(runs=options.runs, seed=options.seed, say=lambda text: print(f"  {text}", flush=True))
    start_s = time.monotonic()
    known = former().get(PART)
    old: Values = {f.name: f.values for f in Section.from_json(known["section"]).figures} if known else {}
    new: Values = {}
    code = 0
    try:
        chosen_faults = options.faults or list(FAULTS)
        for piece in measure(chosen, options.only or list(NAMES), options.pace or list(PACES), chosen_faults):
            new |= piece
            if not options.dry:
                took = {"load_after": load_1min(), "took_s": time.monotonic() - start_s}
                keep({PART: facts | took | {"section": section_of(old | new).to_json()}}, [])
    except (BenchError, ProcessError, LabError, AssertionError) as error:
        print(f"could not be measured: {error}", file=sys.stderr)
        code = 1
    section = section_of(old | new)
    show(section)
    return code or int(any(f.verdict not in ("", "PASS") for f in section.figures if f.name in new))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
