"""Events as they come: read whole whatever the pieces, gone on with behind the last one."""

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from stockade_client import AsyncClient, Client, ConnectionFailed, RunEvent, StockadeApiError
from stockade_client.attempts import RetryRule
from stockade_client.run_events import EventReader
from tests.unit.sdk_python.fake_gateway import ID, problem

AT_ONCE = RetryRule(first_pause_seconds=0.0, longest_pause_seconds=0.0)
DONE = RunEvent("state", {"state": "done", "outcome": "completed"}, "1.2.0.2")


def line(number: int, text: str = "x") -> RunEvent:
    return RunEvent("log", {"number": number, "text": text}, f"1.{number + 1}.0.0")


def sent(*events: RunEvent, end: str = "\n") -> bytes:
    blocks = [
        f"event: {one.kind}{end}id: {one.id}{end}data: {json.dumps(one.data)}{end}{end}"
        for one in events
    ]
    return "".join(blocks).encode()


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces, which may break off."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces = pieces
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._breaks:
            raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Streams:
    """A gateway that answers each connection with the next of these."""

    def __init__(self, *answers: httpx.Response | Pieces) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == f"/v1/invocations/{ID}/events"
        self.asked.append(request.headers.get("last-event-id", ""))
        answer = self._answers.pop(0)
        if isinstance(answer, Pieces):
            return httpx.Response(200, stream=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


async def both(*answers: httpx.Response | Pieces, last: str = "") -> tuple[list[RunEvent], Streams]:
    """What both clients make of it, which must be the same."""
    streams = Streams(*answers)
    with Client("http://gateway", "k", transport=streams.transport, retries=AT_ONCE) as client:
        told = list(client.events(ID, last_event_id=last))
    again = Streams(*answers)
    async with AsyncClient("http://gateway", "k", transport=again.transport, retries=AT_ONCE) as it:
        assert [event async for event in it.events(ID, last_event_id=last)] == told
    assert again.asked == streams.asked
    return told, streams


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_events_are_whole_whatever_the_pieces(end: str, size: int) -> None:
    events = [line(0, "a\u2028b\x85\r\n"), line(1), DONE]
    body = b": beat\n\n" + sent(*events, end=end)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    told, streams = await both(Pieces(*pieces))
    assert told == events
    assert told[-1].ends
    assert streams.asked == [""]


async def test_a_broken_connection_goes_on_behind_the_last_event() -> None:
    first = Pieces(sent(line(0)) + sent(line(1))[:20], breaks=True)
    told, streams = await both(first, Pieces(), Pieces(sent(line(1), DONE)), last="1.0.0.0")
    assert told == [line(0), line(1), DONE]
    assert streams.asked == ["1.0.0.0", "1.1.0.0", "1.1.0.0"]


async def test_what_passes_is_waited_for() -> None:
    away = RunEvent("error", {"code": "queue.unavailable", "detail": "x", "retryable": True})
    busy = problem(503, "queue.unavailable")
    told, _ = await both(busy, Pieces(sent(line(0), away)), Pieces(sent(DONE)))
    assert told == [line(0), DONE]


async def test_what_does_not_pass_is_an_error() -> None:
    revoked = {"code": "auth.key_invalid", "detail": "gone", "retryable": False}
    for answer in (Pieces(sent(RunEvent("error", revoked))), problem(401, "auth.key_invalid")):
        with pytest.raises(StockadeApiError) as refusal:
            await both(answer)
        assert refusal.value.code == "auth.key_invalid"


async def test_connections_that_bring_nothing_end() -> None:
    with pytest.raises(ConnectionFailed):
        await both(*[Pieces(breaks=True)] * 4)


@pytest.mark.parametrize(
    "body",
    [
        b"event: log\ndata: {\n\n",
        b"event: log\ndata: 7\n\n",
        b'event: error\ndata: {"code": 7}\n\n',
    ],
)
async def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(StockadeApiError) as refusal:
        await both(Pieces(body))
    assert refusal.value.code == "client.unexpected_answer"


async def test_an_answer_that_is_no_stream_is_refused() -> None:
    with pytest.raises(StockadeApiError):
        await both(httpx.Response(204))


def test_an_event_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stockade_client.run_events.MOST_EVENT_BYTES", 100)
    with pytest.raises(StockadeApiError):
        list(EventReader().feed(b"x" * 101))


def test_comments_and_empty_blocks_are_no_events() -> None:
    assert list(EventReader().feed(b": beat\n\n\nevent: x\n\n")) == []
