"""The state of replication for pages and commands: from what the thread has published, with its age. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STALE_S = 60.0  # the thread says something each second; a long round may take a while between two words


def summary(
    document: Mapping[str, Any] | None, conflicts: Mapping[str, Any] | None, *, boot_id: str, now_s: float
) -> dict[str, Any]:
    """{word, things, behind, ahead, since_wall_s, error, age_s, conflicts}. word: "none" nothing is registered; "old" no word for
    STALE_S; "error"; "same" as the other server; "differs".

    document, conflicts: "content" and "conflicts" of the node's Redis. now_s: own CLOCK_BOOTTIME.
    """
    document = document or {}
    open_count = (conflicts or {}).get("open")
    at_s = document.get("at_s")
    age_s = now_s - at_s if document.get("boot_id") == boot_id and isinstance(at_s, (int, float)) else None
    things = document.get("things")
    things = things if isinstance(things, dict) else {}
    things = {name: thing for name, thing in things.items() if isinstance(thing, dict)}
    error = str(document.get("error") or next((t["error"] for t in things.values() if t.get("error")), ""))
    gone = ((_count(thing.get("gone")), name) for name, thing in things.items())
    error = error or next(
        (f"{count} of {name} are gone at once and wait for a word" for count, name in gone if count), ""
    )
    since = document.get("differs_since_wall_s")
    found = {
        "things": things,
        "behind": sum(_count(t.get("behind")) for t in things.values()),
        "ahead": sum(_count(t.get("ahead")) for t in things.values()),
        "since_wall_s": since if isinstance(since, (int, float)) else None,
        "error": error,
        "age_s": age_s,
        "at_wall_s": document.get("at_wall_s"),
        "conflicts": open_count if isinstance(open_count, int) else 0,
    }
    word = "none" if not things else "old" if age_s is None or age_s > STALE_S else "error" if error else ""
    return {**found, "word": word or ("differs" if found["since_wall_s"] else "same")}


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def sentence(found: Mapping[str, Any]) -> str:
    """One line for ``ft status``; "" when nothing is registered and nothing waits."""
    words = {
        "none": "",
        "old": "replication: its thread in the portal has said nothing lately",
        "error": f"replication: {found['error']}",
        "same": f"replication: {len(found['things'])} registered, the same on both servers",
        "differs": f"replication: {found['behind']} to take from the other server, {found['ahead']} newer here",
    }
    parts = [words[str(found["word"])]]
    if found["conflicts"]:
        parts.append(f"{found['conflicts']} edits gave way to others and wait for you: see 'ft conflicts'")
    return "; ".join(filter(None, parts))
