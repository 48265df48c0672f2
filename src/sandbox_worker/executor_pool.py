"""A worker's executors: forked when needed, each for one tenant; the longest idle ends first."""

import asyncio

from sandbox_worker.executor_client import ExecutorClient
from stockade.core.jail_control import JailRole
from stockade.core.ports import Jail


class ExecutorPool:
    """Lends executors; each serves one tenant until it is recycled.

    Args:
        jail: Where executors come from.
        max_executors: How many may live at once, idle ones included.
        runs_per_executor: An executor is replaced after so many runs.
    """

    def __init__(self, jail: Jail, max_executors: int, runs_per_executor: int) -> None:
        self._jail = jail
        self._max_executors = max_executors
        self._runs_per_executor = runs_per_executor
        self._idle: list[ExecutorClient] = []
        self._living = 0
        self._changed = asyncio.Condition()

    async def acquire(self, tenant: str, digest: str) -> ExecutorClient:
        """An executor for this tenant alone, with the module loaded already where possible.

        Raises:
            StockadeError: `jail.unavailable`.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._idle or self._living < self._max_executors)
            await self._end_the_dead()
            if executor := self._take_idle(tenant, digest):
                return executor
            if self._living >= self._max_executors:
                await self._end(self._idle.pop(0))
            self._living += 1
        return await self._fork(tenant)

    async def release(self, executor: ExecutorClient) -> None:
        """Takes a lent executor back; one that is spent or unwell is ended."""
        async with self._changed:
            if executor.healthy and executor.runs < self._runs_per_executor:
                self._idle.append(executor)
            else:
                await self._end(executor)
            self._changed.notify()

    async def aclose(self) -> None:
        """Ends all idle executors."""
        async with self._changed:
            while self._idle:
                await self._end(self._idle.pop())

    async def _fork(self, tenant: str) -> ExecutorClient:
        try:
            return ExecutorClient(await self._jail.fork(JailRole.EXECUTOR), tenant)
        except BaseException:
            async with self._changed:
                self._living -= 1
                self._changed.notify()
            raise

    def _take_idle(self, tenant: str, digest: str) -> ExecutorClient | None:
        own = [executor for executor in self._idle if executor.tenant == tenant]
        if not own:
            return None
        executor = next((one for one in reversed(own) if one.has(digest)), own[-1])
        self._idle.remove(executor)
        return executor

    async def _end_the_dead(self) -> None:
        for executor in [one for one in self._idle if not one.alive]:
            self._idle.remove(executor)
            await self._end(executor)

    async def _end(self, executor: ExecutorClient) -> None:
        self._living -= 1
        await executor.aclose()
