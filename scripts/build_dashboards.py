"""Writes Grafana's dashboards in `deploy/observability/dashboards`.

python scripts/build_dashboards.py [--check]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "observability" / "dashboards"
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: its series as (PromQL, legend)."""

    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    about: str = ""
    kind: str = "timeseries"


def rates(title: str, metric: str, by: str, unit: str = "ops", about: str = "") -> Panel:
    """A counter's rate by a label."""
    legend = " ".join("{{" + label + "}}" for label in by.split(", "))
    return Panel(title, unit, ((f"sum by ({by}) (rate({metric}{_RATE}))", legend),), about)


def quantiles(title: str, histogram: str, by: str = "", about: str = "") -> Panel:
    """A histogram's median and 99th percentile, or by a label that percentile alone."""
    if by:
        inner = f"sum by (le, {by}) (rate({histogram}_bucket{_RATE}))"
        series = ((f"histogram_quantile(0.99, {inner})", "{{" + by + "}}"),)
        return Panel(f"{title} (p99)", "s", series, about)
    inner = f"sum by (le) (rate({histogram}_bucket{_RATE}))"
    shown = [
        (f"histogram_quantile({share}, {inner})", f"p{share * 100:.0f}") for share in (0.5, 0.99)
    ]
    return Panel(title, "s", tuple(shown), about)


def top(title: str, metric: str, by: str, unit: str, about: str = "") -> Panel:
    """The ten largest of a counter's rates."""
    legend = " / ".join("{{" + label + "}}" for label in by.split(", "))
    return Panel(
        title, unit, ((f"topk(10, sum by ({by}) (rate({metric}{_RATE})))", legend),), about
    )


_LOST = (
    f'sum(rate(stockade_invocations_total{{outcome=~"crashed|lost"}}{_RATE}))'
    f" / sum(rate(stockade_invocations_total{_RATE}))"
)
OVERVIEW = (
    Panel("Processes that answer", "short", (("sum by (job) (up)", "{{job}}"),), kind="stat"),
    rates("Invocations by outcome", "stockade_invocations_total", "outcome"),
    Panel(
        "Lost to the platform",
        "percentunit",
        (
            (
                _LOST,
                "crashed or lost",
            ),
        ),
        "Of all invocations. What guests do wrong themselves does not count.",
    ),
    quantiles("Wait in the queue", "stockade_queue_wait_seconds"),
    quantiles("Attempts", "stockade_attempt_seconds"),
    Panel(
        "What waits and runs",
        "short",
        tuple(
            (f"max(stockade_queue_{name})", name.replace("_", " "))
            for name in ("backlog", "later", "ready", "in_flight")
        ),
    ),
    Panel("Oldest wait", "s", (("max(stockade_queue_oldest_wait_seconds)", "first in line"),)),
    rates("Requests by status", "stockade_gateway_requests_total", "status"),
    quantiles("Requests by route", "stockade_gateway_request_seconds", "route"),
    rates("Refusals by code", "stockade_gateway_refusals_total", "code"),
    Panel(
        "Not well",
        "short",
        (
            ("sum by (files) (stockade_policies_stale)", "stale: {{files}}"),
            (
                "sum(increase(stockade_gateway_audit_failures_total[1h]))",
                "audit failures in an hour",
            ),
            ("max(increase(stockade_queue_quarantined_total[1h]))", "quarantined in an hour"),
            ("max(increase(stockade_queue_leases_reclaimed_total[1h]))", "reclaimed in an hour"),
        ),
    ),
    Panel(
        "History and traces",
        "short",
        (
            ("max(stockade_history_waiting)", "waits for the history"),
            (f"sum by (reason) (rate(stockade_spans_dropped_total{_RATE}))", "dropped: {{reason}}"),
        ),
    ),
    Panel("History's lag", "s", (("max(stockade_history_lag_seconds)", "oldest"),)),
)

_NAMED = "Only the busiest have a name; the others are `(other)`."
_FAILED = (
    f'sum by (tenant, outcome) (rate(stockade_invocations_total{{outcome!="completed"}}{_RATE}))'
)
TENANTS = (
    rates("Attempts by tenant", "stockade_attempts_total", "tenant", about=_NAMED),
    rates("Fuel by tenant", "stockade_fuel_total", "tenant", "short"),
    rates(
        "Processor time by tenant",
        "stockade_run_seconds_total",
        "tenant",
        "s",
        "A 1 is one processor, wholly.",
    ),
    quantiles("Wait by tenant", "stockade_queue_wait_seconds", "tenant"),
    quantiles("Attempts by tenant", "stockade_attempt_seconds", "tenant"),
    Panel(
        "Invocations that did not complete, by tenant",
        "ops",
        (
            (
                _FAILED,
                "{{tenant}} {{outcome}}",
            ),
        ),
    ),
    top("Functions by attempts", "stockade_attempts_total", "tenant, function", "ops"),
    top("Functions by fuel", "stockade_fuel_total", "tenant, function", "short"),
    top("Functions by processor time", "stockade_run_seconds_total", "tenant, function", "s"),
)

_PEAK = (
    "histogram_quantile(0.99, "
    f"sum by (le) (rate(stockade_attempt_peak_memory_bytes_bucket{_RATE})))"
)
WORKERS = (
    Panel(
        "Attempts under way",
        "short",
        (
            ("sum by (instance) (stockade_worker_running)", "{{instance}}"),
            ("sum(stockade_worker_capacity)", "capacity of all"),
        ),
    ),
    Panel("Executors", "short", (("sum by (state) (stockade_executors)", "{{state}}"),)),
    rates("Executors that ended", "stockade_executors_ended_total", "reason"),
    rates("Cold starts", "stockade_cold_starts_total", "what"),
    quantiles("Wait for an executor", "stockade_executor_wait_seconds"),
    rates("Modules by where they were found", "stockade_module_loads_total", "source"),
    quantiles("Compiling", "stockade_module_compile_seconds"),
    rates("Host calls", "stockade_host_calls_total", "call, result"),
    quantiles("Host calls", "stockade_host_call_seconds", "call"),
    quantiles("Event loop's lag", "stockade_event_loop_lag_seconds", "instance"),
    quantiles("Valkey", "stockade_valkey_seconds", "command"),
    Panel(
        "Leases",
        "ops",
        (
            (f"sum(rate(stockade_leases_reclaimed_total{_RATE}))", "taken over"),
            (f"sum(rate(stockade_stale_completions_total{_RATE}))", "ends that came too late"),
            (f"sum(rate(stockade_claims_handed_back_total{_RATE}))", "handed back"),
            (f"sum(rate(stockade_upkeep_failures_total{_RATE}))", "upkeep that failed"),
        ),
    ),
    Panel(
        "Peak memory of attempts",
        "bytes",
        (
            (
                _PEAK,
                "p99",
            ),
        ),
    ),
    Panel(
        "Memory of workers",
        "bytes",
        (("sum by (instance) (process_resident_memory_bytes)", "{{instance}}"),),
    ),
    Panel(
        "Upstreams",
        "short",
        (
            ("max(stockade_upstreams_out)", "out now"),
            (f"sum(rate(stockade_upstream_refused_total{_RATE}))", "calls refused a second"),
            (f"sum(rate(stockade_upstream_probes_total{_RATE}))", "probes a second"),
        ),
    ),
)

_EXPECTED, _OBSERVED, _ESTIMATES = (
    f"sum by (predicted) (increase(stockade_retry_{name}_total[$__range]))"
    for name in ("expected_successes", "observed_successes", "estimates")
)
_ERROR = (
    f"sum(abs({_EXPECTED} - {_OBSERVED})) / sum(increase(stockade_retry_estimates_total[$__range]))"
)
RETRIES = (
    rates("What followed failures", "stockade_retry_decisions_total", "decision"),
    rates("Why it was tried again, or not", "stockade_retry_decisions_total", "decision, reason"),
    rates("Who decided", "stockade_retry_decisions_total", "policy"),
    Panel(
        "Calibration",
        "percentunit",
        (
            (
                f"{_EXPECTED} / {_ESTIMATES}",
                "{{predicted}} predicted",
            ),
            (
                f"{_OBSERVED} / {_ESTIMATES}",
                "{{predicted}} observed",
            ),
        ),
        "Successes of retries by tenth of the prediction; both bars of a tenth should be alike.",
        "bargauge",
    ),
    Panel("Calibration error", "percentunit", ((_ERROR, "mean"),), "Aim: at most 5 %.", "stat"),
    Panel(
        "Estimates",
        "short",
        (
            (
                "sum by (predicted) (increase(stockade_retry_estimates_total[$__range]))",
                "{{predicted}}",
            ),
        ),
        "How often each tenth was predicted.",
        "bargauge",
    ),
    rates(
        "Attempts saved",
        "stockade_retry_attempts_saved_total",
        "policy",
        about="Against the fixed policy, estimated; `fixed`: what learned retries would save.",
    ),
    rates("Attempts added", "stockade_retry_attempts_added_total", "policy"),
    rates("Fuel saved", "stockade_retry_fuel_saved_total", "policy", "short"),
    rates("Learning together", "stockade_learning_events_total", "event"),
)

BOARDS = {
    "overview": ("Stockade: overview", OVERVIEW),
    "tenants": ("Stockade: tenants", TENANTS),
    "workers": ("Stockade: workers", WORKERS),
    "retries": ("Stockade: retries", RETRIES),
}


def board(name: str) -> str:
    """A dashboard's JSON."""
    title, panels = BOARDS[name]
    made = {
        "uid": f"stockade-{name}",
        "title": title,
        "tags": ["stockade"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "links": [
            {"type": "dashboards", "tags": ["stockade"], "title": "Stockade", "asDropdown": True}
        ],
        "panels": _panels(panels),
    }
    return json.dumps(made, indent=1) + "\n"


def _panels(panels: Sequence[Panel]) -> list[dict[str, object]]:
    return [_panel(place, panel) for place, panel in enumerate(panels)]


def _panel(place: int, panel: Panel) -> dict[str, object]:
    row, column = divmod(place, _COLUMNS)
    return {
        "id": place + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "exemplar": panel.kind == "timeseries",
                "instant": panel.kind != "timeseries",
            }
            for number, (expr, legend) in enumerate(panel.series)
        ],
    }


def main() -> int:
    """Writes the files, or with `--check` says whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when one differs")
    check, wrong = parser.parse_args().check, 0
    for name in BOARDS:
        file, text = FOLDER / f"{name}.json", board(name)
        if not check:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            print(f"{file.name} is not up to date: run scripts/build_dashboards.py")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
