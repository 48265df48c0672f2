"""What the gateway counts, for Prometheus. Nothing here is told by tenant: anyone may read it."""

from importlib.metadata import version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
)
from prometheus_client import generate_latest as generate

from gateway.history_metrics import HistoryFamilies
from gateway.history_recorder import HistoryMeter
from stockade.core.growth import Growth
from stockade.core.spans import SpanCounts

WARN_PERCENT = (50, 80)
"""From which shares of its bound on an input is counted as large; the last one warns its sender."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
_KIB = 1024
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30, 120)
_BUCKETS = tuple(kib * _KIB for kib in (1, 8, 32, 128, 512, 1024, 2048, 4096, 6144, 16384, 65536))


# They would double the series, and tell nothing that counters do not.
disable_created_metrics()  # type: ignore[no-untyped-call]


class GatewayMetrics:
    """The counters of one gateway process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._input_bytes = Histogram(
            "stockade_gateway_input_bytes",
            "Sizes of inputs that came whole and within their bound.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._large_inputs = Counter(
            "stockade_gateway_large_inputs",
            "Inputs above this percentage of the bytes that their function takes.",
            ["above_percent"],
            registry=self.registry,
        )
        self._refusals = Counter(
            "stockade_gateway_refusals",
            "Requests, and lines of batches, that were refused, by code.",
            ["code"],
            registry=self.registry,
        )
        self._audit_failures = Counter(
            "stockade_gateway_audit_failures",
            "Writes to the audit log that failed. Any is an alarm.",
            registry=self.registry,
        )
        self._stale = Gauge(
            "stockade_policies_stale",
            "1 while changed files cannot be used, and those before them are in force.",
            ["files"],
            registry=self.registry,
        )
        self._requests = Counter(
            "stockade_gateway_requests",
            "Requests, by route, method and the first digit of the status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._served: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._request_seconds = Histogram(
            "stockade_gateway_request_seconds",
            "From a request's head to the end of its answer, waiting for a result included.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._valkey_seconds = Histogram(
            "stockade_valkey_seconds",
            "Round trips to Valkey that do not block, by script or command.",
            ["command"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._commands: dict[str, Histogram] = {}
        self._loop_lag = Histogram(
            "stockade_event_loop_lag_seconds",
            "How late the event loop was with a timer.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._spans_dropped = Counter(
            "stockade_spans_dropped",
            "Dropped of traces, by why: full and broken (recordings of requests or attempts),"
            " not_kept (parts, by Valkey), refused and not_sent (spans, by the collector).",
            ["reason"],
            registry=self.registry,
        )
        self._history = HistoryFamilies(self.registry)
        self._growth = Growth()
        Info("stockade_build", "The release that runs.", registry=self.registry).info(
            {"version": version("stockade")}
        )
        for percent in WARN_PERCENT:
            self._large_inputs.labels(percent)

    def took_input(self, size_bytes: int, bound_bytes: int) -> None:
        """Counts an input against the bound that it kept."""
        self._input_bytes.observe(size_bytes)
        for percent in WARN_PERCENT:
            if is_above(percent, size_bytes, bound_bytes):
                self._large_inputs.labels(percent).inc()

    def refused(self, code: str) -> None:
        """Counts a refusal."""
        self._refusals.labels(code).inc()

    def audit_failed(self) -> None:
        """Counts a failure to write the audit log."""
        self._audit_failures.inc()

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        place = method, route, status
        series = self._served.get(place)
        if series is None:
            counter = self._requests.labels(route, method, f"{status // 100}xx")
            series = self._served[place] = counter, self._request_seconds.labels(route)
        series[0].inc()
        series[1].observe(seconds)

    def valkey_answered(self, command: str, seconds: float) -> None:
        """Notes a round trip to Valkey."""
        series = self._commands.get(command)
        if series is None:
            series = self._commands[command] = self._valkey_seconds.labels(command)
        series.observe(seconds)

    def loop_was_late(self, seconds: float) -> None:
        """Notes how late a timer of the event loop came."""
        self._loop_lag.observe(seconds)

    def traced(self, counts: SpanCounts) -> None:
        """Notes what was dropped of traces since the start."""
        for reason, total in counts.dropped().items():
            self._spans_dropped.labels(reason).inc(self._growth.of(reason, total))

    def recorded(self, meter: HistoryMeter) -> None:
        """Notes what the recorder of the history did, and what waits for it."""
        self._history.show(meter)

    def follows(self, files: str, *, stale: bool) -> None:
        """Notes whether the newest of these files is in force."""
        self._stale.labels(files).set(stale)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate(self.registry)


def is_above(percent: int, size_bytes: int, bound_bytes: int) -> bool:
    """Whether a size is above this percentage of its bound."""
    return size_bytes * 100 > bound_bytes * percent


def size_warning(size_bytes: int, bound_bytes: int) -> dict[str, str]:
    """The header that warns of an input that will soon be too large; none when it is not."""
    if not is_above(WARN_PERCENT[-1], size_bytes, bound_bytes):
        return {}
    return {"Stockade-Size-Warning": f"{size_bytes} of {bound_bytes} bytes"}
