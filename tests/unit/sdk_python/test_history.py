"""What the clients say about runs that ended, and usage: whole lists, page by page."""

import json

import httpx
import pytest

from stockade_client import AsyncClient, Client, RunFilter, StockadeApiError, UsageFilter
from tests.unit.sdk_python.fake_gateway import DIGEST, FakeGateway

AMOUNTS = {
    "fuel": 2**60,
    "memory_kib_ms": 1_953_125_000,
    "wall_us": 2000,
    "queue_us": 250,
    "input_bytes": 3,
    "output_bytes": 4,
    "log_bytes": 5,
    "host_calls": 6,
}


def run(number: int) -> dict[str, object]:
    return {
        "id": f"01900000-0000-7000-8000-{number:012x}",
        "redrive": number % 2,
        "function": "hello",
        "version": 2,
        "module": DIGEST,
        "outcome": "limit_exceeded",
        "limit": "fuel",
        "detail": "no\x1b[31m",
        "submitted_ms": 1,
        "started_ms": None,
        "finished_ms": 1_800_000_000_000 + number,
        "attempt_count": 1,
        "usage": AMOUNTS | {"peak_memory_bytes": 65536},
        "trace_id": "",
        "something_new": 1,
    }


def day(number: int) -> dict[str, object]:
    runs = {"completed": 1, "trapped": 2}
    return {
        "function": f"f{number}",
        "day": "2030-01-31",
        "runs": runs,
        "attempts": 3,
        "gb_seconds": 2.0,
        **AMOUNTS,
    }


def paged(gateway: FakeGateway, path: str, name: str, all_: list[dict[str, object]]) -> None:
    """Answers two at a time, whatever was asked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        begin = int(request.url.params.get("after", "0"))
        following = str(begin + 2) if begin + 2 < len(all_) else None
        return httpx.Response(200, json={name: all_[begin : begin + 2], "next": following})

    gateway.on(f"GET {path}", answer)


def exported(gateway: FakeGateway, lines: list[str]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        begin = int(request.url.params.get("after", "0"))
        return httpx.Response(200, text="".join(one + "\n" for one in lines[begin : begin + 2]))

    gateway.on("GET /v1/runs/export", answer)


LINES = [json.dumps(run(n) | {"attempts": [], "place": str(n + 1)}) for n in range(5)]


@pytest.fixture
def gateway() -> FakeGateway:
    made = FakeGateway()
    paged(made, "/v1/runs", "runs", [run(n) for n in range(5)])
    paged(made, "/v1/usage", "usage", [day(n) for n in range(3)])
    exported(made, LINES)
    return made


@pytest.fixture
def client(gateway: FakeGateway) -> Client:
    return Client("http://gateway", "stk_key", transport=gateway.transport)


def test_a_page_of_runs_is_read_whole(client: Client, gateway: FakeGateway) -> None:
    wanted = RunFilter(
        "hello", 2, "trapped", "fuel", "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"
    )
    page = client.runs(wanted, limit=2, after="1")
    assert dict(gateway.last.url.params) == {
        "function": "hello",
        "version": "2",
        "outcome": "trapped",
        "exceeded": "fuel",
        "since": "2030-01-01T00:00:00Z",
        "until": "2031-01-01T00:00:00Z",
        "limit": "2",
        "after": "1",
    }
    found = page.runs[0]
    assert (found.redrive, found.outcome, found.limit, found.started_ms) == (
        1,
        "limit_exceeded",
        "fuel",
        None,
    )
    assert (found.usage.fuel, found.peak_memory_bytes) == (2**60, 65536)
    assert found.usage.gb_seconds == 2.0
    assert page.next == "3"


def test_whole_lists_come_page_by_page(client: Client) -> None:
    assert [one.finished_ms - 1_800_000_000_000 for one in client.all_runs()] == [0, 1, 2, 3, 4]
    usage = list(client.all_usage(UsageFilter(function="x")))
    assert [one.function for one in usage] == ["f0", "f1", "f2"]
    assert usage[0].runs == {"completed": 1, "trapped": 2}
    assert (usage[0].day, usage[0].attempts, usage[0].usage.host_calls) == ("2030-01-31", 3, 6)


def test_an_export_is_the_very_lines_and_goes_on_anywhere(client: Client) -> None:
    assert list(client.run_lines()) == LINES
    assert list(client.run_lines(after="4")) == LINES[4:]


def test_an_export_that_was_cut_off_is_no_export(client: Client, gateway: FakeGateway) -> None:
    gateway.on("GET /v1/runs/export", httpx.Response(200, text=LINES[0] + "\n" + LINES[1][:-5]))
    with pytest.raises(StockadeApiError) as refused:
        list(client.run_lines())
    assert refused.value.code == "client.unexpected_answer"


async def test_the_asyncio_client_does_the_same(gateway: FakeGateway) -> None:
    async with AsyncClient("http://gateway", "stk_key", transport=gateway.transport) as client:
        assert len((await client.runs(limit=2)).runs) == 2
        assert len((await client.usage()).usage) == 2
        assert len([one async for one in client.all_runs()]) == 5
        assert len([one async for one in client.all_usage()]) == 3
        assert [line async for line in client.run_lines()] == LINES
