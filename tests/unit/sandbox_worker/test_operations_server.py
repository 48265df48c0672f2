"""The worker's own endpoint against whoever may connect: bounded in size, time and number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from sandbox_worker.operations_server import (
    MAX_HEAD_BYTES,
    MOST_CONNECTIONS,
    Answer,
    OperationsServer,
    Route,
    is_loopback,
)
from stockade.core.errors import StockadeError

TOKEN = "a-token-of-some-length"  # noqa: S105 - a test's


async def _tell(accept: str) -> Answer:
    return Answer(f"accepts {accept}".encode())


async def _tell_much(_accept: str) -> Answer:
    return Answer(bytes(64 * 1024 * 1024))


async def _break(_accept: str) -> Answer:
    raise RuntimeError("broken")


ROUTES = {
    "/open": Route(_tell),
    "/guarded": Route(_tell, guarded=True),
    "/much": Route(_tell_much),
    "/broken": Route(_break),
}


@asynccontextmanager
async def serving(*, token: str = "", seconds: float = 10.0) -> AsyncIterator[int]:
    server = OperationsServer(ROUTES, token, seconds)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.aclose()


async def sent(port: int, request: bytes) -> bytes:
    """What the server says until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(-1), 30)
        except ConnectionError:
            return b""


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", *headers, "", "")).encode()


async def test_a_path_is_answered_and_the_connection_closed() -> None:
    async with serving() as port:
        answer = await sent(port, get("/open?x=1", "Host: localhost", "Accept: text/plain"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" in head
        assert body == b"accepts text/plain"
        answer = await sent(port, get("/open").replace(b"GET", b"HEAD"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/none"), 404),
        (get("/open").replace(b"GET", b"POST"), 405),
        (get("/open").replace(b"GET", b"CONNECT"), 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /open HTTP/1.1\r\nA: b\x00c\r\n\r\n", 400),
        (get("/open", "Connection: upgrade", "Upgrade: websocket"), 200),
        (get("/open", "X: " + "x" * MAX_HEAD_BYTES), 431),
        (get("/" + "x" * MAX_HEAD_BYTES), 431),
        (get("/guarded"), 401),
        (get("/guarded", "Authorization: Bearer wrong"), 401),
        (get("/guarded", f"Authorization: Bearer {TOKEN}"), 200),
        (get("/open", "Host: evil.example"), 421),
        (get("/open", "Host: 127.0.0.1:9"), 200),
        (get("/open", "Host: [::1]:9"), 200),
        (get("/broken"), 500),
    ],
)
async def test_what_may_be_asked(request_: bytes, status: int) -> None:
    async with serving(token=TOKEN) as port:
        answer = await sent(port, request_)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert (await sent(port, get("/open"))).startswith(b"HTTP/1.1 200")


async def test_without_a_token_nobody_is_asked_for_one() -> None:
    async with serving() as port:
        assert (await sent(port, get("/guarded"))).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"GET /open HT", b"GET /open HTTP/1.1\r\nA: b\r\n"])
async def test_a_request_that_never_ends_is_cut_off(begun: bytes) -> None:
    async with serving(seconds=0.05) as port:
        assert await sent(port, begun) == b""


async def test_a_client_that_never_reads_is_cut_off() -> None:
    server = OperationsServer(ROUTES, exchange_seconds=0.2)
    port = await server.start("127.0.0.1", 0)
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
    try:
        writer.write(get("/much"))
        async with asyncio.timeout(30):
            while not server._open:
                await asyncio.sleep(0)
            while server._open:
                await asyncio.sleep(0.01)
    finally:
        writer.close()
        await server.aclose()


async def test_a_client_that_leaves_is_forgotten() -> None:
    async with serving() as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        assert (await sent(port, get("/open"))).startswith(b"HTTP/1.1 200")


async def test_too_many_at_once_are_turned_away_and_the_rest_served_again() -> None:
    async with serving() as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
        assert await sent(port, get("/open")) == b""
        for _reader, writer in held:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(30):
            while not (await sent(port, get("/open"))).startswith(b"HTTP/1.1 200"):
                await asyncio.sleep(0.01)


async def test_who_is_connected_when_it_closes_is_cut_off() -> None:
    server = OperationsServer(ROUTES)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(30):
        while not server._open:
            await asyncio.sleep(0)
    await server.aclose()
    with closing(writer), suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(-1), 30) == b""


async def test_closing_what_never_began_is_nothing() -> None:
    await OperationsServer(ROUTES).aclose()


async def test_an_address_in_use_is_said() -> None:
    async with serving() as port:
        with pytest.raises(StockadeError, match="METRICS_PORT") as caught:
            await OperationsServer(ROUTES).start("127.0.0.1", port)
    assert caught.value.code == "config.address_unusable"


def test_which_addresses_only_this_host_reaches() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")  # noqa: S104 - asked about, not bound
    assert not is_loopback("10.0.0.1")
