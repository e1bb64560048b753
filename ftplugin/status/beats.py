"""The strip of the last heartbeats: good, bad with its cause, or no data."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from .plain import mapping, number, sequence, text

SHOWN = 40


def strip(document: object) -> dict[str, Any]:
    """{bars, last_ms, median_ms, good, bad, causes} of a document "heartbeats", oldest bar first.

    Each bar: {state: "good", "bad" or "none", cause, at_wall_s, ms}. The latencies are those of good heartbeats.
    """
    bars = [bar for beat in sequence(mapping(document).get("beats"))[-SHOWN:] if (bar := _bar(beat))]
    times_ms = [bar["ms"] for bar in bars if bar["state"] == "good"]
    return {
        "bars": bars,
        "last_ms": times_ms[-1] if times_ms else None,
        "median_ms": statistics.median(times_ms) if times_ms else None,
        "good": len(times_ms),
        "bad": sum(bar["state"] == "bad" for bar in bars),
        "causes": _causes(bars),
    }


def _causes(bars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """[{cause, count, at_wall_s}] of the bad ones, the latest first: what the bars say, as text."""
    found: dict[str, dict[str, Any]] = {}
    for bar in reversed(bars):
        if bar["state"] == "bad":
            known = found.setdefault(bar["cause"], {"cause": bar["cause"], "count": 0, "at_wall_s": bar["at_wall_s"]})
            known["count"] += 1
    return list(found.values())


def _bar(beat: object) -> dict[str, Any] | None:
    values = sequence(beat)
    if len(values) != 4 or (wall_s := number(values[0])) is None:
        return None
    cause = text(values[2], 80)
    state = "none" if not cause else "good" if values[3] is True else "bad"
    return {"state": state, "cause": cause, "at_wall_s": wall_s, "ms": number(values[1]) or 0.0}


def packed(document: Mapping[str, Any] | None, wall_s: float) -> dict[str, Any]:
    """For the way to the peer: ages in seconds instead of this clock's time, each cause once."""
    causes: list[str] = []
    beats = []
    for bar in strip(document)["bars"]:
        cause = bar["cause"][:48]
        if cause not in causes:
            causes.append(cause)
        beats.append(
            [round(wall_s - bar["at_wall_s"]), round(bar["ms"]), causes.index(cause), int(bar["state"] == "good")]
        )
    return {"causes": causes, "beats": beats}


def unpacked(value: object, wall_s: float) -> dict[str, Any]:
    """As ``strip`` wants it. ``wall_s``: this node's clock when the answer came."""
    causes = [text(cause, 80) for cause in sequence(mapping(value).get("causes"))]
    beats = []
    for beat in sequence(mapping(value).get("beats")):
        age_s, ms, index, good = (sequence(beat) + [None] * 4)[:4]
        if isinstance(index, int) and 0 <= index < len(causes) and (age := number(age_s)) is not None:
            beats.append([wall_s - age, ms, causes[index], good == 1])
    return {"beats": beats}
