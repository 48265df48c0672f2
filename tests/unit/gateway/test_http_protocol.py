"""What is no body is bounded too, and nobody holds a connection open with half a request."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

import gateway.http_protocol
from gateway.http_protocol import MAX_HEAD_BYTES, BoundedProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Exchange = Callable[..., Awaitable[bytes]]


_ENDLESS = asyncio.Event()
"""Set when the client of an endless answer is gone."""


async def _endless(receive: Receive, send: Send) -> None:
    await receive()
    leaving = asyncio.ensure_future(receive())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while not leaving.done():
        part = {"type": "http.response.body", "body": b"x" * 65_536, "more_body": True}
        await send(part)
        await asyncio.sleep(0)
    _ENDLESS.set()


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body's length; `/deaf` without reading it, `/endless` until it is left."""
    request = Request(scope, receive)
    if request.url.path == "/endless":
        await _endless(receive, send)
        return
    length = 0 if request.url.path == "/deaf" else len(await request.body())
    await PlainTextResponse(f"{length} bytes")(scope, receive, send)


@asynccontextmanager
async def _serving() -> AsyncIterator[int]:
    config = Config(count, access_log=False, log_config=None, ws="none", lifespan="off")
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedProtocol(config, state, {}),
        "127.0.0.1",  # type: ignore[arg-type]
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.close()  # type: ignore[union-attr]
        await server.wait_closed()


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    async with _serving() as port:

        async def send(*parts: bytes) -> bytes:
            """What comes back until the server ends the connection or has answered each part."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                async with asyncio.timeout(10):
                    return await reader.read(4096)
            except ConnectionError:
                return b""
            finally:
                writer.close()

        yield send


async def test_plain_requests(exchange: Exchange) -> None:
    assert (await exchange(HEAD + b"\r\n")).endswith(b"0 bytes")
    body = b"x" * (1 << 20)
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    assert (await exchange(HEAD + length + body)).endswith(b"1048576 bytes")
    assert (await exchange(HEAD, b"Content-Length: 2\r\n\r\n", b"x", b"x")).endswith(b"2 bytes")


async def test_bodies_in_chunks(exchange: Exchange) -> None:
    body = b"%x\r\n" % 100 + b"x" * 100 + b"\r\n"
    assert (await exchange(CHUNKED, body * 10_000 + b"0\r\n\r\n")).endswith(b"1000000 bytes")


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /" + b"a" * 1000,
        HEAD + b"X-Long: " + b"a" * 1000,
        HEAD + b"X: a\r\n" * 100,
    ],
    ids=["request line", "one header", "many headers"],
)
async def test_a_head_without_end(exchange: Exchange, endless: bytes) -> None:
    part = endless[-900:] if b"X: a" not in endless else b"X: a\r\n" * 150
    answer = await exchange(endless, *[part] * 100)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code": "request.head_too_large"' in answer
    assert b"connection: close" in answer


async def test_trailers_without_end(exchange: Exchange) -> None:
    rest = [b"X: " + b"a" * 997 + b"\r\n"] * (MAX_HEAD_BYTES // 1000 + 300)
    assert await exchange(CHUNKED + b"1\r\nx\r\n0\r\n", *rest) == b""


async def test_framing_that_outweighs_the_body(exchange: Exchange) -> None:
    dust = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    assert await exchange(CHUNKED, *[dust] * 400) == b""


async def test_many_requests_on_one_connection_do_not_add_up() -> None:
    async with _serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(5):
            writer.write(HEAD + b"X: " + b"a" * 30_000 + b"\r\nContent-Length: 1\r\n\r\nx")
            assert b"1 bytes" in await reader.readuntil(b"1 bytes")
        writer.close()


@pytest.mark.parametrize("part", [b"", HEAD])
async def test_half_a_head(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(gateway.http_protocol, "HEAD_SECONDS", 0.05)
    assert await exchange(part) == b""


async def test_half_a_head_after_a_whole_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.http_protocol, "HEAD_SECONDS", 0.05)
    async with _serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"0 bytes")
        writer.write(HEAD)
        assert await reader.read() == b""
        writer.close()


async def test_a_body_nobody_reads_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.http_protocol, "LINGER_SECONDS", 0.05)
    async with _serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /deaf HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        assert (await reader.read()).endswith(b"0 bytes")
        writer.close()


async def test_a_broken_request(exchange: Exchange) -> None:
    assert (await exchange(b"NONSENSE\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


@asynccontextmanager
async def _unread(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose answer is far more than its buffers hold, and that nobody reads yet."""
    # What the kernel holds for a client looks as if nothing were read: it holds little.
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=own, limit=1024)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_who_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.http_protocol, "STALL_SECONDS", 0.2)
    _ENDLESS.clear()
    async with _serving() as port, _unread(port):
        async with asyncio.timeout(10):
            await _ENDLESS.wait()


class Slow(asyncio.Transport):
    """A client that has read a little each time that one looks."""

    def __init__(self, reads_bytes: int) -> None:
        super().__init__()
        self.waiting_bytes = 100_000
        self.looks = 0
        self.aborted = asyncio.Event()
        self._reads_bytes = reads_bytes

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        self.waiting_bytes -= self._reads_bytes
        return self.waiting_bytes

    def abort(self) -> None:
        self.aborted.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.aborted.set()


@pytest.mark.parametrize("reads_bytes", [0, 1])
async def test_who_reads_slowly_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, reads_bytes: int
) -> None:
    monkeypatch.setattr(gateway.http_protocol, "STALL_SECONDS", 0.01)
    config = Config(count, log_config=None, ws="none", lifespan="off")
    config.load()
    protocol, client = BoundedProtocol(config, ServerState(), {}), Slow(reads_bytes)
    protocol.connection_made(client)
    protocol.pause_writing()
    if not reads_bytes:
        async with asyncio.timeout(10):
            await client.aborted.wait()
    while reads_bytes and client.looks < 10:
        await asyncio.sleep(0.01)
    assert client.aborted.is_set() == (not reads_bytes)
    protocol.pause_writing()
    protocol.resume_writing()
    assert protocol._stall is None
    protocol.pause_writing()
    protocol.connection_lost(None)
    assert protocol._stall is None
