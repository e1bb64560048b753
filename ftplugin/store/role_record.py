"""How the role record and documents lie in Redis, without redis-py: the guard reads them with a client of its own."""

from __future__ import annotations

import json
from typing import Any, Mapping

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, Role

LIMIT_S = 0.2  # design 3: the monitor reads the role in one round trip with a 200 ms limit

# KEYS: role. ARGV: epoch, clear. A guard or a late demotion may not speak for a newer role.
CLEAR = """
local stored = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if stored > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'clear', ARGV[2])
return 1
"""


def number_of(text: str | None) -> float | None:
    """A number that may be missing or empty. Raises ValueError."""
    return float(text) if text else None


def record_of(stored: Mapping[str, str]) -> RoleRecord:
    """The hash ``keys.role`` as a record; an empty hash is a record of epoch 0. Raises ValueError."""
    if not stored:
        return RoleRecord()
    return RoleRecord(
        role=Role(stored.get("role", "undecided")),
        phase=Phase(stored.get("phase", "ready")),
        epoch=int(stored.get("epoch", 0)),
        seen_epoch=int(stored.get("seen_epoch", 0)),
        boot_id=stored.get("boot_id", ""),
        deadline_s=float(stored.get("deadline_s") or 0),
        clear=stored.get("clear") == "1",
        progress_s=number_of(stored.get("progress_s")),
        since_wall_s=float(stored.get("since_wall_s") or 0),
        wall_ahead_s=number_of(stored.get("wall_ahead_s")),
    )


def document_of(text: str | None) -> dict[str, Any] | None:
    """One published document; None when there is none or it cannot be read."""
    try:
        return dict(json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None
