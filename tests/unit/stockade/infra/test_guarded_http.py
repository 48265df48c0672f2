"""What a fetch sends and hands back, and how it connects, over real loopback servers."""

import asyncio
from collections.abc import Iterable

import httpcore
import pytest

from stockade.core.egress import EgressPolicy
from stockade.infra.pinned_network import PinnedNetwork, ReadAllowance
from tests.security.http_servers import (
    LOOPBACK,
    OK,
    PUBLIC,
    Detour,
    Names,
    fetch,
    redirect,
    refused,
    request,
    serving,
)


async def test_a_granted_address_is_reached() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        response = await fetch(request(f"{base}/a?b", "X-One: 1"), f"GET {base}")
    assert (response.status, response.body) == (200, b"hi")
    assert ("x-seen", "1") in response.headers
    head = server.heads[0]
    assert head.startswith(b"GET /a?b HTTP/1.1\r\n")
    assert f"host: 127.0.0.1:{server.port}\r\n".encode() in head.lower()
    assert b"x-one: 1\r\n" in head.lower()


async def test_a_body_is_sent_with_its_length() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        sent = request(f"{base}/", method="POST", body=b"hello")
        assert (await fetch(sent, f"POST {base}")).status == 200
    assert b"content-length: 5\r\n" in server.heads[0].lower()


async def test_an_ipv6_address_is_reached() -> None:
    async with serving(host="::1") as server:
        base = f"http://[::1]:{server.port}"
        assert (await fetch(request(f"{base}/"), f"GET {base}")).body == b"hi"
    assert f"host: [::1]:{server.port}\r\n".encode() in server.heads[0].lower()


async def test_what_the_guest_says_of_itself_and_of_codings_is_kept() -> None:
    async with serving() as server:
        base = f"http://127.0.0.1:{server.port}"
        sent = request(f"{base}/", "User-Agent: mine", "Accept-Encoding: br")
        await fetch(sent, f"GET {base}")
    head = server.heads[0].lower()
    assert (head.count(b"user-agent:"), head.count(b"accept-encoding:")) == (1, 1)
    assert b"user-agent: mine" in head
    assert b"accept-encoding: br" in head


async def test_a_chunked_body_comes_whole_and_without_its_framing() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"5\r\nhello\r\n" * 1000
        + b"0\r\n\r\n"
    )
    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        response = await fetch(request(f"{base}/"), f"GET {base}")
    assert (response.body, response.headers) == (b"hello" * 1000, ())


async def test_a_body_of_just_the_allowed_size_comes_whole() -> None:
    policy = EgressPolicy(networks=LOOPBACK, max_response_bytes=100_000)
    for size in (100_000, 100_001):
        answer = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size
        async with serving(answer) as server:
            url = f"http://127.0.0.1:{server.port}/"
            if size == 100_000:
                assert len((await fetch(request(url), f"* {url}", policy=policy)).body) == size
            else:
                await refused("response_too_large", request(url), f"* {url}", policy=policy)


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_any_status_is_a_response(status: int) -> None:
    async with serving(OK.replace(b"200", str(status).encode())) as server:
        base = f"http://127.0.0.1:{server.port}"
        assert (await fetch(request(f"{base}/"), f"GET {base}")).status == status


async def test_a_redirect_that_leads_nowhere_is_a_response() -> None:
    async with serving(OK.replace(b"200", b"302")) as server:
        base = f"http://127.0.0.1:{server.port}"
        assert (await fetch(request(f"{base}/"), f"GET {base}")).status == 302


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "PUT", "PUT"), (303, "HEAD", "HEAD"), (308, "POST", "POST")],
)
async def test_a_redirect_keeps_or_changes_the_method(status: int, method: str, then: str) -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if b"/there" in head else redirect("/there", status))
        await writer.drain()

    async with serving(answer) as server:
        base = f"http://127.0.0.1:{server.port}"
        await fetch(request(f"{base}/", "authorization: x", method=method), f"* {base}")
    assert server.heads[1].startswith(f"{then} /there ".encode())
    assert b"authorization: x" in server.heads[1].lower()


async def test_an_unknown_name_is_told() -> None:
    error = await refused("unresolvable", request("http://a.example/"), "* http://a.example")
    assert error.retryable


async def test_a_closed_port_is_told() -> None:
    async with serving() as server:
        port = server.port
    url = f"http://127.0.0.1:{port}/"
    error = await refused("unreachable", request(url), f"* {url}")
    assert error.retryable


class Deaf(httpcore.AsyncNetworkBackend):
    """No address answers, but for one, which leads to loopback."""

    def __init__(self, answering: str) -> None:
        self._answering = answering
        self.tried: list[tuple[str, float | None]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.tried.append((host, timeout))
        if host == self._answering:
            detour = Detour()
            return await detour.connect_tcp(host, port, timeout, local_address, socket_options)
        raise httpcore.ConnectTimeout if len(self.tried) % 2 else httpcore.ConnectError


async def test_each_address_is_tried_for_its_share_of_the_time() -> None:
    policy = EgressPolicy(timeout_seconds=9)
    names = Names(a_example=[["8.8.8.8", "8.8.8.8", "1.1.1.1", PUBLIC, "9.9.9.9"]])
    async with serving() as server:
        url, network = f"http://a.example:{server.port}/", Deaf(PUBLIC)
        await fetch(request(url), f"* {url}", policy=policy, names=names, network=network)
    assert network.tried == [("8.8.8.8", 3), ("1.1.1.1", 3), (PUBLIC, 3)]
    network = Deaf("9.9.9.9")
    await refused(
        "unreachable", request(url), f"* {url}", policy=policy, names=names, network=network
    )
    assert len(network.tried) == 3


async def test_sockets_of_the_host_are_never_connected_to() -> None:
    pinned = PinnedNetwork([], Detour(), 1, ReadAllowance(1))
    with pytest.raises(httpcore.ConnectError):
        await pinned.connect_unix_socket("/run/any.sock")
    with pytest.raises(httpcore.ConnectError):
        await pinned.connect_tcp("a.example", 80)
