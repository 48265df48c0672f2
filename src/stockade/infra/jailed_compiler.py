"""`ModuleCompiler` by a jailed child per module: what it does to itself, it does to nobody else."""

import asyncio
import socket

from stockade.core.errors import StockadeError
from stockade.core.jail_control import COMPILED, JailRole
from stockade.core.ports import Jail

_CHUNK_BYTES = 1 << 20


class JailedCompiler:
    """Compiles in children of a jail, a bounded number at a time.

    Args:
        jail: Where the children come from.
        timeout_seconds: Wall time for one module; the jail bounds processor time and memory itself.
        max_artifact_bytes: What an answer may be long at most.
        at_once: How many compile at the same time.
    """

    def __init__(
        self,
        jail: Jail,
        *,
        timeout_seconds: float = 20.0,
        max_artifact_bytes: int = 128 * 1024 * 1024,
        at_once: int = 2,
    ) -> None:
        self._jail = jail
        self._timeout_seconds = timeout_seconds
        self._max_artifact_bytes = max_artifact_bytes
        self._slots = asyncio.Semaphore(at_once)

    async def compile(self, body: bytes) -> bytes:
        """The compiled artifact of a core module.

        Raises:
            StockadeError: `module.invalid`, `module.too_costly` or `jail.unavailable`.
        """
        async with self._slots:
            child = await self._jail.fork(JailRole.COMPILER)
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    answer = await self._converse(child.connection, body)
            except (OSError, TimeoutError):
                answer = b""
            finally:
                child.kill()
                child.connection.close()
            return _artifact(answer)

    async def _converse(self, connection: socket.socket, body: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, body)
        connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while chunk := await loop.sock_recv(connection, _CHUNK_BYTES):
            answer += chunk
            if len(answer) > self._max_artifact_bytes:
                return b""
        return bytes(answer)


def _artifact(answer: bytes) -> bytes:
    if answer[:1] == COMPILED:
        return answer[1:]
    if answer:
        reason = answer[1:].decode("utf-8", errors="replace")
        raise StockadeError(
            "module.invalid",
            "The engine refuses this module. Build it without the proposals that are switched off.",
            detail={"reason": reason},
        )
    raise StockadeError(
        "module.too_costly",
        "Compiling this module takes more time or memory than is allowed. Make it smaller.",
    )
