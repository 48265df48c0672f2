"""What `deploy/observability` asks Prometheus for is there; its alerts fire when they should."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.metrics import GatewayMetrics
from sandbox_worker.metrics import LabelBounds, WorkerMetrics
from stockade.core.installation_status import QueueFigures
from stockade.core.outcomes import Outcome
from stockade.core.spans import SpanCounts
from tests.unit.sandbox_worker.test_metrics import run

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "observability"
BOARDS = sorted((PLACE / "dashboards").glob("*.json"))
OF_PROMETHEUS = {"job", "instance", "le", "alertname", "alertstate"}
OF_PROCESSES = {"up", "process_resident_memory_bytes"}
NAME = re.compile(r"\b((?:stockade|process)_\w+|up)\b(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([^)]*)\)")
MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
VARIABLES = {"$__rate_interval": "5m", "$__range": "1h"}


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        assert not os.environ.get("CI"), "promtool is missing: install the package 'prometheus'"  # noqa: TID251
        pytest.skip("promtool is not here: install Debian's package 'prometheus'")
    return found


def checked(*words: str, text: str = "") -> None:
    done = subprocess.run(
        [promtool(), *words], input=text, capture_output=True, text=True, check=False, cwd=PLACE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr


def told() -> dict[str, set[str]]:
    """Each series that our processes tell, with its labels."""
    from scripts.build_reference import metrics_of  # noqa: PLC0415 (scripts are no package)

    found: dict[str, set[str]] = {name: set() for name in OF_PROCESSES}
    for registry in (WorkerMetrics().families.registry, GatewayMetrics().registry):
        for name, kind, labels, _meaning in metrics_of(registry):
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            for end in ends:
                found.setdefault(name + end, set()).update(labels)
    return found


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{board.name}: {panel['title']}", target["expr"]


def rule_expressions() -> Iterator[tuple[str, str]]:
    lines = (PLACE / "alerts.yml").read_text()
    for alert in re.split(r"\n\s+- alert: ", lines)[1:]:
        name, _, rest = alert.partition("\n")
        yield name, rest[rest.index("expr:") : rest.index("annotations:")]


EXPRESSIONS = [*dashboard_expressions(), *rule_expressions()]


def test_there_is_something_to_look_at() -> None:
    assert [board.stem for board in BOARDS] == ["overview", "retries", "tenants", "workers"]
    assert len(list(rule_expressions())) >= 18
    assert len(list(dashboard_expressions())) > 50


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=lambda value: value[:60])
def test_only_metrics_and_labels_that_exist_are_named(where: str, expression: str) -> None:
    known = told()
    names = NAME.findall(expression)
    assert names, where
    labels: set[str] = set()
    for name, matchers in names:
        assert name in known, f"{where}: {name}"
        matched = set(MATCHED.findall(matchers))
        assert matched <= known[name] | OF_PROMETHEUS, f"{where}: {name}{matchers}"
        labels |= known[name]
    for group in GROUPED.findall(expression):
        grouped = {label.strip() for label in group.split(",")}
        assert grouped <= labels | OF_PROMETHEUS, f"{where}: by ({group})"


def test_a_metric_that_is_gone_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="stockade_gone_total"):
        test_only_metrics_and_labels_that_exist_are_named("here", "rate(stockade_gone_total[5m])")
    with pytest.raises(AssertionError, match="colour"):
        test_only_metrics_and_labels_that_exist_are_named("here", "sum by (colour) (up)")


def test_the_dashboards_are_those_of_the_script() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "build_dashboards.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_reads_every_expression_of_the_dashboards(tmp_path: Path) -> None:
    rules = []
    for number, (_where, expression) in enumerate(dashboard_expressions()):
        for name, value in VARIABLES.items():
            expression = expression.replace(name, value)  # noqa: PLW2901 - each variable in turn
        rules.append({"record": f"try:{number}", "expr": expression})
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "try", "rules": rules}]}))
    checked("check", "rules", str(file))


def test_the_configuration_and_the_alerts_are_sound_and_fire_when_they_should() -> None:
    checked("check", "config", "prometheus.yml")
    checked("test", "rules", "alerts_test.yml")


def test_every_alert_is_tried() -> None:
    tried = (PLACE / "alerts_test.yml").read_text()
    for name, _expression in rule_expressions():
        assert name in tried


def worker_page() -> str:
    metrics = WorkerMetrics(LabelBounds(2, 2), "1.0")
    for number, outcome in enumerate(Outcome):
        run(metrics, f"tenant-{number}", "f", outcome)
    metrics.queue_stands(QueueFigures(1, 2, 3, 4, 5, 6, 7, {"lost": 1}))
    metrics.host_called("http_fetch", "done", 0.1)
    metrics.valkey_answered("submit", 0.1)
    metrics.follows("trust", stale=True)
    metrics.traced(SpanCounts(dropped_full=1))
    return metrics.text()[0].decode()


def gateway_page() -> str:
    metrics = GatewayMetrics()
    metrics.refused("queue.full")
    metrics.served("GET", "/v1/status", 200, 0.1)
    metrics.took_input(1, 2)
    metrics.follows("trust", stale=True)
    return metrics.text().decode()


@pytest.mark.parametrize("page", [worker_page, gateway_page], ids=["worker", "gateway"])
def test_promtool_has_nothing_to_say_about_a_page(page: object) -> None:
    checked("check", "metrics", text=page())  # type: ignore[operator]
