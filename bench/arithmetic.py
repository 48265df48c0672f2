"""What one invocation asks of the queue's server: commands, processor time, bytes."""

import statistics
from dataclasses import dataclass

import redis.asyncio

from bench.end_to_end import Service, invoke_seconds

RUNS = 2000
_SENT = {"evalsha", "eval", "xreadgroup", "xread", "waitaof"}
"""What processes send; the rest runs inside scripts. `hmget` does both and is counted apart."""


@dataclass(frozen=True, slots=True)
class Asked:
    """For one invocation of 1 KB in and out that somebody waits for."""

    commands: float
    inner_commands: float
    server_us: float
    in_bytes: float
    out_bytes: float
    file_bytes: float
    record_bytes: float


async def asked_of_the_server(service: Service, body: bytes) -> Asked:
    """Measured over `RUNS` invocations by 16 callers, with fsync before each acknowledgement."""
    async with redis.asyncio.from_url(service.redis_url) as client:
        await invoke_seconds(service, body, 16, 200)
        await client.config_resetstat()
        before = await _file_bytes(client)
        times, _ = await invoke_seconds(service, body, 16, RUNS)
        count = len(times) + 200  # its own warm-up
        stats = await client.info("commandstats")
        told = await client.info("stats")
        calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
        sent = sum(calls.get(name, 0) for name in _SENT) + count  # one look at the record each
        scripts = stats.get("cmdstat_evalsha", {}).get("usec", 0)
        own = sum(stats.get(f"cmdstat_{one}", {}).get("usec", 0) for one in ("xreadgroup", "xread"))
        return Asked(
            commands=sent / count,
            inner_commands=(sum(calls.values()) - sent) / count,
            server_us=(scripts + own) / count,
            in_bytes=told["total_net_input_bytes"] / count,
            out_bytes=told["total_net_output_bytes"] / count,
            file_bytes=(await _file_bytes(client) - before) / count,
            record_bytes=await _record_bytes(client),
        )


async def _file_bytes(client: redis.asyncio.Redis) -> int:
    size: int = (await client.info("persistence"))["aof_current_size"]
    return size


async def _record_bytes(client: redis.asyncio.Redis) -> float:
    """The median of some records that are done."""
    keys = [key async for key in client.scan_iter("sk:*:inv:*", count=1000)]
    found = [await client.memory_usage(key, samples=0) for key in keys[:200]]
    return statistics.median(found)
