"""`stockade schedules` as typed."""

import json
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import ID, SCHEDULE, problem
from tests.unit.stockade.cli.conftest import CommandLine

ONE = "/v1/schedules/nightly"


@pytest.fixture
def schedules(cli: CommandLine) -> CommandLine:
    shown = httpx.Response(200, json=SCHEDULE)
    for call in (f"PUT {ONE}", f"GET {ONE}", f"POST {ONE}/resume"):
        cli.gateway.on(call, shown)
    cli.gateway.on(f"POST {ONE}/pause", httpx.Response(200, json=SCHEDULE | {"paused": True}))
    cli.gateway.on(f"DELETE {ONE}", httpx.Response(204))
    cli.gateway.on("GET /v1/schedules", httpx.Response(200, json={"schedules": [SCHEDULE]}))
    return cli


def test_a_cron_schedule_is_set(schedules: CommandLine) -> None:
    words = ("--cron", "30 3 * * *", "--zone", "Europe/Berlin", "--data", "hi", "--alias", "prod")
    result = schedules.run("schedules", "set", "nightly", "report", *words)
    assert result.exit_code == 0, result.output
    assert "Schedule nightly is set; it fires next at 2027-01-16 02:30:00 UTC." in result.stderr
    assert schedules.gateway.last_json == {
        "function": "report",
        "cron": "30 3 * * *",
        "time_zone": "Europe/Berlin",
        "input_base64": "aGk=",
        "alias": "prod",
        "priority": "normal",
        "catch_up": "one",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("45", 45), ("45s", 45), ("5m", 300), ("12h", 43_200), ("1d", 86_400)]
)
def test_an_interval_is_set(schedules: CommandLine, text: str, seconds: int) -> None:
    words = ("--every", text, "--anchor", "2030-01-01T00:00:00Z", "--catch-up", "all")
    result = schedules.run("schedules", "set", "nightly", "report", *words)
    assert result.exit_code == 0, result.output
    sent = schedules.gateway.last_json
    assert isinstance(sent, dict)
    assert (sent["every_seconds"], sent["catch_up"]) == (seconds, "all")
    assert sent["anchor"] == "2030-01-01T00:00:00Z"


def test_the_input_may_stand_in_a_file(schedules: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"\0\xff")
    words = ("--every", "60", "--input", str(file))
    assert schedules.run("schedules", "set", "nightly", "report", *words).exit_code == 0
    assert isinstance(schedules.gateway.last_json, dict)
    assert schedules.gateway.last_json["input_base64"] == "AP8="


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--cron", "* * * * *", "--every", "60"),
        ("--cron", "* * * * *", "--anchor", "2030-01-01T00:00:00Z"),
        ("--every", "60", "--zone", "UTC"),
        ("--every", "5x"),
        ("--every", "-1"),
        ("--every", "1.5"),
        ("--every", "60", "--catch-up", "some"),
        ("--every", "60", "--data", "x", "--input", "-"),
    ],
)
def test_what_makes_no_sense_is_refused_here(schedules: CommandLine, words: tuple[str]) -> None:
    result = schedules.run("schedules", "set", "nightly", "report", *words)
    assert result.exit_code == 2
    assert schedules.gateway.requests == []


def test_a_refusal_is_told(schedules: CommandLine) -> None:
    schedules.gateway.on(f"PUT {ONE}", problem(400, "schedule.cron_invalid"))
    result = schedules.run("schedules", "set", "nightly", "report", "--cron", "nonsense")
    assert result.exit_code == 2
    assert "[schedule.cron_invalid]" in result.stderr


def test_schedules_are_listed(schedules: CommandLine) -> None:
    result = schedules.run("schedules", "list")
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()
    assert head.split() == ["NAME", "FUNCTION", "WHEN", "NEXT", "LAST", "TROUBLE"]
    assert "30 3 * * * Europe/Berlin" in row
    assert "2027-01-16 02:30:00 UTC" in row
    assert "queue.full (2 times)" in row
    interval = SCHEDULE | {"cron": None, "every_seconds": 60, "paused": True, "refusal": None}
    schedules.gateway.on("GET /v1/schedules", httpx.Response(200, json={"schedules": [interval]}))
    shown = schedules.run("schedules", "list").stdout
    assert "every 60 s" in shown
    assert "paused" in shown
    listed = json.loads(schedules.run("schedules", "list", "--json").stdout)
    assert listed[0]["every_seconds"] == 60


def test_a_schedule_is_shown_with_its_next_times(schedules: CommandLine) -> None:
    result = schedules.run("schedules", "show", "nightly")
    assert result.exit_code == 0
    assert "2027-01-16T02:30:00Z  2027-01-16T03:30:00+01:00" in result.stdout
    assert "grüße" in result.stdout
    long = httpx.Response(200, json=SCHEDULE | {"input": "x" * 1000})
    schedules.gateway.on(f"GET {ONE}", long)
    assert f" {'x' * 60}… (1000 bytes)" in schedules.run("schedules", "show", "nightly").stdout
    schedules.gateway.on(f"GET {ONE}", httpx.Response(200, json=SCHEDULE))
    assert ID in result.stdout
    assert "Too many. It is tried again." in result.stderr
    shown = json.loads(schedules.run("schedules", "show", "nightly", "--json").stdout)
    assert (shown["content"], shown["next_times"][0]["time_ms"]) == ("grüße", 1_800_066_600_000)


def test_a_schedule_without_trouble_is_shown_without(schedules: CommandLine) -> None:
    calm = SCHEDULE | {"refusal": None, "next_ms": None, "next_times": [], "last_ms": None}
    for call in (f"GET {ONE}", f"PUT {ONE}"):
        schedules.gateway.on(call, httpx.Response(200, json=calm))
    result = schedules.run("schedules", "show", "nightly")
    assert "trouble" not in result.stdout
    assert result.stderr == ""
    result = schedules.run("schedules", "set", "nightly", "report", "--every", "60")
    assert "it never fires again" in result.stderr


def test_a_schedule_is_paused_resumed_and_deleted(schedules: CommandLine) -> None:
    for word, told in (("pause", "is paused"), ("resume", "goes on"), ("delete", "is deleted")):
        result = schedules.run("schedules", word, "nightly")
        assert result.exit_code == 0
        assert f"Schedule nightly {told}" in result.stderr
    schedules.gateway.on(f"PUT {ONE}", httpx.Response(200, json=SCHEDULE | {"paused": True}))
    result = schedules.run("schedules", "set", "nightly", "report", "--every", "60")
    assert "it is paused" in result.stderr


def test_one_that_is_not_there_is_told(schedules: CommandLine) -> None:
    schedules.gateway.on(f"GET {ONE}", problem(404, "schedule.not_found"))
    result = schedules.run("schedules", "show", "nightly")
    assert result.exit_code == 2
    assert "stockade schedules list" in result.stderr
