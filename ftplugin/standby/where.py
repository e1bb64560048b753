"""Who is active, as this server knows it now: its own role record, else the last heartbeat with its age. Never a guess.

What is older than 2 T is unknown, so also what an agent has heard that has not ticked since. A peer that has stopped being
active refuses what is passed on to it: the one that is asked is the judge, and no age below 2 T can do harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftplugin.core.settings import Address, SettingsError, parse_address
from ftplugin.core.terms import Designation, Role
from ftplugin.core.timing import Timing
from ftplugin.said import Said
from ftplugin.state import AGENT, CACHE_S, agent_age_s

if TYPE_CHECKING:
    from ftplugin.extension import Portal

VIEW = "view"
NOT_SET_UP = Said(
    "Hot Standby is not set up on this server: the addresses of the two servers are missing in its settings."
)
NOT_KNOWN = Said("This server is standby, and does not know now whether the other one is active.")
NOBODY = Said("Neither server is active now.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a request must run. ``here``: on this server. ``address``: the active server's own, None with a ``problem``.

    seen_epoch: the highest epoch this server knows of.
    """

    here: bool = False
    me: Designation | None = None
    address: Address | None = None
    seen_epoch: int = 0
    problem: Said | None = None


HERE = Place(here=True)


class Finder:
    """Finds the place of the active server.

    On the active server that costs no more than ``mod=FT``; elsewhere one round trip to Redis at most each 50 ms in a process.
    """

    def __init__(self, ft: Portal) -> None:
        self._ft = ft
        self._known: tuple[float, Place] = (float("-inf"), Place(problem=NOT_KNOWN))

    def find(self) -> Place:
        """Where a request must run now."""
        if self._ft.role.active():
            return HERE
        now_s = self._ft.clock.now_s()
        if not 0 <= now_s - self._known[0] <= CACHE_S:
            self._known = now_s, self._looked()
        return self._known[1]

    def _looked(self) -> Place:
        ft = self._ft
        settings = ft.settings.cached()[1]
        me = ft.designation(settings)
        if me is None:
            return Place(problem=NOT_SET_UP)
        snapshot = ft.runtime.snapshot((AGENT, VIEW))
        record, now_s = snapshot.role, ft.clock.now_s()
        seen_epoch = 0 if record is None else max(record.epoch, record.seen_epoch)
        ticked = agent_age_s(snapshot.documents.get(AGENT), ft.clock.boot_id, now_s) is not None  # since this boot
        state = None
        if record is not None and ticked:
            state = _heard(snapshot.documents.get(VIEW) or {}, now_s, Timing.of(settings).stale_s)
        if state is None:
            return Place(me=me, seen_epoch=seen_epoch, problem=NOT_KNOWN)
        seen_epoch = max(seen_epoch, _whole(state.get("epoch")))
        if state.get("role") != Role.ACTIVE or not _above_zero(state.get("lease_left_s")):
            return Place(me=me, seen_epoch=seen_epoch, problem=NOBODY)
        try:
            address = parse_address(f"{me.other}_address", settings.address_of(me.other))
        except SettingsError:
            return Place(me=me, seen_epoch=seen_epoch, problem=NOT_SET_UP)
        return Place(me=me, address=address, seen_epoch=seen_epoch)


def _heard(view: Mapping[str, Any], now_s: float, stale_s: float) -> Mapping[str, Any] | None:
    """The signed state of the other server's last good answer; None when the last probe was bad, or is older than ``stale_s``."""
    probe = view.get("peer")
    if not isinstance(probe, Mapping) or probe.get("cause") != "ok":
        return None
    state, ended_s = probe.get("state"), probe.get("ended_s")
    if not isinstance(state, Mapping) or not isinstance(ended_s, (int, float)) or not 0 <= now_s - ended_s <= stale_s:
        return None
    return state


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _above_zero(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0
