"""What a benchmark hands back: figures with their bounds, every single value kept."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Callable, Mapping, Self

RUNS = 10


class BenchError(RuntimeError):
    """A figure could not be measured; the message says why and where to look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured quantity. ``values``: one a run. ``bound`` None: for information; ``at_least``: bound from below."""

    name: str
    unit: str
    values: tuple[float, ...]
    bound: float | None = None
    at_least: bool = False
    digits: int = 2

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def within(self, value: float) -> bool:
        if self.bound is None:
            return True
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def verdict(self) -> str:
        """``PASS``: every run is within the bound; else how many are not, and ``OVER`` (``BELOW``) when the median is not."""
        if self.bound is None:
            return ""
        outside = sum(not self.within(value) for value in self.values)
        if not outside:
            return "PASS"
        word = "below" if self.at_least else "over"
        if self.within(self.median):
            return f"PASS, {outside} of {len(self.values)} runs {word}"
        return word.upper()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**{**value, "values": tuple(value["values"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """The figures of one module. ``how``: paragraphs in Markdown that say how they were measured."""

    title: str
    how: tuple[str, ...]
    figures: tuple[Figure, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        figures = tuple(Figure.from_json(x) for x in value["figures"])
        return cls(title=value["title"], how=tuple(value["how"]), figures=figures)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """``runs``: how often each figure is measured. ``seed``: of every random choice. ``say``: shows progress."""

    runs: int = RUNS
    seed: int = 1
    say: Callable[[str], None] = print


Measure = Callable[[Options], Section]
