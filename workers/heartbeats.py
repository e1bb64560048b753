"""The last heartbeats, for the page: a ring in the agent's memory, published with what each tick writes anyway."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ftplugin.core.hysteresis import probe_is_good
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView

LENGTH = 40
DOCUMENT = "heartbeats"


class HeartbeatRing:
    """[when by the wall clock, milliseconds, cause, good] of each heartbeat; an empty cause: none was made for a while."""

    def __init__(self) -> None:
        self._beats: deque[list[Any]] = deque(maxlen=LENGTH)
        self._last_s: float | None = None

    def resume(self, document: Mapping[str, Any] | None, boot_id: str) -> None:
        """Go on with what was published before this process was started; after a reboot with a gap."""
        beats = (document or {}).get("beats")
        if not isinstance(beats, list) or self._beats:
            return
        self._beats.extend(beat for beat in beats if isinstance(beat, list) and len(beat) == 4)
        last_s = (document or {}).get("last_s")
        same_boot = (document or {}).get("boot_id") == boot_id
        self._last_s = float(last_s) if same_boot and isinstance(last_s, (int, float)) else float("-inf")

    def add(self, view: ClusterView, timing: Timing, wall_s: float) -> None:
        """One tick. ``wall_s``: now by the wall clock; shown, nothing else (I-H)."""
        if view.peer is None:
            return
        if self._beats and self._last_s is not None and view.now_s - self._last_s > timing.stale_s:
            self._beats.append([round(wall_s, 1), 0, "", False])
        self._last_s = view.now_s
        good, cause = probe_is_good(view, timing), str(view.peer.cause)
        if good and not view.peer.good:
            cause += ", but heard through the VIP"
        self._beats.append([round(wall_s, 1), round(view.peer.latency_s * 1000, 1), cause, good])

    def document(self, boot_id: str) -> dict[str, Any]:
        """As published."""
        return {"boot_id": boot_id, "last_s": self._last_s, "beats": list(self._beats)}
