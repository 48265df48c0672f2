"""Guests that fail in every way are told canaries; the platform's own log holds none of them."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

CANARY = "canary-4a7b"
FORGED = '\r\n{"event": "forged", "level": "info"}\x1b[2J'
IMPORTS = """
  (import "stockade:v1" "log" (func $log (param i32 i32 i32)))
  (import "stockade:v1" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "stockade:v1" "kv_set" (func $set (param i32 i32 i32 i32 i32) (result i64)))"""
TEXT = f"{CANARY} said{FORGED}"
SAID = f"(i32.const 2000) (i32.const {len(TEXT)})"
SAYS = f"""(call $log (i32.const 4) {SAID})
  (call $emit (i32.const 2000) (i32.const 11) {SAID})
  (drop (call $set (i32.const 2100) (i32.const 11) {SAID} (i32.const 0)))"""
ENDS = {
    "completes": guests.answer("(i32.const 1999)", f"(i32.const {len(TEXT) + 1})"),
    "rejects": "(i32.store16 (i32.const 1998) (i32.const 1))"
    + guests.answer("(i32.const 1998)", f"(i32.const {len(TEXT) + 2})"),
    "traps": "(unreachable)",
    "hangs": "(loop br 0) (unreachable)",
    "breaks-the-abi": "(i64.const -1)",
}
GRANTS = ["emit", "kv:n"]
LIMITS = {"fuel": 100_000_000_000, "wall_ms": 300}


def _written(text: str) -> str:
    return "".join(f"\\{byte:02x}" for byte in text.encode())


def _guest(end: str) -> bytes:
    data = f'(data (i32.const 2000) "{_written(TEXT)}") (data (i32.const 2100) "n/{CANARY[:9]}")'
    return guests.module(SAYS + ENDS[end], imports=IMPORTS, extra=data)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("canaries") / "data"
    with running_service(place, STOCKADE_LOG_LEVEL="debug") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        yield running


def _lines(service: Service) -> list[dict[str, object]]:
    text = service.data_dir.with_suffix(".log").read_text(encoding="ascii")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_no_line_of_the_log_holds_what_guests_are_told_or_say(service: Service) -> None:
    headers = {
        "X-Request-Id": f'{CANARY} {{"event": "forged"}}',
        "traceparent": f"00-{CANARY}-01",
        "baggage": f"user={CANARY}",
        "User-Agent": f"{CANARY}",
    }
    for end in ENDS:
        key = {"Idempotency-Key": f"{CANARY}-{end}"}
        service.deploy(end, _guest(end), grants=GRANTS, limits=LIMITS, env={"WORD": CANARY})
        answer = service.invoke(end, f"{CANARY} input{FORGED}".encode(), **headers, **key)
        assert answer.status_code == (200 if end == "completes" else 422), answer.text
    for path in (
        "/v1/functions/x%0d%0a%1b%5b2J%7b%22event%22",
        "/none/%0a%7b",
        "/v1/functions?q=%0a{",
    ):
        service.http.get(path, headers={"X-Forwarded-For": '{"event": "forged"}'})
    text = service.data_dir.with_suffix(".log").read_text(encoding="ascii")
    assert CANARY not in text
    assert all(" " <= letter <= "~" or letter == "\n" for letter in text)
    events = {line["event"] for line in _lines(service)}
    assert "forged" not in events
    assert "worker_ready" in events
