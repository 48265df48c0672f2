"""A proxy before Valkey that holds the flow at a step: no clock decides when a process dies."""

import asyncio
from dataclasses import dataclass

from stockade.infra.redis.redis_connection import RedisScript


@dataclass(frozen=True, slots=True)
class Step:
    """A command on its way: `command` as it stands in the request, `answer` as it must stand in
    the reply. Held before it reaches the server, or once its reply has come back (`carried_out`).
    """

    command: bytes
    carried_out: bool
    answer: bytes = b""


def before(script: str) -> Step:
    """Before the server sees this script."""
    return Step(RedisScript.load(script).sha.encode(), carried_out=False)


def after(script: str) -> Step:
    """After the server carried this script out, before anyone hears of it."""
    return Step(RedisScript.load(script).sha.encode(), carried_out=True)


CLAIMED = Step(b"XREADGROUP", carried_out=True, answer=b"spec")
"""After entries were delivered, before their worker has them."""


class StepProxy:
    """Hands bytes on between processes and the server at `url`; `reached` is set while it holds."""

    def __init__(self, url: str) -> None:
        self._before, _, port = url.removesuffix("/0").rpartition(":")
        self._upstream = int(port)
        self._step: Step | None = None
        self._forward = asyncio.Event()
        self._drop = asyncio.Event()
        self._silent = False
        self._pumps: set[asyncio.Task[None]] = set()
        self.reached = asyncio.Event()

    async def start(self) -> str:
        """Listens on a free port; the URL to use in place of the server's."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"{self._before}:{self._server.sockets[0].getsockname()[1]}/0"

    async def stop(self) -> None:
        """Closes everything."""
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def hold(self, step: Step) -> None:
        """Holds the next time that this step comes by."""
        self.reached.clear()
        self._forward.clear()
        self._drop.clear()
        self._step = step

    async def held(self) -> None:
        """Waits until the step came by and is held."""
        async with asyncio.timeout(20):
            await self.reached.wait()

    def hand_on(self) -> None:
        """Lets what is held go its way."""
        self._silent = False
        self._forward.set()

    def hold_all(self) -> None:
        """Lets nothing else pass either until it is handed on: a stopped worker sends nothing."""
        self._silent = True

    def drop(self) -> None:
        """Throws away what is held, and its connection."""
        self._drop.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one of the two sides is gone, or the test is over
        finally:
            writer.close()
            self._pumps.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, out = await asyncio.open_connection("127.0.0.1", self._upstream)
        flow = _Flow()
        try:
            pumps = {
                asyncio.ensure_future(self._requests(flow, reader, out)),
                asyncio.ensure_future(self._replies(flow, upstream, writer)),
            }
            _, other = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in other:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            out.close()

    async def _requests(
        self, flow: "_Flow", source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(1 << 20):
            flow.request, step = data, self._step
            due = step is not None and not step.carried_out and step.command in data
            if due and not await self._hold_here():
                return
            if self._silent:
                await self._forward.wait()
            sink.write(data)

    async def _replies(
        self, flow: "_Flow", source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(1 << 20):
            # The request may have been on its way, and waiting, before the step was named.
            step = self._step
            due = step is not None and step.carried_out and step.command in flow.request
            if due and step.answer in data and not await self._hold_here():
                return
            sink.write(data)

    async def _hold_here(self) -> bool:
        """Holds until the test says what becomes of it; whether it goes on."""
        self._step = None
        self.reached.set()
        ways = [asyncio.ensure_future(way.wait()) for way in (self._forward, self._drop)]
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        return ways[0] in done


class _Flow:
    """One connection's last request."""

    request: bytes = b""
