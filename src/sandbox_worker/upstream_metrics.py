"""What the breakers of host calls did, for Prometheus. No label: upstreams are tenants' words."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sandbox_worker.breakers import BreakerCounts, Breakers

_COUNTERS = {
    "opened": "Breakers that opened, by failures of any worker, as this one learned.",
    "refused": "Host calls that were not sent since their upstream was out.",
    "probes": "Host calls that were sent to see whether an upstream is back.",
    "failures": "Host calls that failed, with the upstream to blame.",
    "untold": "Failures that the other workers never heard of: Valkey was away.",
}


class UpstreamCollector(Collector):
    """Tells the counts of the gate that it was given."""

    def __init__(self) -> None:
        self._gate: Breakers | None = None

    def watch(self, gate: Breakers) -> None:
        """Takes the gate."""
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        """The families with what is known."""
        if self._gate is not None:
            yield from _families(self._gate.counts, self._gate.open_now)

    def describe(self) -> Iterator[Metric]:
        """The families."""
        return _families(BreakerCounts(), 0)


def _families(counts: BreakerCounts, open_now: int) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "stockade_upstreams_out", "Upstreams that are out, as far as this worker knows.", open_now
    )
    for name, text in _COUNTERS.items():
        yield CounterMetricFamily(f"stockade_upstream_{name}", text, getattr(counts, name))
