"""What is no body is bounded too, and nobody holds a connection open with half a request."""

import asyncio
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


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body's length; `/deaf` answers without reading it."""
    request = Request(scope, receive)
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
