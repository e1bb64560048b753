"""One engine for every health check of a process: of the tick worker, and of the portal.

Each check has its own pace and its own limit, and a thread of its own while it runs. One that hangs counts as failed
from its limit on and is not started again before it has ended: it delays no other check, and costs one thread.

What a check may answer: None, "" or True is well; a text, or False, is failed; ``Degraded(text)`` is shown and named,
but makes nothing KO; what it raises is failed too.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

TIMEOUT_S_DEFAULT, TIMEOUT_S_MIN, TIMEOUT_S_MAX = 3.0, 0.1, 60.0
DETAIL_CHARS_MAX = 200
COALESCE_S = 0.2  # checks that end sooner than this after their start are published together
WAIT_S_MIN = 0.01
LOGIN_IN_URL = re.compile(r"(://)[^/@\s'\"<>]{1,300}@")
logger = logging.getLogger(__name__)


class CheckState(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class Degraded(str):
    """The answer of a check that is not well but no reason to switch; its text says what."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check. ``shared``: both servers have what it looks at, under this same name."""

    name: str
    call: Callable[[], Any]
    timeout_s: float = TIMEOUT_S_DEFAULT
    shared: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Outcome of one check. ``checked_s``: CLOCK_BOOTTIME from before it, or now for one that hangs."""

    name: str
    state: CheckState
    detail: str
    checked_s: float
    duration_s: float
    timeout_s: float
    shared: bool

    @property
    def line(self) -> str:
        """One line of the monitor's answer."""
        return f"{self.name}: {self.detail}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: object) -> Record | None:
        """None: not the record of a check; another version may have written it."""
        if not isinstance(value, Mapping):
            return None
        try:
            return cls(
                name=one_line(value["name"]),
                state=CheckState(value["state"]),
                detail=one_line(value["detail"]),
                checked_s=float(value["checked_s"]),
                duration_s=float(value["duration_s"]),
                timeout_s=float(value["timeout_s"]),
                shared=value["shared"] is True,
            )
        except (KeyError, ValueError, TypeError):
            return None


def one_line(text: object) -> str:
    """``text`` as one line of at most 200 characters. Without a login in a URL: whoever asks the monitor reads it."""
    return LOGIN_IN_URL.sub(r"\1***@", " ".join(str(text).split()))[:DETAIL_CHARS_MAX]


def judged(answer: object) -> tuple[CheckState, str]:
    """(state, detail) for what a check has answered."""
    if answer is None or answer is True or answer == "":
        return CheckState.OK, ""
    if answer is False:
        return CheckState.FAILED, "failed"
    if isinstance(answer, Degraded):
        return CheckState.DEGRADED, one_line(answer)
    if isinstance(answer, str):
        return CheckState.FAILED, one_line(answer) or "failed"
    return CheckState.FAILED, f"it returned {type(answer).__name__}, not None, bool, text or Degraded"


class _Run:
    """One call of one check, and what came of it."""

    def __init__(self, check: Check, started_s: float) -> None:
        self.check, self.started_s = check, started_s
        self.ended_s: float | None = None
        self.state, self.detail = CheckState.FAILED, ""

    def go(self, now_s: Callable[[], float]) -> None:
        try:
            self.state, self.detail = judged(self.check.call())
        except (Exception, SystemExit) as error:  # code of others: whatever it raises is its answer
            logger.debug("health check %r raised", self.check.name, exc_info=True)
            self.state, self.detail = CheckState.FAILED, one_line(f"{type(error).__name__}: {error}")
        self.ended_s = now_s()

    def record(self, now_s: float) -> Record | None:
        """None while it runs within its limit."""
        limit_s, ended_s = self.check.timeout_s, self.ended_s
        state, detail, checked_s = self.state, self.detail, self.started_s
        duration_s = (now_s if ended_s is None else ended_s) - self.started_s
        if ended_s is None and duration_s < limit_s:
            return None
        if duration_s >= limit_s:
            state, detail = CheckState.FAILED, f"no answer within {limit_s:g} s"
        if ended_s is None:
            checked_s = now_s
            if duration_s >= limit_s + 1.0:
                detail += f", still waiting after {duration_s:.0f} s"
        return Record(
            name=self.check.name,
            state=state,
            detail=detail,
            checked_s=checked_s,
            duration_s=duration_s,
            timeout_s=limit_s,
            shared=self.check.shared,
        )


class Checker:
    """Runs checks side by side. One thread calls ``turn``, and again after ``wait_s`` seconds or when ``ring`` is called.

    checks: asked at every turn, since some may be added. now_s: CLOCK_BOOTTIME. ring: called from the thread of a check
    that has ended; wakes who calls ``turn``.
    """

    def __init__(
        self, checks: Callable[[], Sequence[Check]], now_s: Callable[[], float], ring: Callable[[], None]
    ) -> None:
        self._checks, self._now_s, self.ring = checks, now_s, ring
        self._runs: dict[str, _Run] = {}
        self._started_s: dict[str, float] = {}
        self._records: dict[str, Record] = {}
        self._changes: list[str] = []

    @property
    def records(self) -> list[Record]:
        """The newest outcome of each check, in the order of the checks; none for one that has none yet."""
        return [self._records[check.name] for check in self._checks() if check.name in self._records]

    @property
    def complete(self) -> bool:
        """Every check has an outcome."""
        return all(check.name in self._records for check in self._checks())

    def seed(self, records: Sequence[Record]) -> None:
        """Go on from what another process has found; each check is still started at the next turn."""
        self._records = {record.name: record for record in records}

    def turn(self, period_s: float, *, newer_than_s: float | None = None) -> None:
        """Take in what has ended, judge what is late, start what is due.

        period_s: from one start of a check to its next. newer_than_s: check at once what was last started before this
        moment (CLOCK_BOOTTIME).
        """
        now_s = self._now_s()
        for check in self._checks():
            run = self._runs.get(check.name)
            if run is not None:
                record = run.record(now_s)
                if record is not None:
                    self._take(record)
                if run.ended_s is not None and record is not None:
                    del self._runs[check.name]
                    run = None
            started_s = self._started_s.get(check.name, float("-inf"))
            due = now_s - started_s >= period_s or (newer_than_s is not None and started_s < newer_than_s)
            if run is None and due:
                self._start(check, now_s)

    def _take(self, record: Record) -> None:
        before = self._records.get(record.name)
        self._records[record.name] = record
        if record.state is not (CheckState.OK if before is None else before.state):
            text = "is well" if record.state is CheckState.OK else f"{record.state}: {record.detail}"
            self._changes.append(f"health check {record.name} {text}")

    def _start(self, check: Check, now_s: float) -> None:
        run = self._runs[check.name] = _Run(check, now_s)
        self._started_s[check.name] = now_s

        def work() -> None:
            run.go(self._now_s)
            others = [r for r in list(self._runs.values()) if r.ended_s is None and r.started_s + COALESCE_S > now_s]
            if not others or self._now_s() - now_s >= COALESCE_S:
                self.ring()

        try:
            threading.Thread(target=work, name=f"check {check.name}", daemon=True).start()
        except RuntimeError as error:  # no more threads: said as what it is, and tried again after a period
            run.state, run.detail, run.ended_s = CheckState.FAILED, f"cannot be started: {error}", now_s

    def wait_s(self, period_s: float) -> float:
        """Seconds until ``turn`` has something to do."""
        now_s = self._now_s()
        ends_s = [now_s + period_s]
        for check in self._checks():
            run = self._runs.get(check.name)
            if run is None:
                ends_s.append(self._started_s.get(check.name, now_s) + period_s)
            elif now_s - run.started_s < check.timeout_s:
                ends_s.append(run.started_s + check.timeout_s)
                if now_s - run.started_s < COALESCE_S:
                    ends_s.append(run.started_s + COALESCE_S)
        return max(WAIT_S_MIN, min(ends_s) - now_s)

    def changes(self) -> list[str]:
        """A sentence for each change of a state since this was last asked, for the log."""
        found, self._changes = self._changes, []
        return found


def document(
    records: Sequence[Record], *, checked_s: float, boot_id: str, also_shared: Sequence[str] = ()
) -> dict[str, Any]:
    """What is published. checked_s: when it was made, CLOCK_BOOTTIME. also_shared: names that another process has found.

    ``failed`` and ``degraded`` are lines "name: detail"; ``shared_failed`` names failed checks that both servers have.
    """
    failed = [record for record in records if record.state is CheckState.FAILED]
    shared = {record.name for record in failed if record.shared} | set(also_shared)
    return {
        "ok": not failed,
        "checked_s": checked_s,
        "boot_id": boot_id,
        "failed": [record.line for record in failed],
        "degraded": [record.line for record in records if record.state is CheckState.DEGRADED],
        "shared_failed": sorted(shared),
        "checks": [record.to_json() for record in records],
    }
