"""Services that the watchdog has given up, and the agent's alarms, for page and command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plain import count, number, sequence, text

ALARMS_MAX, ALARM_CHARS_MAX = 8, 300


def trouble_of(reading: Mapping[str, Any], now_s: float | None) -> dict[str, Any]:
    """{given_up, restarts, next_try_in_s, silent_for_s} of one service.

    reading: of a document "services", whose moments are on this server's clock ``now_s``; or, with now_s None, what the
    other server has made of its own.
    """
    next_s, silent_s = number(reading.get("next_try_in_s")), number(reading.get("silent_for_s"))
    if now_s is not None:
        next_at_s, silent_at_s = number(reading.get("next_try_s")), number(reading.get("silent_since_s"))
        next_s = None if next_at_s is None else round(max(0.0, next_at_s - now_s), 1)
        silent_s = None if silent_at_s is None else round(max(0.0, now_s - silent_at_s), 1)
    return {
        "given_up": reading.get("given_up") is True,
        "restarts": count(reading.get("restarts")),
        "next_try_in_s": next_s,
        "silent_for_s": silent_s,
    }


def alarms_of(decision: Mapping[str, Any]) -> list[str]:
    """The alarms of a server's last decision; sentences of its agent."""
    return [text(alarm, ALARM_CHARS_MAX) for alarm in sequence(decision.get("alarms"))[:ALARMS_MAX]]
