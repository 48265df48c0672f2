"""`stockade runs list`, `stockade runs export` and `stockade usage`."""

import json
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.test_history import LINES, day, exported, paged, run
from tests.unit.stockade.cli.conftest import CommandLine


@pytest.fixture(autouse=True)
def history(cli: CommandLine) -> None:
    paged(cli.gateway, "/v1/runs", "runs", [run(n) for n in range(5)])
    paged(cli.gateway, "/v1/usage", "usage", [day(n) for n in range(3)])
    exported(cli.gateway, LINES)


def test_runs_are_listed_safely_and_narrowed(cli: CommandLine) -> None:
    words = ("--function", "hello", "--outcome", "trapped", "--exceeded", "fuel", "--version", "2")
    done = cli.run("runs", "list", *words, "--limit", "3")
    assert done.exit_code == 0, done.output
    assert dict(cli.gateway.requests[0].url.params) == {
        "function": "hello",
        "version": "2",
        "outcome": "trapped",
        "exceeded": "fuel",
        "limit": "1000",
    }
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert "\x1b" not in done.stdout
    assert "2027-01-15T08:00:00.001+00:00" in lines[2]
    assert "redrive 1" in lines[2]
    told = json.loads(cli.run("runs", "list", "--json").stdout)
    assert [one["redrive"] for one in told] == [0, 1, 0, 1, 0]


def test_a_clock_that_jumped_is_shown_as_it_is(cli: CommandLine) -> None:
    paged(cli.gateway, "/v1/runs", "runs", [run(1) | {"finished_ms": 2**62}])
    assert f"{2**62} ms" in cli.run("runs", "list").stdout


def test_an_export_is_the_very_lines(cli: CommandLine) -> None:
    assert cli.run("runs", "export").stdout.splitlines() == LINES
    assert cli.run("runs", "export", "--out", "runs.ndjson").exit_code == 0
    assert Path("runs.ndjson").read_text().splitlines() == LINES
    assert cli.run("runs", "export", "-o", "runs.ndjson", "--after", "4").exit_code == 0
    assert Path("runs.ndjson").read_text().splitlines() == [*LINES, LINES[4]]


def test_usage_is_shown_with_its_exact_sum(cli: CommandLine) -> None:
    done = cli.run("usage", "--first-day", "2030-01-01", "--last-day", "2030-01-31", "-f", "x")
    assert done.exit_code == 0, done.output
    assert dict(cli.gateway.requests[0].url.params) == {
        "function": "x",
        "first_day": "2030-01-01",
        "last_day": "2030-01-31",
        "limit": "1000",
    }
    head, *rows, total = done.stdout.splitlines()
    assert len(rows) == 3
    assert head.split()[:4] == ["DAY", "FUNCTION", "RUNS", "COMPLETED"]
    sums = ["9", "3", "9", str(3 * 2**60), "6.000000", "0.006", "9", "12", "18"]
    assert total.split() == ["total", *sums]
    told = json.loads(cli.run("usage", "--json").stdout)
    assert told[0]["usage"]["fuel"] == 2**60


def test_nothing_used_is_a_sum_of_nothing(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/usage", httpx.Response(200, json={"usage": [], "next": None}))
    assert cli.run("usage").stdout.splitlines()[-1].split()[:3] == ["total", "0", "0"]
