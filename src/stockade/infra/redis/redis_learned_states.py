"""`LearnedStates` in Redis: one hash for each scope, in the tenant's own partition."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from stockade.core.errors import StockadeError
from stockade.core.learned_states import (
    ASIDE_MS,
    KEPT_MS,
    MOST_SCOPES,
    LearnedState,
    Scope,
    StateWrite,
)
from stockade.infra.learned_values import name_of, packed, scope_of, unpacked
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_connection import Part, RedisConnections, RedisScript
from stockade.infra.redis.redis_keys import RedisKeys, partition_of

_SCRIPT = RedisScript.load("learned_states")
_COMMON = QueueSettings().common
Call = tuple[Part, ...]


class RedisLearnedStates:
    """See `LearnedStates`. The platform's scope is in partition 0.

    Args:
        connections: To each partition's server, closed with this.
        kept_ms: How long what nobody writes stays.
        most_scopes: Of one tenant.
    """

    def __init__(
        self,
        connections: Sequence[RedisConnections],
        kept_ms: int = KEPT_MS,
        most_scopes: int = MOST_SCOPES,
    ) -> None:
        self._connections = connections
        self._kept_ms, self._most_scopes = kept_ms, most_scopes

    @classmethod
    def open(cls, url: str, partitions: int) -> "RedisLearnedStates":
        """With connections of its own, which wait for nobody: who asks goes on without."""
        return cls(
            [RedisConnections(url, command_seconds=1.0, retry_seconds=0) for _ in range(partitions)]
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        for connections in self._connections:
            await connections.close()

    async def load(self, scopes: Sequence[Scope]) -> list[LearnedState | None]:
        """The states, in the order of the scopes."""
        calls = [(scope, ("load", *name_of(scope))) for scope in scopes]
        return [None if found is None else _state(found) for found in await self._run(calls)]

    async def swap(self, writes: Sequence[StateWrite]) -> list[bool | None]:
        """Keeps each state whose scope nobody else wrote meanwhile; whether it did."""
        bounds = (self._kept_ms, self._most_scopes)
        calls = [
            (
                one.scope,
                (
                    *("swap", *name_of(one.scope), one.revision, packed(one.state)),
                    *(one.token, int(one.aside), *bounds),
                ),
            )
            for one in writes
        ]
        return [_done(found) for found in await self._run(calls)]

    async def set_aside(self, scope: Scope, revision: int) -> bool | None:
        """Puts away what could not be read, if it is still there; the scope begins anew."""
        call = ("aside", *name_of(scope), revision, ASIDE_MS, self._kept_ms)
        (found,) = await self._run([(scope, call)])
        return _done(found)

    async def freeze(self, scope: Scope, *, frozen: bool) -> bool | None:
        """Keeps a scope as it is, or no more; of a tenant all of its scopes."""
        call = ("freeze", *name_of(scope), int(frozen), self._kept_ms)
        (found,) = await self._run([(scope, call)])
        return _done(found)

    async def scopes(self, tenant: str) -> list[Scope] | None:
        """The scopes of a tenant that were written or frozen, in order."""
        connections, prefix = self._place((tenant,))
        try:
            found = await connections.call("ZRANGE", f"{prefix}learnedindex:{tenant}", 0, -1)
        except StockadeError:
            return None
        return sorted(scope_of(tenant, name) for name in found)

    async def _run(self, calls: Sequence[tuple[Scope, Call]]) -> list[list[bytes] | None]:
        """Runs a call for each scope, one round trip for each partition, all of them at once."""
        places: dict[int, list[int]] = defaultdict(list)
        for i, (scope, _) in enumerate(calls):
            places[self._partition(scope)].append(i)
        answers: list[list[bytes] | None] = [None] * len(calls)

        async def ask(partition: int, mine: list[int]) -> None:
            prefix, asked = RedisKeys(partition).prefix, [(*_COMMON, *calls[i][1]) for i in mine]
            try:
                found = await self._connections[partition].run_many(_SCRIPT, prefix, asked)
            except StockadeError:
                return
            for i, answer in zip(mine, found, strict=True):
                answers[i] = answer

        await asyncio.gather(*(ask(*place) for place in places.items()))
        return answers

    def _place(self, scope: Scope) -> tuple[RedisConnections, str]:
        partition = self._partition(scope)
        return self._connections[partition], RedisKeys(partition).prefix

    def _partition(self, scope: Scope) -> int:
        return partition_of(scope[0], len(self._connections)) if scope else 0


def _done(found: list[bytes] | None) -> bool | None:
    return None if found is None else bool(int(found[0]))


def _state(found: list[bytes]) -> LearnedState:
    revision, state, frozen, aside, token = found
    return LearnedState(
        int(revision),
        unpacked(state) if state else None,
        bool(int(frozen)),
        bool(int(aside)),
        token.decode(errors="replace"),
    )
