"""Who was active when: samples of a site every 20 ms, and one file per run that a person can read.

A node is asked on its own host, so that a cut LAN hides nothing, and now and then by the client; the client also asks the
VIP. Who owned the ports is not sampled: the call manager's own history is exact. Times are CLOCK_MONOTONIC, seconds.

Equal answers in a row are one ``Run``. An answer is true at some moment between asking and answering. So a run proves its
word from the *answer* to its first question until the *asking* of its last one, and no longer than from its first asking
until its last answer. "Both active" is counted by what is proven, "none active" and outages by what is not.
"""

from __future__ import annotations

import pathlib
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator, Protocol, Sequence

from demo.oracle import Overlap, overlaps, read_history
from workers.adapters.http_client import HttpClient, HttpFailure

from .lan import Lan

PERIOD_S = 0.02
FROM_CLIENT_PERIOD_S = 0.1
ASK_LIMIT_S = 0.3
BODY_BYTES_MAX = 4096
END_LIMIT_S = 5.0
MONITOR = "/ft/monitor?mod=FT"
ACTIVE = "ACTIVE"
NO_ANSWER = "no answer"
SERVED_BY = "X-Served-By"  # set by the demo's HAProxy


class Places(Protocol):
    """What a timeline asks of a site."""

    @property
    def lan(self) -> Lan: ...

    @property
    def nodes(self) -> tuple[int, int]: ...

    @property
    def history(self) -> pathlib.Path: ...

    @property
    def vip(self) -> str:
        """ADDRESS:PORT."""

    def portal(self, node: int) -> str:
        """ADDRESS:PORT."""

    def server_at(self, address: str) -> str:
        """Name of the node whose network card answers for that address to the calling thread's host; or empty."""


@dataclass(kw_only=True, slots=True)
class Run:
    """Equal answers in a row."""

    word: str
    asked_s: float  # first question
    answered_s: float
    last_asked_s: float
    last_answered_s: float

    @property
    def proven(self) -> tuple[float, float]:
        return self.answered_s, self.last_asked_s

    @property
    def widest(self) -> tuple[float, float]:
        return self.asked_s, self.last_answered_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """How long something was so: in all, at most at a time, and how many times."""

    total_s: float
    longest_s: float
    times: int

    @classmethod
    def of(cls, lengths_s: Sequence[float]) -> Stretch:
        return cls(total_s=sum(lengths_s), longest_s=max(lengths_s, default=0.0), times=len(lengths_s))


class Asker:
    """GET on one kept connection, within ASK_LIMIT_S in all: a server that drips must not blind the timeline."""

    def __init__(self, address: str) -> None:
        self._url, self._client = f"http://{address}", HttpClient()

    def ask(self) -> tuple[int, str, str]:
        """(status, body, name of the server that the balancer chose); status 0 without an answer."""
        try:
            answer = self._client.ask("GET", self._url, MONITOR, limit_s=ASK_LIMIT_S, bytes_max=BODY_BYTES_MAX)
        except HttpFailure:
            return 0, "", ""
        return answer.status, answer.text.strip(), answer.headers.get(SERVED_BY.lower(), "")

    def close(self) -> None:
        self._client.close()


class Track:
    """One question, asked at a fixed rate by a thread on one host; its answers as runs."""

    def __init__(self, name: str, period_s: float) -> None:
        self.name, self._period_s = name, period_s
        self.runs: list[Run] = []

    def follow(self, ask: Callable[[], str], stop: threading.Event) -> None:
        """Until ``stop``."""
        due_s = time.monotonic()
        while not stop.wait(max(0.0, due_s - time.monotonic())):
            asked_s = time.monotonic()
            word = ask()
            self._add(word, asked_s, time.monotonic())
            due_s = max(due_s + self._period_s, time.monotonic())

    def _add(self, word: str, asked_s: float, answered_s: float) -> None:
        last = self.runs[-1] if self.runs else None
        if last is not None and last.word == word:
            last.last_asked_s, last.last_answered_s = asked_s, answered_s
        else:
            times = {"asked_s": asked_s, "answered_s": answered_s}
            times |= {"last_asked_s": asked_s, "last_answered_s": answered_s}
            self.runs.append(Run(word=word, **times))

    def since(self, since_s: float) -> list[Run]:
        """Runs that were still asked for after that."""
        return [run for run in list(self.runs) if run.last_asked_s >= since_s]


class Timeline:
    """Samples a site from ``start`` to ``stop``, and takes a note of every fault."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.started_s = time.monotonic()
        self.notes: list[tuple[float, str]] = []
        self.own = {node: Track(f"server{node}", PERIOD_S) for node in places.nodes}
        self.from_client = {node: Track(f"server{node}, by client", FROM_CLIENT_PERIOD_S) for node in places.nodes}
        self.vip = Track("VIP", PERIOD_S)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        for node in self._places.nodes:
            address = self._places.portal(node)
            self._follow(self.own[node], f"node{node}", address, self._word)
            self._follow(self.from_client[node], "client", address, self._word)
        self._follow(self.vip, "client", self._places.vip, self.served)

    def _follow(self, track: Track, host: str, address: str, word: Callable[[tuple[int, str, str]], str]) -> None:
        def work() -> None:
            asker = Asker(address)
            with self._places.lan.inside(host):
                track.follow(lambda: word(asker.ask()), self._stop)
            asker.close()

        thread = threading.Thread(target=work, name=f"timeline {track.name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    @staticmethod
    def _word(answer: tuple[int, str, str]) -> str:
        status, body, _ = answer
        return body if status == 200 else f"HTTP {status}" if status else NO_ANSWER

    def served(self, answer: tuple[int, str, str]) -> str:
        """``server1 ACTIVE``: who answered at the VIP, and what."""
        status, _, server = answer
        word = self._word(answer)
        if status != 200:
            return word
        return f"{server or self._places.server_at(self._places.vip.rpartition(':')[0])} {word}"

    def stop(self) -> None:
        """End every thread. RuntimeError naming those that do not."""
        self._stop.set()
        end_s = time.monotonic() + END_LIMIT_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        if alive := [thread.name for thread in self._threads if thread.is_alive()]:
            raise RuntimeError(f"threads did not end within {END_LIMIT_S} s: {alive}")

    def note(self, text: str) -> float:
        """A line of its own, for faults. Its time."""
        at_s = time.monotonic()
        self.notes.append((at_s, text))
        return at_s

    # --- questions

    def both_active(self, since_s: float = 0.0) -> list[tuple[float, float]]:
        """Times (from, to) in which both nodes are proven to have answered ACTIVE.

        An answer that stands alone counts, with no length, when the other was ACTIVE before its asking and after its answer.
        """
        one, two = ([r for r in self.own[n].since(since_s) if r.word == ACTIVE] for n in self._places.nodes)
        found = []
        for a in one:
            for b in two:
                from_s = max(a.proven[0], b.proven[0], since_s)
                to_s = min(a.proven[1], b.proven[1])
                if to_s > from_s:
                    found.append((from_s, to_s))
                elif any(x.asked_s == x.last_asked_s and _within(x.widest, y.proven) for x, y in ((a, b), (b, a))):
                    found.append((from_s, from_s))
        return found

    def both_active_s(self, since_s: float = 0.0) -> Stretch:
        """How long both nodes are proven to have answered ACTIVE since then."""
        return Stretch.of([to_s - from_s for from_s, to_s in self.both_active(since_s)])

    def none_active(self, since_s: float) -> list[tuple[float, float]]:
        """Times (from, to) since then in which no node is known to have answered ACTIVE on its own host."""
        return _uncovered(
            [run for track in self.own.values() for run in track.since(since_s) if run.word == ACTIVE], since_s
        )

    def none_active_s(self, since_s: float) -> Stretch:
        """How long no node is known to have answered ACTIVE since then."""
        return Stretch.of([to_s - from_s for from_s, to_s in self.none_active(since_s)])

    def outage_s(self, since_s: float) -> Stretch:
        """Time since then in which the client got no ACTIVE server at the VIP."""
        served = [run for run in self.vip.since(since_s) if run.word.endswith(f" {ACTIVE}")]
        return Stretch.of([to_s - from_s for from_s, to_s in _uncovered(served, since_s)])

    def active_at(self, at_s: float) -> list[int]:
        """Nodes that said ACTIVE around that time, before and after it."""
        runs = {n: [r for r in list(t.runs) if r.asked_s <= at_s <= r.last_answered_s] for n, t in self.own.items()}
        return [node for node, found in runs.items() if any(run.word == ACTIVE for run in found)]

    def words(self, node: int, since_s: float) -> list[str]:
        """What the node answered on its own host since then, without repetitions."""
        return [run.word for run in self.own[node].since(since_s)]

    def roles(self, since_s: float) -> list[str]:
        """``server1 ACTIVE`` and so on for every change of an answer since then, in the order in which they came."""
        runs = [(run.answered_s, track.name, run.word) for track in self.own.values() for run in track.since(since_s)]
        return [f"{name} {word}" for _, name, word in sorted(runs)]

    def first(self, node: int, word: str, since_s: float) -> float | None:
        """When the node first answered so to a question asked after that, on its own host."""
        for run in self.own[node].since(since_s):
            if run.word == word:
                return run.answered_s if run.asked_s >= since_s else since_s
        return None

    def last(self, node: int, word: str, since_s: float = 0.0) -> float | None:
        """When the node last answered so; None: not since then."""
        runs = [run for run in self.own[node].since(since_s) if run.word == word]
        return runs[-1].last_answered_s if runs else None

    def owners_doubled(self, since_s: float = 0.0) -> list[Overlap]:
        """Every time since then at which the call manager had two owners of one port."""
        found = overlaps(read_history(self._places.history))
        return [overlap for overlap in found if overlap.to_s is None or overlap.to_s >= since_s]

    # --- the file

    def lines(self, since_s: float = 0.0) -> Iterator[str]:
        """One line for each change, with seconds since the start of the run."""
        events: list[tuple[float, str, str]] = [(at_s, "--- FAULT", text) for at_s, text in self.notes]
        for track in (*self.own.values(), *self.from_client.values(), self.vip):
            events += [(max(run.answered_s, since_s), track.name, run.word) for run in track.since(since_s)]
        for interval in read_history(self._places.history):
            port = f"port {interval.port}"
            events.append((interval.from_s, "call manager", f"{port} is {interval.owner}'s"))
            if interval.to_s is not None:
                events.append((interval.to_s, "call manager", f"{port}: {interval.owner}, {interval.ended_by}"))
        for at_s, who, what in sorted(events):
            if at_s >= since_s:
                yield f"{at_s - self.started_s:10.3f}  {who:<19} {what}"

    def write(self, path: pathlib.Path, since_s: float = 0.0) -> None:
        """The whole story since then into a file."""
        since_s = max(since_s, self.started_s)
        both, none, out = self.both_active_s(since_s), self.none_active_s(since_s), self.outage_s(since_s)
        head = (
            "Seconds since the start of the run; each line is a change. A server's answer is what it said on its own host.\n"
            f"both active {both.total_s:.3f} s ({both.times} times), none active {none.total_s:.3f} s (longest"
            f" {none.longest_s:.3f} s), outage at the VIP {out.total_s:.3f} s (longest {out.longest_s:.3f} s),"
            f" ports with two owners {len(self.owners_doubled(since_s))} times\n\n"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + "\n".join(self.lines(since_s)) + "\n", encoding="utf-8")


def _within(inner: tuple[float, float], outer: tuple[float, float]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _uncovered(runs: Sequence[Run], since_s: float) -> list[tuple[float, float]]:
    """Times since then that none of the runs covers, from the last answer of one to the first answer of the next."""
    found, covered_s = [], since_s
    for run in sorted(runs, key=lambda r: r.answered_s):
        if run.answered_s - covered_s > 2 * PERIOD_S + ASK_LIMIT_S / 10:
            found.append((covered_s, run.answered_s))
        covered_s = max(covered_s, run.last_answered_s)
    if (now_s := time.monotonic()) - covered_s > ASK_LIMIT_S:
        found.append((covered_s, now_s))
    return found
