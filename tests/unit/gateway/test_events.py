"""`/events`: what a listener is told over HTTP, and what ends it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.event_stream import EventStream, frame_of
from gateway.listeners import Listeners
from gateway.run_events import RunEvent
from gateway.waiters import Waiters
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Completion
from stockade.core.live_events import Heard, Spoken
from stockade.core.outcomes import LogLine, Outcome
from stockade.infra.memory.memory_live_events import MemoryLiveEvents
from tests.unit.gateway.installation import SETTINGS, Installation, ending, installed, refused


@pytest.fixture
async def gateway() -> AsyncIterator[Installation]:
    async with installed() as made:
        await made.deploy()
        yield made


@dataclass
class Told:
    kind: str
    id: str
    data: dict[str, Any]


def told(text: str) -> list[Told]:
    """The events in a stream, split as the standard says."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            found.append(Told(fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def submitted(gateway: Installation) -> str:
    answer = await gateway.http.post("/v1/functions/f/invocations")
    return str(answer.json()["id"])


def events_of(invocation_id: str) -> str:
    return f"/v1/invocations/{invocation_id}/events"


async def claimed(gateway: Installation) -> Claim:
    (claim,) = await gateway.worker.claim(1, 10)
    assert await gateway.worker.begin(claim, 1_000)
    return claim


def says(*texts: str, first: int = 0, attempt: int = 1) -> Spoken:
    return Spoken(attempt, tuple(LogLine(2, text) for text in texts), first_log=first)


async def test_a_run_is_told_from_its_queue_to_its_end(gateway: Installation) -> None:
    invocation_id = await submitted(gateway)
    listening = asyncio.ensure_future(gateway.http.get(events_of(invocation_id)))
    claim = await claimed(gateway)
    await gateway.live.tell(claim, says("hello\x1b[31m\n"))
    end = ending(Outcome.TRAPPED)
    assert await gateway.worker.complete(claim, end)
    await gateway.live.wake(invocation_id)
    answer = await listening
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = told(answer.text)
    assert [one.kind for one in events] == [*["state"] * 2, "log", "log", "dropped", "state"]
    assert events[2].data == {
        "attempt": 1,
        "number": 0,
        "level": "info",
        "text": "hello\x1b[31m\n",
    }
    assert events[-1].data["state"] == "done"
    assert events[-1].data["outcome"] == "trapped"
    again = await gateway.http.get(
        events_of(invocation_id), headers={"Last-Event-ID": events[2].id}
    )
    assert [one.data for one in told(again.text)] == [one.data for one in events[3:]]
    late = await gateway.http.get(events_of(invocation_id))
    assert late.text == answer.text


async def test_a_retry_is_told_with_its_reason(gateway: Installation) -> None:
    invocation_id = await submitted(gateway)
    claim = await claimed(gateway)
    await gateway.live.tell(claim, says("first"))

    def second(claim: Claim, data: bytes) -> Completion:
        end = ending(Outcome.COMPLETED, data)
        return replace(end, attempt=replace(end.attempt, number=claim.attempt))

    again: Completion = replace(ending(Outcome.CRASHED, detail="died"), retry_at_ms=0)
    assert await gateway.worker.complete(claim, again)
    await gateway.work(second)
    events = told((await gateway.http.get(events_of(invocation_id))).text)
    retry = next(one.data for one in events if one.data.get("state") == "retry")
    assert (retry["attempt"], retry["outcome"], retry["reason"]) == (1, "crashed", "scripted")
    logs = (await gateway.http.get(f"/v1/invocations/{invocation_id}/logs")).json()["lines"]
    assert logs[0] == {"attempt": 1, "level": "info", "text": "first"}


async def test_logs_can_be_read_while_it_runs(gateway: Installation) -> None:
    invocation_id = await submitted(gateway)
    await gateway.live.tell(await claimed(gateway), says("so far"))
    answer = await gateway.http.get(f"/v1/invocations/{invocation_id}/logs")
    assert [line["text"] for line in answer.json()["lines"]] == ["so far"]
    assert answer.json()["truncated"] is False


async def test_two_listeners_hear_the_same(gateway: Installation) -> None:
    invocation_id = await submitted(gateway)
    place = events_of(invocation_id)
    listening = [asyncio.ensure_future(gateway.http.get(place)) for _ in range(2)]
    claim = await claimed(gateway)
    await gateway.live.tell(claim, says("a", "b"))
    assert await gateway.worker.complete(claim, ending(Outcome.COMPLETED, b"out"))
    await gateway.live.wake(invocation_id)
    one, other = await asyncio.gather(*listening)
    assert one.text == other.text
    assert "out" not in [event.data.get("text") for event in told(one.text)]


async def test_who_may_not_read_does_not_listen(gateway: Installation) -> None:
    invocation_id = await submitted(gateway)
    async with gateway.client(await gateway.new_key("mallory")) as other:
        refused(await other.get(events_of(invocation_id)), 404, "invocation.not_found")
    async with gateway.client(None) as nobody:
        refused(await nobody.get(events_of(invocation_id)), 401, "auth.key_missing")


@pytest.mark.parametrize("last", ["x", "1.2.3", "1" * 10_000])
async def test_what_is_no_id_of_an_event_is_refused(gateway: Installation, last: str) -> None:
    invocation_id = await submitted(gateway)
    answer = await gateway.http.get(events_of(invocation_id), headers={"Last-Event-ID": last})
    refused(answer, 400, "events.place_invalid")


async def test_a_revoked_key_is_let_go(
    gateway: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.usecases.follow_run.CHECK_SECONDS", 0.01)
    monkeypatch.setattr("gateway.usecases.follow_run.ROUND_SECONDS", 0.02)
    invocation_id = await submitted(gateway)
    key = await gateway.new_key("alice")
    async with gateway.client(key) as leaver:
        listening = asyncio.ensure_future(leaver.get(events_of(invocation_id)))
        while not gateway.app.state.context.listeners.count:
            await asyncio.sleep(0.005)
        assert await gateway.catalog.revoke_key("alice", key.split("_")[2], 1)
        gateway.app.state.context.authenticator.forget_all()
        events = told((await listening).text)
    assert [one.kind for one in events] == ["state", "error"]
    assert events[-1].data["code"] == "auth.key_invalid"
    assert gateway.app.state.context.listeners.count == 0


async def test_listeners_are_bounded_for_a_tenant_and_for_all() -> None:
    settings = SETTINGS.model_copy(update={"listeners": 4})
    async with installed(settings=settings) as made:
        await made.deploy()
        invocation_id = await submitted(made)
        first = asyncio.ensure_future(made.http.get(events_of(invocation_id)))
        while not made.app.state.context.listeners.count:
            await asyncio.sleep(0.005)
        answer = await made.http.get(events_of(invocation_id))
        problem = refused(answer, 429, "events.too_many_listeners")
        assert problem["retryable"] is True
        await made.work()
        await made.live.wake(invocation_id)
        await first
        assert (await made.http.get(events_of(invocation_id))).status_code == 200


def test_places_are_given_back_and_one_tenant_gets_a_quarter() -> None:
    listeners = Listeners(8)
    with (
        listeners.listening("a"),
        listeners.listening("a"),
        pytest.raises(StockadeError),
        listeners.listening("a"),
    ):
        raise AssertionError
    assert listeners.count == 0
    alone = Listeners(1)
    with alone.listening("a"), pytest.raises(StockadeError), alone.listening("b"):
        raise AssertionError


class Away(MemoryLiveEvents):
    """A queue's server that is away for so many reads."""

    def __init__(self, reads: int, *, retryable: bool = True) -> None:
        super().__init__()
        self._reads = reads
        self._retryable = retryable

    async def read(
        self, tenant: str, invocation_id: str, after: str, timeout_seconds: float
    ) -> Heard:
        self._reads -= 1
        if self._reads >= 0:
            raise StockadeError("queue.unavailable", "away", retryable=self._retryable)
        return await super().read(tenant, invocation_id, after, timeout_seconds)


async def listened(live: Away) -> list[Told]:
    async with installed(live=live) as made:
        await made.deploy()
        invocation_id = await submitted(made)
        await made.work()
        return told((await made.http.get(events_of(invocation_id))).text)


async def test_a_queue_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.usecases.follow_run._PAUSE_SECONDS", 0.01)
    events = await listened(Away(3))
    assert events[-1].data["state"] == "done"


async def test_a_queue_that_stays_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.usecases.follow_run._PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("gateway.usecases.follow_run._AWAY_SECONDS", 0.05)
    for live in (Away(1000), Away(1, retryable=False)):
        (error,) = await listened(live)
        assert (error.kind, error.data["code"]) == ("error", "queue.unavailable")


class Client:
    """The other end of a stream: what it was sent, and when it leaves."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leaves = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self.sent:
            return {"type": "http.request"}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:  # noqa: ANN401 - any message
        self.sent.append(message)

    @property
    def text(self) -> str:
        return b"".join(one.get("body", b"") for one in self.sent).decode()


async def test_silence_is_broken_by_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.event_stream.BEAT_SECONDS", 0.0)

    async def rounds() -> AsyncIterator[list[RunEvent]]:
        yield []
        yield [RunEvent("log", {"text": "x" * 20_000})] * 2
        yield []

    client = Client()
    stream = EventStream(rounds(), Listeners(4), Waiters(), "t")
    await stream({}, client.receive, client.send)
    assert client.text.count(": beat\n\n") == 2 + 1
    assert client.text.count("event: log\n") == 2
    assert max(len(one.get("body", b"")) for one in client.sent) < 25_000


async def test_a_client_that_leaves_ends_it() -> None:
    ended = asyncio.Event()

    async def rounds() -> AsyncIterator[list[RunEvent]]:
        try:
            while True:
                yield [RunEvent("log", {})]
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    client, listeners = Client(), Listeners(4)
    stream = EventStream(rounds(), listeners, Waiters(), "t")
    telling = asyncio.ensure_future(stream({}, client.receive, client.send))
    while len(client.sent) < 10:
        await asyncio.sleep(0.001)
    client.leaves.set()
    await telling
    assert listeners.count == 0


async def test_a_gateway_that_stops_lets_listeners_go() -> None:
    async def rounds() -> AsyncIterator[list[RunEvent]]:
        yield [RunEvent("log", {})]
        await asyncio.Event().wait()

    client, waiters = Client(), Waiters()
    stream = EventStream(rounds(), Listeners(4), waiters, "t")
    telling = asyncio.ensure_future(stream({}, client.receive, client.send))
    while len(client.sent) < 2:
        await asyncio.sleep(0.001)
    waiters.let_go_within(0)
    await telling
    assert "event: error" not in client.text
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}


@pytest.mark.parametrize("text", ["a\r\nb\n\ndata: forged", "\u2028\u2029\x85\x0b", "\x1b[2J\0"])
def test_no_text_forges_an_event(text: str) -> None:
    frame = frame_of(RunEvent("log", {"text": text}, "1.0.0.0")).decode()
    assert len(frame.splitlines()) == 4, "however lines are split"
    assert all(" " <= letter <= "~" or letter == "\n" for letter in frame)
    assert told(frame)[0].data["text"] == text
