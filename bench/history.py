"""What the history costs: runs a second against plain inserts, and the step that tells of ends."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import insert

from bench.queue_load import asked, ended, queue_at, running_valkey
from gateway.history_recorder import AT_ONCE, HistoryMeter, HistoryRecorder
from stockade.core.history import InvocationHistory, PastAttempt, Run
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.infra.history_values import row_of, rows_of
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis import redis_queue
from stockade.infra.redis.redis_connection import _SCRIPT_NAMES, RedisConnections, RedisScript
from stockade.infra.redis.redis_history import RedisHistoryFeed
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_tables_history import history_attempts, history_runs
from stockade.infra.system_clock import SystemClock

_CLOCK = SystemClock()
_TOLD = "  note(id)\n  send_hint"


@dataclass(frozen=True, slots=True)
class Speeds:
    """Runs a second: plain inserts of their rows, the store, the whole recorder."""

    plain: float
    store: float
    recorder: float


@dataclass(frozen=True, slots=True)
class Telling:
    """Seconds from submit to complete, and the server's bytes, with the entry and without it."""

    told: list[float]
    silent: list[float]
    entry_bytes: float


def histories(count: int) -> list[InvocationHistory]:
    """Runs of one attempt, of a hundred functions."""
    now = _CLOCK.now_ms()
    cost = Usage(1_000_000, 1_048_576, 1.5, 0.5, 1024, 1024, 0, 3)
    attempt = Attempt(1, Outcome.COMPLETED, "It completed.", cost, ended_ms=now)
    module = "sha256:" + "a" * 64
    return [
        InvocationHistory(
            "acme",
            _CLOCK.new_id(),
            f"f{number % 100}",
            1,
            module,
            now,
            "0af7651916cd43dd8448eb211c80319c",
            (attempt,),
            (),
            Outcome.COMPLETED,
            now,
            started_ms=now,
        )
        for number in range(count)
    ]


async def record_speeds(url: str, rounds: int) -> Speeds:
    """In turn, so that all meet the same machine and the same growing tables."""
    catalog = await SqlCatalog.open(url)
    store = catalog.history_store()
    plain: list[float] = []
    stored: list[float] = []
    for _ in range(rounds):
        rows = rows_of(histories(AT_ONCE))
        started = time.perf_counter()
        await _insert_plainly(catalog, rows.runs, rows.attempts)
        plain.append(time.perf_counter() - started)
        batch = histories(AT_ONCE)
        started = time.perf_counter()
        await store.record(batch)
        stored.append(time.perf_counter() - started)
    recorder = await _recorder_speed(catalog, rounds)
    await catalog.aclose()
    return Speeds(AT_ONCE * rounds / sum(plain), AT_ONCE * rounds / sum(stored), recorder)


async def _insert_plainly(
    catalog: SqlCatalog, runs: Sequence[Run], attempts: Sequence[PastAttempt]
) -> None:
    async with catalog._writer.writing() as connection:  # noqa: SLF001 - the floor
        await connection.execute(insert(history_runs), [row_of(run) for run in runs])
        await connection.execute(insert(history_attempts), [row_of(one) for one in attempts])


async def _recorder_speed(catalog: SqlCatalog, rounds: int) -> float:
    """From the stream and the records in Valkey to confirmed rows."""
    async with running_valkey("everysec") as server:
        queue = queue_at(server.url, "bench")
        await run_many(queue, AT_ONCE * rounds)
        connections, meter = RedisConnections(server.url), HistoryMeter()
        feed = RedisHistoryFeed(connections, RedisKeys(), "bench", QueueSettings())
        recorder = HistoryRecorder(feed, catalog.history_store(), meter)
        started = time.perf_counter()
        while meter.runs < AT_ONCE * rounds:
            await recorder.round()
        taken = time.perf_counter() - started
        await connections.close()
        await queue.aclose()
    return AT_ONCE * rounds / taken


async def run_many(queue: RedisInvocationQueue, count: int) -> None:
    """Completes so many."""
    done = 0
    while done < count:
        await queue.submit_many("acme", [asked("acme") for _ in range(16)])
        await queue.tick(16, 0)
        for claim in await queue.claim(16, 0.25):
            await queue.complete(claim, ended())
            done += 1


async def telling(rounds: int, each: int) -> Telling:
    """What the entry adds to an invocation; without it the same scripts lack the one line."""
    scripts = {True: redis_queue._COMPLETE, False: _silent(redis_queue._COMPLETE)}  # noqa: SLF001
    times: dict[bool, list[float]] = {True: [], False: []}
    async with running_valkey("everysec") as server:
        queue = queue_at(server.url, "bench")
        await queue.tick(16, 0)
        for number in range(rounds * 2):
            tells = number % 2 == 0
            redis_queue._COMPLETE = scripts[tells]  # noqa: SLF001
            times[tells] += [await _one(queue) for _ in range(each)]
        redis_queue._COMPLETE = scripts[True]  # noqa: SLF001
        connections = RedisConnections(server.url)
        stream = RedisKeys().history
        taken = await connections.call("MEMORY", "USAGE", stream, "SAMPLES", 0)
        entry_bytes = int(taken) / int(await connections.call("XLEN", stream))
        await connections.close()
        await queue.aclose()
    return Telling(times[True], times[False], entry_bytes)


def _silent(script: RedisScript) -> RedisScript:
    if _TOLD not in script.text:
        raise RuntimeError("The line that tells of an end is another now.")
    text = script.text.replace(_TOLD, "  send_hint")
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    _SCRIPT_NAMES[sha] = _SCRIPT_NAMES[text] = "complete"
    return replace(script, text=text, sha=sha)


async def _one(queue: RedisInvocationQueue) -> float:
    await queue.submit(asked("acme"))
    (claim,) = await queue.claim(1, 1.0)
    await queue.begin(claim, 0)
    started = time.perf_counter()
    await queue.complete(claim, ended())
    return time.perf_counter() - started
