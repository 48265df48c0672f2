"""What a call and a run say about an upstream."""

import pytest

from stockade.core.errors import StockadeError
from stockade.core.grants import parse_grants
from stockade.core.outcomes import Outcome
from stockade.core.upstreams import (
    Met,
    OpenGate,
    cause_of_status,
    met_by_error,
    retry_after_ms,
    teaching,
    upstream_out,
)

API = "http_fetch:api.example.org"
BAD, WELL, NOTHING = Met(API, "5xx"), Met(API), Met("")


@pytest.mark.parametrize(
    ("origin", "upstream"),
    [
        ("https://api.example.org", "api.example.org"),
        ("http://api.example.org/v1", "api.example.org"),
        ("https://api.example.org:8443", "api.example.org:8443"),
        ("https://api.example.org:80", "api.example.org:80"),
        ("https://*.example.org", "*.example.org"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://10.0.0.1", "10.0.0.1"),
    ],
)
def test_an_upstream_is_the_grants_host_and_port(origin: str, upstream: str) -> None:
    (grant,) = parse_grants([f"http_fetch:GET {origin}"]).http
    assert grant.upstream == f"http_fetch:{upstream}"


@pytest.mark.parametrize(
    ("status", "cause"),
    [(200, ""), (301, ""), (404, ""), (429, "429"), (499, ""), (500, "5xx"), (503, "5xx"),
     (599, "5xx"), (600, "")],
)  # fmt: skip
def test_answers_that_tell_of_trouble(status: int, cause: str) -> None:
    assert cause_of_status(status) == cause


@pytest.mark.parametrize(
    ("error", "met"),
    [
        (StockadeError("http_fetch.timeout", "", detail={"upstream": API}), Met(API, "timeout")),
        (StockadeError("http_fetch.timeout", ""), None),
        (StockadeError("http_fetch.too_many", "", detail={"upstream": API}), None),
        (upstream_out(API, 20), Met(API, "upstream_out")),
    ],
)
def test_failures_that_the_upstream_is_to_blame_for(error: StockadeError, met: Met | None) -> None:
    assert met_by_error(error) == met


@pytest.mark.parametrize(
    ("outcome", "hint", "met", "told"),
    [
        (Outcome.COMPLETED, False, WELL, WELL),
        (Outcome.COMPLETED, False, BAD, NOTHING),
        (Outcome.COMPLETED, False, None, NOTHING),
        (Outcome.REJECTED, True, BAD, BAD),
        (Outcome.REJECTED, False, BAD, NOTHING),
        (Outcome.REJECTED, True, WELL, NOTHING),
        (Outcome.TRAPPED, False, BAD, BAD),
        (Outcome.TRAPPED, False, WELL, NOTHING),
        (Outcome.LIMIT_EXCEEDED, False, BAD, NOTHING),
        (Outcome.CRASHED, False, BAD, NOTHING),
    ],
)
def test_what_the_end_of_a_run_says_about_its_last_call(
    outcome: Outcome, *, hint: bool, met: Met | None, told: Met
) -> None:
    assert teaching(outcome, retry_hint=hint, met=met) == told


@pytest.mark.parametrize(
    ("headers", "after_ms"),
    [
        ((), 0),
        ((("retry-after", "3"),), 3000),
        ((("retry-after", "999999"),), 999_999_000),
        ((("retry-after", "9" * 7),), 0),
        ((("retry-after", "-1"),), 0),
        ((("retry-after", "1.5"),), 0),
        ((("retry-after", "\u0663"),), 0),
        ((("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),), 0),
    ],
)
def test_for_how_long_an_upstream_asks_to_be_left_alone(
    headers: tuple[tuple[str, str], ...], after_ms: int
) -> None:
    assert retry_after_ms(headers) == after_ms


async def test_a_gate_without_breakers_lets_everything_out() -> None:
    for _ in range(100):
        with await OpenGate().enter("a", API) as passage:
            passage.answered(503)
