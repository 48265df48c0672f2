"""`stockade retries`: what retries came to, in words and in JSON."""

import json

import httpx

from tests.unit.sdk_python.fake_gateway import ADVICE, RETRY_REPORT, problem
from tests.unit.stockade.cli.conftest import CommandLine

PATH = "GET /v1/functions/hello/retry-report"


def test_a_report_in_words_and_in_json(cli: CommandLine) -> None:
    hostile = {**RETRY_REPORT, "reasons": {"back\x1b[2Joff": 30}, "shadow_mean_delay_ms": 50.5}
    cli.gateway.on(PATH, httpx.Response(200, json=hostile))
    result = cli.run("retries", "report", "hello", "--version", "3")
    assert result.exit_code == 0, result.stderr
    assert dict(cli.gateway.last.url.params) == {"version": "3"}
    assert "both retry        20 (1 under other limits)" in result.stdout
    assert "mean delay        100 ms, shadow 50 ms" in result.stdout
    assert "shadow saves      12 attempts, 1200 fuel" in result.stdout
    assert "shadow wins       1.5 successes (reckoned)" in result.stdout
    assert "back\\x1b[2Joff  30     0" in result.stdout
    assert "50% to 60%  8        55%        50%" in result.stdout
    assert "off by 0.050" in result.stderr
    told = json.loads(cli.run("retries", "report", "hello", "--json").stdout)
    assert told["effect"]["saved_attempts"] == 12


def test_a_report_of_nothing(cli: CommandLine) -> None:
    nothing = {**RETRY_REPORT, "decisions": 0, "reasons": {}, "shadow_reasons": {}}
    nothing |= {"shadow": None, "policy": "never", "mean_delay_ms": None}
    nothing |= {"calibration": {"trials": 0, "error": None, "bins": []}}
    cli.gateway.on(PATH, httpx.Response(200, json=nothing))
    result = cli.run("retries", "report", "hello", "--alias", "prod")
    assert "none: it is never tried again" in result.stdout
    assert "shadow saves" not in result.stdout
    assert "No failure was decided by both policies yet." in result.stderr


def test_delays_stand_there_only_when_there_are_any(cli: CommandLine) -> None:
    cli.gateway.on(PATH, httpx.Response(200, json=RETRY_REPORT))
    assert "mean delay" not in cli.run("retries", "report", "hello").stdout


def test_a_function_that_is_not_there(cli: CommandLine) -> None:
    cli.gateway.on(PATH, problem(404, "function.not_found"))
    result = cli.run("retries", "report", "hello")
    assert (result.exit_code, "[function.not_found]" in result.stderr) == (2, True)


def test_limits_are_suggested_in_words_and_in_json(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/functions/hello/advice", httpx.Response(200, json=ADVICE))
    result = cli.run("functions", "advise", "hello", "--version", "3")
    assert result.exit_code == 0, result.stderr
    assert "fuel     auto (1000)  9000     400   500  1100  1200  2000  7" in result.stdout
    assert "wall_ms  10           90       2     -    -     -     -     0       -" in result.stdout
    assert "fuel: Raise it." in result.stdout
    assert "nothing \\x1b[2J." in result.stdout
    told = json.loads(cli.run("functions", "advise", "hello", "--json").stdout)
    assert told["limits"][0]["suggested"] == 1500
