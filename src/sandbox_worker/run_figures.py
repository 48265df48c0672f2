"""What runs cost, added up in plain numbers (`tallies` says why) and told when Prometheus asks."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import INF

from sandbox_worker.tallies import Tally
from stockade.core.outcomes import Outcome, Usage

MIB = 1024 * 1024
WAITS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, INF)
RUNS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, INF),
)
MEMORY = (*(mib * MIB for mib in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)), INF)
_NAMED = ["tenant", "function"]


class OfTenant:
    """One tenant's runs, or those of all others together."""

    __slots__ = ("ended", "run_seconds", "wait_seconds")

    def __init__(self) -> None:
        self.wait_seconds = Tally(WAITS)
        self.run_seconds = Tally(RUNS)
        self.ended = dict.fromkeys(Outcome, 0)


class OfFunction:
    """One function's runs, or those of all others of a tenant together."""

    __slots__ = ("attempts", "fuel", "run_seconds")

    def __init__(self) -> None:
        self.attempts: dict[Outcome, int] = {}
        self.fuel = 0
        self.run_seconds = 0.0

    def add(self, outcome: Outcome, usage: Usage) -> None:
        """Notes an attempt."""
        self.attempts[outcome] = self.attempts.get(outcome, 0) + 1
        self.fuel += usage.fuel
        self.run_seconds += usage.wall_ms / 1000


class RunFigures(Collector):
    """All of them, by tenant and by tenant and function."""

    def __init__(self) -> None:
        self.tenants: dict[str, OfTenant] = {}
        self.functions: dict[tuple[str, str], OfFunction] = {}
        self.peak_memory = Tally(MEMORY)

    def describe(self) -> Iterator[Metric]:
        """The families."""
        return _families([], [], Tally(MEMORY))

    def collect(self) -> Iterator[Metric]:
        """The families with their figures. Runs go on meanwhile."""
        tenants, functions = list(self.tenants.items()), list(self.functions.items())
        return _families(tenants, functions, self.peak_memory)


def _families(
    tenants: Iterable[tuple[str, OfTenant]],
    functions: Iterable[tuple[tuple[str, str], OfFunction]],
    peak_memory: Tally,
) -> Iterator[Metric]:
    yield from _of_functions(functions)
    yield from _of_tenants(tenants)
    memory = HistogramMetricFamily(
        "stockade_attempt_peak_memory_bytes", "The most memory that an attempt held."
    )
    peak_memory.tell(memory, [])
    yield memory


def _of_functions(
    functions: Iterable[tuple[tuple[str, str], OfFunction]],
) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "stockade_attempts",
        "Attempts whose end this worker recorded.",
        labels=[*_NAMED, "outcome"],
    )
    fuel = CounterMetricFamily("stockade_fuel", "Fuel that attempts used.", labels=_NAMED)
    seconds = CounterMetricFamily(
        "stockade_run_seconds", "Wall time that attempts took.", labels=_NAMED
    )
    for place, figures in functions:
        for outcome, count in list(figures.attempts.items()):
            attempts.add_metric([*place, outcome.value], count)
        fuel.add_metric(place, figures.fuel)
        seconds.add_metric(place, figures.run_seconds)
    yield from (attempts, fuel, seconds)


def _of_tenants(tenants: Iterable[tuple[str, OfTenant]]) -> Iterator[Metric]:
    invocations = CounterMetricFamily(
        "stockade_invocations",
        "Invocations that ended for good with an attempt of this worker.",
        labels=["tenant", "outcome"],
    )
    waits = HistogramMetricFamily(
        "stockade_queue_wait_seconds",
        "From the time that an invocation could first run to the start of this attempt.",
        labels=["tenant"],
    )
    runs = HistogramMetricFamily(
        "stockade_attempt_seconds",
        "Wall time of attempts, host calls included and the module's loading not.",
        labels=["tenant"],
    )
    for tenant, figures in tenants:
        for outcome, count in figures.ended.items():
            invocations.add_metric([tenant, outcome.value], count)
        figures.wait_seconds.tell(waits, [tenant])
        figures.run_seconds.tell(runs, [tenant])
    yield from (invocations, waits, runs)
