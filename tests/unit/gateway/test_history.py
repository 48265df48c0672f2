"""`/v1/runs`, `/v1/usage`, and records that have gone."""

import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest
from starlette.types import Message, Receive, Scope, Send

from gateway.export_stream import MOST_EXPORTS
from gateway.places import text_of
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.errors import StockadeError
from stockade.core.history import EarlierEnd, InvocationHistory
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.core.principals import Role
from tests.ports.histories import DAY_MS, NOON_MS, past
from tests.unit.gateway.installation import Installation, refused

DAY = "2027-01-15"


async def record(gateway: Installation, *histories: InvocationHistory) -> None:
    await gateway.services.history.record(histories)


def alices(number: int, **changes: object) -> InvocationHistory:
    return past(number, "alice", **changes)


def asgi_request(
    path: str, key: str, pages: list[bytes], begins: Callable[[], Awaitable[None]]
) -> tuple[Scope, Receive, Send]:
    """A GET whose answer's pieces come into `pages`; `begins` is awaited when the answer begins."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", f"Bearer {key}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("gateway", 80),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            await begins()
        else:
            pages.append(message["body"])

    return scope, receive, send


async def pages(gateway: Installation, path: str, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    after: str | None = None
    for _ in range(100):
        place = "" if after is None else f"{'&' if '?' in path else '?'}after={after}"
        answer = (await gateway.http.get(path + place)).json()
        found += answer[name]
        after = answer["next"]
        if after is None:
            return found
    raise AssertionError(after)


async def test_a_run_is_told_with_what_it_cost(gateway: Installation) -> None:
    await record(gateway, alices(1))
    (run,) = (await gateway.http.get("/v1/runs")).json()["runs"]
    assert run == {
        "id": past(1).id,
        "redrive": 0,
        "function": "resize",
        "version": 3,
        "module": past(1).module,
        "outcome": "completed",
        "limit": None,
        "detail": None,
        "submitted_ms": NOON_MS - 5,
        "started_ms": NOON_MS - 1,
        "finished_ms": NOON_MS + 1,
        "attempt_count": 1,
        "usage": {
            "fuel": 1007,
            "memory_kib_ms": 192,
            "wall_us": 1500,
            "queue_us": 250,
            "input_bytes": 3,
            "output_bytes": 4,
            "log_bytes": 5,
            "host_calls": 2,
            "peak_memory_bytes": 131072,
        },
        "trace_id": past(1).trace_id,
    }


async def test_pages_of_runs_and_usage_are_whole(gateway: Installation) -> None:
    batch = [alices(n, function=f"f{n % 7}", finished_ms=NOON_MS + n // 3) for n in range(25)]
    await record(gateway, *batch)
    runs = await pages(gateway, "/v1/runs?limit=4", "runs")
    assert len({run["id"] for run in runs}) == len(runs) == 25
    usage = await pages(gateway, "/v1/usage?limit=2", "usage")
    assert [one["function"] for one in usage] == [f"f{n}" for n in range(7)]
    assert sum(one["attempts"] for one in usage) == 25  # type: ignore[misc]
    assert await pages(gateway, "/v1/runs?limit=25", "runs") == runs


async def test_an_export_has_what_a_walk_has(gateway: Installation) -> None:
    await record(gateway, *(alices(n, finished_ms=NOON_MS + n // 5) for n in range(1200)))
    runs = await pages(gateway, "/v1/runs?limit=200", "runs")
    assert len({run["id"] for run in runs}) == len(runs) == 1200
    lines = (await gateway.http.get("/v1/runs/export")).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [run["id"] for run in reversed(runs)]


async def test_queries_narrow_what_is_listed(gateway: Installation) -> None:
    await record(
        gateway,
        alices(1),
        alices(2, function="scan", version=4),
        alices(3, outcome=Outcome.LIMIT_EXCEEDED, limit="fuel"),
    )

    async def found(query: str) -> list[int]:
        answer = await gateway.http.get(f"/v1/runs?{query}")
        assert answer.status_code == 200, answer.text
        return [int(run["id"][-12:], 16) for run in answer.json()["runs"]]

    assert await found("function=scan") == [2]
    assert await found("function=resize&version=3") == [3, 1]
    assert await found("function=resize&version=4") == []
    assert await found("outcome=limit_exceeded") == [3]
    assert await found("exceeded=fuel") == [3]
    assert await found(f"since={DAY}T08:00:00.002Z") == [3, 2]
    assert await found(f"until={DAY}T08:00:00.002Z") == [1]


async def test_usage_is_told_by_day(gateway: Installation) -> None:
    failed = Attempt(1, Outcome.TRAPPED, "r", Usage(5), ended_ms=NOON_MS - DAY_MS)
    big = Attempt(
        2, Outcome.COMPLETED, "r", Usage(7, 10**9, 2000.0, host_calls=3), ended_ms=NOON_MS
    )
    await record(gateway, alices(1, attempts=(failed, big)), alices(2, function="scan"))
    usage = (await gateway.http.get("/v1/usage")).json()["usage"]
    assert [(one["day"], one["function"], one["runs"], one["attempts"]) for one in usage] == [
        (DAY, "resize", {"completed": 1}, 1),
        (DAY, "scan", {"completed": 1}, 1),
        ("2027-01-14", "resize", {}, 1),
    ]
    first = usage[0]
    assert (first["fuel"], first["memory_kib_ms"], first["host_calls"]) == (7, 1_953_125_000, 3)
    assert first["gb_seconds"] == 2.0
    answer = await gateway.http.get("/v1/usage?function=resize&first_day=2027-01-15")
    assert len(answer.json()["usage"]) == 1
    answer = await gateway.http.get("/v1/usage?last_day=2027-01-14")
    assert [one["fuel"] for one in answer.json()["usage"]] == [5]


async def test_an_export_has_the_attempts_and_goes_on_where_it_ended(
    gateway: Installation,
) -> None:
    first = Attempt(1, Outcome.TRAPPED, "r", Usage(5), ended_ms=NOON_MS)
    second = Attempt(2, Outcome.COMPLETED, "r", Usage(6), ended_ms=NOON_MS + 9)
    redriven = EarlierEnd(Outcome.TRAPPED, NOON_MS, 1, NOON_MS + 5)
    await record(gateway, alices(9, attempts=(first, second), earlier=(redriven,)), alices(20))
    answer = await gateway.http.get("/v1/runs/export")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [(one["redrive"], [a["usage"]["fuel"] for a in one["attempts"]]) for one in lines] == [
        (0, [5]),
        (1, [6]),
        (0, [20007]),
    ]
    rest = await gateway.http.get(f"/v1/runs/export?limit=1&after={lines[0]['place']}")
    assert [json.loads(line) for line in rest.text.splitlines()] == lines[1:2]
    only = await gateway.http.get("/v1/runs/export?function=nothing")
    assert (only.status_code, only.text) == (200, "")


@pytest.mark.parametrize("path", ["/v1/runs/export", "/v1/audit/export"])
async def test_an_export_ends_with_the_key_that_began_it(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("gateway.export_stream.CHECK_SECONDS", 0.0)
    await record(gateway, *(alices(n) for n in range(3)))
    await gateway.deploy()
    text = await gateway.new_key("alice")
    pages: list[bytes] = []

    async def leave() -> None:
        assert await gateway.catalog.revoke_key("alice", text.split("_")[2], 1)
        gateway.app.state.context.authenticator.forget_all()

    asking = asgi_request(path, text, pages, leave)
    with pytest.raises(RuntimeError):
        await gateway.app(*asking)
    assert b"".join(pages) == b""
    assert gateway.app.state.context.exports.count == 0


async def test_a_page_is_bounded_however_long_guests_words_are(gateway: Installation) -> None:
    long = "\x1f" * 4096
    await record(gateway, *(alices(n, detail=long, finished_ms=NOON_MS + n) for n in range(80)))
    first = await gateway.http.get("/v1/runs?limit=80")
    assert len(first.content) < 1_000_000
    assert 0 < len(first.json()["runs"]) < 80
    runs = await pages(gateway, "/v1/runs?limit=80", "runs")
    assert len({run["id"] for run in runs}) == len(runs) == 80


async def test_an_export_is_sent_in_pieces_however_long_guests_words_are(
    gateway: Installation,
) -> None:
    long = "\x1f" * 4096
    await record(gateway, *(alices(n, detail=long, finished_ms=NOON_MS + n) for n in range(20)))
    pieces: list[bytes] = []

    async def begins() -> None:
        pass

    await gateway.app(*asgi_request("/v1/runs/export", gateway.key, pieces, begins))
    assert max(map(len, pieces)) < 100_000
    lines = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert [line["detail"] for line in lines] == [long] * 20


async def test_exports_are_bounded_for_a_tenant_and_for_all(gateway: Installation) -> None:
    exports, share = gateway.app.state.context.exports, MOST_EXPORTS // 4
    with ExitStack() as held:
        for _ in range(share):
            held.enter_context(exports.listening("alice"))
        for path in ("/v1/runs/export", "/v1/audit/export"):
            await gateway.deploy()
            problem = refused(await gateway.http.get(path), 429, "export.too_many")
            assert problem["retryable"] is True
        async with gateway.client(await gateway.new_key("bob")) as bob:
            assert (await bob.get("/v1/runs/export")).status_code == 200
    assert (await gateway.http.get("/v1/runs/export")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs?limit=x",
        "/v1/runs?function=%00",
        "/v1/runs/export?outcome=x",
        "/v1/usage?first_day=x",
        "/v1/retries?limit=x",
        "/v1/retries/export?function=%00",
    ],
)
async def test_who_has_no_key_is_told_nothing_of_the_question(
    gateway: Installation, path: str
) -> None:
    async with gateway.client(None) as stranger:
        refused(await stranger.get(path), 401, "auth.key_missing")


async def test_an_invocation_is_found_when_its_record_has_gone(gateway: Installation) -> None:
    first = Attempt(1, Outcome.TRAPPED, "again", Usage(5, wall_ms=1.5), ended_ms=NOON_MS)
    second = Attempt(2, Outcome.REJECTED, "why", Usage(6), None, "no", ended_ms=NOON_MS + 9)
    history = alices(1, attempts=(first, second), outcome=Outcome.REJECTED, detail="no")
    await record(gateway, history)
    told = (await gateway.http.get(f"/v1/invocations/{history.id}")).json()
    assert (told["state"], told["outcome"], told["detail"]) == ("done", "rejected", "no")
    assert [(a["number"], a["usage"]["fuel"]) for a in told["attempts"]] == [(1, 5), (2, 6)]
    assert told["attempts"][0]["usage"]["wall_ms"] == 1.5
    assert (told["usage"]["fuel"], told["submitted_ms"]) == (6, history.submitted_ms)
    for path in ("result", "logs"):
        answer = await gateway.http.get(f"/v1/invocations/{history.id}/{path}")
        refused(answer, 404, "invocation.not_found")
    bare = alices(2, attempts=(), outcome=Outcome.CANCELLED)
    await record(gateway, bare)
    assert (await gateway.http.get(f"/v1/invocations/{bare.id}")).json()["usage"]["fuel"] == 0
    answer = await gateway.http.get(f"/v1/invocations/{past(3).id}")
    refused(answer, 404, "invocation.not_found")


async def test_a_queue_that_is_away_is_no_reason_to_tell_of_the_past(
    gateway: Installation,
) -> None:
    await record(gateway, alices(1))

    async def away(tenant: str, invocation_id: str) -> None:
        del tenant, invocation_id
        raise StockadeError("queue.unavailable", "away", retryable=True)

    gateway.services.queue.record = away  # type: ignore[method-assign, assignment]
    answer = await gateway.http.get(f"/v1/invocations/{past(1).id}")
    refused(answer, 503, "queue.unavailable")


async def test_a_record_that_is_there_counts_for_more_than_the_history(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    answer = await gateway.worked(gateway.invoke(b"x"))
    invocation = answer.headers["stockade-invocation-id"]
    await record(gateway, alices(1, id=invocation, outcome=Outcome.TRAPPED))
    told = (await gateway.http.get(f"/v1/invocations/{invocation}")).json()
    assert told["outcome"] == "completed"


async def test_nothing_crosses_tenants(gateway: Installation) -> None:
    theirs = past(1, "bob")
    await record(gateway, theirs, alices(2))
    assert [run["id"] for run in await pages(gateway, "/v1/runs", "runs")] == [past(2).id]
    assert len(await pages(gateway, "/v1/usage", "usage")) == 1
    assert (await gateway.http.get("/v1/runs/export")).text.count("\n") == 1
    answer = await gateway.http.get(f"/v1/invocations/{theirs.id}")
    refused(answer, 404, "invocation.not_found")
    # A place out of another tenant's list leads nowhere but through one's own.
    place = text_of((NOON_MS + DAY_MS, theirs.id, 0))
    answer = await gateway.http.get(f"/v1/runs?after={place}")
    assert [run["id"] for run in answer.json()["runs"]] == [past(2).id]


async def test_a_key_without_the_right_to_read_sees_nothing(gateway: Installation) -> None:
    text, made = generate_key("test")
    key = ApiKey(made.id, "alice", "k", made.secret_hash, 0, role=Role.INVOKER, scopes=("invoke",))
    await gateway.catalog.add_key(key)
    await record(gateway, alices(1))
    async with gateway.client(text) as http:
        for path in ("runs", "runs/export", "usage"):
            assert (await http.get(f"/v1/{path}")).status_code == 403
    async with gateway.client(None) as http:
        assert (await http.get("/v1/usage")).status_code == 401


GOOD_PLACE = text_of((NOON_MS, past(1).id, 0))


@pytest.mark.parametrize(
    "query",
    [
        "after=",
        "after=%00",
        "after=AAAA",
        "after=" + "A" * 600,
        "after=....",
        "after=" + GOOD_PLACE[:-3],
        "after=" + GOOD_PLACE + "AAAA",
        "after=" + text_of((2**63, "x", 0)),
        "after=" + text_of((0, "x", 2**64 - 1)),
        "after=" + text_of((0, "\0", 0)),
        "after=" + text_of((3, "f")),
        "limit=0",
        "limit=1001",
        "limit=-1",
        "version=zero",
        "version=3",
        "outcome=abducted",
        "outcome=",
        "since=yesterday",
        "until=0000-00-00T00:00:00Z",
    ],
)
async def test_hostile_questions_for_runs_are_refused(gateway: Installation, query: str) -> None:
    refused(await gateway.http.get(f"/v1/runs?{query}"), 400, "request.query_invalid")


@pytest.mark.parametrize(
    "query",
    [
        "after=" + GOOD_PLACE,
        "after=" + text_of((2**64 - 1, "f")),
        "first_day=2030-1-1",
        "first_day=2030-02-30",
        "last_day=20300131",
        "last_day=%E0%A5%A8030-01-01",
        "limit=1e3",
    ],
)
async def test_hostile_questions_for_usage_are_refused(gateway: Installation, query: str) -> None:
    refused(await gateway.http.get(f"/v1/usage?{query}"), 400, "request.query_invalid")


async def test_names_that_no_function_has_are_refused_or_find_nothing(
    gateway: Installation,
) -> None:
    await record(gateway, alices(1))
    for path in ("runs", "runs/export", "usage"):
        answer = await gateway.http.get(f"/v1/{path}?function=%00")
        refused(answer, 400, "function.name_invalid")
    assert (await gateway.http.get("/v1/runs?exceeded=%00")).json()["runs"] == []
    place = text_of((NOON_MS + DAY_MS, "' OR 1=1 --", 0))
    assert len((await gateway.http.get(f"/v1/runs?after={place}")).json()["runs"]) == 1


async def test_guests_words_cannot_reach_into_the_lines_of_an_export(
    gateway: Installation,
) -> None:
    evil = 'x"}\n{"id":"forged\u2028\x1b[31m'
    attempt = replace(past(1).attempts[0], detail=evil, reason=evil)
    await record(gateway, alices(1, attempts=(attempt,), detail=evil))
    text = (await gateway.http.get("/v1/runs/export")).text
    assert text.isascii()
    (line,) = text.splitlines()
    assert json.loads(line)["detail"] == evil
