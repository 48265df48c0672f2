"""Host calls through all of it: gateway, queue, worker, broker, a jailed executor, real Valkey."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests

CANARY = "canary-7f3a-s3cret"
ALLOC = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
REPLY = f"""(local $packed i64) (local.set $packed %s)
  (i32.store8 (i32.const 39999) (i32.const 0))
  (i64.or (i64.const {39999 << 32}) (i64.add (i64.const 1)
    (i64.and (local.get $packed) (i64.const 0xffffffff))))"""


def caller(name: str, signature: str, arguments: str, data: str) -> bytes:
    """A guest that makes one call and answers with the reply."""
    imports = f'(import "stockade:v1" "{name}" (func $call {signature}))'
    body = REPLY % f"(call $call {arguments})"
    extra = f'(data (i32.const 100) "{data}")'
    return guests.module(body, imports=imports, alloc=ALLOC, extra=extra)


def getter(name: str, text: str) -> bytes:
    arguments = f"(i32.const 100) (i32.const {len(text)})"
    return caller(name, "(param i32 i32) (result i64)", arguments, text)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("hosts") / "data") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        yield running


def test_a_counter_goes_on_from_run_to_run(service: Service) -> None:
    arguments = "(i32.const 100) (i32.const 8) (i64.const 5)"
    body = caller("kv_add", "(param i32 i32 i64) (result i64)", arguments, "counts/a")
    service.deploy("counter", body, grants=["kv:counts"])
    seen = [service.invoke("counter").content for _ in range(3)]
    assert [int.from_bytes(one[1:], "little") for one in seen] == [5, 10, 15]


def test_config_comes_from_the_version(service: Service) -> None:
    body = getter("config_get", "greeting")
    service.deploy("configured", body, grants=["config_get"], env={"greeting": "hello"})
    assert service.invoke("configured").content == b"\0hello"


def test_a_grant_is_needed_to_deploy(service: Service) -> None:
    digest = service.deploy("granted", getter("kv_get", "n/k"), grants=["kv:n:read"])["module"]
    answer = service.http.put("/v1/functions/bare", json={"module": digest})
    assert answer.json()["code"] == "function.grant_missing"
    assert service.invoke("granted").content == b"\1"


LEAKY = guests.module(
    (REPLY % "(call $call (i32.const 100) (i32.const 7))").replace(
        "(i32.store8",
        f"""(if (i32.gt_u (i32.wrap_i64 (local.get $packed)) (i32.const 1)) (then
          (call $log (i32.const 2) (i32.const 40001) (i32.const {len(CANARY)}))))
        (i32.store8""",
        1,
    ),
    imports="""(import "stockade:v1" "secret_get" (func $call (param i32 i32) (result i64)))
      (import "stockade:v1" "log" (func $log (param i32 i32 i32)))""",
    alloc=ALLOC,
    extra='(data (i32.const 100) "API_KEY")',
)


def test_a_secret_reaches_the_guest_and_nothing_else(service: Service) -> None:
    service.http.put("/v1/secrets/API_KEY", content=CANARY.encode())
    service.deploy("leaky", LEAKY, grants=["secret:API_KEY"])
    answer = service.invoke("leaky")
    assert answer.content == b"\0" + CANARY.encode()
    place = f"/v1/invocations/{answer.headers['stockade-invocation-id']}"
    logs = service.http.get(f"{place}/logs").json()
    assert [line["text"] for line in logs["lines"]] == ["[secret API_KEY]"]
    assert CANARY not in service.http.get(place).text
    assert service.http.get("/v1/secrets").json()["secrets"][0]["name"] == "API_KEY"
    service.http.delete("/v1/secrets/API_KEY")
    assert service.invoke("leaky", b"again").content == b"\1"


def test_a_secret_lies_nowhere_in_plain(service: Service) -> None:
    other = "another-canary-91bc"
    service.http.put("/v1/secrets/OTHER", content=other.encode())
    service.deploy("reads", getter("secret_get", "OTHER"), grants=["secret:OTHER"])
    assert service.invoke("reads").content[:1] == b"\0"
    log = (service.data_dir.parent / f"{service.data_dir.name}.log").read_bytes()
    assert other.encode() not in log
    kept = [path for path in service.data_dir.rglob("*") if path.is_file()]
    holding = [path.name for path in kept if other.encode() in path.read_bytes()]
    # The guest's own answer, which is the secret, is kept with the record until it expires.
    assert all("aof" in name or "rdb" in name for name in holding)
    assert not any("sqlite" in name or name == "secrets.key" for name in holding)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page of " + self.path.encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def page() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def fetcher(url: str) -> bytes:
    text = f"GET {url}\\0a\\0a"
    arguments = f"(i32.const 100) (i32.const {len(url) + 6})"
    return caller("http_fetch", "(param i32 i32) (result i64)", arguments, text)


def test_what_is_inside_is_neither_granted_nor_reached(service: Service) -> None:
    with page() as port:
        url = f"http://127.0.0.1:{port}/x"
        answer = service.http.put(
            "/v1/functions/inside",
            json={"module": service.deploy("any", guests.ECHO)["module"],
                  "grants": [f"http_fetch:GET {url}"]},
        )  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (403, "function.grant_forbidden")
        named = f"http://localhost:{port}/x"
        service.deploy("named", fetcher(named), grants=[f"http_fetch:GET {named}"])
        assert service.invoke("named").content.startswith(b"\2http_fetch.address_refused: ")


def test_events_and_progress_stand_in_the_record(service: Service) -> None:
    body = guests.module(
        """(call $emit (i32.const 100) (i32.const 5) (i32.const 105) (i32.const 2))
        (call $progress (i32.const 60) (i32.const 100) (i32.const 5))"""
        + guests.answer("(i32.const 200)", "(i32.const 1)"),
        imports="""(import "stockade:v1" "emit" (func $emit (param i32 i32 i32 i32)))
          (import "stockade:v1" "progress" (func $progress (param i32 i32 i32)))""",
        extra='(data (i32.const 100) "order{}")',
    )
    service.deploy("tells", body, grants=["emit", "progress"])
    answer = service.invoke("tells")
    assert answer.status_code == 200, answer.text
    record = service.http.get(f"/v1/invocations/{answer.headers['stockade-invocation-id']}").json()
    assert record["events"] == [{"name": "order", "data": "{}"}]
    assert record["events_truncated"] is False
