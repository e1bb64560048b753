"""Settings and conflicts on their way to the other server: a thread of the tick worker, so that no tick waits for it.

What is saved here goes to the other server at once; whatever is missed, by it or by a dead link, is made good by the
heartbeats, which compare the revisions (``Agent._follow_settings``). "Synchronise now" is the document ``sync``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing
from ftplugin.replicate.conflicts import ConflictStore, Lost
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_store import SettingsStore

from .ports import Clock, LogPort, PeerPort, RuntimePort

POLL_S = 0.5
AGAIN_S_MIN = 1.0  # before a server that did not take it is asked again; else once an interval
CONFLICTS_S = 2.0  # between two looks for conflicts to tell
MESSAGE_CHARS_MAX = 12_000  # of the conflicts in one command
SYNC, CONFLICTS = "sync", "conflicts"
SOURCE = "settings"


class SettingsSync:
    """``turn`` is called every POLL_S."""

    def __init__(
        self,
        *,
        store: SettingsStore,
        conflicts: ConflictStore,
        peer: PeerPort,
        runtime: RuntimePort,
        log: LogPort,
        clock: Clock,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._conflicts, self._peer = store, conflicts, peer
        self._runtime, self._log, self._clock, self._monotonic_s = runtime, log, clock, monotonic_s
        self._sent: tuple[int, str] = (0, "")
        self._tried: tuple[int, str] = (0, "")
        self._again_s = self._look_s = 0.0
        self._asked_s: float | None = None
        self._logged: set[str] = set()

    def turn(self) -> None:
        revision, settings = self._store.current()
        forced, mark = self._forced(), (revision, settings.mark)
        news = not self._store.on_both and self._sent != mark
        due = self._tried != mark or self._monotonic_s() >= self._again_s
        if revision and (forced or (news and due)):
            self._tried = mark
            self._exchange(revision, settings, forced)
        if forced or self._monotonic_s() >= self._look_s:
            self._look_s = self._monotonic_s() + CONFLICTS_S
            self._tell(settings)

    def _forced(self) -> bool:
        """Whether somebody has pressed "Synchronise now" since the last turn."""
        asked = self._runtime.fetch(SYNC) or {}
        at_s = asked.get("at_s")
        if asked.get("boot_id") != self._clock.boot_id or not isinstance(at_s, (int, float)):
            at_s = 0.0
        before, self._asked_s = self._asked_s, float(at_s)
        return before is not None and at_s > before

    def _exchange(self, revision: int, settings: Settings, forced: bool) -> None:
        limit_s = Timing.of(settings).network_s
        reply = self._peer.command("settings", self._store.document(), limit_s)
        taken = reply.answered and bool(reply.body.get("taken"))
        self._again_s = self._monotonic_s() + max(AGAIN_S_MIN, settings.interval_s)
        if taken:
            self._sent = (revision, settings.mark)
        if taken and (forced or reply.body.get("newer")):
            there = self._peer.settings(limit_s)
            if there.answered and there.body:
                self._store.adopt(there.body)
        if forced:
            said = "taken" if taken else f"not taken: {reply.detail or 'it did not answer'}"
            self._log.report(SOURCE, f"synchronised by hand, revision {revision}: {said} by the other server")

    def _tell(self, settings: Settings) -> None:
        try:
            untold = self._conflicts.untold()
            self._runtime.publish(CONFLICTS, {"open": self._conflicts.open_count()})
        except (SQLAlchemyError, DatabaseUnreachable):
            return  # looked for again in CONFLICTS_S; the page says that the database cannot be read
        for lost in untold:
            if lost.conflict_id not in self._logged and lost.acknowledged_wall_s is None:
                self._logged.add(lost.conflict_id)
                self._log.report(SOURCE if lost.subject == SOURCE else "replication", sentence(lost))
        told: list[Lost] = []
        size = 0
        for lost in untold:
            size += len(json.dumps(lost.to_json()))
            if told and size > MESSAGE_CHARS_MAX:
                break
            told.append(lost)
        if not told:
            return
        body: dict[str, Any] = {"list": [lost.to_json() for lost in told]}
        reply = self._peer.command(CONFLICTS, body, Timing.of(settings).network_s)
        if reply.answered and reply.body.get("taken"):
            try:
                self._conflicts.told(told)
            except (SQLAlchemyError, DatabaseUnreachable):
                return  # told again; the other server knows them by their id


def sentence(lost: Lost) -> str:
    """One line of the log."""
    what = f"{lost.subject} {lost.item}".strip()
    if lost.subject == SOURCE:
        what = f"settings revision {lost.lost.get('revision')}"
    return (
        f"edited on both servers apart: {what} as edited on {lost.lost.get('origin') or 'one server'} gave way to the one "
        f"of {lost.won.get('origin') or 'the other'}; kept on {lost.kept_on}, see the page Replication"
    )
