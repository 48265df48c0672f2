"""What a worker counts: every metric, its meaning and its labels (`docs/reference/metrics.md`).

What stands here is `WorkerMetrics`' own; everybody else calls its methods.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    disable_created_metrics,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.utils import INF

from sandbox_worker.queue_metrics import QueueCollector
from sandbox_worker.run_figures import RunFigures
from sandbox_worker.tallies import Tallies
from sandbox_worker.upstream_metrics import UpstreamCollector

_SHORT = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_COMPILES = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# They would double the series, and tell nothing that counters do not.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Families:
    """All metrics of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.runs = RunFigures()
        self.registry.register(self.runs)
        self.queue = QueueCollector()
        self.registry.register(self.queue)
        self.upstreams = UpstreamCollector()
        self.registry.register(self.upstreams)
        self.build = Info("stockade_build", "The release that runs.", registry=self.registry)
        self._define_runs()
        self._define_retries()
        self._define_modules()
        self._define_executors()
        self._define_worker()

    def _define_runs(self) -> None:
        self.host_calls = self._counter(
            "host_calls", "Host calls of guests, by call and how it ended.", ["call", "result"]
        )
        self.host_call_seconds = self._histogram(
            "host_call_seconds", "How long host calls took.", _SHORT, "call"
        )

        self.recordings = self._counter(
            "recordings",
            "Recordings of runs: kept, cut at their bounds, failed to be stored, or lost with their"
            " executor.",
            ["result"],
        )

    def _define_retries(self) -> None:
        self.retry_decisions = self._counter(
            "retry_decisions",
            "What followed failed attempts: retry or stop, the reason's class, the ruling policy.",
            ["decision", "reason", "policy"],
        )
        self.retry_estimates = self._counter(
            "retry_estimates",
            "Ends of attempts whose success had been estimated, by tenth of the estimate.",
            ["predicted"],
        )
        self.retry_expected = self._counter(
            "retry_expected_successes", "Sum of those estimates.", ["predicted"]
        )
        self.retry_successes = self._counter(
            "retry_observed_successes", "How many of those attempts completed.", ["predicted"]
        )
        self.retry_saved = self._counter(
            "retry_attempts_saved",
            "Attempts that the learned policy saves against the fixed one, estimated; where the"
            " fixed one rules, those that it would.",
            ["policy"],
        )
        self.retry_added = self._counter(
            "retry_attempts_added",
            "Attempts that the learned policy makes where the fixed one would have stopped.",
            ["policy"],
        )
        self.retry_fuel_saved = self._counter(
            "retry_fuel_saved", "Fuel of the attempts saved, estimated.", ["policy"]
        )

    def _define_modules(self) -> None:
        self.module_loads = self._counter(
            "module_loads",
            "Modules looked up for runs, by where the compiled form was: memory, cache (of this"
            " host), or compiled (nowhere).",
            ["source"],
        )
        self.compile_seconds = self._histogram(
            "module_compile_seconds",
            "How long compiling a module took, waiting for its turn included.",
            _COMPILES,
        )

    def _define_executors(self) -> None:
        self.executors = self._gauge(
            "executors", "Executor processes: lent (running), idle, spare (nobody's).", ["state"]
        )
        self.executors_started = self._counter("executors_started", "Executors that were forked.")
        self.executors_ended = self._counter(
            "executors_ended",
            "Executors that ended: spent (its runs or isolation level), idle, grown, works (for"
            " nobody), died, killed (by us, during a run), closed (the worker stopped).",
            ["reason"],
        )
        self.cold_starts = self._counter(
            "cold_starts",
            "Runs that had to wait for a fresh process (process) or for their module to be loaded"
            " into one (module).",
            ["what"],
        )
        self.executor_wait = self._histogram(
            "executor_wait_seconds", "How long attempts waited for an executor.", _SHORT
        )

    def _define_worker(self) -> None:
        self.capacity = self._gauge("worker_capacity", "How many attempts may run at once.")
        self.running = self._gauge("worker_running", "How many attempts are under way.")
        self.reclaimed = self._counter(
            "leases_reclaimed", "Claims taken over from workers whose lease ran out."
        )
        self.handed_back = self._counter(
            "claims_handed_back", "Claims given back unfinished when the worker stopped."
        )
        self.stale = self._counter(
            "stale_completions", "Ends that were not recorded since another worker had taken over."
        )
        self.upkeep_failures = self._counter(
            "upkeep_failures", "Rounds of leases, due work, sweeps and listening that failed."
        )
        self.learning = self._counter(
            "learning_events",
            "Lessons of retries that were `shared` with other workers or `dropped` untold; states"
            " that lost a race (`raced`) or were `set_aside` unread; times the store was `away`.",
            ["event"],
        )
        # Told from the start: Prometheus sees no growth in what begins with 1.
        self.learning.labels("set_aside")
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop was with a timer.", _SHORT
        )
        self.valkey_seconds = self._histogram(
            "valkey_seconds",
            "Round trips to Valkey that do not block, by script or command.",
            _SHORT,
            "command",
        )
        self.spans_dropped = self._counter(
            "spans_dropped",
            "Dropped of traces, by why: full and broken (recordings of requests or attempts),"
            " not_kept (parts, by Valkey), refused and not_sent (spans, by the collector).",
            ["reason"],
        )
        self.policies_stale = self._gauge(
            "policies_stale",
            "1 while changed files cannot be used, and those before them are in force.",
            ["files"],
        )

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(f"stockade_{name}", text, labels or [], registry=self.registry)

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(f"stockade_{name}", text, labels or [], registry=self.registry)

    def _histogram(
        self, name: str, text: str, bounds: tuple[float, ...], label: str = ""
    ) -> Tallies:
        tallies = Tallies(f"stockade_{name}", text, (*bounds, INF), label)
        self.registry.register(tallies)
        return tallies
