"""What the tick worker has watched, for an order that the switch worker carries out (M2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping

from ftplugin.core.hysteresis import Memory
from ftplugin.core.terms import Tri
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, LanReading, VoteReading

from .ports import Ports


def watched(ports: Ports, view: ClusterView, timing: Timing) -> tuple[Memory, ClusterView]:
    """The memory of the last tick, and ``view`` with that tick's watch over voters and LAN while it is fresh.

    This process has looked at the voters for a moment only. Without a fresh tick that is all that is known, and whoever
    has to be waited for is waited for from now on.
    """
    documents = ports.runtime.fetch_many(("memory", "view"))
    stored, seen = documents["memory"] or {}, documents["view"] or {}
    if stored.get("boot_id") != ports.clock.boot_id:
        return Memory(), view
    memory = Memory.from_json(stored.get("memory"))
    if memory.last_tick_s is None or view.now_s - memory.last_tick_s > timing.stale_s:
        return memory, view
    if seen.get("now_s") != memory.last_tick_s:
        return memory, view
    votes = {str(vote.get("voter")): vote for vote in seen.get("votes") or ()}
    longer = tuple(_longer(vote, votes.get(vote.voter) or {}) for vote in view.votes)
    return memory, replace(view, votes=longer, lan=_lan(seen.get("lan"), view.lan))


def _longer(vote: VoteReading, seen: Mapping[str, Any]) -> VoteReading:
    """A vote that still has the mark of the tick has stood still since the tick saw it do so."""
    since_s = seen.get("still_since_s")
    if vote.mark is None or vote.mark != seen.get("mark") or not isinstance(since_s, (int, float)):
        return vote
    return replace(vote, still_since_s=float(since_s))


def _lan(seen: object, own: LanReading) -> LanReading:
    if not isinstance(seen, Mapping):
        return own
    return LanReading(
        carrier=Tri(seen.get("carrier", Tri.UNKNOWN)),
        reference=Tri(seen.get("reference", Tri.UNKNOWN)),
        seen_s=seen.get("seen_s"),
        steady_since_s=seen.get("steady_since_s"),
        asked=bool(seen.get("asked")),
    )
