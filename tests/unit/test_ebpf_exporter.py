"""`deploy/ebpf/exporter.py` reads what bpftrace prints, whatever that is, into bounded metrics."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from tests.security.kernel_watch import DEPLOYED, exporter

HERE = 4026531836
ELSEWHERE = 4026532000


def told(executors: dict[str, str], namespace: int = HERE) -> dict[str, object]:
    return {"pid_namespace": namespace, "executors": executors}


class Workers:
    """What workers answer, and how often they were asked."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    def fetches(self):  # type: ignore[no-untyped-def] # noqa: ANN201 - the exporter is untyped here
        return [lambda at=at: self._tell(at) for at in range(len(self.answers))]

    def _tell(self, at: int) -> object:
        self.asked += 1
        if isinstance(self.answers[at], Exception):
            raise self.answers[at]
        return self.answers[at]


def watch(workers: Workers | None = None, most: int = 2):  # type: ignore[no-untyped-def] # noqa: ANN201
    workers = workers or Workers(told({"7": "acme", "8": "rival", "9": "third"}))
    return exporter.Watch(exporter.Owners(workers.fetches(), most, HERE), "x86_64")  # type: ignore[no-untyped-call]


def line(name: str, values: object, kind: str = "map") -> str:
    return json.dumps({"type": kind, "data": {name: values}}) + "\n"


def text(taker: object) -> str:
    return generate_latest(taker.registry).decode()  # type: ignore[attr-defined]


def test_calls_are_told_by_tenant_and_name() -> None:
    taker = watch()
    taker.take(line("@denied", {"7,59": 1, "7,257": 2, "4,41": 1, "8,5000": 1}))
    taker.take(line("@passed", {"7,tracepoint:syscalls:sys_enter_connect": 3}))
    seen = text(taker)
    for series in (
        'denied_calls_total{call="execve",tenant="acme"} 1.0',
        'denied_calls_total{call="openat",tenant="acme"} 2.0',
        'denied_calls_total{call="socket",tenant="(unknown)"} 1.0',
        'denied_calls_total{call="call_5000",tenant="rival"} 1.0',
        'passed_calls_total{call="connect",tenant="acme"} 3.0',
        "lines_unread_total 0.0",
    ):
        assert f"stockade_kernel_{series}" in seen


def test_faults_and_ends_for_memory_are_told() -> None:
    taker = watch()
    taker.take(line("@faults", {"7": 3}))
    taker.take(line("@faults", {"7": 2}))
    taker.take(line("@oom", {"8": 1}))
    assert 'stockade_kernel_page_faults_total{tenant="acme"} 500.0' in text(taker)
    assert 'stockade_kernel_oom_kills_total{tenant="rival"} 1.0' in text(taker)


def test_waits_are_a_histogram() -> None:
    taker = watch()
    buckets = [
        {"max": 0, "count": 1},
        {"min": 4, "max": 7, "count": 30},
        {"min": 1024, "max": 2047, "count": 2},
        {"min": 1 << 30, "count": 1},
    ]
    taker.take(line("@waited_us", buckets, "hist"))
    taker.take(line("@waited_ns", 2_500_000_000))
    seen = text(taker)
    for edge, count in {
        "2e-06": 1,
        "8e-06": 31,
        "0.001024": 31,
        "0.002048": 33,
        "+Inf": 34,
    }.items():
        assert f'run_queue_seconds_bucket{{le="{edge}"}} {count}.0' in seen
    assert "run_queue_seconds_sum 2.5" in seen


def test_it_says_whether_it_watches() -> None:
    taker = watch()
    assert "stockade_kernel_watching 0.0" in text(taker)
    taker.take('{"type": "printf", "data": "attached\\n"}')
    assert "stockade_kernel_watching 1.0" in text(taker)
    exporter.watch([], taker)
    assert "stockade_kernel_watching 0.0" in text(taker)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "WARNING: lost events",
        "[]",
        "{}",
        "null",
        '{"type": "map"}',
        '{"type": "map", "data": [1]}',
        '{"type": "map", "data": {"@denied": 3}}',
        '{"type": "map", "data": {"@denied": {"x": 1}}}',
        '{"type": "map", "data": {"@denied": {"1,x": 1}}}',
        '{"type": "map", "data": {"@passed": {"1,uprobe:evil\\n": 1}}}',
        '{"type": "map", "data": {"@faults": {"1": "many"}}}',
        '{"type": "hist", "data": {"@waited_us": [{"count": 1}]}}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_counted_and_ends_nothing(said: str) -> None:
    taker = watch()
    taker.take(said)
    assert "stockade_kernel_lines_unread_total 1.0" in text(taker)


def test_labels_are_bounded() -> None:
    taker = watch()
    everyone = {f"{pid},{5000 + pid}": 1 for pid in range(1, 1000)}
    taker.take(line("@denied", everyone))
    taker.take(line("@faults", {"7": 1, "8": 1, "9": 1}))
    seen = text(taker)
    assert seen.count("stockade_kernel_denied_calls_total{") < 140
    assert 'denied_calls_total{call="(other)",tenant="(unknown)"}' in seen
    assert 'page_faults_total{tenant="(other)"} 100.0' in seen
    assert "third" not in seen


def test_workers_are_asked_once_a_second_and_may_be_away() -> None:
    workers = Workers(OSError("refused"), "no object", told({"7": "acme"}))
    taker = watch(workers)
    for name in ("@denied", "@faults", "@oom"):
        taker.take(line(name, {"7,2" if name == "@denied" else "7": 1}))
    assert workers.asked == 3
    taker.take('{"type": "printf", "data": "second\\n"}')
    workers.answers[2] = OSError("gone")
    taker.take(line("@faults", {"7": 1}))
    assert workers.asked == 6
    assert 'page_faults_total{tenant="acme"} 200.0' in text(taker)


def test_process_ids_of_another_namespace_name_nobody() -> None:
    taker = watch(Workers(told({"7": "acme"}, ELSEWHERE)))
    taker.take(line("@oom", {"7": 1}))
    assert 'oom_kills_total{tenant="(unknown)"} 1.0' in text(taker)


def test_calls_that_this_kernel_lacks_are_taken_out_of_the_script(tmp_path: Path) -> None:
    script = (DEPLOYED / "executors.bt").read_text()
    for call in ("execve", "openat", "socket"):
        (tmp_path / "syscalls" / f"sys_enter_{call}").mkdir(parents=True)
    kept = exporter.script_for(script, tmp_path)
    assert "sys_enter_openat,\n" in kept
    assert "sys_enter_execve\n" in kept
    assert "sys_enter_open," not in kept
    assert "sys_enter_bpf" not in kept


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):  # noqa: TID251 - CI has it
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    return found


def test_prometheus_likes_the_metrics(promtool: str) -> None:
    taker = watch()
    taker.take(line("@denied", {"7,59": 1}))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text(taker).encode(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_alert_rules_do_what_they_should(promtool: str) -> None:
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")):
        done = subprocess.run([promtool, *command], cwd=DEPLOYED, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
