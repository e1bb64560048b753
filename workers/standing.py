"""Pause and drain as the agent takes them: the database is the truth, the document in Redis a copy (spec 5.6)."""

from __future__ import annotations

from typing import Any, Mapping

from ftplugin.standing import DRAIN, NAMES, PAUSE, in_force

from .ports import Ports

Notes = Mapping[str, dict[str, Any] | None]


class Standing:
    """What is ordered until further notice, through a wiped Redis and through a database that hangs."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._last: dict[str, dict[str, Any]] | None = None

    def settle(self, stored: dict[str, dict[str, Any]] | None, copies: Notes) -> dict[str, dict[str, Any] | None]:
        """The orders by name, None where there is none.

        stored: as the database has them; None when it could not be read now: then what it last said counts, or the
        copies if it has said nothing yet. Copies that differ from a database that answered are put right.
        """
        if stored is None:
            known: Notes = copies if self._last is None else {name: self._last.get(name) for name in NAMES}
            return {name: known[name] for name in NAMES}
        self._last = stored
        for name in NAMES:
            wanted = stored.get(name)
            if wanted == copies[name]:
                continue
            if wanted is None:
                self._ports.runtime.forget(name)
            elif self._ports.runtime.publish(name, wanted) and copies[name] is None:
                self._ports.log.report(
                    "agent", f"{name} by {wanted.get('owner', '')} was missing in Redis; written again"
                )
        return {name: stored.get(name) for name in NAMES}


def ordered_meanwhile(ports: Ports) -> str:
    """What an administrator ordered since a promotion was decided, "" for nothing: its last probe may have waited for long.
    By the copies in Redis, which the portal writes at once."""
    notes, clock = ports.runtime.fetch_many((PAUSE, DRAIN)), ports.clock
    if pause := in_force(notes[PAUSE], clock.boot_id, clock.now_s()):
        return f"paused meanwhile by {pause.get('owner', '')}"
    if notes[DRAIN] is not None:
        return "this server was drained meanwhile"
    return "" if ports.settings.current()[1].enabled else "Hot Standby mode was turned off meanwhile"
