"""What one request that is passed on may cost."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Of one request that is passed on to the active server. Connecting has the network limit of the settings.

    answer_s: until the head of the answer is complete, counted from when the request is sent. idle_s: the longest gap between
    two pieces of a body, either way. total_s: all of it. request_bytes, answer_bytes: largest bodies; the portal's
    MAX_CONTENT_LENGTH counts too. Raises ValueError for a figure that is not positive.
    """

    answer_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 3600.0
    request_bytes: int = 4 * GIB
    answer_bytes: int = 4 * GIB

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"active_only: limits.{name}={value!r}: must be a number above 0")
