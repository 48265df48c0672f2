"""What the gateway counts, for Prometheus. Nothing here is told by tenant: anyone may read it."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as generate

WARN_PERCENT = (50, 80)
"""From which shares of its bound on an input is counted as large; the last one warns its sender."""

CONTENT_TYPE = CONTENT_TYPE_LATEST
_KIB = 1024
_BUCKETS = tuple(kib * _KIB for kib in (1, 8, 32, 128, 512, 1024, 2048, 4096, 6144, 16384, 65536))


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
