"""The main job over HTTP: sign, upload, deploy, invoke, read what happened."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from registry.keys import generate_secret_key
from registry.signing import sign, sign_detached
from stockade.infra.system_clock import SystemClock
from tests.e2e.service import KEY, PUBLIC, Service, running_service
from tests.guest import guests


def until_done(service: Service, invocation_id: str) -> dict[str, object]:
    for _ in range(600):
        shown: dict[str, object] = service.http.get(f"/v1/invocations/{invocation_id}").json()
        if shown["state"] == "done":
            return shown
        time.sleep(0.05)
    raise AssertionError(shown)


def test_upload_tells_what_the_module_is(service: Service) -> None:
    body = guests.module("(unreachable)", imports=guests.LOG, extra='(func (export "upload-test"))')
    answer = service.upload(sign(body, KEY))
    assert answer.status_code == 201
    told = answer.json()
    assert told["digest"].startswith("sha256:")
    assert (told["signers"], told["abi"]) == (["tests"], "stockade:v1")
    assert told["imports"] == ["stockade:v1.log"]
    assert told["deterministic"] is True
    again = service.upload(sign(body, KEY))
    assert (again.status_code, again.json()["digest"]) == (200, told["digest"])
    assert service.http.get(f"/v1/modules/{told['digest']}").json()["size_bytes"] == len(body)


def test_a_detached_signature_is_as_good(service: Service) -> None:
    signature = base64.b64encode(sign_detached(guests.CAT, KEY)).decode()
    answer = service.upload(guests.CAT, **{"stockade-signature": signature})
    assert answer.status_code in {200, 201}
    assert answer.json()["abi"] == "wasi:preview1"


def test_versions_are_immutable_and_equal_content_makes_no_new_one(service: Service) -> None:
    first = service.deploy("versioned", guests.ECHO)
    assert service.deploy("versioned", guests.ECHO)["version"] == first["version"] == 1
    second = service.deploy("versioned", guests.ECHO, limits={"fuel": 5_000_000})
    assert second["version"] == 2
    shown = service.http.get("/v1/functions/versioned", params={"version": 1}).json()
    assert shown["limits"]["fuel"] == 1_000_000_000
    assert service.http.get("/v1/functions/versioned").json()["limits"]["fuel"] == 5_000_000


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xfe\x00", b"x" * (1 << 20)])
def test_an_invocation_answers_with_output_and_cost(service: Service, data: bytes) -> None:
    service.deploy("echo", guests.ECHO)
    answer = service.invoke("echo", data)
    assert (answer.status_code, answer.content) == (200, data)
    headers = answer.headers
    assert (headers["stockade-outcome"], headers["stockade-attempts"]) == ("completed", "1")
    assert int(headers["stockade-fuel"]) > 0
    assert int(headers["stockade-peak-memory-bytes"]) >= 65536
    assert float(headers["stockade-wall-ms"]) > 0
    shown = service.http.get(f"/v1/invocations/{headers['stockade-invocation-id']}").json()
    assert (shown["state"], shown["outcome"], shown["function"]) == ("done", "completed", "echo")
    assert [attempt["number"] for attempt in shown["attempts"]] == [1]
    result = service.http.get(f"/v1/invocations/{shown['id']}/result")
    assert result.content == data


def test_what_ended_is_in_the_history_with_what_it_cost(service: Service) -> None:
    service.deploy("told", guests.ECHO)
    answers = [service.invoke("told", b"x" * number) for number in range(3)]

    def usage() -> list[dict[str, object]]:
        asked = {"params": {"function": "told"}}
        found: list[dict[str, object]] = service.http.get("/v1/usage", **asked).json()["usage"]
        return found

    for _ in range(600):
        if sum(int(str(day["attempts"])) for day in usage()) == 3:
            break
        time.sleep(0.05)
    days = usage()
    fuel = sum(int(answer.headers["stockade-fuel"]) for answer in answers)
    assert sum(int(str(day["fuel"])) for day in days) == fuel
    runs = service.http.get("/v1/runs", params={"function": "told"}).json()["runs"]
    assert {run["id"] for run in runs} == {a.headers["stockade-invocation-id"] for a in answers}
    assert {run["outcome"] for run in runs} == {"completed"}


def test_a_submission_is_acknowledged_and_done_later(service: Service) -> None:
    service.deploy("echo", guests.ECHO)
    answer = service.http.post("/v1/functions/echo/invocations", content=b"later")
    assert answer.status_code == 202
    invocation_id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/invocations/{invocation_id}"
    assert until_done(service, invocation_id)["outcome"] == "completed"
    assert service.http.get(f"/v1/invocations/{invocation_id}/result").content == b"later"


@pytest.mark.parametrize(
    ("body", "limits", "code", "limit"),
    [
        (guests.LOOP, {"fuel": 1_000_000}, "invocation.limit_exceeded", "fuel"),
        (guests.LOOP, {"fuel": 10**11, "wall_ms": 100}, "invocation.limit_exceeded", "wall"),
        (guests.MEMORY_BOMB, {}, "invocation.limit_exceeded", "memory"),
        (guests.TRAP, {}, "invocation.trapped", None),
        (guests.TRAP_IN_START, {}, "invocation.trapped", None),
        (guests.fixed(b"\x01\x00no thanks"), {}, "invocation.rejected", None),
    ],
    ids=["fuel", "wall", "memory", "trap", "trap in start", "rejected"],
)
def test_a_guests_failure_is_a_422_with_the_outcome(
    service: Service, body: bytes, limits: dict[str, int], code: str, limit: str | None
) -> None:
    service.deploy("failing", body, limits=limits)
    answer = service.invoke("failing")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, code)
    assert (problem["limit"], problem["attempts"]) == (limit, 1)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["usage"]["fuel"] >= 0


def test_logs_come_back_with_the_record(service: Service) -> None:
    body = guests.module(
        "(call $log (i32.const 3) (i32.const 2049) (i32.const 2))"
        + guests.answer("(i32.const 2048)", "(i32.const 3)"),
        imports=guests.LOG,
        extra='(data (i32.const 2048) "\\00hi")',
    )
    service.deploy("logging", body)
    answer = service.invoke("logging")
    logs = service.http.get(
        f"/v1/invocations/{answer.headers['stockade-invocation-id']}/logs"
    ).json()
    line = {"attempt": 1, "level": "warn", "text": "hi"}
    assert logs == {"lines": [line], "truncated": False, "dropped": []}


def test_a_caller_who_does_not_wait_gets_202(service: Service) -> None:
    service.deploy("slow", guests.LOOP, limits={"fuel": 10**11, "wall_ms": 1500})
    answer = service.invoke("slow", b"", **{"stockade-wait-seconds": "0.2"})
    assert answer.status_code == 202
    invocation_id = answer.json()["id"]
    unfinished = service.http.get(f"/v1/invocations/{invocation_id}/result")
    assert (unfinished.status_code, unfinished.json()["code"]) == (409, "invocation.not_done")
    assert until_done(service, invocation_id)["limit"] == "wall"


def test_a_caller_who_goes_away_leaves_the_invocation_running(service: Service) -> None:
    service.deploy("leaver", guests.LOOP, limits={"fuel": 10**11, "wall_ms": 700})
    key = {"idempotency-key": "gone"}
    with pytest.raises(httpx.ReadTimeout):
        service.http.post("/v1/functions/leaver/invoke", headers=key, timeout=0.3)
    answer = service.http.post("/v1/functions/leaver/invocations", headers=key)
    assert until_done(service, answer.json()["id"])["limit"] == "wall"


def test_the_same_idempotency_key_is_the_same_invocation(service: Service) -> None:
    service.deploy("echo", guests.ECHO)
    key = {"idempotency-key": "order-17"}

    def submit(_: int) -> str:
        answer = service.http.post("/v1/functions/echo/invocations", content=b"a", headers=key)
        assert answer.status_code == 202, answer.text
        invocation_id: str = answer.json()["id"]
        return invocation_id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(submit, range(16)))) == 1
    other = service.http.post("/v1/functions/echo/invocations", content=b"b", headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "invocation.idempotency_conflict")


def test_cancel_ends_what_waits_and_what_runs(service: Service) -> None:
    service.deploy("endless", guests.LOOP, limits={"fuel": 10**11, "wall_ms": 60_000})
    tomorrow = datetime.fromtimestamp(SystemClock().now_ms() / 1000 + 86_400, UTC)
    later = {"stockade-run-at": tomorrow.isoformat()}
    waiting = service.http.post("/v1/functions/endless/invocations", headers=later).json()["id"]
    running = service.http.post("/v1/functions/endless/invocations").json()["id"]
    while service.http.get(f"/v1/invocations/{running}").json()["state"] != "running":
        time.sleep(0.02)
    for invocation_id in (waiting, running):
        assert service.http.post(f"/v1/invocations/{invocation_id}/cancel").status_code == 200
        assert until_done(service, invocation_id)["outcome"] == "cancelled"
    again = service.http.post(f"/v1/invocations/{running}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "invocation.already_done")


def test_an_alias_shares_invocations_out_by_weight(service: Service) -> None:
    service.deploy("aliased", guests.fixed(b"\0one"))
    service.deploy("aliased", guests.fixed(b"\0two"))
    put = service.http.put("/v1/functions/aliased/aliases/prod", json={"version": 1})
    assert put.status_code == 201
    assert service.http.post("/v1/functions/aliased/invoke?alias=prod").content == b"one"
    both = {"weights": {"1": 1, "2": 1}}
    assert service.http.put("/v1/functions/aliased/aliases/prod", json=both).status_code == 200
    seen = {service.http.post("/v1/functions/aliased/invoke?alias=prod").content for _ in range(40)}
    assert seen == {b"one", b"two"}


def test_a_revoked_signer_stops_the_next_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    # A tenant of its own: the shared one needs its signer.
    with running_service(tmp_path_factory.mktemp("revoke") / "data") as service:
        assert _trust(service).status_code == 201
        service.deploy("echo", guests.ECHO)
        assert service.invoke("echo", b"x").status_code == 200
        assert service.http.post("/v1/signers/tests/revoke").status_code == 200
        for _ in range(200):
            answer = service.invoke("echo", b"x")
            if answer.status_code != 200:
                break
            time.sleep(0.05)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("module.signer_revoked")


def test_a_restart_on_the_same_data_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    data_dir = tmp_path_factory.mktemp("restart") / "data"
    with running_service(data_dir) as service:
        _trust(service)
        service.deploy("echo", guests.ECHO)
        done = service.invoke("echo", b"before").headers["stockade-invocation-id"]
        later = {"stockade-run-at": "2000-01-01T00:00:00Z"}
        accepted = [
            service.http.post("/v1/functions/echo/invocations", content=b"x", headers=later)
            for _ in range(20)
        ]
        ids = [answer.json()["id"] for answer in accepted]
        service.process.terminate()
        assert service.process.wait(60) == 0
    with running_service(data_dir) as service:
        assert service.http.get(f"/v1/invocations/{done}/result").content == b"before"
        assert all(until_done(service, one)["outcome"] == "completed" for one in ids)
        assert service.invoke("echo", b"after").content == b"after"


def test_a_foreign_key_signs_nothing_here(service: Service) -> None:
    answer = service.upload(sign(guests.ECHO, generate_secret_key()))
    assert (answer.status_code, answer.json()["code"]) == (422, "module.signer_unknown")


def _trust(service: Service) -> httpx.Response:
    return service.http.post("/v1/signers", json={"name": "tests", "public_key": PUBLIC})
