"""Spans that a guest opens stand in its run's trace, below the run, with the calls in between."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

CANARY = "canary-90fe-spans"
IMPORTS = """(import "stockade:v1" "span_open" (func $open (param i32 i32) (result i32)))
  (import "stockade:v1" "span_close" (func $close (param i32)))
  (import "stockade:v1" "span_attribute" (func $say (param i32 i32 i32 i32 i32)))
  (import "stockade:v1" "kv_get" (func $get (param i32 i32) (result i64)))
  (import "stockade:v1" "secret_get" (func $secret (param i32 i32) (result i64)))"""
OUTER, INNER = "(i32.const 100) (i32.const 5)", "(i32.const 110) (i32.const 5)"
ROWS, SEVEN = "(i32.const 120) (i32.const 4)", "(i32.const 130) (i32.const 1)"
KEY, TOKEN = "(i32.const 140) (i32.const 3)", "(i32.const 150) (i32.const 5)"
HOSTILE = "(i32.const 160) (i32.const 4)"
DATA = """(data (i32.const 100) "outer") (data (i32.const 110) "inner")
  (data (i32.const 120) "rows") (data (i32.const 130) "7") (data (i32.const 140) "n/a")
  (data (i32.const 150) "TOKEN") (data (i32.const 160) "\\1b[2J")"""
SAYS = f"""(local $outer i32) (local $i i32)
  (local.set $outer (call $open {OUTER}))
  (call $say (local.get $outer) {ROWS} {SEVEN})
  (call $say (call $open {INNER}) {HOSTILE} {SEVEN})
  (drop (call $get {KEY}))
  (call $close (local.get $outer))
  (drop (call $secret {TOKEN}))
  (call $say (call $open {OUTER}) {ROWS} (i32.const 40001) (i32.const {len(CANARY)}))
  (loop $flood (drop (call $open {INNER})) (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $flood (i32.lt_u (local.get $i) (i32.const 90))))"""
ENDS = {
    "completed": "(i32.store8 (i32.const 3999) (i32.const 0)) (i64.const 17175674880001)",
    "trapped": "(unreachable)",
}


def guest(end: str) -> bytes:
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    body = SAYS + ENDS[end].replace("17175674880001", str((3999 << 32) + 1))
    return guests.module(body, imports=IMPORTS, alloc=alloc, extra=DATA)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("spans") / "data") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        assert running.http.put("/v1/secrets/TOKEN", content=CANARY.encode()).is_success
        yield running


def spans_of(service: Service, invocation_id: str) -> list[dict[str, Any]]:
    """The spans of the run's trace, once the attempt is there."""
    give_up = time.monotonic() + 20
    while True:
        answer = service.http.get(f"/v1/invocations/{invocation_id}/trace")
        assert CANARY not in answer.text
        assert answer.status_code == 200, answer.text
        found = [
            span
            for resource in answer.json().get("resourceSpans", ())
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        if any(span["name"] == "run" for span in found) or time.monotonic() > give_up:
            return found
        time.sleep(0.02)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


@pytest.mark.parametrize("end", ENDS)
def test_a_guests_spans_stand_below_its_run(service: Service, end: str) -> None:
    grants, once = ["kv:n", "secret:TOKEN"], {"max_attempts": 1}
    service.deploy(end, guest(end), grants=grants, retry=once)
    answer = service.invoke(end, b"in")
    invocation_id = answer.headers["stockade-invocation-id"]
    shown = service.http.get(f"/v1/invocations/{invocation_id}").json()
    assert shown["outcome"] == end, shown
    spans = spans_of(service, invocation_id)
    (run,) = [span for span in spans if span["name"] == "run"]
    outer, again = [span for span in spans if span["name"] == "outer"]
    inner = next(span for span in spans if span["name"] == "inner")
    (get,) = [span for span in spans if span["name"] == "kv_get"]
    (secret,) = [span for span in spans if span["name"] == "secret_get"]
    assert outer["parentSpanId"] == again["parentSpanId"] == run["spanId"]
    assert inner["parentSpanId"] == outer["spanId"]
    assert get["parentSpanId"] == inner["spanId"]
    assert secret["parentSpanId"] == run["spanId"]
    assert attributes(outer) == {"stockade.guest": True, "stockade.guest.rows": "7"}
    assert "stockade.guest.\\x1b[2J" in attributes(inner)
    assert attributes(again)["stockade.guest.rows"] == "[secret TOKEN]"
    dropped = int(attributes(run)["stockade.guest_spans.not_recorded"])
    assert dropped == 90 - 15
    for span in (outer, inner, again):
        first, last = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert int(run["startTimeUnixNano"]) <= first <= last <= int(run["endTimeUnixNano"])
