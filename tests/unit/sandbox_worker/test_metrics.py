"""What a worker tells Prometheus, and how little however many there are."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sandbox_worker.metrics import OTHERS, LabelBounds, WorkerMetrics
from stockade.core.installation_status import QueueFigures
from stockade.core.invocations import Claim, Completion, Invocation
from stockade.core.modules import Abi, FunctionContent
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.spans import SpanCounts

TRACE = "0af7651916cd43dd8448eb211c80319c"
CONTENT = FunctionContent("sha256:" + "a" * 64, Abi.STOCKADE_V1, deterministic=True)
ORDER = [
    "tenant",
    "function",
    "outcome",
    "call",
    "result",
    "source",
    "command",
    "version",
].index
USAGE = Usage(fuel=1000, peak_memory_bytes=65536, wall_ms=20.0, queue_ms=300.0)


def run(
    metrics: WorkerMetrics,
    tenant: str = "acme",
    function: str = "resize",
    outcome: Outcome = Outcome.COMPLETED,
    *,
    trace: str = "",
    retry_at_ms: int | None = None,
) -> None:
    invocation = Invocation("id", tenant, function, 1, CONTENT, 0, b"", traceparent=trace)
    attempt = Attempt(1, outcome, "said so", USAGE)
    metrics.ran(Claim(invocation, 1, "1-0"), Completion(attempt, 1000, retry_at_ms))


def told(metrics: WorkerMetrics, name: str) -> dict[tuple[str, ...], float]:
    """A metric's samples, by the values of their labels: tenant and function first."""
    text = metrics.text()[0].decode()
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels, key=ORDER)): sample.value
        for family in parse_text(text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_run_is_counted_with_its_cost() -> None:
    metrics = WorkerMetrics()
    run(metrics)
    run(metrics, outcome=Outcome.TRAPPED, retry_at_ms=5)
    assert told(metrics, "stockade_attempts_total") == {
        ("acme", "resize", "completed"): 1,
        ("acme", "resize", "trapped"): 1,
    }
    invocations = told(metrics, "stockade_invocations_total")
    assert (invocations["acme", "completed"], invocations["acme", "trapped"]) == (1, 0)
    assert told(metrics, "stockade_fuel_total") == {("acme", "resize"): 2000}
    assert told(metrics, "stockade_run_seconds_total") == {("acme", "resize"): 0.04}
    assert told(metrics, "stockade_queue_wait_seconds_sum") == {("acme",): 0.6}
    assert told(metrics, "stockade_attempt_seconds_count") == {("acme",): 2}
    assert told(metrics, "stockade_attempt_peak_memory_bytes_sum") == {(): 131072}


def test_a_traced_run_leaves_its_trace_as_an_exemplar_where_those_are_understood() -> None:
    metrics = WorkerMetrics()
    run(metrics, trace=f"00-{TRACE}-b7ad6b7169203331-01")
    run(metrics, trace="no trace")
    body, content_type = metrics.text("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    exemplars = [
        sample.exemplar.labels
        for family in parse_openmetrics(body.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert exemplars == [{"trace_id": TRACE}] * 2
    body, content_type = metrics.text("text/plain")
    assert content_type.startswith("text/plain")
    assert TRACE.encode() not in body


def test_only_the_busiest_are_labels_and_all_others_share_one() -> None:
    metrics = WorkerMetrics(LabelBounds(tenants=1, functions=2))
    for function in ("a", "b", "c", "d"):
        run(metrics, "first", function)
    run(metrics, "second", "e")
    assert told(metrics, "stockade_fuel_total") == {
        ("first", "a"): 1000,
        ("first", "b"): 1000,
        ("first", OTHERS): 2000,
        (OTHERS, OTHERS): 1000,
    }
    assert told(metrics, "stockade_queue_wait_seconds_count") == {("first",): 4, (OTHERS,): 1}


def test_who_becomes_busier_is_named_and_no_series_ever_falls() -> None:
    metrics = WorkerMetrics(LabelBounds(tenants=1, functions=1))
    run(metrics, "first", "a")
    for _ in range(5):
        run(metrics, "second", "b")
    metrics.review()
    assert told(metrics, "stockade_fuel_total") == {(OTHERS, OTHERS): 5000}
    run(metrics, "second", "b")
    run(metrics, "first", "a")
    assert told(metrics, "stockade_fuel_total") == {("second", "b"): 1000, (OTHERS, OTHERS): 6000}
    assert told(metrics, "stockade_queue_wait_seconds_count") == {("second",): 1, (OTHERS,): 6}


def test_no_names_at_all_where_none_are_wanted() -> None:
    metrics = WorkerMetrics(LabelBounds(tenants=0, functions=0))
    run(metrics)
    metrics.review()
    assert b"acme" not in metrics.text()[0]
    assert told(metrics, "stockade_fuel_total") == {(OTHERS, OTHERS): 1000}


def test_a_hundred_thousand_functions_make_a_page_of_bounded_size() -> None:
    metrics = WorkerMetrics()
    for n in range(2000):
        run(metrics, f"tenant-{n % 100}", f"function-{n}", list(Outcome)[n % 8])
    metrics.review()
    first = len(metrics.text()[0])
    for n in range(2000, 100_000, 7):
        run(metrics, f"tenant-{n % 100}", f"function-{n}", list(Outcome)[n % 8])
    metrics.review()
    assert len(metrics.text()[0]) < 1.5 * first
    assert len(metrics.text()[0]) < 400_000


def test_names_of_tenants_cannot_break_out_of_their_label() -> None:
    metrics = WorkerMetrics()
    run(metrics, 'a"} 1\nstockade_fuel_total{tenant="b', "f\\")
    assert told(metrics, "stockade_fuel_total") == {
        ('a"} 1\nstockade_fuel_total{tenant="b', "f\\"): 1000
    }


def test_the_rest_is_counted_where_it_is_told() -> None:
    metrics = WorkerMetrics(version="1.2.3")
    metrics.host_called("http_fetch", "http_fetch.timeout", 0.2)
    metrics.loaded("cache")
    metrics.compiled(0.3)
    metrics.valkey_answered("submit", 0.001)
    metrics.reclaimed(2)
    metrics.stale_completion()
    metrics.handed_back()
    metrics.upkeep_failed()
    assert told(metrics, "stockade_build_info") == {("1.2.3",): 1}
    host_calls = told(metrics, "stockade_host_calls_total")
    assert host_calls == {("http_fetch", "http_fetch.timeout"): 1}
    assert told(metrics, "stockade_module_loads_total") == {("cache",): 1}
    assert told(metrics, "stockade_module_compile_seconds_count") == {(): 1}
    assert told(metrics, "stockade_valkey_seconds_count") == {("submit",): 1}
    assert told(metrics, "stockade_leases_reclaimed_total") == {(): 2}
    assert told(metrics, "stockade_stale_completions_total") == {(): 1}
    assert told(metrics, "stockade_claims_handed_back_total") == {(): 1}
    assert told(metrics, "stockade_upkeep_failures_total") == {(): 1}


def test_what_is_dropped_of_traces_is_told_by_reason_and_only_grows() -> None:
    metrics = WorkerMetrics()
    metrics.traced(SpanCounts(dropped_full=2))
    metrics.traced(SpanCounts(dropped_full=5, spans_refused=1))
    told_now = told_by(metrics, "reason")
    assert (told_now["full"], told_now["refused"], told_now["broken"]) == (5, 1, 0)


def test_what_is_told_of_the_queue_is_what_it_says() -> None:
    metrics = WorkerMetrics()
    metrics.queue_stands(QueueFigures(1, 2, 3, 4, 5000, 6, 7, {"lost": 1, "expired": 2}))
    text = metrics.text()[0].decode()
    for line in (
        "stockade_queue_backlog 1.0",
        "stockade_queue_later 2.0",
        "stockade_queue_ready 3.0",
        "stockade_queue_in_flight 4.0",
        "stockade_queue_oldest_wait_seconds 5.0",
        "stockade_queue_leases_reclaimed_total 6.0",
        "stockade_queue_quarantined_total 7.0",
        'stockade_queue_ended_total{outcome="expired"} 2.0',
    ):
        assert line in text


def told_by(metrics: WorkerMetrics, label: str) -> dict[str, float]:
    return {
        sample.labels[label]: sample.value
        for family in parse_text(metrics.text()[0].decode())
        for sample in family.samples
        if sample.name == "stockade_spans_dropped_total"
    }
