"""Runs told while they go on: real guests in the jail, two gateways, and what breaks underneath."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stockade.core.live_events import Spoken
from stockade.core.outcomes import LogLine, Outcome
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_live_events import RedisLiveEvents
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade_client import Client, RunEvent
from tests.e2e.service import PUBLIC, Service, running_service
from tests.guest import guests
from tests.unit.gateway.installation import Installation, ending, installed

if TYPE_CHECKING:
    import httpx

CANARY = "canary-77aa-live-secret"
IMPORTS = (
    """(import "stockade:v1" "secret_get" (func $secret (param i32 i32) (result i64)))
  (import "stockade:v1" "emit" (func $emit (param i32 i32 i32 i32)))"""
    + guests.LOG
)
LIMITS = {"fuel": 100_000_000_000, "wall_ms": 20_000}
PAUSE = """(local.set $j (i32.const 60000000))
  (loop $wait (local.set $j (i32.sub (local.get $j) (i32.const 1))) (br_if $wait (local.get $j)))"""
SECRET = f"(i32.const 40001) (i32.const {len(CANARY)})"
HOSTILE = 'x\r\n\r\nevent: state\ndata: {"state": "done"}\n\n\x1b[2J\u2028'


def _data(at: int, text: str) -> str:
    raw = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{raw}")'


def talks(steps: int, *, says_secret: bool = False, ends: str = "") -> bytes:
    """Logs a letter, emits it, and works for a moment, so many times."""
    secret = (
        f"(drop (call $secret (i32.const 100) (i32.const 5))) (call $log (i32.const 2) {SECRET})"
    )
    body = f"""(local $i i32) (local $j i32) {secret if says_secret else ""}
      (loop $step
        (i32.store8 (i32.const 3000) (i32.add (i32.const 65) (local.get $i)))
        (call $log (i32.rem_u (local.get $i) (i32.const 5)) (i32.const 3000) (i32.const 1))
        (call $log (i32.const 4) (i32.const 200) (i32.const {len(HOSTILE.encode())}))
        (call $emit (i32.const 3000) (i32.const 1) (i32.const 3000) (i32.const 1))
        {PAUSE}
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $step (i32.lt_u (local.get $i) (i32.const {steps}))))
      {ends}
      (i32.store8 (i32.const 3999) (i32.const 0)) (i64.const {(3999 << 32) + 1})"""
    alloc = '(func (export "stockade_v1_alloc") (param i32) (result i32) (i32.const 40000))'
    extra = _data(100, "TOKEN") + _data(200, HOSTILE)
    return guests.module(body, imports=IMPORTS, alloc=alloc, extra=extra)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("live") / "data"
    with running_service(place, STOCKADE_LEASE_SECONDS="1") as running:
        signer = {"name": "test", "public_key": PUBLIC}
        assert running.http.post("/v1/signers", json=signer).status_code == 201
        assert running.http.put("/v1/secrets/TOKEN", content=CANARY.encode()).is_success
        yield running


def submit(service: Service, name: str, body: bytes, **asked: object) -> str:
    grants = ["emit", "secret:TOKEN"]
    service.deploy(name, body, **{"grants": grants, "limits": LIMITS, **asked})
    return str(service.http.post(f"/v1/functions/{name}/invocations").json()["id"])


def client_of(service: Service) -> Client:
    return Client(service.url, service.http.headers["authorization"].removeprefix("Bearer "))


def logs_of(service: Service, invocation_id: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = service.http.get(f"/v1/invocations/{invocation_id}/logs").json()[
        "lines"
    ]
    return lines


def live_lines(events: list[RunEvent]) -> list[dict[str, Any]]:
    names = ("attempt", "level", "text")
    return [{name: one.data[name] for name in names} for one in events if one.kind == "log"]


def test_what_is_told_live_is_what_is_kept_in_order_and_whole(service: Service) -> None:
    invocation_id = submit(service, "talks", talks(8, says_secret=True))
    with client_of(service) as client:
        stream = client.events(invocation_id)
        early = [next(stream) for _ in range(5)]
        running = service.http.get(f"/v1/invocations/{invocation_id}").json()
        told = [*early, *stream]
        again = list(client.events(invocation_id))
        rest = list(client.events(invocation_id, last_event_id=early[-1].id))
    assert running["state"] == "running", "it was heard while it ran"
    assert early[2].kind == "log"
    record = service.http.get(f"/v1/invocations/{invocation_id}").json()
    assert record["outcome"] == "completed", record
    assert live_lines(told) == live_lines(again) == logs_of(service, invocation_id)
    assert [one.data["text"] for one in told if one.kind == "log"][1::2] == list("ABCDEFGH")
    emitted = [one.data["name"] for one in told if one.kind == "event"]
    assert emitted == [one["name"] for one in record["events"]] == list("ABCDEFGH")
    assert live_lines(rest) == live_lines(told)[len(live_lines(early)) :]
    assert {one.kind for one in rest} == {"log", "event", "state"}
    assert told[-1].data["outcome"] == "completed"
    assert CANARY not in str(told)
    assert "[secret TOKEN]" in str(told)
    assert HOSTILE in [one.data["text"] for one in told if one.kind == "log"]


def test_a_flood_is_told_in_part_and_what_was_dropped_is_said(service: Service) -> None:
    limits = {**LIMITS, "wall_ms": 30_000, "host_calls": 200_000}
    invocation_id = submit(
        service, "floods", guests.LOG_FLOOD, limits=limits, grants=[], retry={"max_attempts": 1}
    )
    with client_of(service) as client:
        told = list(client.events(invocation_id))
    assert live_lines(told) == logs_of(service, invocation_id)
    assert {"attempt": 1, "what": "logs", "count": None} in [one.data for one in told]
    assert sum(len(line["text"]) for line in live_lines(told)) <= 64 * 1024


def test_what_an_executor_said_before_it_was_killed_is_kept(service: Service) -> None:
    invocation_id = submit(
        service, "dies", talks(60), retry={"max_attempts": 1}, limits={**LIMITS, "wall_ms": 60_000}
    )
    with client_of(service) as client:
        stream = client.events(invocation_id)
        told = [next(stream) for _ in range(6)]
        for pid in _busiest(service):
            os.kill(pid, signal.SIGKILL)
            break
        told += stream
    record = service.http.get(f"/v1/invocations/{invocation_id}").json()
    assert record["outcome"] == "crashed"
    assert live_lines(told) == logs_of(service, invocation_id)
    assert live_lines(told)[0]["text"] == "A"


def test_what_was_said_on_a_worker_that_was_killed_is_kept(service: Service) -> None:
    invocation_id = submit(service, "outlives", talks(20))
    with client_of(service) as client:
        stream = client.events(invocation_id)
        told = [next(stream) for _ in range(6)]
        os.kill(_worker(service), signal.SIGKILL)
        told += stream
    states = [(one.data["state"], one.data.get("attempt")) for one in told if one.kind == "state"]
    assert states[:4] == [("queued", None), ("running", 1), ("retry", 1), ("running", 2)]
    assert told[-1].data["outcome"] == "completed"
    lines = live_lines(told)
    assert lines == logs_of(service, invocation_id)
    assert [line["text"] for line in lines if line["attempt"] == 1][::2][:2] == ["A", "B"]
    assert [line["text"] for line in lines if line["attempt"] == 2][::2] == list(
        "ABCDEFGHIJKLMNOPQRST"
    )


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in path.read_text().split()] if path.exists() else []


def _worker(service: Service) -> int:
    (found,) = [
        pid
        for pid in _children(service.process.pid)
        if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return found


def _busiest(service: Service) -> list[int]:
    """Processes under the worker, those that used the processor most first."""

    def used(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11])

    zygotes = _children(_worker(service))
    return sorted((one for zygote in zygotes for one in _children(zygote)), key=used, reverse=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    made = EmbeddedValkey(tmp_path / "valkey")
    await made.start()
    yield made
    await made.stop()


def _told(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def _gateways(stack: AsyncExitStack, url: str) -> tuple[Installation, Installation]:
    """Two that share queue and catalog, as far as listening goes."""
    made = []
    for name in ("one", "two"):
        connections = [RedisConnections(url, retry_seconds=0.2) for _ in range(2)]
        queue = RedisInvocationQueue(connections[0], gateway=name, consumer=name)
        live = RedisLiveEvents(connections[1:])
        stack.push_async_callback(queue.aclose)
        stack.push_async_callback(live.aclose)
        gateway = await stack.enter_async_context(installed(queue=queue, live=live))
        made.append(gateway)
    await made[0].deploy()
    return made[0], made[1]


async def test_listeners_at_two_gateways_and_a_late_one_hear_the_same(
    server: EmbeddedValkey,
) -> None:
    async with AsyncExitStack() as stack:
        one, two = await _gateways(stack, server.url)
        queue, live = one.services.queue, one.services.live
        invocation_id = (await one.http.post("/v1/functions/f/invocations")).json()["id"]
        place = f"/v1/invocations/{invocation_id}/events"
        first = asyncio.ensure_future(one.http.get(place))
        (claim,) = await queue.claim(1, 5)
        assert await queue.begin(claim, 1)
        assert await live.tell(claim, Spoken(1, (LogLine(2, "a"),)))
        second = asyncio.ensure_future(two.http.get(place))
        while not two.app.state.context.listeners.count:
            await asyncio.sleep(0.005)
        assert await live.tell(claim, Spoken(1, (LogLine(2, "b"),), first_log=1))
        lines = (LogLine(2, "a"), LogLine(2, "b"), LogLine(2, "c"))
        assert await queue.complete(claim, replace(ending(Outcome.COMPLETED), logs=lines))
        texts = [(await answer).text for answer in (first, second)]
        texts.append((await two.http.get(place)).text)
    for text in texts:
        assert [said["text"] for said in _told(text) if "text" in said] == ["a", "b", "c"]
    assert len(set(texts)) == 1


async def test_a_listener_outlasts_a_server_that_is_away(server: EmbeddedValkey) -> None:
    async with AsyncExitStack() as stack:
        one, _ = await _gateways(stack, server.url)
        queue, live = one.services.queue, one.services.live
        invocation_id = (await one.http.post("/v1/functions/f/invocations")).json()["id"]
        listening = asyncio.ensure_future(one.http.get(f"/v1/invocations/{invocation_id}/events"))
        (claim,) = await queue.claim(1, 5)
        assert await live.tell(claim, Spoken(1, (LogLine(2, "before"),)))
        await server.stop()
        with pytest.raises(Exception, match=r"queue.unavailable|reached"):
            await live.tell(claim, Spoken(1, (LogLine(2, "lost"),), first_log=1))
        await server.start()
        assert await live.tell(claim, Spoken(1, (LogLine(2, "after"),), first_log=2))
        lines = tuple(LogLine(2, text) for text in ("before", "lost", "after"))
        assert await queue.complete(claim, replace(ending(Outcome.COMPLETED), logs=lines))
        answer: httpx.Response = await listening
    told = _told(answer.text)
    texts = [said["text"] for said in told if "text" in said]
    gaps = [said for said in told if said.get("what") == "logs" and said["count"]]
    # What was said meanwhile is told from the record, or told as a gap: never passed over.
    assert texts in (["before", "lost", "after"], ["before", "after"])
    assert bool(gaps) == (len(texts) == 2)
    assert told[-1]["outcome"] == "completed"
