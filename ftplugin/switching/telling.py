"""What an administrator did on one server and what counts for both: kept until the other server has been told (spec 5.6).

A notice is a row of the database, the newest of its topic alone. The switch worker tells it at once; if that fails, the
agent hands it over again as soon as the other server is heard. So a server that was down learns of a pause when it is
back, and a pause that was ended meanwhile does not come back, since the notice of its end has taken its place.

Pause and resume are ordered by a revision that both servers count on from: the higher one wins, and of two that were
made apart under the same one, the pause. No wall clock is asked (I-H).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..extension import Portal

PAUSE_TOPIC, HOLD_TOPIC, FREEZE_TOPIC = "pause", "hold", "freeze"
TOPICS = {"pause": PAUSE_TOPIC, "resume": PAUSE_TOPIC, "release_hold": HOLD_TOPIC, "acknowledge_freeze": FREEZE_TOPIC}
FRESH_S = 30.0  # an order of this age is the administrator's newest word, whatever revision the other server has


def notice(
    before: Mapping[str, Any] | None, command: str, actor: str, *, now_s: float, boot_id: str, **facts: Any
) -> dict[str, Any]:
    """The notice that follows ``before`` in its topic. ``now_s``: own CLOCK_BOOTTIME under ``boot_id``."""
    revision = int((before or {}).get("revision", 0)) + 1
    made = {"command": command, "actor": actor, "revision": revision, "told": False}
    return {**made, "at_s": now_s, "boot_id": boot_id, **{k: v for k, v in facts.items() if v is not None}}


def is_newer(known: Mapping[str, Any] | None, command: str, revision: int) -> bool:
    """Whether a pause or resume that the other server tells counts more than what is ``known`` here."""
    here = int((known or {}).get("revision", 0))
    tie = revision == here and command == "pause" and (known or {}).get("command") == "resume"
    return revision > here or tie


def age_s(row: Mapping[str, Any], boot_id: str, now_s: float) -> float:
    """Seconds since a notice was made; endless when it was before this boot."""
    return now_s - float(row.get("at_s", 0)) if row.get("boot_id") == boot_id else math.inf


def minutes_left(pause: Mapping[str, Any], boot_id: str, now_s: float) -> int | None:
    """Whole minutes until a pause in force ends, rounded up; None when it has no end."""
    end_s = pause.get("until_s") if pause.get("boot_id") in (None, boot_id) else pause.get("duration_s")
    return max(1, math.ceil((end_s - now_s) / 60)) if isinstance(end_s, (int, float)) else None


def tell_peer(ft: Portal, command: str, actor: str, **facts: Any) -> str:
    """Keep the notice and have it told. Empty text: the switch worker tells it now; else why it has to wait."""
    topic = TOPICS[command]
    known = ft.journal.notices()
    made = notice((known or {}).get(topic), command, actor, now_s=ft.clock.now_s(), boot_id=ft.clock.boot_id, **facts)
    kept = known is not None and ft.journal.set_notice(topic, made)
    problem = ft.producer.switch({"kind": "tell_peer", "topic": topic, **made})
    return problem and problem + ("; it is told as soon as it is heard" if kept else "; repeat it there")
