import json
from pathlib import Path

import httpx
import pytest

from tests.unit.sdk_python.fake_gateway import DIGEST, ID, RAISED, RECORD, completed, problem
from tests.unit.stockade.cli.conftest import CommandLine

INVOKE = "POST /v1/functions/hello/invoke"


def test_output_on_stdout_and_facts_on_stderr(cli: CommandLine) -> None:
    cli.gateway.on(INVOKE, completed(b"\x00\x1b[2Jraw"))
    result = cli.run("invoke", "hello", "--data", "in", "--idempotency-key", "k", "--version", "2")
    assert result.exit_code == 0
    assert result.stdout_bytes == b"\x00\x1b[2Jraw"
    assert "completed attempts=1 fuel=1000 peak_memory_bytes=65536" in result.stderr
    assert result.stderr.count("\n") == 1
    assert cli.gateway.last.content == b"in"
    assert cli.gateway.last.url.params["version"] == "2"


def test_input_from_stdin_and_from_a_file(cli: CommandLine) -> None:
    cli.gateway.on(INVOKE, completed())
    assert cli.run("invoke", "hello", "--input", "-", data=b"\xff\x00").exit_code == 0
    assert cli.gateway.last.content == b"\xff\x00"
    Path("in.bin").write_bytes(b"abc")
    assert cli.run("invoke", "hello", "-i", "in.bin").exit_code == 0
    assert cli.gateway.last.content == b"abc"


def test_input_that_is_missing_or_twice_is_refused(cli: CommandLine) -> None:
    missing = cli.run("invoke", "hello", "--input", "nowhere")
    assert missing.exit_code == 2
    assert "No such file" in missing.stderr
    assert cli.run("invoke", "hello", "--input", "-", "--data", "x").exit_code == 2
    assert cli.gateway.requests == []


def test_a_guests_failure_exits_3_and_cannot_write_to_the_terminal(cli: CommandLine) -> None:
    answer = problem(
        422,
        "invocation.rejected",
        outcome="rejected",
        invocation_id=ID,
        detail="no\x1b]0;owned\x07\nError: forged",
    )
    cli.gateway.on(INVOKE, answer)
    result = cli.run("invoke", "hello")
    assert result.exit_code == 3
    assert "\x1b" not in result.output
    assert r"no\x1b]0;owned\x07\nError: forged [invocation.rejected]" in result.stderr
    assert f"id={ID}" in result.stderr


def test_a_limit_is_named(cli: CommandLine) -> None:
    answer = problem(
        422, "invocation.limit_exceeded", outcome="limit_exceeded", limit="fuel", invocation_id=ID
    )
    cli.gateway.on(INVOKE, answer)
    assert "limit_exceeded limit=fuel" in cli.run("invoke", "hello").stderr


def test_async_prints_the_id(cli: CommandLine) -> None:
    cli.gateway.on("POST /v1/functions/hello/invocations", httpx.Response(202, json={"id": ID}))
    result = cli.run("invoke", "hello", "--async", "--alias", "prod")
    assert (result.exit_code, result.stdout) == (0, ID + "\n")


def test_a_long_run_is_waited_for_beyond_the_call(cli: CommandLine) -> None:
    cli.gateway.on(INVOKE, httpx.Response(202, json={"id": ID}))
    cli.gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD))
    cli.gateway.on(f"GET /v1/invocations/{ID}/result", httpx.Response(200, content=b"late"))
    result = cli.run("invoke", "hello", "--wait", "40")
    assert (result.exit_code, result.stdout) == (0, "late")
    assert "fuel=1000" in result.stderr


def test_what_still_runs_exits_4(cli: CommandLine) -> None:
    running = httpx.Response(200, json=RECORD | {"state": "running"})
    cli.gateway.on(INVOKE, httpx.Response(202, json={"id": ID}))
    cli.gateway.on(f"GET /v1/invocations/{ID}", running)
    result = cli.run("invoke", "hello", "--wait", "0")
    assert result.exit_code == 4
    assert f"stockade runs show {ID}" in result.stderr


@pytest.mark.parametrize(
    ("answer", "code", "exit_code"),
    [
        (problem(404, "function.not_found"), "function.not_found", 2),
        (problem(503, "queue.unavailable", retryable=True), "queue.unavailable", 1),
        (httpx.Response(200, text="<html>"), "client.unexpected_answer", 1),
    ],
)
def test_refusals_and_failures_differ_by_exit_code(
    cli: CommandLine, answer: httpx.Response, code: str, exit_code: int
) -> None:
    cli.gateway.on(INVOKE, answer)
    result = cli.run("invoke", "hello")
    assert result.exit_code == exit_code
    assert f"[{code}]" in result.stderr
    assert "Traceback" not in result.output


def test_a_refusal_for_now_says_when_to_try_again(cli: CommandLine) -> None:
    refused = problem(429, "tenant.rate_limited", facts={"retry_after_ms": 1_401})
    cli.gateway.on(INVOKE, refused)
    result = cli.run("invoke", "hello")
    assert result.exit_code == 2
    assert "Hint: Try again in 1.5 seconds." in result.stderr


def test_nobody_listening_is_told_with_a_hint(cli: CommandLine) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    cli.gateway.on(f"GET /v1/invocations/{ID}", refuse)
    result = cli.run("runs", "show", ID, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1" in result.stderr
    assert "stockade dev" in result.stderr


@pytest.mark.parametrize("url", ["http://[::1", "http://a:b:c"])
def test_a_url_that_is_none(cli: CommandLine, url: str) -> None:
    result = cli.run("runs", "show", ID, "--url", url)
    assert result.exit_code == 2
    assert "[cli.usage]" in result.stderr


def test_a_run_in_words_and_in_json(cli: CommandLine) -> None:
    cli.gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD))
    shown = cli.run("runs", "show", ID).stdout
    assert "outcome            completed" in shown
    assert "ATTEMPT  OUTCOME" in shown
    assert "limit" not in shown
    assert json.loads(cli.run("runs", "show", ID, "--json").stdout)["usage"]["fuel"] == 1000


def test_a_run_tells_each_retry_its_estimate_its_limits_and_the_shadow(cli: CommandLine) -> None:
    hostile = RAISED["shadow"] | {"retry": True, "delay_ms": 70, "reason": "a\x1b[2Jb"}  # type: ignore[operator]
    attempts = [RAISED, RAISED | {"number": 2, "shadow": hostile, "success": None}]
    answer = httpx.Response(200, json=RECORD | {"attempts": attempts})
    cli.gateway.on(f"GET /v1/invocations/{ID}", answer)
    shown = cli.run("runs", "show", ID).stdout
    assert "learned  limit_raised  50%     The fuel limit rises from 1000 to 2000." in shown
    assert "1        fuel=1000 memory_bytes=65536 wall_ms=10" in shown
    assert "1        fixed   stop               certain" in shown
    assert "2        fixed   retry after 70 ms  certain" in shown
    assert "\x1b" not in shown
    told = json.loads(cli.run("runs", "show", ID, "--json").stdout)["attempts"]
    assert (told[0]["code"], told[0]["shadow"]["code"]) == ("limit_raised", "certain")


def test_a_queued_run_has_no_cost_yet(cli: CommandLine) -> None:
    queued = RECORD | {"state": "queued", "outcome": None, "attempts": []}
    cli.gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=queued))
    shown = cli.run("runs", "show", ID).stdout
    assert "fuel" not in shown
    assert "ATTEMPT" not in shown


def test_logs_are_escaped(cli: CommandLine) -> None:
    lines = [{"level": "warn", "text": "a\x1b[31m\u202eb"}, {"level": "\x07", "text": "ü"}]
    answer = httpx.Response(200, json={"lines": lines, "truncated": True})
    cli.gateway.on(f"GET /v1/invocations/{ID}/logs", answer)
    result = cli.run("runs", "logs", ID)
    assert result.stdout == "warn   a\\x1b[31m\\u202eb\n\\x07   ü\n"
    assert "dropped" in result.stderr
    assert json.loads(cli.run("runs", "logs", ID, "--json").stdout)["truncated"] is True


def test_result_and_cancel(cli: CommandLine) -> None:
    cli.gateway.on(f"GET /v1/invocations/{ID}/result", httpx.Response(200, content=b"\xff"))
    cli.gateway.on(f"POST /v1/invocations/{ID}/cancel", httpx.Response(200, json=RECORD))
    assert cli.run("runs", "result", ID).stdout_bytes == b"\xff"
    assert ID in cli.run("runs", "cancel", ID).stderr


def test_the_key_comes_from_a_file_the_environment_or_dev(cli: CommandLine) -> None:
    cli.gateway.on("GET /v1/functions", httpx.Response(200, json={"functions": []}))

    def key_sent(*words: str, **env: str) -> str | None:
        assert cli.run("functions", "list", *words, **env).exit_code == 0
        return cli.gateway.last.headers.get("Authorization")

    assert key_sent() is None
    Path(".stockade").mkdir()
    Path(".stockade/dev-api-key").write_text("stk_dev")
    Path("other").write_text("stk_other\n")
    assert key_sent() == "Bearer stk_dev"
    assert key_sent(STOCKADE_API_KEY="stk_env") == "Bearer stk_env"
    assert key_sent("--api-key-file", "other", STOCKADE_API_KEY="stk_env") == "Bearer stk_other"


def test_a_key_file_that_cannot_be_read(cli: CommandLine) -> None:
    Path("binary").write_bytes(b"\xff")
    for name in ("nowhere", "binary"):
        result = cli.run("functions", "list", "--api-key-file", name)
        assert result.exit_code == 2
        assert "cli.api_key_unreadable" in result.stderr


def test_url_from_the_environment(cli: CommandLine) -> None:
    cli.gateway.on(f"GET /v1/modules/{DIGEST}", problem(404, "module.not_found"))
    result = cli.run("modules", "show", DIGEST, STOCKADE_URL="http://elsewhere:1")
    assert cli.gateway.last.url.host == "elsewhere"
    assert "stockade modules push" in result.stderr
