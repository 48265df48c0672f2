"""A worker that learns and shares without pause, to be killed in the middle of it.

Usage: python -m tests.ports.learning_worker REDIS_URL TENANT
"""

import asyncio
import sys
from dataclasses import replace

from sandbox_worker.learning import SharedLearning
from sandbox_worker.metrics import WorkerMetrics
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from stockade.infra.system_clock import SystemClock
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.types import Source
from tests.unit.stockade.retry.contexts import BASIS, COMPLETED


def half() -> float:
    return 0.5


async def main(url: str, tenant: str) -> None:
    states, clock = RedisLearnedStates.open(url, 1), SystemClock()
    policy, fixed = LearnedRetryPolicy(half), FixedRetryPolicy(half)
    learning = SharedLearning(policy, fixed, states, WorkerMetrics())
    print("learning", flush=True)  # noqa: T201 (whoever started this waits for it)
    while True:
        for i in range(20):
            source = Source(tenant, f"f{i % 5}", 1)
            end = replace(COMPLETED, source=source, now_ms=clock.now_ms())
            learning.observe(end)
            learning.observe(replace(end, attempt=2, basis=BASIS))
        await learning.share()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
