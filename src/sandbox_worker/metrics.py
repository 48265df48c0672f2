"""What a worker tells Prometheus. Every method is one plain call of the code that it is about.

Tenants and functions are labels for the busiest alone (`TopNames`); all others share `OTHERS`,
which none can be called. A counter of the shared label never takes over what a name had counted,
and a name's own begins at zero when it gets one: every series only grows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from sandbox_worker.metric_families import Families
from sandbox_worker.recent_runs import RecentRuns
from sandbox_worker.retry_metrics import RetryMetrics
from sandbox_worker.run_figures import OfFunction, OfTenant
from stockade.core.growth import Growth
from stockade.core.installation_status import QueueFigures
from stockade.core.invocations import Claim, Completion
from stockade.core.spans import SpanCounts
from stockade.core.top_names import TopNames

if TYPE_CHECKING:
    from prometheus_client import Counter

OTHERS = "(other)"
_OPENMETRICS = "application/openmetrics-text"
_TRACE_ID_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class LabelBounds:
    """How many tenants, and how many functions of all of them, have labels of their own."""

    tenants: int = 20
    functions: int = 100


class WorkerMetrics:
    """The metrics of one worker process.

    Args:
        bounds: How many names are labels.
        version: The release.
    """

    def __init__(self, bounds: LabelBounds | None = None, version: str = "") -> None:
        bounds = bounds or LabelBounds()
        self.families = Families()
        self.families.build.info({"version": version})
        self.recent = RecentRuns()
        self._growth = Growth()
        self._retries = RetryMetrics(self.families)
        self._top_tenants: TopNames[str] = TopNames(bounds.tenants)
        self._top_functions: TopNames[tuple[str, str]] = TopNames(bounds.functions)
        self._runs = self.families.runs
        self._loads: dict[str, Counter] = {}

    def ran(self, claim: Claim, completion: Completion) -> None:
        """Counts an attempt whose end was recorded."""
        invocation, attempt = claim.invocation, completion.attempt
        usage, outcome = attempt.usage, attempt.outcome
        tenant = invocation.tenant if self._top_tenants.note(invocation.tenant) else OTHERS
        of_tenant = self._of_tenant(tenant)
        trace_id = _trace_id(invocation.traceparent)
        of_tenant.wait_seconds.add(usage.queue_ms / 1000, trace_id)
        of_tenant.run_seconds.add(usage.wall_ms / 1000, trace_id)
        if completion.retry_at_ms is None:
            of_tenant.ended[outcome] += 1
            self.recent.ended(invocation.tenant, outcome)
        self._retries.ended(claim, completion)
        self._of_function(tenant, invocation.tenant, invocation.function).add(outcome, usage)
        self._runs.peak_memory.add(usage.peak_memory_bytes)

    def host_called(self, call: str, result: str, seconds: float) -> None:
        """Counts a host call; both names are from lists of ours, never a guest's words."""
        self.families.host_calls.labels(call, result).inc()
        self.families.host_call_seconds.add(seconds, call)

    def recorded(self, result: str) -> None:
        """Counts a recording that was `kept`, `cut` (kept in part), `failed` or `lost`."""
        self.families.recordings.labels(result).inc()

    def loaded(self, source: str) -> None:
        """Counts where a compiled module was found: `memory`, `cache`, or `compiled`."""
        counter = self._loads.get(source)
        if counter is None:
            counter = self._loads[source] = self.families.module_loads.labels(source)
        counter.inc()

    def compiled(self, seconds: float) -> None:
        """Notes how long a module took to compile."""
        self.families.compile_seconds.add(seconds)

    def cold_start(self, what: str) -> None:
        """Counts a run that waited for a fresh `process`, or for its `module` to be loaded."""
        self.families.cold_starts.labels(what).inc()

    def got_executor(self, seconds: float) -> None:
        """Notes how long an attempt waited for an executor."""
        self.families.executor_wait.add(seconds)

    def executor_started(self) -> None:
        """Counts a fork."""
        self.families.executors_started.inc()

    def executor_ended(self, reason: str) -> None:
        """Counts the end of an executor; the reasons stand in the metric's help."""
        self.families.executors_ended.labels(reason).inc()

    def executors(self, *, lent: int, idle: int, spare: int) -> None:
        """Notes how many executors there are."""
        for state, count in (("lent", lent), ("idle", idle), ("spare", spare)):
            self.families.executors.labels(state).set(count)

    def works(self, running: int, capacity: int) -> None:
        """Notes how much runs and might."""
        self.families.running.set(running)
        self.families.capacity.set(capacity)

    def reclaimed(self, count: int) -> None:
        """Counts claims taken over from the dead."""
        self.families.reclaimed.inc(count)

    def handed_back(self) -> None:
        """Counts a claim given back unfinished."""
        self.families.handed_back.inc()

    def stale_completion(self) -> None:
        """Counts an end that came too late to be recorded."""
        self.families.stale.inc()

    def upkeep_failed(self) -> None:
        """Counts a round of upkeep that failed."""
        self.families.upkeep_failures.inc()

    def learned(self, event: str, count: float) -> None:
        """Counts what became of what this worker learned; the events stand in the metric's help."""
        self.families.learning.labels(event).inc(count)

    def loop_was_late(self, seconds: float) -> None:
        """Notes how late a timer of the event loop came."""
        self.families.loop_lag.add(seconds)

    def valkey_answered(self, command: str, seconds: float) -> None:
        """Notes a round trip to Valkey."""
        self.families.valkey_seconds.add(seconds, command)

    def queue_stands(self, figures: QueueFigures) -> None:
        """Notes how the queue stands."""
        self.families.queue.show(figures)

    def queue_is_away(self) -> None:
        """Says nothing of the queue any more: old figures would look like new ones."""
        self.families.queue.show(None)

    def traced(self, counts: SpanCounts) -> None:
        """Notes what was dropped of traces since the start."""
        for reason, total in counts.dropped().items():
            self.families.spans_dropped.labels(reason).inc(self._growth.of(reason, total))

    def follows(self, files: str, *, stale: bool) -> None:
        """Notes whether the newest of these policy files is in force."""
        self.families.policies_stale.labels(files).set(stale)

    def review(self) -> None:
        """Gives labels to who is busy now, and takes them from who is not any more."""
        for tenant in self._top_tenants.review():
            self._runs.tenants.pop(tenant, None)
            self._runs.functions.pop((tenant, OTHERS), None)
        for named in self._top_functions.review():
            self._runs.functions.pop(named, None)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All of it, and its content type: OpenMetrics for who accepts it, with exemplars."""
        registry = self.families.registry
        if _OPENMETRICS in accept:
            body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
            return body, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

    def _of_tenant(self, tenant: str) -> OfTenant:
        figures = self._runs.tenants.get(tenant)
        if figures is None:
            figures = self._runs.tenants[tenant] = OfTenant()
        return figures

    def _of_function(self, label: str, tenant: str, function: str) -> OfFunction:
        named = self._top_functions.note((tenant, function))
        place = (tenant, function) if named else (label, OTHERS)
        figures = self._runs.functions.get(place)
        if figures is None:
            figures = self._runs.functions[place] = OfFunction()
        return figures


def _trace_id(traceparent: str) -> str:
    """The trace's id in a W3C `traceparent`; empty where there is none."""
    parts = traceparent.split("-")
    if len(parts) < len("vtsf") or len(parts[1]) != _TRACE_ID_CHARACTERS:
        return ""
    return parts[1]
