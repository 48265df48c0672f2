"""Bad input at every call: a stable code, a status, a message; nothing half-done."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from registry.keys import generate_secret_key
from registry.signing import sign
from stockade.core.api_keys import generate_key
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.guest import guests

GOOD_ID = "0190a1b2-0000-7000-8000-000000000000"
ABSENT = "sha256:" + "0" * 64


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """Checks the shape that every refusal has."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, object] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["detail"]
    return problem


CALLS = [
    ("POST", "/v1/modules"),
    ("GET", f"/v1/modules/{ABSENT}"),
    ("GET", "/v1/functions"),
    ("GET", "/v1/functions/f"),
    ("PUT", "/v1/functions/f"),
    ("PUT", "/v1/functions/f/aliases/a"),
    ("GET", "/v1/functions/f/aliases/a"),
    ("POST", "/v1/functions/f/invoke"),
    ("POST", "/v1/functions/f/invocations"),
    ("GET", f"/v1/invocations/{GOOD_ID}"),
    ("GET", f"/v1/invocations/{GOOD_ID}/result"),
    ("GET", f"/v1/invocations/{GOOD_ID}/logs"),
    ("POST", f"/v1/invocations/{GOOD_ID}/cancel"),
    ("GET", "/v1/signers"),
    ("POST", "/v1/signers"),
    ("POST", "/v1/signers/s/revoke"),
    ("POST", "/v1/keys"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_wants_a_key(service: Service, method: str, path: str) -> None:
    unknown, _ = generate_key("dev")
    mistyped = unknown[:-9] + ("a" if unknown[-9] != "a" else "b") + unknown[-8:]
    with httpx.Client(base_url=service.url) as anonymous:
        answer = anonymous.request(method, path)
        refused(answer, 401, "auth.key_missing")
        assert answer.headers["www-authenticate"] == "Bearer"
        for header, code in [
            ("Basic abc", "auth.key_missing"),
            ("Bearer nonsense", "auth.key_malformed"),
            (f"Bearer {mistyped}", "auth.key_malformed"),
            (f"Bearer {unknown}", "auth.key_invalid"),
        ]:
            answer = anonymous.request(method, path, headers={"authorization": header})
            refused(answer, 401, code)


def test_health_wants_none(service: Service) -> None:
    with httpx.Client(base_url=service.url) as anonymous:
        assert anonymous.get("/healthz").status_code == 200
        ready = anonymous.get("/readyz").json()
        assert ready == dict.fromkeys(ready, "ok") | {"ready": True, "walls": ready["walls"]}
        assert {"queue", "catalog", "policies"} <= ready.keys()
        assert anonymous.get("/version").json()["version"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "module.not_wasm"),
        (b"PK\x03\x04 an archive", 422, "module.not_wasm"),
        (b"(module)", 422, "module.not_wasm"),
        (b"\0asm\x0d\0\x01\0", 422, "module.is_component"),
        (b"\0asm\x02\0\0\0", 422, "module.version_unsupported"),
        (guests.ECHO, 422, "module.unsigned"),
        (sign(guests.ECHO, generate_secret_key()), 422, "module.signer_unknown"),
        (sign(guests.ECHO, KEY)[:-1], 422, "module.malformed"),
        (sign(guests.ECHO, KEY) + b"\0\x02\x01x", 422, "module.signature_mismatch"),
        (sign(guests.ECHO, KEY)[:-3] + b"\x42\x0b\x0b", 422, "module.signature_mismatch"),
        (sign(b"\0asm\x01\0\0\0", KEY), 422, "module.abi_unknown"),
        (
            sign(guests.module("(unreachable)", imports='(import "env" "pwn" (func))'), KEY),
            422,
            "module.import_unknown",
        ),
        (
            sign(
                guests.module("(unreachable)", imports='(import "stockade:v1" "rand" (func))'),
                KEY,
            ),
            422,
            "module.import_unknown",
        ),
        (
            sign(
                guests.module("(unreachable)", imports='(import "stockade:v1" "log" (func))'), KEY
            ),
            422,
            "module.import_mismatch",
        ),
        (
            sign(guests.module("(unreachable)", imports='(import "m" "g" (global i32))'), KEY),
            422,
            "module.import_kind",
        ),
    ],
    ids=[
        "empty",
        "archive",
        "text",
        "component",
        "version 2",
        "unsigned",
        "foreign key",
        "cut",
        "section appended",
        "changed",
        "no abi",
        "unknown import",
        "unavailable import",
        "wrong import type",
        "imported global",
    ],
)
def test_a_bad_module_is_refused(service: Service, content: bytes, status: int, code: str) -> None:
    refused(service.upload(content), status, code)


def test_what_only_the_engine_sees_is_refused_by_the_jailed_compiler(service: Service) -> None:
    # Well-formed in its outline, but the body pops a value that is not there.
    body = guests.ECHO.replace(b"\x41\xff\x07\x41\x00\x3a", b"\x41\xff\x07\x1a\x1a\x3a")
    assert body != guests.ECHO
    refused(service.upload(sign(body, KEY)), 422, "module.invalid")


def test_a_module_beyond_the_size_bound_is_refused_while_it_streams(service: Service) -> None:
    def endless() -> object:
        for _ in range(64):
            yield b"\0" * (1 << 20)

    refused(service.upload(b"\0" * ((16 << 20) + 1)), 413, "request.too_large")
    answer = service.http.post(
        "/v1/modules", content=endless(), headers={"content-type": "application/wasm"}
    )
    refused(answer, 413, "request.too_large")


def test_an_upload_says_what_it_is_and_comes_plain(service: Service) -> None:
    refused(service.upload(b"x", **{"content-type": "text/html"}), 415, "request.content_type")
    refused(
        service.upload(b"x", **{"content-encoding": "gzip"}), 415, "request.encoding_unsupported"
    )
    refused(service.upload(b"x", **{"stockade-signature": "%%%"}), 400, "request.header_invalid")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"module": "sha256:short"}, 400, "module.digest_invalid"),
        ({"module": ABSENT.upper()}, 400, "module.digest_invalid"),
        ({"module": ABSENT}, 404, "module.not_found"),
        ({"module": 7}, 400, "request.invalid"),
        ({"surprise": 1}, 400, "request.unknown_field"),
        ({"limits": {"fule": 1}}, 400, "limits.unknown"),
        ({"limits": {"fuel": 0}}, 400, "limits.not_positive"),
        ({"limits": {"fuel": -1}}, 400, "limits.not_positive"),
        ({"limits": {"fuel": 10**30}}, 400, "limits.above_ceiling"),
        ({"limits": {"fuel": 10**12}}, 400, "limits.above_ceiling"),
        ({"limits": {"fuel": True}}, 400, "request.invalid"),
        ({"grants": ["root"]}, 400, "function.grant_unknown"),
        ({"retry": {"policy": "always"}}, 400, "function.retry_invalid"),
        ({"retry": {"max_attempts": 0}}, 400, "function.retry_invalid"),
        ({"concurrency": 0}, 400, "function.concurrency_invalid"),
        ({"concurrency": 10**30}, 400, "function.concurrency_invalid"),
        ({"env": {"A": "\0"}}, 400, "function.env_invalid"),
    ],
)
def test_a_bad_deploy_is_refused(
    service: Service, change: dict[str, object], status: int, code: str
) -> None:
    digest = service.deploy("base", guests.ECHO)["module"]
    answer = service.http.put("/v1/functions/bad", json={"module": digest} | change)
    refused(answer, status, code)
    refused(service.http.get("/v1/functions/bad"), 404, "function.not_found")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"module": NaN}', b"[" * 100_000])
def test_broken_json_is_refused(service: Service, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = service.http.put("/v1/functions/f", content=body, headers=headers)
    refused(answer, 400, "request.invalid")


def test_json_says_that_it_is_and_is_bounded(service: Service) -> None:
    refused(service.http.put("/v1/functions/f", content=b"{}"), 415, "request.content_type")
    headers = {"content-type": "application/json"}
    large = b'{"module": "' + b"x" * (300 << 10) + b'"}'
    answer = service.http.put("/v1/functions/f", content=large, headers=headers)
    refused(answer, 413, "request.too_large")


@pytest.mark.parametrize(
    "name",
    ["UPPER", "-x", "x-", "a" * 64, "a_b", "a b", "ü", "a%00b", "%2e%2e", "a%0ab", "%D0%B0bc",
     "a%CC%81", "%EF%BD%81", "%E2%80%AEcba", "a%252fb", "%c0%ae%c0%ae", "a%5cb", "%ed%a0%80"],
)  # fmt: skip
def test_a_bad_name_is_refused(service: Service, name: str) -> None:
    alias = f"/v1/functions/f/aliases/{name}"
    refused(service.http.put(alias, json={"version": 1}), 400, "alias.name_invalid")
    refused(service.http.post(f"{alias}/rollback"), 400, "alias.name_invalid")
    refused(service.http.post(f"/v1/functions/f/invoke?alias={name}"), 400, "alias.name_invalid")
    path = f"/v1/functions/{name}"
    refused(service.http.get(path), 400, "function.name_invalid")
    refused(service.http.post(f"{path}/invoke"), 400, "function.name_invalid")
    answer = service.http.put(path, json={"module": ABSENT})
    refused(answer, 400, "function.name_invalid")


@pytest.mark.parametrize("path", ["/v1/functions/../nothing", "/nothing", "/v1/functions/a//b"])
def test_what_is_not_there_is_a_problem_too(service: Service, path: str) -> None:
    answer = service.http.get(path)
    assert answer.status_code in {404, 405}
    assert answer.json()["code"] in {"request.not_found", "request.method_not_allowed"}


def test_another_method_is_named_as_such(service: Service) -> None:
    answer = service.http.delete("/v1/functions")
    refused(answer, 405, "request.method_not_allowed")


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({"stockade-wait-seconds": "soon"}, "", "request.header_invalid"),
        ({"stockade-wait-seconds": "-1"}, "", "request.header_invalid"),
        ({"stockade-wait-seconds": "121"}, "", "request.header_invalid"),
        ({"stockade-wait-seconds": "nan"}, "", "request.header_invalid"),
        ({"stockade-priority": "first"}, "", "request.header_invalid"),
        ({"stockade-run-at": "tomorrow"}, "", "request.header_invalid"),
        ({"stockade-run-at": "2030-01-01T00:00:00"}, "", "request.header_invalid"),
        ({"stockade-run-at": "9999-01-01T00:00:00Z"}, "", "request.header_invalid"),
        ({"stockade-deadline-seconds": "0"}, "", "request.header_invalid"),
        ({"idempotency-key": "x" * 256}, "", "request.header_invalid"),
        ({"idempotency-key": "a b"}, "", "request.header_invalid"),
        ({}, "?version=0", "request.query_invalid"),
        ({}, "?version=latest", "request.query_invalid"),
        ({}, "?version=1&alias=prod", "request.query_invalid"),
        ({}, "?version=99999999999999999999", "request.query_invalid"),
        ({}, "?alias=UPPER", "alias.name_invalid"),
    ],
)
def test_a_bad_invocation_is_refused(
    service: Service, headers: dict[str, str], query: str, code: str
) -> None:
    service.deploy("echo", guests.ECHO)
    answer = service.http.post(f"/v1/functions/echo/invoke{query}", headers=headers)
    refused(answer, 400, code)


def test_what_is_not_there_cannot_be_invoked(service: Service) -> None:
    service.deploy("echo", guests.ECHO)
    invoke = "/v1/functions/{}/invoke{}"
    refused(service.http.post(invoke.format("none", "")), 404, "function.not_found")
    refused(service.http.post(invoke.format("echo", "?version=77")), 404, "version.not_found")
    refused(service.http.post(invoke.format("echo", "?alias=none")), 404, "alias.not_found")


def test_an_input_beyond_the_functions_limit_is_refused(service: Service) -> None:
    service.deploy("narrow", guests.ECHO, limits={"input_bytes": 10})
    assert service.invoke("narrow", b"x" * 10).status_code == 200
    refused(service.invoke("narrow", b"x" * 11), 413, "request.too_large")


@pytest.mark.parametrize("invocation_id", ["1", "x" * 300, GOOD_ID, GOOD_ID.upper()])
def test_an_unknown_invocation_is_not_found(service: Service, invocation_id: str) -> None:
    path = f"/v1/invocations/{invocation_id}"
    for part in ("", "/result", "/logs"):
        refused(service.http.get(path + part), 404, "invocation.not_found")
    refused(service.http.post(f"{path}/cancel"), 404, "invocation.not_found")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": "Bad Name"}, "signer.name_invalid"),
        ({"public_key": "no key"}, "signer.key_invalid"),
        ({"public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, "signer.key_invalid"),
        ({"not_after": "soon"}, "request.invalid"),
        (
            {"not_before": "2031-01-01T00:00:00Z", "not_after": "2030-01-01T00:00:00Z"},
            "signer.window_invalid",
        ),
    ],
)
def test_a_bad_signer_is_refused(service: Service, change: dict[str, str], code: str) -> None:
    asked = {"name": "new", "public_key": PUBLIC} | change
    refused(service.http.post("/v1/signers", json=asked), 400, code)


def test_a_signers_name_and_key_are_taken_once(service: Service) -> None:
    other = {"name": "another", "public_key": PUBLIC}
    refused(service.http.post("/v1/signers", json=other), 409, "signer.exists")
    refused(service.http.post("/v1/signers/nobody/revoke"), 404, "signer.not_found")


@pytest.mark.parametrize(
    "asked", [{}, {"version": 1, "weights": {"1": 1}}, {"weights": {}}, {"weights": {"1": 0}}]
)
def test_a_bad_alias_is_refused(service: Service, asked: dict[str, object]) -> None:
    service.deploy("echo", guests.ECHO)
    answer = service.http.put("/v1/functions/echo/aliases/bad", json=asked)
    refused(answer, 400, "alias.weights_invalid")


def test_an_alias_points_to_what_exists(service: Service) -> None:
    service.deploy("echo", guests.ECHO)
    put = service.http.put("/v1/functions/echo/aliases/a", json={"version": 9})
    refused(put, 404, "version.not_found")
    put = service.http.put("/v1/functions/none/aliases/a", json={"version": 1})
    refused(put, 404, "function.not_found")


def test_a_request_cut_half_way_harms_nobody(service: Service) -> None:
    parts = urlsplit(service.url)
    authorization = service.http.headers["authorization"]
    for _ in range(5):
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(
                b"POST /v1/functions/echo/invoke HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: " + authorization.encode() + b"\r\nContent-Length: 100\r\n\r\nhalf"
            )
    service.deploy("echo", guests.ECHO)
    assert service.invoke("echo", b"fine").content == b"fine"


def test_a_head_without_end_is_refused_before_anybody_reads_it(service: Service) -> None:
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_an_invocation_goes_on_when_its_caller_leaves(service: Service) -> None:
    limits = {"wall_ms": 2000, "fuel": 10**11}
    service.deploy("slow", guests.LOOP, limits=limits, retry={"policy": "never"})
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=1) as connection:
        connection.sendall(
            b"POST /v1/functions/slow/invoke HTTP/1.1\r\nHost: x\r\nIdempotency-Key: left\r\n"
            b"Authorization: " + service.http.headers["authorization"].encode() + b"\r\n\r\n"
        )
        with pytest.raises(TimeoutError):
            connection.recv(1)
    answer = service.invoke("slow", b"other", **{"idempotency-key": "left"})
    facts = refused(answer, 409, "invocation.idempotency_conflict")["facts"]
    place = f"/v1/invocations/{facts['id']}"  # type: ignore[index]
    _until(lambda: service.http.get(place).json()["state"] == "done")
    shown = service.http.get(place).json()
    assert (shown["outcome"], shown["limit"], len(shown["attempts"])) == (
        "limit_exceeded",
        "wall",
        1,
    )


def test_without_valkey_nothing_is_accepted_and_all_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_service(tmp_path_factory.mktemp("gone") / "data") as service:
        assert _trust(service).status_code == 201
        service.deploy("echo", guests.ECHO)
        assert service.invoke("echo", b"x").status_code == 200
        valkey = _child_named(service.process.pid, "valkey-server")
        os.kill(valkey, signal.SIGSTOP)
        try:
            answer = service.http.post("/v1/functions/echo/invocations", timeout=60)
            refused(answer, 503, "queue.unavailable")
            assert answer.headers["retry-after"] == "1"
            assert service.http.get("/readyz", timeout=60).json()["queue"] == "unavailable"
            assert service.http.get("/healthz").status_code == 200
        finally:
            os.kill(valkey, signal.SIGCONT)
        _until(lambda: service.invoke("echo", b"again").status_code == 200)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_full_disk_refuses_an_upload_and_keeps_nothing_half(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running_service(tmp_path_factory.mktemp("full") / "data") as service:
        assert _trust(service).status_code == 201
        blobs = service.data_dir / "blobs"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(blobs)],
            check=False,
            capture_output=True,
        )
        if mounted.returncode:
            pytest.skip("this machine does not let a test mount a file system")
        try:
            large = guests.module("(unreachable)", extra=f'(data (i32.const 0) "{"x" * 70000}")')
            problem = refused(service.upload(sign(large, KEY)), 507, "blobs.full")
            assert problem["retryable"] is True
            assert not [path for path in blobs.rglob("*") if path.is_file()]
            assert service.upload(sign(guests.ECHO, KEY)).status_code == 201
        finally:
            subprocess.run(["umount", "-l", str(blobs)], check=True)


def _trust(service: Service) -> httpx.Response:
    return service.http.post("/v1/signers", json={"name": "tests", "public_key": PUBLIC})


def _child_named(parent: int, name: str) -> int:
    """The descendant of `parent` whose command has this name."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and name in _command(entry) and _descends(entry, parent):
            return int(entry.name)
    raise AssertionError(f"{parent} has no {name}")


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""


def _descends(entry: Path, ancestor: int) -> bool:
    process_id = int(entry.name)
    while process_id > 1:
        if process_id == ancestor:
            return True
        stat = Path(f"/proc/{process_id}/stat").read_text()
        process_id = int(stat.rpartition(")")[2].split()[1])
    return False


def _until(holds: object) -> None:
    for _ in range(200):
        if holds():  # type: ignore[operator]
            return
        time.sleep(0.1)
    raise AssertionError("it never held")
