"""A guest that may read a secret says it wherever it can; only its own answer may hold it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

CANARY = "canary-51c9-never-to-be-seen"
SECRET, LENGTH = "(i32.const 40001)", f"(i32.const {len(CANARY)})"
"""Where the reply's content lands, behind its first byte."""
WAYS = {
    "log": f"(call $log (i32.const 2) {SECRET} {LENGTH})",
    "emit": f"(call $emit {SECRET} {LENGTH} {SECRET} {LENGTH})",
    "progress": f"(call $progress (i32.const 50) {SECRET} {LENGTH}) (loop br 0)",
    "rejection": f"""(i32.store16 (i32.const 39999) (i32.const 1))
      (memory.copy (i32.const 40001) {SECRET} {LENGTH})
      (return (i64.or (i64.const {39999 << 32}) (i64.const {len(CANARY) + 2})))""",
    "trap": "(unreachable)",
    "trap after log": f"(call $log (i32.const 2) {SECRET} {LENGTH}) (unreachable)",
    "kill": f"(call $log (i32.const 2) {SECRET} {LENGTH}) (loop br 0)",
    "ask for it": f"(drop (call $secret {SECRET} {LENGTH}))",
    "fetch it": f"(drop (call $fetch {SECRET} {LENGTH}))",
    "keep it": f"(drop (call $delete {SECRET} {LENGTH}))",
}
IMPORTS = """
  (import "stockade:v1" "secret_get" (func $secret (param i32 i32) (result i64)))
  (import "stockade:v1" "http_fetch" (func $fetch (param i32 i32) (result i64)))
  (import "stockade:v1" "kv_delete" (func $delete (param i32 i32) (result i64)))
  (import "stockade:v1" "log" (func $log (param i32 i32 i32)))
  (import "stockade:v1" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "stockade:v1" "progress" (func $progress (param i32 i32 i32)))"""
ENDS = {"rejection": "rejected", "trap": "trapped", "trap after log": "trapped"} | {
    "progress": "limit_exceeded",
    "kill": "limit_exceeded",
}
GRANTS = ["secret:TOKEN", "emit", "progress", "kv:n", "http_fetch:GET https://example.com"]
ONCE = {"max_attempts": 1}
LIMITS = {"fuel": 100_000_000_000, "wall_ms": 2500}
"""Long enough for progress to be told, once a second."""


def leaking(way: str) -> bytes:
    """Reads the secret, says it this way, and answers with nothing."""
    body = f"""(drop (call $secret (i32.const 100) (i32.const 5)))
      {WAYS[way]}
      (i32.store8 (i32.const 39999) (i32.const 0)) (i64.const {(39999 << 32) + 1})"""
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    return guests.module(body, imports=IMPORTS, alloc=alloc, extra='(data (i32.const 100) "TOKEN")')


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("leaks") / "data") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        assert running.http.put("/v1/secrets/TOKEN", content=CANARY.encode()).is_success
        yield running


def everything_kept(data_dir: Path) -> Iterator[tuple[Path, bytes]]:
    """What the installation wrote, its own log included."""
    yield (log := data_dir.parent / f"{data_dir.name}.log"), log.read_bytes()
    for path in data_dir.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_saying_it_leaves_the_guest(service: Service, way: str) -> None:
    name = way.replace(" ", "-")
    service.deploy(name, leaking(way), grants=GRANTS, limits=LIMITS, retry=ONCE)
    answer = service.invoke(name, b"in")
    place = f"/v1/invocations/{answer.headers['stockade-invocation-id']}"
    record, logs = service.http.get(place), service.http.get(f"{place}/logs")
    assert record.json()["outcome"] == ENDS.get(way, "completed")
    for said in (answer, record, logs, service.http.get("/v1/dead-letters")):
        assert CANARY not in said.text
        assert CANARY not in str(said.headers)
    holding = [path for path, kept in everything_kept(service.data_dir) if CANARY.encode() in kept]
    assert holding == []


def test_the_marks_stand_where_the_secret_was(service: Service) -> None:
    service.deploy("marked", leaking("trap after log"), grants=GRANTS, limits=LIMITS, retry=ONCE)
    answer = service.invoke("marked", b"in")
    assert answer.json()["outcome"] == "trapped"
    place = f"/v1/invocations/{answer.headers['stockade-invocation-id']}"
    lines = service.http.get(f"{place}/logs").json()["lines"]
    assert [line["text"] for line in lines] == ["[secret TOKEN]"]


KEEPS = """(drop (call $secret (i32.const 100) (i32.const 5)))
      (drop (call $set (i32.const 110) (i32.const 3) {said} (i32.const 0)))"""
SAYS = """(drop (call $get (i32.const 110) (i32.const 3))) (call $log (i32.const 2) {said})"""


def test_one_that_an_earlier_run_kept_is_not_told_either(service: Service) -> None:
    imports = (
        IMPORTS
        + """
  (import "stockade:v1" "kv_set" (func $set (param i32 i32 i32 i32 i32) (result i64)))
  (import "stockade:v1" "kv_get" (func $get (param i32 i32) (result i64)))"""
    )
    extra = '(data (i32.const 100) "TOKEN") (data (i32.const 110) "n/k")'
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    for name, way in (("keeping", KEEPS), ("saying", SAYS)):
        ended = "(i32.store8 (i32.const 39999) (i32.const 0)) (i64.const {})"
        body = way.format(said=f"{SECRET} {LENGTH}") + ended.format((39999 << 32) + 1)
        guest = guests.module(body, imports=imports, alloc=alloc, extra=extra)
        service.deploy(name, guest, grants=GRANTS, limits=LIMITS, retry=ONCE)
        answer = service.invoke(name, b"in")
        assert answer.status_code == 200, answer.text
    place = f"/v1/invocations/{answer.headers['stockade-invocation-id']}"
    lines = service.http.get(f"{place}/logs").json()["lines"]
    assert [line["text"] for line in lines] == ["[secret TOKEN]"]


def test_progress_is_told_without_it(service: Service) -> None:
    service.deploy("telling", leaking("progress"), grants=GRANTS, limits=LIMITS, retry=ONCE)
    answer = service.invoke("telling", b"in")
    place = f"/v1/invocations/{answer.headers['stockade-invocation-id']}"
    told = {"percent": 50, "message": "[secret TOKEN]"}
    assert service.http.get(place).json()["progress"] == told
