"""The embedded Valkey of `stockade dev`: kept running, on one port with one password."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import structlog

from stockade.cli.dev.child import process_ended
from stockade.cli.dev.data_dir import free_port
from stockade.core.errors import StockadeError
from stockade.infra.redis.embedded_valkey import EmbeddedValkey

_log = structlog.get_logger()
_PORTS_TO_TRY = 3
_ORPHAN_SECONDS = 30.0
"""How long the server of a `stockade dev` that was killed may take to write its data and go."""
_LOOK_SECONDS = 0.1


class KeptValkey:
    """Starts a server and starts it again, at the same address, when it dies.

    Args:
        data_dir: Where it keeps its data.
        fsync: When acknowledged writes are on disk.
        ports: Finds a port that is free.
    """

    def __init__(
        self,
        data_dir: Path,
        fsync: Literal["always", "everysec"],
        ports: Callable[[], int] = free_port,
    ) -> None:
        self._data_dir = data_dir
        self._fsync = fsync
        self._ports = ports
        self._server = self._on_free_port()
        self._stopping = False

    @property
    def url(self) -> str:
        """Where it listens, with its password."""
        return self._server.url

    async def start(self) -> None:
        """Starts it on a free port.

        Raises:
            StockadeError: It does not start.
        """
        for _ in range(_PORTS_TO_TRY - 1):
            try:
                return await self._start()
            except StockadeError as error:
                if error.code != "queue.port_busy":
                    raise
                self._server = self._on_free_port()
        return await self._start()

    async def keep(self) -> None:
        """Starts it again whenever it dies, until `stop`.

        Raises:
            StockadeError: It does not start again.
        """
        while not self._stopping:
            await process_ended(self._server.pid)
            if self._stopping:
                return
            _log.warning("child_ended", child="valkey")
            await self._server.stop()
            await self._start()

    async def stop(self) -> None:
        """Lets it write what is left, and waits for its end."""
        self._stopping = True
        await self._server.stop()

    def kill(self) -> None:
        """Ends it at once; acknowledged writes are safe."""
        self._stopping = True
        try:
            os.kill(self._server.pid, signal.SIGKILL)
        except (RuntimeError, ProcessLookupError):
            return

    async def _start(self) -> None:
        give_up = asyncio.get_running_loop().time() + _ORPHAN_SECONDS
        while True:
            try:
                with _interrupt_blocked():
                    return await self._server.start()
            except StockadeError as error:
                late = asyncio.get_running_loop().time() > give_up
                if error.code != "queue.data_dir_busy" or late:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    def _on_free_port(self) -> EmbeddedValkey:
        return EmbeddedValkey(self._data_dir, self._ports(), fsync=self._fsync)


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """What is started here never sees Ctrl-C, which a terminal sends to the whole group.

    Valkey must outlive the gateway and the worker, or nothing could be drained.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
