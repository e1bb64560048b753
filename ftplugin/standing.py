"""Pause and drain: what an administrator ordered until further notice (spec 5.6).

Both are kept in the node's database, apart from the settings: they belong to one moment, have an owner and a reason, and
a pause an expiry. The document in Redis is the fast copy for monitor and agent, and the agent writes it again after a
wipe. An expiry counts on CLOCK_BOOTTIME; after a reboot, whose length no clock of ours tells, it counts from the boot.
Wall clock times are shown, never decided on (I-H).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAUSE, DRAIN = "pause", "drain"
NAMES = (PAUSE, DRAIN)
MINUTES_MAX = 10_080  # a week: a pause that is forgotten must not last for ever
OWNER_CHARS_MAX, REASON_CHARS_MAX = 200, 500


class OrderError(ValueError):
    """``field`` of a pause or drain is wrong; the message names it, the value and the way out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def order(owner: str, reason: str, minutes: int | None, *, now_s: float, boot_id: str, wall_s: float) -> dict[str, Any]:
    """The document of a pause or drain. ``minutes`` None: until it is ended. Raises OrderError."""
    reason = reason.strip()
    if not reason:
        raise OrderError("reason", "is empty; say why, since it is shown on both servers")
    if len(reason) > REASON_CHARS_MAX:
        raise OrderError("reason", f"has {len(reason)} characters; use at most {REASON_CHARS_MAX}")
    if minutes is not None and (isinstance(minutes, bool) or not 1 <= minutes <= MINUTES_MAX):
        raise OrderError("minutes", f"must be 1 to {MINUTES_MAX}, or empty to last until it is ended, not {minutes!r}")
    duration_s = None if minutes is None else 60.0 * minutes
    return {
        "owner": owner[:OWNER_CHARS_MAX],
        "reason": reason,
        "since_wall_s": wall_s,
        "until_wall_s": None if duration_s is None else wall_s + duration_s,
        "duration_s": duration_s,
        "until_s": None if duration_s is None else now_s + duration_s,
        "boot_id": boot_id,
    }


def in_force(document: Mapping[str, Any] | None, boot_id: str, now_s: float) -> Mapping[str, Any] | None:
    """The document while it counts, None when there is none or its time is over. ``now_s``: own CLOCK_BOOTTIME."""
    left_s = seconds_left(document or {}, boot_id, now_s)
    return document if document and (left_s is None or left_s > 0) else None


def seconds_left(document: Mapping[str, Any], boot_id: str, now_s: float) -> float | None:
    """Until an order ends by itself; None: it lasts until somebody ends it. ``now_s``: own CLOCK_BOOTTIME."""
    same_boot = document.get("boot_id") in (None, boot_id)
    end_s = document.get("until_s") if same_boot else document.get("duration_s")
    return end_s - now_s if isinstance(end_s, (int, float)) else None


def hand_over(status: Mapping[str, Any]) -> tuple[str | None, str]:
    """(target, problem) of a drain of the server whose status this is (``status.status_of``).

    target: the other server, which must take over first because this one is active; None when it is not. problem: why
    it cannot be asked to, "" when it can.
    """
    me = status["designation"]
    if me is None or status["active"] != me:
        return None, ""
    other = next(server for server in status["servers"] if not server["here"])
    if status["problem"]:
        return other["designation"], f"this server is active and could not hand over: {status['problem']}"
    if other["word"] != "standby" or other["detail"]:
        state = other["detail"] or other["status"]
        return other["designation"], (
            f"this server is active and {other['label'].lower()} cannot take over now ({state}); bring that one back "
            "first, or turn Hot Standby mode off"
        )
    return other["designation"], ""
