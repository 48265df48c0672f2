"""What counting costs a run, and how large and slow a page of metrics gets."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from sandbox_worker.metrics import WorkerMetrics
from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, Usage

TENANTS, FUNCTIONS_OF_EACH = 100, 1000
_CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
_USAGE = Usage(fuel=1000, peak_memory_bytes=65536, wall_ms=1.0, queue_ms=3.0)
_DONE = Completion(Attempt(1, Outcome.COMPLETED, "The run completed.", _USAGE), 1000)
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def claims(count: int) -> list[Claim]:
    """Runs of many tenants' many functions, all traced."""
    return [
        Claim(
            Invocation(
                "id",
                f"tenant-{n % TENANTS}",
                f"function-{n // TENANTS % FUNCTIONS_OF_EACH}",
                1,
                _CONTENT,
                0,
                b"",
                traceparent=_TRACE,
            ),
            1,
            "1-0",
        )
        for n in range(count)
    ]


def warm_run(metrics: WorkerMetrics) -> Callable[[Claim, Completion], None]:
    """Counts all that one warm run gives a worker to count, from its module to its end."""

    def ran(claim: Claim, completion: Completion) -> None:
        metrics.loaded("memory")
        metrics.got_executor(0.0001)
        metrics.valkey_answered("begin", 0.0004)
        metrics.valkey_answered("complete", 0.0004)
        metrics.ran(claim, completion)

    return ran


def run_seconds(ran: Callable[[Claim, Completion], None], runs: Sequence[Claim]) -> float:
    """Processor time of one run, on the average: others of the machine count for nothing."""
    began = time.thread_time()
    for claim in runs:
        ran(claim, _DONE)
    return (time.thread_time() - began) / len(runs)


class PlainCounters:
    """The same figures by the client library's own counters: the usual way."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        named = ["tenant", "function"]
        self._attempts = Counter("attempts", ".", [*named, "outcome"], registry=registry)
        self._ended = Counter("ended", ".", ["tenant", "outcome"], registry=registry)
        self._fuel = Counter("fuel", ".", named, registry=registry)
        self._seconds = Counter("seconds", ".", named, registry=registry)
        self._wait = Histogram("wait", ".", ["tenant"], registry=registry)
        self._run = Histogram("run", ".", ["tenant"], registry=registry)
        self._memory = Histogram("memory", ".", registry=registry)
        self._loads = Counter("loads", ".", ["source"], registry=registry)
        self._executor = Histogram("executor", ".", registry=registry)
        self._valkey = Histogram("valkey", ".", ["command"], registry=registry)

    def ran(self, claim: Claim, completion: Completion) -> None:
        """Counts an attempt."""
        of, attempt = claim.invocation, completion.attempt
        usage, outcome = attempt.usage, attempt.outcome.value
        exemplar = {"trace_id": of.traceparent.split("-")[1]}
        self._loads.labels("memory").inc()
        self._executor.observe(0.0001)
        self._valkey.labels("begin").observe(0.0004)
        self._valkey.labels("complete").observe(0.0004)
        self._attempts.labels(of.tenant, of.function, outcome).inc()
        self._ended.labels(of.tenant, outcome).inc()
        self._fuel.labels(of.tenant, of.function).inc(usage.fuel)
        self._seconds.labels(of.tenant, of.function).inc(usage.wall_ms / 1000)
        self._wait.labels(of.tenant).observe(usage.queue_ms / 1000, exemplar)
        self._run.labels(of.tenant).observe(usage.wall_ms / 1000, exemplar)
        self._memory.observe(usage.peak_memory_bytes)


def page(count: int) -> tuple[int, float]:
    """Bytes of the page when so many runs were counted, and the processor time to write it."""
    metrics = WorkerMetrics()
    for claim in claims(count):
        metrics.ran(claim, _DONE)
    metrics.review()
    began = time.thread_time()
    body, _ = metrics.text("application/openmetrics-text")
    return len(body), time.thread_time() - began
