import base64
import json
import re

import httpx
import pytest

from stockade_client import (
    Client,
    ConnectionFailed,
    DroppedLines,
    Function,
    FunctionTrust,
    FunctionVersion,
    GuestFailed,
    Health,
    InvocationPending,
    LogLine,
    Signer,
    StockadeApiError,
    calls,
)
from stockade_client.attempts import RetryRule
from tests.unit.sdk_python.fake_gateway import (
    DIGEST,
    ID,
    MODULE,
    RAISED,
    RECORD,
    FakeGateway,
    completed,
    problem,
)

QUICK = RetryRule(first_pause_seconds=0.001, longest_pause_seconds=0.002)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_key", transport=gateway.transport, retries=QUICK)


def test_upload_sends_the_bytes_and_the_key(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/modules", httpx.Response(201, json=MODULE))
    module = client.upload_module(b"\0asm")
    assert module.digest == DIGEST
    assert module.exports == ("memory", "stockade_v1_run")
    assert gateway.last.content == b"\0asm"
    assert gateway.last.headers["Content-Type"] == "application/wasm"
    assert gateway.last.headers["Authorization"] == "Bearer stk_key"
    assert "Stockade-Signature" not in gateway.last.headers


def test_a_detached_signature_goes_in_its_header(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/modules", httpx.Response(200, json=MODULE))
    client.upload_module(b"\0asm", b"\x01\x02\xff")
    assert base64.b64decode(gateway.last.headers["Stockade-Signature"]) == b"\x01\x02\xff"


def test_a_module_of_what_was_pushed(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/modules:from-oci", httpx.Response(201, json=MODULE | {"manifest": "m"}))
    assert client.module_from_oci("tools/hello:1").digest == DIGEST
    assert gateway.last_json == {"reference": "tools/hello:1"}
    made = {"manifest": "me/hello@sha256:a", "tag": "1"}
    gateway.on("POST /v1/modules:to-oci", httpx.Response(201, json=made))
    assert client.module_to_oci(DIGEST, "hello:1") == "me/hello@sha256:a"
    assert gateway.last_json == {"module": DIGEST, "reference": "hello:1"}


def test_module_facts_by_digest(client: Client, gateway: FakeGateway) -> None:
    gateway.on(f"GET /v1/modules/{DIGEST}", httpx.Response(200, json=MODULE))
    assert client.module(DIGEST).signers == ("me",)


def test_deploy_leaves_out_what_was_not_given(client: Client, gateway: FakeGateway) -> None:
    answer = httpx.Response(201, json={"name": "hello", "version": 1})
    gateway.on("PUT /v1/functions/hello", answer)
    made = client.put_function("hello", DIGEST, limits={"fuel": 5}, grants=("log",))
    assert made == FunctionVersion("hello", 1)
    assert gateway.last_json == {"module": DIGEST, "limits": {"fuel": 5}, "grants": ["log"]}


def test_lists_of_functions_and_signers(client: Client, gateway: FakeGateway) -> None:
    function = {"name": "hello", "version": 3, "module": DIGEST}
    gateway.on("GET /v1/functions", httpx.Response(200, json={"functions": [function]}))
    signer = {"name": "me", "public_key": "abc", "revoked_ms": 5}
    gateway.on("GET /v1/signers", httpx.Response(200, json={"signers": [signer]}))
    assert client.functions() == (Function("hello", 3, DIGEST),)
    assert client.signers()[0].revoked_ms == 5


def test_function_in_full(client: Client, gateway: FakeGateway) -> None:
    body = {
        "name": "hello",
        "version": 3,
        "module": DIGEST,
        "abi": "stockade:v1",
        "limits": {"fuel": 7},
        "grants": ["log"],
        "env": {"K": "V"},
    }
    gateway.on("GET /v1/functions/hello", httpx.Response(200, json=body))
    found = client.function("hello")
    assert (found.limits, found.grants, found.env) == ({"fuel": 7}, ("log",), {"K": "V"})


def test_invoke_returns_the_output_and_its_cost(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invoke", completed(b"\x00out"))
    result = client.invoke("hello", b"in", alias="prod", idempotency_key="k", wait_seconds=5)
    assert result.output == b"\x00out"
    assert (result.fuel, result.peak_memory_bytes, result.wall_ms) == (1000, 65536, 1.5)
    assert gateway.last.content == b"in"
    assert gateway.last.url.params["alias"] == "prod"
    assert gateway.last.headers["Idempotency-Key"] == "k"
    assert gateway.last.headers["Stockade-Wait-Seconds"] == "5"


def test_alias_and_version_exclude_each_other(client: Client) -> None:
    with pytest.raises(ValueError, match="not both"):
        client.invoke("hello", alias="prod", version=1)


def test_a_guest_that_fails_is_no_fault_of_the_platform(
    client: Client, gateway: FakeGateway
) -> None:
    answer = problem(
        422, "invocation.limit_exceeded", outcome="limit_exceeded", limit="fuel", invocation_id=ID
    )
    gateway.on("POST /v1/functions/hello/invoke", answer)
    with pytest.raises(GuestFailed) as caught:
        client.invoke("hello")
    failure = caught.value
    assert (failure.outcome, failure.limit, failure.invocation_id) == ("limit_exceeded", "fuel", ID)
    assert not isinstance(failure, StockadeApiError)


def test_unprocessable_without_outcome_is_a_refusal(client: Client, gateway: FakeGateway) -> None:
    gateway.on(
        "POST /v1/modules", problem(422, "module.unsigned", facts={"limit": 3}, retryable=True)
    )
    with pytest.raises(StockadeApiError) as caught:
        client.upload_module(b"")
    error = caught.value
    assert (error.code, error.status, error.message) == ("module.unsigned", 422, "It is wrong.")
    assert error.retryable
    assert error.detail == {"limit": 3}


@pytest.mark.parametrize("call", ["invoke", "result"])
def test_still_running_is_told_with_the_id(client: Client, gateway: FakeGateway, call: str) -> None:
    running = httpx.Response(202, json={"id": ID})
    gateway.on("POST /v1/functions/hello/invoke", running)
    gateway.on(f"GET /v1/invocations/{ID}/result", problem(409, "invocation.not_done"))
    with pytest.raises(InvocationPending) as caught:
        client.invoke("hello") if call == "invoke" else client.result(ID)
    assert caught.value.invocation_id == ID


def test_submit_returns_the_id(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invocations", httpx.Response(202, json={"id": ID}))
    assert client.submit("hello", b"x", priority="high", deadline_seconds=2.5) == ID
    assert gateway.last.headers["Stockade-Priority"] == "high"
    assert gateway.last.headers["Stockade-Deadline-Seconds"] == "2.5"


def test_a_batch_answers_each_line(client: Client, gateway: FakeGateway) -> None:
    refused = {"code": "queue.full", "status": 429, "detail": "Full.", "retryable": True}
    body = "".join(json.dumps(line) + "\n" for line in ({"id": ID}, refused))
    gateway.on("POST /v1/functions/hello/invocations:batch", httpx.Response(202, text=body))
    taken, error = client.submit_batch("hello", [b"1", b"[2]"], version=3, priority="low")
    assert taken == ID
    assert isinstance(error, StockadeApiError)
    assert (error.code, error.status, error.retryable) == ("queue.full", 429, True)
    assert gateway.last.content == b"1\n[2]"
    assert gateway.last.url.params["version"] == "3"
    assert gateway.last.headers["Stockade-Priority"] == "low"


@pytest.mark.parametrize(
    ("header", "facts", "seconds"),
    [
        ("3", {"retry_after_ms": 2001}, 2.001),
        ("3", {}, 3.0),
        (None, {}, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        ("9" * 400, {"retry_after_ms": 10**400}, None),
        ("1", {"retry_after_ms": -1}, 1.0),
    ],
)
def test_a_refusal_says_when_to_try_again(
    client: Client, gateway: FakeGateway, header: str | None, facts: object, seconds: float | None
) -> None:
    answer = problem(429, "tenant.rate_limited", retryable=True, facts=facts)
    answer.headers.update({} if header is None else {"Retry-After": header})
    gateway.on("POST /v1/functions/hello/invocations", answer)
    with pytest.raises(StockadeApiError) as refused:
        client.submit("hello")
    assert refused.value.retry_after_seconds == seconds


def test_a_refused_line_says_when_to_try_again(client: Client, gateway: FakeGateway) -> None:
    refused = {"code": "tenant.rate_limited", "status": 429, "facts": {"retry_after_ms": 250}}
    body = json.dumps(refused) + "\n"
    gateway.on("POST /v1/functions/hello/invocations:batch", httpx.Response(202, text=body))
    (error,) = client.submit_batch("hello", [b"1"])
    assert isinstance(error, StockadeApiError)
    assert error.retry_after_seconds == 0.25


@pytest.mark.parametrize("line", [b"1\n2", b"", b" "])
def test_an_input_that_would_shift_answers_is_not_sent(client: Client, line: bytes) -> None:
    with pytest.raises(ValueError, match="one line"):
        client.submit_batch("hello", [b"1", line])


def test_a_batch_that_something_else_answers_is_named(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invocations:batch", httpx.Response(200, text="<html>"))
    with pytest.raises(StockadeApiError, match="does not look like"):
        client.submit_batch("hello", [b"1"])


def test_dead_letters_are_listed_and_redriven(client: Client, gateway: FakeGateway) -> None:
    dead = RECORD | {"outcome": "trapped"}
    gateway.on("GET /v1/dead-letters", httpx.Response(200, json={"dead_letters": [dead]}))
    gateway.on("POST /v1/dead-letters/redrive", httpx.Response(202, json={"redriven": [ID]}))
    gateway.on(f"POST /v1/invocations/{ID}/redrive", httpx.Response(202, json={"id": ID}))
    (letter,) = client.dead_letters(limit=7, after=ID)
    assert (letter.id, letter.outcome) == (ID, "trapped")
    assert dict(gateway.last.url.params) == {"limit": "7", "after": ID}
    client.redrive(ID)
    assert client.redrive_all() == (ID,)
    assert gateway.last_json == {"all": True}


def test_secrets_are_set_listed_and_deleted(client: Client, gateway: FakeGateway) -> None:
    secret = {"name": "token", "updated_ms": 5}
    gateway.on("PUT /v1/secrets/token", httpx.Response(201, json={}))
    gateway.on("GET /v1/secrets", httpx.Response(200, json={"secrets": [secret]}))
    gateway.on("DELETE /v1/secrets/token", httpx.Response(204))
    client.put_secret("token", b"\0raw")
    assert gateway.last.content == b"\0raw"
    assert [(one.name, one.updated_ms) for one in client.secrets()] == [("token", 5)]
    client.delete_secret("token")
    assert gateway.last.method == "DELETE"


def test_record_result_logs_and_cancel(client: Client, gateway: FakeGateway) -> None:
    logs = {"lines": [{"level": "info", "text": "hi"}], "truncated": True}
    logs["dropped"] = [{"attempt": 2, "what": "logs", "count": None}]
    gateway.on(f"GET /v1/invocations/{ID}", httpx.Response(200, json=RECORD))
    gateway.on(f"GET /v1/invocations/{ID}/result", httpx.Response(200, content=b"out"))
    gateway.on(f"GET /v1/invocations/{ID}/logs", httpx.Response(200, json=logs))
    gateway.on(f"POST /v1/invocations/{ID}/cancel", httpx.Response(202, json={}))
    record = client.get(ID)
    assert record.done
    assert record.attempts[0].usage.queue_ms == 0.25
    assert client.result(ID) == b"out"
    assert client.logs(ID).lines == (LogLine("info", "hi"),)
    assert client.logs(ID).truncated
    assert client.logs(ID).dropped == (DroppedLines(2, None),)
    client.cancel(ID)


def test_an_attempt_tells_who_decided_and_what_the_shadow_would_have(
    client: Client, gateway: FakeGateway
) -> None:
    attempts = [RAISED, *RECORD["attempts"]]  # type: ignore[misc]
    answer = httpx.Response(200, json=RECORD | {"attempts": attempts})
    gateway.on(f"GET /v1/invocations/{ID}", answer)
    first, second = client.get(ID).attempts
    assert (first.policy, first.code, first.success) == ("learned", "limit_raised", 0.5)
    assert (first.limit, first.limits["fuel"]) == ("fuel", 1000)
    assert first.shadow is not None
    assert (first.shadow.policy, first.shadow.retry, first.shadow.limits) == ("fixed", False, {})
    assert (second.policy, second.success, second.limits, second.shadow) == ("", None, {}, None)
    assert [(one.engine, one.recorded) for one in (first, second)] == [
        ("wasmtime-1", True),
        ("", False),
    ]


def test_wait_looks_until_done(client: Client, gateway: FakeGateway) -> None:
    running = httpx.Response(200, json=RECORD | {"state": "running", "outcome": None})
    gateway.on(f"GET /v1/invocations/{ID}", running, httpx.Response(200, json=RECORD))
    assert client.wait(ID).outcome == "completed"
    assert len(gateway.requests) == 2


def test_wait_gives_up_in_time(client: Client, gateway: FakeGateway) -> None:
    running = httpx.Response(200, json=RECORD | {"state": "running"})
    gateway.on(f"GET /v1/invocations/{ID}", running)
    with pytest.raises(InvocationPending):
        client.wait(ID, timeout_seconds=0.01)


def test_signers_are_added_and_revoked(client: Client, gateway: FakeGateway) -> None:
    signer = {"name": "me", "public_key": "abc"}
    gateway.on("POST /v1/signers", httpx.Response(201, json=signer))
    gateway.on("POST /v1/signers/me/revoke", httpx.Response(200, json=signer))
    assert client.add_signer("me", "abc").name == "me"
    assert gateway.last_json == {"name": "me", "public_key": "abc"}
    client.revoke_signer("me")
    client.revoke_signer("me", "stolen")
    assert gateway.last_json == {"reason": "stolen"}


def test_signers_are_shown_and_rotated(client: Client, gateway: FakeGateway) -> None:
    signer = {"name": "me", "public_key": "abc", "revoked_reason": "stolen", "replaces": "old"}
    gateway.on("GET /v1/signers/me", httpx.Response(200, json=signer))
    gateway.on("POST /v1/signers/old/rotate", httpx.Response(201, json=signer))
    assert client.signer("me") == Signer("me", "abc", revoked_reason="stolen", replaces="old")
    assert client.rotate_signer("old", "abc").replaces == "old"
    assert gateway.last_json == {"public_key": "abc"}
    client.rotate_signer("old", "abc", new_name="me", overlap_seconds=0, not_after="2031")
    asked = {"public_key": "abc", "name": "me", "overlap_seconds": 0, "not_after": "2031"}
    assert gateway.last_json == asked


def test_a_functions_trust_is_set_and_read(client: Client, gateway: FakeGateway) -> None:
    trust = {"function": "pay", "threshold": 2, "signers": ["a", "b"]}
    gateway.on("PUT /v1/functions/pay/trust", httpx.Response(201, json=trust))
    gateway.on("GET /v1/functions/pay/trust", httpx.Response(200, json=trust))
    assert client.put_function_trust("pay", 2, ["a", "b"]) == FunctionTrust("pay", 2, ("a", "b"))
    assert gateway.last_json == {"threshold": 2, "signers": ["a", "b"]}
    assert client.function_trust("pay").threshold == 2


def test_health_tells_live_from_ready(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /healthz", httpx.Response(200)).on("GET /readyz", httpx.Response(503))
    assert client.health() == Health(live=True, ready=False)
    assert len(gateway.requests) == 2


def test_health_of_nothing_is_no_error(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /healthz", _broken).on("GET /readyz", _broken)
    assert client.health() == Health(live=False, ready=False)


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_name_cannot_walk_to_another_path(client: Client, name: str) -> None:
    with pytest.raises(ValueError, match="names nothing"):
        client.function(name)


def test_a_name_stays_one_segment(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /v1/functions/a%2F..%3Fb", problem(404, "function.not_found"))
    with pytest.raises(StockadeApiError, match=re.escape("function.not_found")):
        client.function("a/..?b")


def test_headers_take_printable_ascii_only(client: Client) -> None:
    with pytest.raises(ValueError, match="Idempotency-Key"):
        client.invoke("hello", idempotency_key="a\r\nEvil: 1")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a proxy's page</html>"),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json=MODULE | {"size_bytes": True}),
        httpx.Response(200, json=MODULE | {"signers": [1]}),
        httpx.Response(500, json={"error": "no code"}),
    ],
)
def test_answers_of_something_else_are_named(
    client: Client, gateway: FakeGateway, answer: httpx.Response
) -> None:
    gateway.on("POST /v1/modules", answer)
    with pytest.raises(StockadeApiError) as caught:
        client.upload_module(b"")
    assert caught.value.code == "client.unexpected_answer"


def test_an_output_without_its_headers_is_no_gateways(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invoke", httpx.Response(200, content=b"hi"))
    with pytest.raises(StockadeApiError, match="Stockade-Invocation-Id"):
        client.invoke("hello")


def _broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset", request=request)


def _refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_unavailable_is_tried_again_where_twice_is_no_harm(
    client: Client, gateway: FakeGateway
) -> None:
    away = problem(503, "queue.unavailable", retryable=True)
    gateway.on(f"GET /v1/invocations/{ID}", away, _broken, httpx.Response(200, json=RECORD))
    assert client.get(ID).done
    assert len(gateway.requests) == 3


def test_unavailable_ends_after_a_few_attempts(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /v1/functions", problem(503, "catalog.unavailable", retryable=True))
    with pytest.raises(StockadeApiError, match=re.escape("catalog.unavailable")):
        client.functions()
    assert len(gateway.requests) == QUICK.max_attempts


@pytest.mark.parametrize("answer", [problem(503, "queue.unavailable"), _broken])
def test_what_may_have_run_is_not_sent_twice(
    client: Client, gateway: FakeGateway, answer: httpx.Response
) -> None:
    gateway.on("POST /v1/functions/hello/invoke", answer)
    with pytest.raises((StockadeApiError, ConnectionFailed)):
        client.invoke("hello")
    assert len(gateway.requests) == 1


def test_with_an_idempotency_key_it_is(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invoke", _broken, completed())
    assert client.invoke("hello", idempotency_key="k").output == b"hi"


def test_what_was_never_sent_is_sent_again(client: Client, gateway: FakeGateway) -> None:
    gateway.on("POST /v1/functions/hello/invoke", _refused, completed())
    assert client.invoke("hello").output == b"hi"


def test_other_refusals_are_not_tried_again(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /v1/functions", problem(429, "quota.exceeded", retryable=True))
    with pytest.raises(StockadeApiError):
        client.functions()
    assert len(gateway.requests) == 1


def test_the_gateway_says_how_long_to_pause_within_bounds() -> None:
    rule = RetryRule(first_pause_seconds=0.1, longest_pause_seconds=5.0)
    call = calls.secrets()
    asked = httpx.Response(503, headers={"Retry-After": "2"})
    endless = httpx.Response(503, headers={"Retry-After": "100000"})
    assert rule.after_answer(call, 1, asked) == 2.0
    assert rule.after_answer(call, 1, endless) == 5.0
    assert (rule.after_answer(call, 1, httpx.Response(503)) or 0.0) <= 0.1


def test_a_closed_client_sends_nothing(gateway: FakeGateway) -> None:
    with Client("http://gateway", transport=gateway.transport) as client:
        pass
    with pytest.raises(RuntimeError):
        client.functions()
    assert gateway.requests == []
