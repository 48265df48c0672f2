"""What the queue's own books say, for Prometheus: every worker tells the same of them."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stockade.core.installation_status import QueueFigures

_GAUGES = {
    "backlog": "Invocations that wait for room.",
    "later": "Invocations that wait for their time: scheduled, delayed, to be tried again.",
    "ready": "Invocations that any worker may take.",
    "in_flight": "Invocations in workers' hands.",
}


class QueueCollector(Collector):
    """Tells the figures that it was given last."""

    def __init__(self) -> None:
        self._figures: QueueFigures | None = None

    def show(self, figures: QueueFigures | None) -> None:
        """Takes new figures, or that there are none."""
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """The families with what is known."""
        if self._figures is not None:
            yield from _families(self._figures)

    def describe(self) -> Iterator[Metric]:
        """The families."""
        return _families(QueueFigures())


def _families(figures: QueueFigures) -> Iterator[Metric]:
    for name, text in _GAUGES.items():
        yield GaugeMetricFamily(f"stockade_queue_{name}", text, getattr(figures, name))
    yield GaugeMetricFamily(
        "stockade_queue_oldest_wait_seconds",
        "How long the first in line waits. Tenants at their own cap do not count.",
        figures.oldest_wait_ms / 1000,
    )
    yield CounterMetricFamily(
        "stockade_queue_leases_reclaimed",
        "Claims that were taken over since their worker stopped renewing the lease.",
        figures.reclaimed,
    )
    yield CounterMetricFamily(
        "stockade_queue_quarantined",
        "Invocations given up since their worker or executor died too often.",
        figures.quarantined,
    )
    ended = CounterMetricFamily(
        "stockade_queue_ended",
        "Invocations that ended otherwise than completed, those that no worker had included.",
        labels=["outcome"],
    )
    for outcome, count in sorted(figures.ended.items()):
        ended.add_metric([outcome], count)
    yield ended
