"""One line of FT_REPORT as structlog makes it: JSON, or fields of the journal."""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from . import JOURNAL, STDERR
from .sinks import LINE_BYTES_MAX, Aside, FileSink, JournalSink, Sink, StderrSink, journal_message, say

SAY_AGAIN_S = 60.0
VALUE_CHARS_MAX = 300
TEXT_CHARS_MAX = 2_000
FIRST = ("time", "level", "node", "server", "prefix", "process", "pid", "source", "event", "epoch", "rule", "switch_id")
INFO = "6"  # syslog's level of every line: FT_REPORT has none
Event = MutableMapping[str, Any]


class Mirror:
    """Takes lines of the report. ``left_out``: lines that no one took since the last one that was taken."""

    def __init__(self, sink: Sink, fixed: Mapping[str, str], *, journal: bool) -> None:
        self._sink, self._lock = sink, threading.Lock()
        self._aside = None if journal else Aside()  # a datagram is taken at once, or not at all
        self.left_out, self._said_s = 0, float("-inf")
        self._log = structlog.wrap_logger(
            self,
            processors=[structlog.processors.add_log_level, _ordered, _journal if journal else _json],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        ).bind(**{name: value for name, value in fixed.items() if value})

    def line(self, wall_s: float, source: str, text: str, facts: Mapping[str, Any]) -> None:
        """wall_s: seconds since 1970. facts: what is known around this line; what is None or empty is left away."""
        moment = datetime.datetime.fromtimestamp(wall_s, datetime.UTC).isoformat(timespec="milliseconds")
        known = {name: value for name, value in facts.items() if value not in (None, "")}
        left_out = {"left_out": self.left_out} if self.left_out else {}
        self._log.info(text, **{**known, **left_out, "time": moment, "source": source, "pid": os.getpid()})

    def info(self, data: bytes) -> None:
        """What structlog hands over at its end."""
        told = self.left_out
        if self._aside is None:
            self._carry(data, told)
        elif problem := self._aside.run(lambda: self._carry(data, told)):
            self._missed(BlockingIOError(problem))

    def _carry(self, data: bytes, told: int) -> None:
        """told: so many that were left out are in this line; more may be, if it hangs."""
        try:
            self._sink.write(data)
        except OSError as error:
            self._missed(error)
        else:
            with self._lock:
                self.left_out = max(0, self.left_out - told)

    def _missed(self, error: OSError) -> None:
        with self._lock:
            self.left_out += 1
            now_s = time.monotonic()
            if isinstance(self._sink, StderrSink) or now_s - self._said_s < SAY_AGAIN_S:
                return
            self._said_s = now_s
        say(f"FT_LOG_JSON: a line was not taken ({error}); FT_REPORT has it. Going on without")


def mirror_of(target: str, fixed: Mapping[str, str]) -> Mirror:
    """target: FT_LOG_JSON, not empty. fixed: facts of every line of this process."""
    if target == JOURNAL:
        return Mirror(JournalSink(), fixed, journal=True)
    return Mirror(StderrSink() if target == STDERR else FileSink(target), fixed, journal=False)


def _ordered(_logger: Any, _method: str, event: Event) -> Event:
    """The same names first in each line; numbers and yes or no as they are, all else as short text."""
    names = [name for name in FIRST if name in event] + sorted(name for name in event if name not in FIRST)
    return {name: _plain(event[name], TEXT_CHARS_MAX if name == "event" else VALUE_CHARS_MAX) for name in names}


def _plain(value: Any, chars_max: int) -> Any:
    if isinstance(value, (bool, int)) or isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)[:chars_max]


def _json(_logger: Any, _method: str, event: Event) -> bytes:
    """One line, at most LINE_BYTES_MAX: what is too long loses the end of its text."""
    while True:
        data = json.dumps(event, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
        if len(data) <= LINE_BYTES_MAX:
            return data
        longest = max((name for name in event if isinstance(event[name], str)), key=lambda name: len(event[name]))
        event = {**event, longest: event[longest][: len(event[longest]) // 2]}


def _journal(_logger: Any, _method: str, event: Event) -> bytes:
    fields = {"MESSAGE": str(event["event"]), "PRIORITY": INFO, "SYSLOG_IDENTIFIER": "ftplugin"}
    own = {name: value for name, value in event.items() if name not in ("event", "level", "pid")}
    return journal_message(fields | {f"FT_{name.upper()}": str(value) for name, value in own.items()})
