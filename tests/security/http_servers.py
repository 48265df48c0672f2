"""Real HTTP servers on loopback, a resolver of the test's, and requests as guests make them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import httpcore
import pytest

from stockade.core.addresses import Address, parse_networks
from stockade.core.egress import EgressPolicy, HttpGrant, parse_http_grant
from stockade.core.errors import StockadeError
from stockade.core.http_messages import HttpResponse, parse_request
from stockade.infra.guarded_http import GuardedHttp

LOOPBACK = parse_networks(["127.0.0.0/8", "::1/128"])
PUBLIC = "93.184.215.14"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: 1\r\n\r\nhi"


class Server:
    """A server on loopback that answers every request with `answer`, and keeps the heads."""

    def __init__(self, answer: bytes | Handler) -> None:
        self._answer = answer
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.left = asyncio.Event()
        """Set when a client has gone before it was answered."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | Handler = OK, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server(answer)
    async with await asyncio.start_server(server.serve, host, 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


class Names:
    """A resolver: each look-up of a name takes the next of its answers, the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {
            name.replace("_", "."): [list(map(ip_address, one)) for one in many]
            for name, many in answers.items()
        }
        self.looked_up: list[str] = []

    async def addresses(self, _tenant: str, host: str) -> Sequence[Address]:
        self.looked_up.append(host)
        answers = self._answers.get(host)
        if not answers:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Detour(httpcore.AsyncNetworkBackend):
    """Leads every connection to loopback, and remembers where it would have gone."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.asked.append(host)
        network = httpcore.AnyIOBackend()
        return await network.connect_tcp("127.0.0.1", port, timeout, local_address, socket_options)


def request(url: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    return "\n".join([f"{method} {url}", *headers]).encode() + b"\n\n" + body


def grants_for(*texts: str) -> list[HttpGrant]:
    return [parse_http_grant(text) for text in texts]


async def fetch(
    content: bytes,
    *grants: str,
    policy: EgressPolicy | None = None,
    names: Names | None = None,
    network: httpcore.AsyncNetworkBackend | None = None,
) -> HttpResponse:
    chosen = policy or EgressPolicy(networks=LOOPBACK)
    egress = GuardedHttp(chosen, names or Names(), network=network)
    return await egress.fetch("acme", parse_request(content), grants_for(*grants))


async def refused(code: str, *arguments: object, **named: object) -> StockadeError:
    with pytest.raises(StockadeError) as caught:
        await fetch(*arguments, **named)  # type: ignore[arg-type]
    assert caught.value.code == f"http_fetch.{code}"
    return caught.value


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()
