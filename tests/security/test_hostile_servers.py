"""Servers that would hold the worker: they cost what is allowed, and the connection ends."""

import asyncio
import ssl
from collections.abc import Iterable

import httpcore
import pytest

from stockade.core.egress import EgressPolicy
from stockade.core.http_messages import MAX_HEADERS, parse_request
from stockade.infra.guarded_http import GuardedHttp
from tests.security.http_servers import (
    LOOPBACK,
    OK,
    Handler,
    Names,
    grants_for,
    refused,
    request,
    serving,
)

POLICY = EgressPolicy(networks=LOOPBACK, timeout_seconds=0.5, max_response_bytes=100_000)


async def endless(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def slow(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def long_head(_head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-long: " + b"a" * 4096 + b"\r\n")
        await writer.drain()


async def silent(_head: bytes, writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


def headed(count: int, value: str = "1") -> bytes:
    lines = "".join(f"x-{number}: {value}\r\n" for number in range(count))
    return f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (endless, "response_too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 2_000_000,
         "response_too_large"),
        (long_head, "response_too_large"),
        (headed(MAX_HEADERS), "response_too_large"),
        (headed(10, "a" * 4000), "response_too_large"),
        (slow, "timeout"),
        (silent, "timeout"),
        (b"HTTP/0.9 what\r\n\r\n", "protocol"),
        (b"", "protocol"),
        (b"\x16\x03\x01", "protocol"),
        (b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", "protocol"),
        (b"HTTP/1.1 999999 OK\r\n\r\n", "protocol"),
    ],
    ids=["endless", "large", "long head", "many headers", "long headers", "slow", "silent", "old",
         "nothing", "no http", "switch", "short", "two lengths", "negative chunk", "coded",
         "odd status"],
)  # fmt: skip
async def test_a_hostile_server_costs_what_is_allowed(answer: bytes | Handler, code: str) -> None:
    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        await refused(code, request(f"{base}/"), f"* {base}", policy=POLICY)


class Flood(httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """A server that begins an answer and then says the same for ever; counts what was taken."""

    def __init__(self, begins: bytes, goes_on: bytes) -> None:
        self._left = begins
        self._goes_on = goes_on
        self.read_bytes = 0
        self.closed = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del host, port, timeout, local_address, socket_options
        return self

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> bytes:
        del timeout
        while len(self._left) < max_bytes:
            self._left += self._goes_on * (max_bytes // len(self._goes_on) + 1)
        taken, self._left = self._left[:max_bytes], self._left[max_bytes:]
        self.read_bytes += len(taken)
        return taken

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> None:
        del buffer, timeout

    async def aclose(self) -> None:
        self.closed = True

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> httpcore.AsyncNetworkStream:
        del ssl_context, server_hostname, timeout
        return self

    def get_extra_info(self, info: str) -> object:
        del info
        return None


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begins", "goes_on", "code", "most_bytes"),
    [
        # Each of these takes the worker's one loop tens of microseconds: a whole response of them
        # would hold it for seconds.
        (b"", b"HTTP/1.1 100 \r\n\r\n", "response_too_large", 96 * 1024),
        (CHUNKED, b"1\r\nx\r\n", "response_too_large", 128 * 1024),
        (CHUNKED, b"1;" + b"e" * 1000 + b"\r\nx\r\n", "response_too_large", 352 * 1024),
        (CHUNKED + b"0\r\n", b"x-trailer: 1\r\n", "protocol", 128 * 1024),
    ],
    ids=["provisional answers", "small chunks", "chunk extensions", "trailers"],
)
async def test_a_flood_of_small_pieces_is_left(
    begins: bytes, goes_on: bytes, code: str, most_bytes: int
) -> None:
    flood = Flood(begins, goes_on)
    policy = EgressPolicy(networks=LOOPBACK, max_response_bytes=100_000)
    url = "http://127.0.0.1:8080/"
    await refused(code, request(url), f"* {url}", policy=policy, network=flood)
    assert flood.read_bytes <= most_bytes
    assert flood.closed


async def test_a_large_request_is_refused_before_it_is_made() -> None:
    policy = EgressPolicy(networks=LOOPBACK, max_request_bytes=10)
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}/"
        sent = request(url, method="POST", body=b"x" * 11)
        await refused("request_too_large", sent, f"* {url}", policy=policy)
        assert server.connections == 0


async def test_a_request_that_nobody_waits_for_any_more_is_broken_off() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        egress = GuardedHttp(EgressPolicy(networks=LOOPBACK), Names())
        fetching = asyncio.ensure_future(
            egress.fetch("acme", parse_request(request(url)), grants_for(f"* {url}"))
        )
        await asyncio.wait_for(asked.wait(), 10)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_compressed_body_is_handed_on_as_it_is() -> None:
    answer = OK.replace(b"X-Seen: 1", b"Content-Encoding: gzip")
    async with serving(answer) as server:
        url = f"http://127.0.0.1:{server.port}/"
        egress = GuardedHttp(EgressPolicy(networks=LOOPBACK), Names())
        got = await egress.fetch("acme", parse_request(request(url)), grants_for(f"* {url}"))
    assert (got.body, dict(got.headers)["content-encoding"]) == (b"hi", "gzip")
    assert b"accept-encoding: identity" in server.heads[0].lower()
