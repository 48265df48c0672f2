"""`stockade retries state|freeze|…`: what was learned of retries, in words and in JSON."""

import json
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import RETRY_STATE, problem
from tests.unit.stockade.cli.conftest import CommandLine

ONE = "GET /v1/functions/hello/retries"
ALL, EXPORT, IMPORT = "GET /v1/retries", "GET /v1/retries/export", "POST /v1/retries/import"


def test_a_state_in_words_and_in_json(cli: CommandLine) -> None:
    rate = RETRY_STATE["retries"][0] | {"basis": "rej..\x1b[2J.001"}
    cli.gateway.on(ONE, httpx.Response(200, json=RETRY_STATE | {"retries": [rate]}))
    result = cli.run("retries", "state", "hello", "--version", "3")
    assert result.exit_code == 0, result.stderr
    assert "of              hello version 3" in result.stdout
    assert "first attempts  97% succeed (120 trials)" in result.stdout
    assert "outage          9 failures in a row" in result.stdout
    assert "rej..\\x1b[2J.001  25%      30      0" in result.stdout
    assert "fuel   400   1,000        2,000        -" in result.stdout
    assert "set aside" not in result.stdout
    told = json.loads(cli.run("retries", "state", "hello", "--json").stdout)
    assert told["needs"]["fuel"]["p95"] == 2000


def test_a_state_that_cannot_be_read(cli: CommandLine) -> None:
    spoilt = {"function": "hello", "version": 3, "readable": False, "known": True}
    cli.gateway.on(ONE, httpx.Response(200, json=spoilt))
    assert "the fixed rules decide meanwhile" in cli.run("retries", "state", "hello").stdout


def test_all_states_of_a_tenant(cli: CommandLine) -> None:
    tenant = {name: RETRY_STATE[name] for name in ("readable", "first_attempts", "size_bytes")}
    tenant["outage"] = {"is_out": False, "failures": 0}
    upstream = tenant | {"upstream": "http_fetch:x", "readable": False, "size_bytes": None}
    first = httpx.Response(200, json={"states": [tenant, upstream], "next": "hello/3"})
    last = httpx.Response(200, json={"states": [RETRY_STATE], "next": None})
    pages = [first, last, first, last]
    cli.gateway.on(ALL, lambda _request: pages.pop(0))
    lines = cli.run("retries", "state").stdout.splitlines()
    assert lines[1].split() == ["(tenant)", "97%", "120", "0", "no", "no", "321"]
    assert lines[2].split() == ["http_fetch:x", "-", "-", "0", "no", "no", "unreadable"]
    assert lines[3].split() == ["hello", "version", "3", "97%", "120", "1", "yes", "yes", "321"]
    assert len(json.loads(cli.run("retries", "state", "--json").stdout)) == 3


@pytest.mark.parametrize("what", ["freeze", "unfreeze", "reset"])
def test_whom_a_change_is_about_must_be_said(cli: CommandLine, what: str) -> None:
    answer = httpx.Response(200, json={"frozen": True, "forgotten": 1})
    cli.gateway.on(f"POST /v1/retries/{what}", answer)
    assert cli.run("retries", what).exit_code == 2
    assert cli.run("retries", what, "hello", "--tenant").exit_code == 2
    for words in (("hello", "--version", "2"), ("--tenant",)):
        result = cli.run("retries", what, *words)
        assert result.exit_code == 0, result.stderr
    assert dict(cli.gateway.last.url.params) == {}
    cli.gateway.on(f"POST /v1/retries/{what}", problem(403, "auth.denied"))
    assert "[auth.denied]" in cli.run("retries", what, "--tenant").stderr


def test_an_export_is_all_of_it_and_comes_in_again(cli: CommandLine, tmp_path: Path) -> None:
    page = {"format": "f", "tenant": "t"}
    pages = [
        httpx.Response(200, json=page | {"states": [{"state": [1]}] * 200, "next": "x"}),
        httpx.Response(200, json=page | {"states": [{"state": [2]}], "next": None}),
    ]
    cli.gateway.on(EXPORT, lambda _request: pages.pop(0))
    text = cli.run("retries", "export").stdout
    assert len(json.loads(text)["states"]) == 201
    (tmp_path / "learned.json").write_text(text)
    cli.gateway.on(
        IMPORT,
        lambda request: httpx.Response(
            200, json={"imported": len(json.loads(request.content)["states"])}
        ),
    )
    assert "Brought in: 201 states." in cli.run("retries", "import", "learned.json").stderr
    result = cli.run("retries", "import", "-", data=text.encode())
    assert "Brought in: 201 states." in result.stderr


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"states": 1}', b"\xff", b"[" * 100_000, b'{"a": 1}']
)
def test_a_file_that_is_no_export(cli: CommandLine, data: bytes) -> None:
    result = cli.run("retries", "import", "-", data=data)
    assert (result.exit_code, "no export" in result.stderr) == (2, True)
    assert cli.run("retries", "import", "missing.json").exit_code == 2
