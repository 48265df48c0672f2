"""A network backend of httpcore that leads to judged addresses alone, and reads no more than told.

The engine of httpcore takes whatever a server sends as one piece of work after another without a
pause, so that what it may read is bounded before the head as well as after it.
"""

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from stockade.core.addresses import Address
from stockade.core.errors import StockadeError

_READ_BYTES = 16 * 1024
"""What is parsed in one go: the other tenants wait meanwhile."""


class ReadAllowance:
    """How many bytes may still be read of a connection."""

    def __init__(self, size: int) -> None:
        self._left_bytes = size

    def add(self, size: int) -> None:
        """Allows so many bytes more."""
        self._left_bytes += size

    def take(self, size: int) -> None:
        """Takes what was read.

        Raises:
            StockadeError: `http_fetch.response_too_large`.
        """
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise StockadeError(
                "http_fetch.response_too_large",
                "The server sends more beside the response's body than it needs. Ask another, or"
                " for less.",
            )


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to the judged addresses, whatever name it is asked for.

    Args:
        addresses: Tried in turn.
        network: Makes the connections.
        connect_seconds: What one address may take.
        allowance: What may be read.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        network: httpcore.AsyncNetworkBackend,
        connect_seconds: float,
        allowance: ReadAllowance,
    ) -> None:
        self._addresses = addresses
        self._network = network
        self._connect_seconds = connect_seconds
        self._allowance = allowance
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """The first of the addresses that answers."""
        del host, timeout
        failure: Exception | None = None
        for address in self._addresses:
            try:
                self._stream = await self._network.connect_tcp(
                    str(address), port, self._connect_seconds, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(self._stream, self._allowance)
        raise failure or httpcore.ConnectError("no address")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: guests' requests go over the network."""
        del path, timeout, socket_options
        raise httpcore.ConnectError("no socket of this host")

    async def aclose(self) -> None:
        """Closes what a failed handshake leaves open."""
        if self._stream is not None:
            await self._stream.aclose()


class _BoundedStream(httpcore.AsyncNetworkStream):
    """A stream that reads a little at a time, and no more than is allowed."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, allowance: ReadAllowance) -> None:
        self._stream = stream
        self._allowance = allowance

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> bytes:
        received = await self._stream.read(min(max_bytes, _READ_BYTES), timeout)
        self._allowance.take(len(received))
        return received

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (the library's own signature)
    ) -> httpcore.AsyncNetworkStream:
        inner = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _BoundedStream(inner, self._allowance)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 (the library's own signature)
        return self._stream.get_extra_info(info)
