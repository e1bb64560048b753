"""How far the wall clocks of the two servers may be apart before somebody is told. Nothing is decided by them (I-H)."""

from __future__ import annotations

import math
from enum import StrEnum

SKEW_WARNING_S = 2.0  # half a round trip of 1000 ms cannot be told from skew, so a smaller one may be none
SKEW_ALARM_S = 30.0  # logs and "the later edit wins" are wrong by more than anybody expects


class SkewLevel(StrEnum):
    """What page, command line, doctor and events make of a skew; "" is nothing to say."""

    NONE = ""
    WARNING = "warning"
    ALARM = "alarm"


def skew_level(skew_s: float | None) -> SkewLevel:
    """skew_s: how far the other server's clock is ahead, in seconds; None: not known."""
    if skew_s is None or not math.isfinite(skew_s) or abs(skew_s) <= SKEW_WARNING_S:
        return SkewLevel.NONE
    return SkewLevel.ALARM if abs(skew_s) > SKEW_ALARM_S else SkewLevel.WARNING
