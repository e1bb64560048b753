"""Who asks the monitor: address, question, how often. Kept in each process, written to Redis beside the answers.

Noting costs an answer a dictionary and one clock; it writes nothing itself. At most once a second a thread of the process
writes what is new, one string for each process, that Redis forgets after a while. ``mod=NONE`` and ``/live`` touch no Redis:
they are noted in the process alone, and go out with what the next other question brings, such as the peer's heartbeat.

A portal of several processes gets a prober's questions in turn. Each keeps the last moments of each prober, and a reader
puts them together: what it takes is the time since which no process has forgotten any.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftplugin.core.settings import Settings

from .compare import down_s
from .plan import ROLE_ASKS, ROLE_S_MIN

MOMENTS = 8  # kept of each prober: seven intervals
PROBERS_MAX = 32  # of a process; one more takes the place of one that has long been silent, or is not noted
SILENT_S = 600.0
FLUSH_S = 1.0
CLOSE_LIMIT_S = 2.0
PROCESSES = 256  # documents; a process takes one by its number
FAILURES_ASSUMED = 3  # what most balancers do unless told otherwise
QUIET_INTERVALS = 5  # without a question: it has stopped asking
DRIFT_SHARE = 0.2  # of the interval
STEADY_GAPS, STEADY_SHARE = 5, 0.15  # so many gaps, of which at most a third differ by more than this from the others
ROLE_QUESTIONS = ("active", "standby", "monitor?mod=FT")
FORGET_S = 3600.0  # after its last question a prober is shown no more


@dataclass(frozen=True, kw_only=True, slots=True)
class Prober:
    """One address with one question. ``age_s``: since its last one; ``interval_s`` None: it has asked once.

    seen_as: HAProxy's own word of this server (send-state), as "UP"; empty for others. steady: it asks by a clock of its own, and
    not when somebody wants a page, as a browser or NGINX that asks with users' requests.
    """

    address: str
    question: str
    interval_s: float | None
    age_s: float
    seen_as: str = ""
    steady: bool = True

    @property
    def quiet(self) -> bool:
        """It asked often, and has stopped."""
        return self.interval_s is not None and self.age_s > QUIET_INTERVALS * max(self.interval_s, FLUSH_S)


class Probers:
    """What one process has seen. publish: writes a document of that name, and never raises."""

    def __init__(self, publish: Callable[[str, Mapping[str, Any]], bool], boot_id: str) -> None:
        self._publish, self._boot_id = publish, boot_id
        self._seen: dict[tuple[str, str], tuple[deque[float], list[str]]] = {}
        self._lock = threading.Lock()
        self._next_s = 0.0
        self._writing = False
        self._writer: threading.Thread | None = None

    def close(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """Write nothing more, and wait for what is under way, ``limit_s`` at most: it uses the node's Redis."""
        with self._lock:
            self._next_s, writer = float("inf"), self._writer
        if writer is not None:
            writer.join(limit_s)

    def note(self, address: str, question: str, now_s: float, seen_as: str = "", *, flush: bool = True) -> None:
        """now_s: CLOCK_BOOTTIME. flush False: nothing is written now."""
        key = (address, question)
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) >= PROBERS_MAX and not self._made_room(now_s):
                return
            found = self._seen.setdefault(key, (deque(maxlen=MOMENTS), [""]))
        found[0].append(now_s)
        found[1][0] = seen_as
        if flush:
            self.flush(now_s)

    def _made_room(self, now_s: float) -> bool:
        key, (moments, _) = min(list(self._seen.items()), key=lambda item: item[1][0][-1] if item[1][0] else now_s)
        if not moments or now_s - moments[-1] < SILENT_S:
            return False
        self._seen.pop(key, None)
        return True

    def flush(self, now_s: float) -> None:
        """Write beside the caller, if there is something and the last time is a second ago."""
        if now_s < self._next_s or self._writing or not self._seen:
            return
        with self._lock:
            if self._writing or now_s < self._next_s:
                return
            self._writing, self._next_s = True, now_s + FLUSH_S
            self._writer = threading.Thread(target=self._write, name="ft-probers", daemon=True)
            try:
                self._writer.start()
            except RuntimeError:  # no more threads here: the answer goes out all the same
                self._writing, self._writer = False, None

    def _write(self) -> None:
        try:
            rows = [[*key, list(moments), said[0]] for key, (moments, said) in list(self._seen.items()) if moments]
            self._publish(_name(os.getpid() % PROCESSES), {"boot_id": self._boot_id, "rows": rows})
        finally:
            self._writing = False


def _name(number: int) -> str:
    return f"probers-{number}"


def seen(
    fetch_many: Callable[[Sequence[str]], Mapping[str, dict[str, Any] | None]], boot_id: str, now_s: float
) -> list[Prober]:
    """Who asks, those of all processes together, the silent ones last. Nothing when Redis does not answer."""
    found: dict[tuple[str, str], list[tuple[list[float], str]]] = {}
    for document in fetch_many([_name(number) for number in range(PROCESSES)]).values():
        if not document or document.get("boot_id") != boot_id:
            continue
        rows = document.get("rows")
        for row in rows if isinstance(rows, list) else ():
            if _is_row(row):
                address, question, moments, said = row
                found.setdefault((address, question), []).append((moments, said))
    probers = [_prober(key, parts, now_s) for key, parts in found.items()]
    return sorted((p for p in probers if p.age_s < FORGET_S), key=lambda p: (p.quiet, p.address, p.question))


def _is_row(row: object) -> bool:
    """Another version may have written something else there."""
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[2], list) or not row[2]:
        return False
    moments = all(isinstance(m, (int, float)) and not isinstance(m, bool) for m in row[2])
    return moments and all(isinstance(text, str) for text in (row[0], row[1], row[3]))


def _prober(key: tuple[str, str], parts: list[tuple[list[float], str]], now_s: float) -> Prober:
    full = [moments[0] for moments, _ in parts if len(moments) >= MOMENTS]
    since_s = max(full, default=0.0)
    moments = sorted(moment for part, _ in parts for moment in part if moment >= since_s)
    gaps = [after - before for before, after in zip(moments, moments[1:])]
    said = max(parts, key=lambda part: part[0][-1])[1]
    interval_s = statistics.median(gaps) if gaps else None
    steady = interval_s is not None and _is_steady(gaps, interval_s)
    age_s = now_s - moments[-1]
    return Prober(address=key[0], question=key[1], interval_s=interval_s, age_s=age_s, seen_as=said, steady=steady)


def _is_steady(gaps: Sequence[float], interval_s: float) -> bool:
    odd = sum(abs(gap_s - interval_s) > STEADY_SHARE * interval_s for gap_s in gaps)
    return len(gaps) >= STEADY_GAPS and 3 * odd <= len(gaps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """A prober that does not fit the settings. wanted_s: the interval by the settings.

    earlier_s: how long before the pair it will switch, with FAILURES_ASSUMED failures; negative: after it; None: it follows
    the role, and does not decide.
    """

    prober: Prober
    wanted_s: float
    earlier_s: float | None


def earlier_s(interval_s: float, settings: Settings, failures: int = FAILURES_ASSUMED) -> float:
    """Seconds by which a balancer that leads switches before the pair, both counted from the first bad answer."""
    pair_s = down_s(settings.interval_s, settings.timeout_s, settings.threshold)
    return pair_s - down_s(interval_s, settings.timeout_s, failures)


def drifted(probers: Sequence[Prober], settings: Settings) -> list[Drift]:
    """Those that ask in another interval than the settings want; whoever asks without an interval of his own is none of them."""
    found = []
    for prober in probers:
        if prober.interval_s is None or prober.quiet or not prober.steady:
            continue
        role = prober.question in ROLE_QUESTIONS
        wanted_s = max(ROLE_S_MIN, settings.interval_s / ROLE_ASKS) if role else settings.interval_s
        late = prober.interval_s > (settings.interval_s / 2 if role else wanted_s * (1 + DRIFT_SHARE))
        early = prober.interval_s < wanted_s * (1 - DRIFT_SHARE)
        if late or (early and not role):  # who follows the role may ask as often as it likes
            earlier = None if role else earlier_s(prober.interval_s, settings)
            found.append(Drift(prober=prober, wanted_s=wanted_s, earlier_s=earlier))
    return found
