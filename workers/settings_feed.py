"""Settings port of the workers: a thread reads them, so that a locked database never delays a tick or a lease."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Protocol

from ftplugin.core.settings import Settings
from ftplugin.core.timing import Timing

from .background import Periodic

REREAD_S = 1.0


class Store(Protocol):
    """What is needed of ``SettingsStore``."""

    def current(self) -> tuple[int, Settings]: ...

    def previous(self) -> Settings | None: ...

    def acknowledged(self, revision: int) -> None: ...

    def adopt(self, document: Mapping[str, Any]) -> Any: ...


def _placed(settings: Settings, previous: Settings | None) -> Settings:
    """Addresses and witness change only with both nodes acknowledging (spec 4); the rest is live at once."""
    if previous is None or not (previous.server1_address and previous.server2_address):
        return settings
    return replace(
        settings,
        server1_address=previous.server1_address,
        server2_address=previous.server2_address,
        witness=previous.witness,
    )


TIMES = ("interval_s", "timeout_s", "threshold", "service_stop_s", "rtt_ms")


class SettingsFeed:
    """SettingsPort over a store whose reads may wait: ``current`` and ``previous`` answer from memory.

    reread_s: seconds between two looks of the thread.
    """

    def __init__(self, store: Store, reread_s: float = REREAD_S) -> None:
        self._store = store
        self._held: tuple[int, Settings, Settings | None] = (0, Settings(), None)
        self._mark = ""
        self._both = (0, "")  # revision and mark that both nodes are known to have; the thread tells the store
        self._thread = Periodic("settings", self.read, lambda: reread_s)
        self.read()

    def read(self) -> None:
        """Read the store now; what it last had stays in force while it cannot be read."""
        revision, settings = self._store.current()
        previous = self._store.previous()
        self._held, self._mark = (revision, _placed(settings, previous), previous), settings.mark
        if previous is None and self._both == (revision, self._mark):
            self._store.acknowledged(revision)  # costs nothing when the database knows it

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def current(self) -> tuple[int, Settings]:
        revision, settings, _ = self._held
        return revision, settings

    def settings(self) -> Settings:
        return self._held[1]

    def previous(self) -> Settings | None:
        return self._held[2]

    def to_keep_up(self) -> Settings:
        """What heartbeats and the LAN probe go by: the settings, and while a change of timing awaits both nodes the times with
        the shorter lease. An active node renews by that one (spec 4), so what a lease rests on must be as fresh."""
        _, settings, previous = self._held
        if previous is None or Timing.of(previous).lease_s >= Timing.of(settings).lease_s:
            return settings
        return replace(settings, **{name: getattr(previous, name) for name in TIMES})

    def mark(self) -> str:
        return self._mark

    def acknowledged(self, revision: int) -> None:
        """Both nodes have this revision. Writes to the database only when that is news; where no timing waits for it (the
        first revision has none before it), the thread writes it, and no tick is delayed."""
        held_revision, _, previous = self._held
        if previous is None and held_revision == revision:
            self._both = (revision, self._mark)
            return
        self._store.acknowledged(revision)
        self.read()

    def adopt(self, document: Mapping[str, Any]) -> None:
        """Take the peer's settings if they are newer; live at the next look."""
        self._store.adopt(document)
        self.read()
