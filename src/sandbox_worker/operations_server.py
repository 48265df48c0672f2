"""The worker's own HTTP endpoint for its operator: probes and metrics, by GET, and nothing else.

Whoever connects gets one answer of a bounded request, within a bounded time, reading included: a
client that stays silent, or never reads, is cut off. Too many at once are turned away.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import httptools
import structlog

from stockade.core.errors import StockadeError

_log = structlog.get_logger()
MAX_HEAD_BYTES = 8 * 1024
MOST_CONNECTIONS = 32
_READ_BYTES = 4096
_EXCHANGE_SECONDS = 10.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route says."""

    body: bytes
    content_type: str = _TEXT
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `answer` gets the `Accept` header; `guarded` routes ask for the token, if any."""

    answer: Callable[[str], Awaitable[Answer]]
    guarded: bool = False


class _Request:
    """What httptools tells of a request's head."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.complete = True


class OperationsServer:
    """Serves a few paths on one address.

    Args:
        routes: By path.
        token: What guarded routes ask for as bearer token; empty asks for none.
        exchange_seconds: What one exchange takes at most.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        token: str = "",
        exchange_seconds: float = _EXCHANGE_SECONDS,
    ) -> None:
        self._routes = routes
        self._token = token.encode()
        self._exchange_seconds = exchange_seconds
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._is_local = True

    async def start(self, host: str, port: int) -> int:
        """Listens; the port, which is a free one for 0.

        Raises:
            StockadeError: `config.address_unusable`.
        """
        self._is_local = is_loopback(host)
        try:
            self._server = await asyncio.start_server(self._accept, host, port)
        except OSError as error:
            raise StockadeError(
                "config.address_unusable",
                f"The worker cannot listen on {host} port {port} for its metrics. Is another on"
                " it? Set STOCKADE_METRICS_PORT to a free one, or to 0 for none.",
                retryable=True,
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        """Stops listening and cuts off whoever is connected."""
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._exchange(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._exchange_seconds):
                method, answer = await self._answer(reader)
                writer.write(_encoded(answer, body=method != b"HEAD"))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, EOFError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[bytes, Answer]:
        request = _Request()
        parser = httptools.HttpRequestParser(request)
        read = 0
        while not request.complete:
            data = await reader.read(_READ_BYTES)
            read += len(data)
            if not data:
                raise EOFError
            if read > MAX_HEAD_BYTES:
                return b"", _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            try:
                parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                break
            except httptools.HttpParserError:
                return b"", _refusal(HTTPStatus.BAD_REQUEST)
        method = parser.get_method()
        if method not in {b"GET", b"HEAD"}:
            return method, _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        return method, await self._routed(request)

    async def _routed(self, request: _Request) -> Answer:
        path = request.target.partition(b"?")[0].decode("latin-1")
        route = self._routes.get(path)
        if not self._knows_host(request.headers.get(b"host", b"")):
            return _refusal(HTTPStatus.MISDIRECTED_REQUEST)
        if route is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        if route.guarded and not self._may(request.headers.get(b"authorization", b"")):
            return _refusal(HTTPStatus.UNAUTHORIZED)
        try:
            return await route.answer(request.headers.get(b"accept", b"").decode("latin-1"))
        except Exception as error:  # noqa: BLE001 - a probe must learn of it, not hang
            _log.error("worker_endpoint_failed", path=path, exc_info=error)
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _may(self, authorization: bytes) -> bool:
        expected = b"Bearer " + self._token
        return not self._token or hmac.compare_digest(authorization, expected)

    def _knows_host(self, host: bytes) -> bool:
        """Whether a loopback address was meant: a web page's name that leads here was not."""
        if not self._is_local or not host:
            return True
        name = host.decode("latin-1")
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name.lower() in _LOOPBACK


def is_loopback(host: str) -> bool:
    """Whether only this host reaches the address."""
    return host in _LOOPBACK


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(status.phrase.encode() + b"\n", status=status)


def _encoded(answer: Answer, *, body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (answer.body if body else b"")
