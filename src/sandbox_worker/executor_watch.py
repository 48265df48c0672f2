"""Watches the executors that run: what they hold, measured from outside, against their run's limit.

The engine bounds a guest's own memory; this bounds the process around it, whatever it does. A
process that passes its bound is killed, and its run ends at its memory limit.
"""

import asyncio

import structlog

from sandbox_worker.executor_client import ExecutorClient
from sandbox_worker.executor_pool import ExecutorPool
from sandbox_worker.executor_task import Task
from stockade.core.outcomes import Outcome
from stockade.core.ports import ProcessMeter

WATCH_SECONDS = 0.02
_SLACK_BYTES = 48 * 1024 * 1024
"""Compiled modules, the interpreter's own, and copies of what goes in and out."""
_log = structlog.get_logger()


class ExecutorWatch:
    """Looks at every lent executor again and again.

    Args:
        pool: Whose executors.
        meter: Measures them.
        slack_bytes: What a process may hold beyond its run's limits.
    """

    def __init__(
        self, pool: ExecutorPool, meter: ProcessMeter, slack_bytes: int = _SLACK_BYTES
    ) -> None:
        self._pool = pool
        self._meter = meter
        self._slack_bytes = slack_bytes

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.look()

    def look(self) -> None:
        """Looks once, and kills what holds too much."""
        for executor in list(self._pool.lent):
            task = executor.task
            if task is not None and self._is_too_large(executor, task):
                _log.warning("executor_over_memory", tenant=executor.tenant, digest=task.digest)
                executor.kill_for(Outcome.LIMIT_EXCEEDED, "memory")

    def _is_too_large(self, executor: ExecutorClient, task: Task) -> bool:
        held = self._meter.resident_bytes(executor.process_id)
        limits = task.limits
        copies = 2 * (len(task.data) + limits.output_bytes + limits.log_bytes)
        allowed = limits.memory_bytes + copies + len(task.artifact) + self._slack_bytes
        return held is not None and held - self._pool.born_bytes(executor) > allowed
