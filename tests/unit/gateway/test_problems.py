"""The one table from codes to HTTP is whole, and the reference page is made from it."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from structlog.testing import capture_logs

from gateway.metrics import GatewayMetrics
from gateway.problems import STATUS, on_failure, on_http_exception, on_refusal, problem
from gateway.trace import new_trace
from stockade.core.errors import StockadeError

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))
NEVER_OVER_HTTP = (
    "cli.",
    "client.",
    "config.",
    "demo.",
    "dev.",
    "host_call.",
    "http_fetch.",
    "kv.",
    "replay.",
)
AT_START_ONLY = {"queue.port_busy", "queue.data_dir_busy", "queue.start_failed"}
APP = FastAPI()
APP.state.context = SimpleNamespace(metrics=GatewayMetrics())
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "app": APP}
REQUEST = Request(SCOPE | {"state": {"trace": new_trace(SCOPE, "fresh")}})


def test_every_code_that_can_reach_a_caller_has_a_status() -> None:
    from scripts.build_reference import raised_codes  # noqa: PLC0415 (scripts are no package)

    codes = {code for code in raised_codes() if not code.startswith(NEVER_OVER_HTTP)}
    assert codes - AT_START_ONLY - set(STATUS) == set()


def test_the_reference_page_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "build_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("code", sorted(STATUS))
def test_a_refusal_has_the_fields_of_a_problem(code: str) -> None:
    answer = problem(StockadeError(code, "Do this.", retryable=True, detail={"a": 1}))
    body = json.loads(answer.body)
    assert answer.status_code == body["status"] == STATUS[code]
    assert (body["code"], body["detail"], body["retryable"]) == (code, "Do this.", True)
    assert body["facts"] == {"a": 1}
    assert ("retry-after" in answer.headers) is (STATUS[code] in {429, 503})


@pytest.mark.parametrize(
    ("wait_ms", "seconds"), [(1, "1"), (1000, "1"), (1001, "2"), (86_400_001, "86401")]
)
def test_retry_after_is_long_enough(wait_ms: int, seconds: str) -> None:
    error = StockadeError("tenant.rate_limited", "Wait.", detail={"retry_after_ms": wait_ms})
    assert problem(error).headers["retry-after"] == seconds


async def test_a_code_without_a_status_is_our_fault() -> None:
    with capture_logs() as logged:
        answer = await on_refusal(REQUEST, StockadeError("new.code", "secret detail"))
    assert answer.status_code == 500
    assert json.loads(answer.body)["code"] == "internal.error"
    assert b"secret" not in answer.body
    assert [(line["event"], line["code"]) for line in logged] == [
        ("code_without_status", "new.code")
    ]


async def test_our_own_mistakes_tell_nothing() -> None:
    with capture_logs() as logged:
        answer = await on_failure(REQUEST, RuntimeError("secret detail"))
    assert answer.status_code == 500
    assert b"secret" not in answer.body
    assert [line["event"] for line in logged] == ["request_failed"]


async def test_what_the_framework_refuses_is_a_problem_too() -> None:
    faults = [{"loc": ("query", "n", 0), "msg": "secret", "type": "x"}]
    answer = await on_http_exception(REQUEST, RequestValidationError(faults))
    body = json.loads(answer.body)
    assert (answer.status_code, body["code"]) == (400, "request.invalid")
    assert body["facts"] == {"fields": ["query.n.0"]}
    assert b"secret" not in answer.body
    for status, code in ((404, "not_found"), (405, "method_not_allowed"), (418, "invalid")):
        answer = await on_http_exception(REQUEST, HTTPException(status))
        assert json.loads(answer.body)["code"] == f"request.{code}"


async def test_only_refusals_are_answered_as_such() -> None:
    with pytest.raises(RuntimeError):
        await on_refusal(REQUEST, RuntimeError())
