"""What a change of settings would mean, before it is saved: for the page and ``ft settings preview``.

Delays and bounds come from ``core.timing``, the two stories from ``forecast``, which runs the real core.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .core.settings import Problem, Settings
from .core.start import with_starts
from .core.timing import Timing, both_active_bound_s, expected_failover_s, worst_failover_s
from .forecast import Fault, Forecast, forecast
from .status.daily import times_of
from .store.settings_history import Change, changes_between

PLACES = frozenset({"server1_address", "server2_address", "witness"})  # change only with both servers (spec 4)
DELAYS: dict[str, Callable[[Settings], float | None]] = {
    "expected_failover_s": expected_failover_s,
    "worst_failover_s": worst_failover_s,
    "worst_agent_only_s": lambda settings: worst_failover_s(settings, agent_only=True),
    "both_active_bound_s": both_active_bound_s,
    "lease_s": lambda settings: Timing.of(settings).lease_s,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """A duration before and after the change, in seconds; None of "both_active_bound_s": until the link is healed."""

    name: str
    old_s: float | None
    new_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """``timing_changes``: until both servers have it, the active one stops by the smaller and the standby one waits by the
    larger values. ``places_change``: addresses or witness, which stay as they are until then. ``daily``: turns of the next daily
    restart (``status.daily.times_of``)."""

    changes: tuple[Change, ...]
    warnings: tuple[Problem, ...]
    delays: tuple[Delay, ...]
    forecasts: tuple[Forecast, ...]
    timing_changes: bool
    places_change: bool
    daily: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "changes": [{"name": c.name, "old": c.old, "new": c.new} for c in self.changes],
            "warnings": [{"field": w.field, "message": w.message} for w in self.warnings],
            "delays": {d.name: {"old": d.old_s, "new": d.new_s} for d in self.delays},
            "timing_changes": self.timing_changes,
            "places_change": self.places_change,
            "daily_restart": dict(self.daily),
            "forecasts": [f.to_json() for f in self.forecasts],
        }


def preview(
    old: Settings, new: Settings, warnings: tuple[Problem, ...], services: Sequence[Mapping[str, Any]] = ()
) -> Preview:
    """The change from ``old`` to ``new``, which ``SettingsStore.examined`` accepts. ``services``: FT_SERVICES."""
    changes = changes_between(old, new)
    before, after = with_starts(old, services), with_starts(new, services)
    return Preview(
        changes=changes,
        warnings=warnings,
        delays=tuple(Delay(name=name, old_s=of(before), new_s=of(after)) for name, of in DELAYS.items()),
        forecasts=tuple(forecast(after, fault) for fault in Fault),
        timing_changes=Timing.of(old) != Timing.of(new),
        places_change=any(change.name in PLACES for change in changes),
        daily=times_of(new, time.time()) if new.daily_restart else {},
    )
