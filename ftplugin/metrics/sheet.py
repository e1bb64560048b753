"""The families of one scrape, in the order in which they were told. What is None is absent: old data is never shown as new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

LABEL_CHARS_MAX = 200
Value = float | bool | None


class Sheet(Collector):
    """Takes values, and is what prometheus-client writes out. Names follow Prometheus: base units, ``_total`` for counts."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()

    def gauge(self, name: str, help_text: str, value: Value, /, **labels: str) -> None:
        """One value as it is now; None: not known."""
        if value is None:
            return
        found = self._families.setdefault(name, GaugeMetricFamily(name, help_text, labels=list(labels)))
        found.add_sample(name, _plain(labels), float(value))

    def one_of(
        self, name: str, help_text: str, label: str, words: Iterable[str], now: str | None, /, **more: str
    ) -> None:
        """One gauge for each of ``words``: 1 for ``now``, else 0. None: not known, no gauge."""
        if now is None:
            return
        for word in words:
            self.gauge(name, help_text, word == now, **more, **{label: word})

    def counter(self, name: str, help_text: str, value: Value, /, **labels: str) -> None:
        """name: ends in ``_total``."""
        if value is None:
            return
        family = CounterMetricFamily(name.removesuffix("_total"), help_text, labels=list(labels))
        self._families.setdefault(name, family).add_sample(name, _plain(labels), float(value))

    def histogram(
        self, name: str, help_text: str, bounds: Sequence[float], counts: Sequence[int], total: float
    ) -> None:
        """counts: not cumulative, one more than ``bounds``. total: the sum of what was measured."""
        reached, buckets = 0, []
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            reached += count
            buckets.append((bound, float(reached)))
        family = HistogramMetricFamily(name, help_text)
        family.add_metric([], buckets, total)
        self._families[name] = family


def _plain(labels: dict[str, str]) -> dict[str, str]:
    return {
        name: "".join(c if c.isprintable() else " " for c in text)[:LABEL_CHARS_MAX] for name, text in labels.items()
    }
