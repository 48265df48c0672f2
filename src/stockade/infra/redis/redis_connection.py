"""Connections to Redis or Valkey, scripts, and how their failures read.

Built on redis-py's own connection class. Its client is left out: with every retry, hook and metric
it adds a third to the time of a round trip, and it would resend commands without asking whether
that is safe.
"""

import asyncio
import hashlib
import importlib.resources
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError
from stockade.infra.redis.redis_addresses import ERRORS, RedisAddresses
from stockade.infra.redis.redis_confirmation import (
    UnconfirmedError,
    check_confirmed,
    confirmation_of,
    not_durable,
)

Part = str | bytes | int
OnAnswer = Callable[[str, float], None]
_SCRIPT_NAMES: dict[str, str] = {}

_FAILURES = (RedisError, OSError, TimeoutError, UnconfirmedError)
_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    OSError,
    TimeoutError,
    UnconfirmedError,
    AskError,
    ClusterDownError,
    TryAgainError,
)
_MOST_MOVES = 4
_DEMOTED_WORDS = ("UNBLOCKED", "WAITAOF cannot be used with replica")
"""What a demoted server tells a command that waited there, and one that only read."""
_PASSING_WORDS = (
    *_DEMOTED_WORDS,
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "TRYAGAIN",
)
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)


class GroupMissingError(StockadeError):
    """The server lost its data, or never had any: the consumer group must be created."""


@dataclass(frozen=True, slots=True)
class RedisScript:
    """A Lua script with the shared prelude in front; `sha` is how the server knows it.

    What one that `acknowledges` wrote must be durable before anyone hears of it.
    """

    text: str
    sha: str
    acknowledges: bool

    @classmethod
    def load(cls, name: str, *, acknowledges: bool = False) -> Self:
        """Reads `redis_scripts/<name>.lua`."""
        folder = importlib.resources.files("stockade.infra.redis") / "redis_scripts"
        text = (folder / "prelude.lua").read_text() + (folder / f"{name}.lua").read_text()
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        _SCRIPT_NAMES[sha] = _SCRIPT_NAMES[text] = name
        return cls(text, sha, acknowledges)


def nobody_listens(asked: str, seconds: float) -> None:
    """Hears of answers where nobody wants to."""


class RedisConnections:
    """Idle connections to one server, taken and given back around each command.

    Args:
        url: Where the server may be; see `RedisAddresses`.
        command_seconds: A command that takes longer (beyond its own blocking time) failed.
        most: So many commands are under way at once; blocking ones do not count.
        retry_seconds: How long a command that may be repeated is retried before the failure shows.
        durability: What scripts that acknowledge wait for.
        replicas: How many of them must have it on disk, where replicas are asked for.
        on_answer: Hears what was asked, and how many seconds it took, unless it was to wait.
    """

    def __init__(
        self,
        url: str,
        *,
        command_seconds: float = 5.0,
        most: int = 64,
        retry_seconds: float = 5.0,
        durability: Durability = Durability.MEMORY,
        replicas: int = 1,
        on_answer: OnAnswer = nobody_listens,
    ) -> None:
        self._on_answer = on_answer
        self._confirmation = confirmation_of(durability, replicas, int(command_seconds * 500))
        self._addresses = RedisAddresses(url, command_seconds)
        self._command_seconds = command_seconds
        self._retry_seconds = retry_seconds
        self._slots = asyncio.Semaphore(most)
        self._idle: list[AbstractConnection] = []
        self._closed = False

    async def call(self, *parts: Part, block_seconds: float = 0.0) -> Any:  # noqa: ANN401 - any reply
        """Sends one command once.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        try:
            return await self._exchange(parts, block_seconds)
        except _FAILURES as error:
            raise unavailable(error) from error

    async def repeat(self, *parts: Part) -> Any:  # noqa: ANN401 - any reply
        """Sends a command that may be repeated, and repeats it while the server is away.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        return await self._repeat(self._exchange, parts, 0.0)

    async def run(self, script: RedisScript, prefix: str, *arguments: Part) -> Any:  # noqa: ANN401 - any reply
        """Runs a script likewise; `prefix` is its one key and names the partition.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        return await self._repeat(self._evaluate, script, prefix, arguments)

    async def run_many(
        self, script: RedisScript, prefix: str, calls: Sequence[tuple[Part, ...]]
    ) -> list[Any]:
        """Runs a script once for each arguments, all sent before the first answer is read.

        Raises:
            StockadeError: `queue.unavailable`: some may have run, all may be sent again.
        """
        return list(await self._repeat(self._evaluate_many, script, prefix, calls))

    async def run_once(self, script: RedisScript, prefix: str, *arguments: Part) -> Any:  # noqa: ANN401
        """Runs a script whose answer must not get lost: the caller handles that itself.

        Raises:
            StockadeError: `queue.unavailable`.
        """
        try:
            return await self._evaluate(script, prefix, arguments)
        except _FAILURES as error:
            raise unavailable(error) from error

    async def check_durability(self) -> None:
        """Asks the server whether it can keep the promise; one that is away is asked by each write.

        Raises:
            StockadeError: `queue.not_durable`.
        """
        if self._confirmation is None:
            return
        try:
            await self.call(*self._confirmation)
        except StockadeError as error:
            if not error.retryable:
                raise

    async def close(self) -> None:
        """Closes the idle connections; those in use close when they are given back."""
        self._closed = True
        await self._drop_idle()

    async def _repeat(self, send: Callable[..., Awaitable[Any]], *arguments: object) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + self._retry_seconds, 0.02
        while True:
            try:
                return await send(*arguments)
            except _FAILURES as error:
                if not _will_pass(error) or self._closed or loop.time() + pause > give_up:
                    raise unavailable(error) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries
            pause = min(pause * 2, 0.5)

    async def _evaluate(self, script: RedisScript, prefix: str, arguments: tuple[Part, ...]) -> Any:  # noqa: ANN401
        try:
            return await self._carry_out(script, (b"EVALSHA", script.sha, 1, prefix, *arguments))
        except NoScriptError:
            return await self._carry_out(script, (b"EVAL", script.text, 1, prefix, *arguments))

    async def _carry_out(self, script: RedisScript, command: tuple[Part, ...]) -> Any:  # noqa: ANN401
        if not script.acknowledges or self._confirmation is None:
            return await self._exchange(command, 0.0)
        async with self._slots:
            return (await self._exchange_confirmed([command]))[0]

    async def _exchange_confirmed(self, commands: Sequence[tuple[Part, ...]]) -> list[Any]:
        # In one round trip: the confirmation is about what its own connection wrote before.
        confirmation = self._confirmation
        asked = [*commands, confirmation] if confirmation else commands
        replies: list[Any] = await self._exchange_now(asked, self._command_seconds, many=True)
        if confirmation:
            check_confirmed(confirmation, replies.pop())
        return replies

    async def _evaluate_many(
        self, script: RedisScript, prefix: str, calls: Sequence[tuple[Part, ...]]
    ) -> list[Any]:
        if not calls:
            return []
        evaluated = [(b"EVALSHA", script.sha, 1, prefix, *arguments) for arguments in calls]
        async with self._slots:
            try:
                return await self._exchange_confirmed(evaluated)
            except NoScriptError:
                # Loaded in the same breath: a cluster may have these keys at another node than
                # others.
                load: tuple[Part, ...] = (b"SCRIPT", b"LOAD", script.text)
                return (await self._exchange_confirmed([load, *evaluated]))[1:]

    async def _exchange(self, parts: tuple[Part, ...], block_seconds: float) -> Any:  # noqa: ANN401
        if block_seconds:
            return await self._exchange_now([parts], self._command_seconds + block_seconds)
        async with self._slots:
            return await self._exchange_now([parts], self._command_seconds)

    async def _exchange_now(
        self, commands: Sequence[tuple[Part, ...]], seconds: float, *, many: bool = False
    ) -> Any:  # noqa: ANN401
        for _ in range(_MOST_MOVES):
            try:
                return await self._exchange_here(commands, seconds, many=many)
            except MovedError as moved:
                # Nothing was carried out: a cluster has these keys at another node.
                self._addresses.follow(moved)
                await self._drop_idle()
        raise RedisConnectionError("The keys move from node to node.")

    async def _exchange_here(
        self, commands: Sequence[tuple[Part, ...]], seconds: float, *, many: bool = False
    ) -> Any:  # noqa: ANN401
        if self._closed:
            raise RedisConnectionError("The queue was closed.")
        connection, fresh = await self._taken()
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                if fresh:
                    await self._addresses.check(connection)
                packed = b"".join(_packed(parts) for parts in commands)
                await connection.send_packed_command(packed, check_health=False)
                replies = [await connection.read_response(disable_decoding=True) for _ in commands]
        except ResponseError as refusal:
            if _is_demoted(refusal):
                self._addresses.turn()
                many = True
            # After a refusal in the middle, the answers behind it are still on their way.
            await (connection.disconnect(nowait=True) if many else self._give_back(connection))
            raise
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
        except BaseException:
            await connection.disconnect(nowait=True)
            await self._drop_idle()
            self._addresses.turn()
            raise
        await self._give_back(connection)
        if seconds <= self._command_seconds:
            self._on_answer(_asked(commands[0]), time.monotonic() - began)
        return replies if many else replies[0]

    async def _taken(self) -> tuple[AbstractConnection, bool]:
        # A server that went away closed what is idle: a command that may not be sent twice must not
        # find that out.
        while self._idle:
            connection = self._idle.pop()
            if not _is_closed(connection):
                return connection, False
            await connection.disconnect(nowait=True)
        return self._addresses.connection(), True

    async def _give_back(self, connection: AbstractConnection) -> None:
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)

    async def _drop_idle(self) -> None:
        # When one connection broke, the others most likely did: a retry shall not meet them one by
        # one.
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)


def _is_closed(connection: AbstractConnection) -> bool:
    reader = connection._reader  # noqa: SLF001 - the public way to ask reads from the socket
    return reader is None or reader.at_eof()


def _is_demoted(refusal: ResponseError) -> bool:
    """Whether this says that the server is a primary no more."""
    return isinstance(refusal, ReadOnlyError) or str(refusal).startswith(_DEMOTED_WORDS)


def _asked(parts: tuple[Part, ...]) -> str:
    """The script or command, in lower case."""
    if parts[0] in {b"EVALSHA", b"EVAL"}:
        return _SCRIPT_NAMES[str(parts[1])]
    return parts[0].lower() if isinstance(parts[0], str) else "script"


def _packed(parts: tuple[Part, ...]) -> bytes:
    """One command on the wire, by hiredis: redis-py packs several times slower in Python."""
    encoded = (part.encode("utf-8", ERRORS) if isinstance(part, str) else part for part in parts)
    packed: bytes = pack_command(tuple(encoded))  # type: ignore[arg-type] # its stub takes one part
    return packed


def unavailable(error: Exception) -> StockadeError:
    """How a failure of the server reads to a caller.

    Raises:
        RuntimeError: When the server refused a command as wrong, which is our own fault.
    """
    message = "The queue cannot be reached at the moment. Try again."
    if "NOGROUP" in str(error):
        return GroupMissingError("queue.unavailable", message, retryable=True)
    if "appendonly is disabled" in str(error):
        return not_durable()
    if isinstance(error, UnconfirmedError):
        message = "The queue's server could not put this where it is safe. Try again."
    elif isinstance(error, OutOfMemoryError):
        message = "The queue's server is out of memory. Try again later."
    elif isinstance(error, _REFUSED):
        message = "The queue's server refuses these credentials. Check the configured URL."
    elif isinstance(error, ResponseError) and not _will_pass(error):
        raise RuntimeError("The queue's server refused a command.") from error
    return StockadeError("queue.unavailable", message, retryable=True)


def _will_pass(error: Exception) -> bool:
    if isinstance(error, _REFUSED):
        return False
    return isinstance(error, _PASSING) or str(error).startswith(_PASSING_WORDS)
