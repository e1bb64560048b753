"""What the page shows beyond a tick's own documents: the outlook, and the peer's word about itself while somebody looks.

A thread of the tick worker, so that no tick waits for it. The peer is asked only while a page was open within
``VIEWER_FRESH_S``: what only the peer knows must not ride on every heartbeat, whose traffic is bounded (spec 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftplugin.clock import SystemClock
from ftplugin.core.futures import Now
from ftplugin.core.outlook import outlook
from ftplugin.core.settings import Settings

from .counting import Counting
from .ports import Clock, Reply, RuntimePort

if TYPE_CHECKING:
    from .node import Node

POLL_S = 2.0
VIEWER_FRESH_S = 30.0
ASK_S_MIN, ASK_LIMIT_S = 2.0, 2.0
OUTLOOK, VIEWER, PEER_STATUS = "outlook", "viewer", "peer_status"


class PageFeed:
    """``turn`` is called every POLL_S, and at once after each tick."""

    def __init__(
        self,
        *,
        runtime: RuntimePort,
        settings: Callable[[], Settings],
        ask: Callable[[float], Reply] | None,
        clock: Clock,
    ) -> None:
        self._runtime, self._settings, self._ask, self._clock = runtime, settings, ask, clock
        self._counting = Counting(runtime)
        self._last: Now | None = None
        self._asked_s = float("-inf")
        self._heard: dict[str, Any] = {}

    @classmethod
    def of(cls, node: Node) -> PageFeed:
        parts = node.parts
        return cls(runtime=parts.runtime, settings=parts.settings, ask=parts.peer_status, clock=SystemClock())

    def ticked(self, last: Now) -> None:
        """The newest tick; an older one that was not shown yet is counted, and dropped."""
        self._counting.ticked(last)
        self._last = last

    def turn(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            self._publish_outlook(last)
        self._ask_peer()

    def _publish_outlook(self, last: Now) -> None:
        found = outlook(last.view, last.settings, last.decision, last.stop_by, last.wait_by).to_json()
        shown = {OUTLOOK: {"tick_s": last.view.now_s, "boot_id": self._clock.boot_id, **found}}
        self._counting.published(self._runtime.publish_many({**shown, **self._counting.documents()}))

    def _ask_peer(self) -> None:
        settings, now_s = self._settings(), self._clock.now_s()
        if self._ask is None or now_s - self._asked_s < max(ASK_S_MIN, settings.interval_s / 4) - POLL_S / 4:
            return
        viewer = self._runtime.fetch(VIEWER) or {}
        at_s = viewer.get("at_s")
        if viewer.get("boot_id") != self._clock.boot_id or not isinstance(at_s, (int, float)):
            return
        if now_s - at_s > VIEWER_FRESH_S:
            return
        self._asked_s = now_s  # from before the question: what comes back is at least as old as this says
        reply = self._ask(min(settings.timeout_s, ASK_LIMIT_S))
        if reply.answered and reply.body.get("kind") == "status":
            self._heard = {"at_s": now_s, "status": dict(reply.body), "problem": ""}
        else:
            self._heard = {**self._heard, "problem": (reply.detail or "no status in the answer")[:200]}
        self._runtime.publish(PEER_STATUS, {**self._heard, "asked_s": now_s, "boot_id": self._clock.boot_id})
