"""What the pair would do after a fault, under a set of settings: both nodes' ticks through the real ``core.decide``.

A forecast is no formula: two small hosts (``host.py``) probe, watch votes, hold a lease and switch on a virtual clock
(``pair.py``), and each of their ticks is decided by the same function that decides on a real node. Pure: no I/O, no clock.
"""

from __future__ import annotations

from .pair import forecast
from .timeline import Event, Fault, Forecast, Mark, Segment, Show

__all__ = ["Event", "Fault", "Forecast", "Mark", "Segment", "Show", "forecast"]
