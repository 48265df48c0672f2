"""`ModuleCompiler` by a jailed child per module: what it does to itself, it does to nobody else.

One tenant compiles one module at a time, so that its bombs queue behind each other and not before
others' modules. What was refused is remembered for a while, and the same module asked for at once
by several is compiled once: repeating a bomb costs nothing.
"""

import asyncio
import socket
import time
from collections import Counter, OrderedDict, defaultdict

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.jail_control import COMPILED, JailRole
from stockade.core.ports import Jail

_CHUNK_BYTES = 1 << 20
_MAX_REMEMBERED = 10_000
_REMEMBERED_SECONDS = {"module.invalid": 3600.0, "module.too_costly": 600.0}
"""Cost depends on the machine's load too, so that verdict is looked at again sooner."""


class JailedCompiler:
    """Compiles in children of a jail, a bounded number at a time.

    Args:
        jail: Where the children come from.
        timeout_seconds: Wall time for one module; the jail bounds processor time and memory itself.
        max_artifact_bytes: What an answer may be long at most.
        at_once: How many compile at the same time.
        most_waiting: How many modules of one tenant may wait for their turn.
    """

    def __init__(
        self,
        jail: Jail,
        *,
        timeout_seconds: float = 20.0,
        max_artifact_bytes: int = 128 * 1024 * 1024,
        at_once: int = 2,
        most_waiting: int = 8,
    ) -> None:
        self._jail = jail
        self._timeout_seconds = timeout_seconds
        self._max_artifact_bytes = max_artifact_bytes
        self._slots = asyncio.Semaphore(at_once)
        self._most_waiting = most_waiting
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()
        self._under_way: dict[str, asyncio.Task[bytes]] = {}
        self._refused: OrderedDict[str, tuple[float, StockadeError]] = OrderedDict()

    async def compile(self, body: bytes, tenant: str = "") -> bytes:
        """The compiled artifact of a core module.

        Raises:
            StockadeError: `module.invalid`, `module.too_costly`, `module.compiler_busy` or
                `jail.unavailable`.
        """
        digest = digest_of(body)
        if refusal := self._remembered(digest):
            raise refusal
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.ensure_future(self._in_turn(body, tenant))
            self._under_way[digest] = task
            task.add_done_callback(lambda done: self._finished(digest, done))
        # Who leaves does not take it away from the others who wait for it.
        return await asyncio.shield(task)

    async def _in_turn(self, body: bytes, tenant: str) -> bytes:
        if self._waiting[tenant] > self._most_waiting:
            raise StockadeError(
                "module.compiler_busy",
                "This tenant has many modules waiting to be compiled. Try again later.",
                retryable=True,
            )
        self._waiting[tenant] += 1
        try:
            async with self._turns[tenant], self._slots:
                return await self._compile(body)
        finally:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant], self._turns[tenant]

    async def _compile(self, body: bytes) -> bytes:
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

    def _finished(self, digest: str, done: asyncio.Task[bytes]) -> None:
        del self._under_way[digest]
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, StockadeError) and error.code in _REMEMBERED_SECONDS:
            forget_at = time.monotonic() + _REMEMBERED_SECONDS[error.code]
            self._refused[digest] = forget_at, error
            if len(self._refused) > _MAX_REMEMBERED:
                self._refused.popitem(last=False)

    def _remembered(self, digest: str) -> StockadeError | None:
        forget_at, error = self._refused.get(digest, (0.0, None))
        if error is None or time.monotonic() < forget_at:
            return error
        del self._refused[digest]
        return None


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
