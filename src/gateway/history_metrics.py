"""What the recorder of the history tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.history_recorder import HistoryMeter
from stockade.core.growth import Growth

_COUNTERS = {
    "runs": ("runs_recorded", "Runs that this gateway recorded in the history."),
    "gone": ("runs_lost", "Runs whose record was gone before the history had it. Any is an alarm."),
    "set_aside": ("set_aside", "Records that could not be read or kept. Any is an alarm."),
    "failures": ("failures", "Rounds of the recorder that failed."),
    "walks": ("walks", "Walks over all records, to make good what found no room."),
}


class HistoryFamilies:
    """The metrics of one gateway's recorder.

    Args:
        registry: Where they are told.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._growth = Growth()
        self._counters = {
            field: Counter(f"stockade_history_{name}", text, registry=registry)
            for field, (name, text) in _COUNTERS.items()
        }
        self._waiting = Gauge(
            "stockade_history_waiting",
            "Ends of runs that wait to be recorded, in all partitions.",
            registry=registry,
        )
        self._lag = Gauge(
            "stockade_history_lag_seconds",
            "How long the oldest of them waits.",
            registry=registry,
        )

    def show(self, meter: HistoryMeter) -> None:
        """Takes how the recorder stands."""
        for field, counter in self._counters.items():
            counter.inc(self._growth.of(field, getattr(meter, field)))
        self._waiting.set(meter.waiting)
        self._lag.set(meter.lag_ms / 1000)
