"""`python -m bench.retry.sharing`: what a round of sharing costs, against the floor of its bytes.

Over a Valkey of its own. The floor reads and writes as many bytes under as many keys with plain
pipelined GET and SET; a round loads, decodes, teaches, encodes, compares and swaps.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from sandbox_worker.learning import SharedLearning
from sandbox_worker.metrics import WorkerMetrics
from stockade.core.outcomes import Outcome, Usage
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.state import plain
from stockade.retry.types import AttemptObservation, Source

FUNCTIONS, ROUNDS, ENDS = 200, 30, 10


def ends(rng: random.Random, now_ms: int) -> list[AttemptObservation]:
    """Some ends of each function: four in five complete, the others are retries that fail."""
    end = AttemptObservation(Source("t", "", 1), Outcome.COMPLETED, now_ms, Usage(10**6, 2**21, 50))
    made = []
    for i in range(FUNCTIONS):
        source = Source("t", f"f{i}", 1)
        for j in range(ENDS):
            one = replace(end, source=source, now_ms=now_ms + j, usage=Usage(rng.randrange(10**6)))
            if j % 5 == 0:
                one = replace(one, outcome=Outcome.REJECTED, attempt=2, basis="rej..busy.001")
            made.append(one)
    return made


async def timed(step: Callable[[], Awaitable[object]]) -> float:
    """Microseconds."""
    begin = time.perf_counter_ns()
    await step()
    return (time.perf_counter_ns() - begin) / 1000


async def measured(url: str) -> tuple[float, float, float]:
    """Medians for each function of a round: sharing, the floor, and a look without news."""
    rng = random.Random(1)  # noqa: S311 (no secret)
    states, connections = RedisLearnedStates.open(url, 1), RedisConnections(url)
    policy = LearnedRetryPolicy(rng.random)
    learning = SharedLearning(policy, FixedRetryPolicy(rng.random), states, WorkerMetrics())
    rounds, floors, looks = [], [], []
    for i in range(ROUNDS):
        for end in ends(rng, 1_700_000_000_000 + 500 * i):
            learning.observe(end)
        rounds.append(await timed(learning.share))
        looks.append(await timed(learning.share))
        blobs = [
            msgspec.msgpack.encode(plain(part))
            for key, part in policy.memory.parts.items()
            if key[1:]
        ]
        floors.append(await timed(lambda blobs=blobs: floor(connections, blobs)))  # type: ignore[misc]
    await states.aclose()
    await connections.close()
    return tuple(statistics.median(one) / FUNCTIONS for one in (rounds, floors, looks))  # type: ignore[return-value]


async def floor(connections: RedisConnections, blobs: list[bytes]) -> None:
    """Reads and writes as many bytes, in as few round trips."""
    names = [f"floor{i}" for i in range(len(blobs))]
    await connections.call("MGET", *names)
    await connections.call(
        "MSET", *(part for pair in zip(names, blobs, strict=True) for part in pair)
    )


async def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder))
        await server.start()
        try:
            shared, least, look = await measured(server.url)
        finally:
            await server.stop()
    ratio = shared / least
    print(f"{FUNCTIONS} active functions, {ENDS} ends of each in a round, for each function:")
    print(f"sharing {shared:.0f} µs, {ratio:.1f} times the floor of {least:.0f} µs")
    print(f"(the same bytes by MGET and MSET); a look without news {look:.0f} µs.")


if __name__ == "__main__":
    asyncio.run(main())
