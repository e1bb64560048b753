"""Why each server is what it is: its sentence, streaks, prospects and refused rows, with the time that has passed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftplugin.core.outlook import prospect_text

from .plain import mapping, number, sequence, text

PEER_OLD_PERIODS = 3  # what the other server said of itself is old after so many of the agent's questions
PEER_PERIOD_S_MIN, PEER_LIMIT_S = 2.0, 2.0
VIEWER_NOTE_S = 5.0  # an open page renews its note no more often than this


def why(decision: Mapping[str, Any], outlook: Mapping[str, Any], age_s: float | None) -> dict[str, Any]:
    """``decision`` and ``outlook``: of one server. ``age_s``: since that tick; None: the times are not known any more."""
    return {
        "rule": text(decision.get("rule"), 8),
        "sentence": text(decision.get("sentence"), 1000),
        "at_wall_s": number(decision.get("at_wall_s")),
        "role": text(outlook.get("role"), 20),
        "diagnosis": text(outlook.get("diagnosis"), 40),
        "row": text(outlook.get("why"), 200),
        "streaks": [f"{x[1]} of {x[2]} {x[3]}" for s in sequence(outlook.get("streaks")) if len(x := sequence(s)) == 4],
        "prospects": [p for x in sequence(outlook.get("prospects")) if (p := _prospect(mapping(x), age_s))],
        "refused": [row for x in sequence(outlook.get("rows"))[1:] if (row := _row(sequence(x)))],
    }


def _prospect(value: Mapping[str, Any], age_s: float | None) -> str:
    held, in_s = sequence(value.get("held")), number(value.get("in_s"))
    known = {
        "supposed": text(value.get("supposed"), 200),
        "rule": text(value.get("rule"), 8),
        "then": text(value.get("then"), 200) if in_s is not None else "",
        "in_s": in_s or 0.0,
        "held": [text(x, 300) for x in held],
    }
    return prospect_text(known, age_s or 0.0) if known["supposed"] else ""


def _row(value: list[Any]) -> dict[str, Any] | None:
    if len(value) != 4:
        return None
    reasons = [text(x, 300) for x in sequence(value[3])]
    return {"rule": text(value[0], 8), "situation": text(value[1], 200), "why": text(value[2], 200), "reasons": reasons}


def peer_word(document: Mapping[str, Any], boot_id: str, now_s: float, interval_s: float) -> dict[str, Any]:
    """{status, age_s, old, problem} of the document "peer_status": what the other server said of itself, when asked."""
    status = mapping(document.get("status")) if document.get("boot_id") == boot_id else {}
    at_s = number(document.get("at_s"))
    age_s = now_s - at_s if status and at_s is not None else None
    period_s = max(PEER_PERIOD_S_MIN, interval_s / 4)
    old_s = PEER_OLD_PERIODS * period_s + PEER_LIMIT_S
    asked_s = number(document.get("asked_s")) if document.get("boot_id") == boot_id else None
    asked_lately = asked_s is not None and now_s - asked_s <= old_s  # why it did not answer long ago says nothing of now
    return {
        "status": status if age_s is not None else {},
        "age_s": age_s,
        "old": age_s is None or age_s > old_s,
        "problem": text(document.get("problem"), 200) if asked_lately else "",
    }
