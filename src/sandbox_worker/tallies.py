"""Histograms of plain numbers, told when Prometheus asks.

Prometheus' own take a lock and check their labels each time; several of them for each run would
cost more than its record does.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import Exemplar, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tally:
    """One histogram; the newest trace of each bucket is its exemplar.

    Args:
        bounds: Where buckets end, the last one at infinity.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._exemplars: dict[int, tuple[str, float, float]] = {}

    def add(self, value: float, trace_id: str = "") -> None:
        """Notes a value."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += 1
        self._sum += value
        if trace_id:
            # OpenMetrics wants the time of day.
            self._exemplars[place] = trace_id, value, time.time()  # noqa: TID251

    def tell(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Adds what was noted to a family."""
        buckets: list[tuple[str, float, Exemplar | None]] = []
        total = 0
        for place, (bound, count) in enumerate(zip(self._bounds, list(self._counts), strict=True)):
            total += count
            ends = floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((ends, total, self._exemplar(place)))
        family.add_metric(labels, buckets, self._sum)  # type: ignore[arg-type] # its own hint is off

    def _exemplar(self, place: int) -> Exemplar | None:
        noted = self._exemplars.get(place)
        return None if noted is None else Exemplar({"trace_id": noted[0]}, *noted[1:])


class Tallies(Collector):
    """A histogram for each value of a label, which are words of ours and few; or one without.

    Args:
        name: The metric's.
        text: What it says.
        bounds: Where buckets end, the last one at infinity.
        label: Empty for one without.
    """

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], label: str = "") -> None:
        self._name, self._text, self._bounds = name, text, bounds
        self._labels = [label] if label else []
        self._tallies: dict[str, Tally] = {} if label else {"": Tally(bounds)}

    def add(self, value: float, labelled: str = "") -> None:
        """Notes a value."""
        tally = self._tallies.get(labelled)
        if tally is None:
            tally = self._tallies[labelled] = Tally(self._bounds)
        tally.add(value)

    def describe(self) -> Iterator[Metric]:
        """The family."""
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """The family with what was noted; more may come meanwhile."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labelled, tally in list(self._tallies.items()):
            tally.tell(family, [labelled] if self._labels else [])
        yield family
