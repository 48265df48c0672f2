"""One run for all who ask for the same thing at once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class SingleFlight(Generic[Key, Value]):
    """Shares what is under way. What has ended is forgotten."""

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Task[Value]] = {}

    async def run(self, key: Key, begin: Callable[[], Coroutine[None, None, Value]]) -> Value:
        """What `begin` returns or raises; joins it when it is under way for this key.

        Who is cancelled leaves alone: the others still get their answer.
        """
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(begin())
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: Key, done: asyncio.Task[Value]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            # Looked at here, since everybody who asked may have left.
            done.exception()
