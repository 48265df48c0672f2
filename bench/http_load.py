"""A closed loop of HTTP requests over kept-open connections, with as little client as possible."""

import asyncio
import time
from typing import Self
from urllib.parse import urlsplit


class Connection:
    """One kept-open HTTP/1.1 connection that sends the same request again and again."""

    def __init__(self, url: str, headers: dict[str, str], body: bytes) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        head = [f"POST {target} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        self._request = "\r\n".join([*head, "", ""]).encode() + body

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def request(self) -> tuple[int, bytes]:
        """Sends the request; the answer's status and body."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(
            int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length")
        )
        return int(lines[0].split()[1]), await self._reader.readexactly(length)


async def closed_loop(
    url: str, headers: dict[str, str], body: bytes, *, clients: int, requests: int, expect: int
) -> tuple[list[float], float]:
    """Every request's time, and the whole time, of `clients` loops that share the requests."""
    times: list[float] = []

    async def client(count: int) -> None:
        async with Connection(url, headers, body) as connection:
            for _ in range(count):
                started = time.perf_counter()
                status, answer = await connection.request()
                times.append(time.perf_counter() - started)
                if status != expect:
                    raise RuntimeError(f"{url} answered {status}: {answer[:300]!r}")

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client(requests // clients))
    return times, time.perf_counter() - started
