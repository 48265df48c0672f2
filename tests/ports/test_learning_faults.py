"""Learning over a real Valkey: many at once, killed, restarted; nothing torn, nothing twice."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox_worker.learning import SharedLearning
from sandbox_worker.metrics import WorkerMetrics
from stockade.core.learned_states import Scope
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_learned_states import RedisLearnedStates
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.parts import Part
from stockade.retry.state import part_of
from tests.ports.learning_worker import half
from tests.ports.valkey_fixture import flush
from tests.unit.stockade.retry.contexts import COMPLETED, FAILED, NOW_MS, REJECTED, SOURCE

pytest_plugins = ("tests.ports.valkey_fixture",)

FUNCTION: Scope = ("acme", "f", "1")
_ROOT = Path(__file__).parents[2]
_KEY = hashlib.sha1(b"f/1", usedforsecurity=False).hexdigest()


@pytest.fixture
async def states(valkey: EmbeddedValkey) -> AsyncIterator[RedisLearnedStates]:
    await flush(valkey.url)
    made = RedisLearnedStates.open(valkey.url, 1)
    yield made
    await made.aclose()


def worker(states: RedisLearnedStates) -> SharedLearning:
    policy, fixed = LearnedRetryPolicy(half), FixedRetryPolicy(half)
    return SharedLearning(policy, fixed, states, WorkerMetrics())


def saw(one: SharedLearning, count: int, *, good: bool = True, since_ms: int = 0) -> None:
    end = COMPLETED if good else REJECTED
    for i in range(count):
        one.observe(replace(end, now_ms=NOW_MS + since_ms + i))


async def part_in(states: RedisLearnedStates, scope: Scope = FUNCTION) -> Part:
    (found,) = await states.load([scope])
    assert found is not None
    return Part() if found.state is None else part_of(found.state)


async def test_workers_that_share_at_once_know_what_one_would(states: RedisLearnedStates) -> None:
    workers = [worker(states) for _ in range(8)]
    for i, one in enumerate(workers):
        saw(one, 20, since_ms=i)
        saw(one, 2, good=False, since_ms=100 + 2 * i)
    while any(one._journal.lessons or one._in_hand for one in workers):
        await asyncio.gather(*(one.share() for one in workers))
    part = await part_in(states)
    assert part.firsts.trials == pytest.approx(176, abs=0.5)
    assert (part.outage.failures, part.outage.since_ms) == (16, NOW_MS + 100)
    for one in workers:
        one._seen.clear()
        await one.prepare(SOURCE)
        assert "16 failures in a row" in one.decide(replace(FAILED, now_ms=NOW_MS + 999)).reason


async def test_workers_killed_in_the_middle_leave_whole_states(
    valkey: EmbeddedValkey, states: RedisLearnedStates
) -> None:
    seen = 0.0
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.ports.learning_worker", valkey.url, "acme"),
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"learning\n"
            before = [await part_in(states, ("acme", f"f{i}", "1")) for i in range(5)]
            async with asyncio.timeout(30):
                while await revisions(states) < seen + 50:
                    await asyncio.sleep(0.003)
        finally:
            process.kill()
            await process.wait()
        seen = await revisions(states)
        for i, part in enumerate(before):
            assert (await part_in(states, ("acme", f"f{i}", "1"))).needs.keys() >= part.needs.keys()
    for scope in await states.scopes("acme") or []:
        await part_in(states, scope)
    one = worker(states)
    await one.prepare(replace(SOURCE, function="f0"))
    assert one.decide(replace(FAILED, source=replace(SOURCE, function="f0"))).success
    assert not one._is_aside(replace(SOURCE, function="f0"))


async def revisions(states: RedisLearnedStates) -> int:
    found = await states.load([("acme", f"f{i}", "1") for i in range(5)])
    return sum(one.revision for one in found if one is not None)


async def test_a_restart_of_valkey_forgets_nothing_and_delays_nobody(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    states = RedisLearnedStates.open(server.url, 1)
    one = worker(states)
    saw(one, 20)
    await one.share()
    await server.stop()
    saw(one, 10, since_ms=50)
    await one.share()
    async with asyncio.timeout(1):
        await one.prepare(SOURCE)
    assert one.decide(FAILED).retry
    assert (one._journal.lessons, one._in_hand) == (10, {})
    await server.start()
    await states.aclose()
    states = one._states = RedisLearnedStates.open(server.url, 1)
    async with asyncio.timeout(20):
        while one._journal.lessons:
            await one.share()
            await asyncio.sleep(0.05)
    assert (await part_in(states)).firsts.trials == pytest.approx(30, abs=0.1)
    other = worker(states)
    await other.prepare(SOURCE)
    assert other._memory.part(FUNCTION) == await part_in(states)
    await states.aclose()
    await server.stop()


async def test_a_server_that_lost_everything_is_told_again(
    valkey: EmbeddedValkey, states: RedisLearnedStates
) -> None:
    one = worker(states)
    saw(one, 20)
    await one.share()
    await flush(valkey.url)
    saw(one, 5, since_ms=50)
    await one.share()
    assert (await part_in(states)).firsts.trials == pytest.approx(5, abs=0.1)
    assert one._memory.part(FUNCTION).firsts.trials == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("spoilt", [b"\xc1", b"\x93\x02\x90\xc0", b"x" * 9000])
async def test_a_state_that_was_spoilt_is_put_away_and_kept_for_a_week(
    valkey: EmbeddedValkey, states: RedisLearnedStates, spoilt: bytes
) -> None:
    one, connections = worker(states), RedisConnections(valkey.url)
    saw(one, 20)
    await one.share()
    (key,) = await connections.call("KEYS", f"*learned:{_KEY}:acme")
    await connections.call("HSET", key, "s", spoilt)
    one._seen.clear()
    await one.prepare(SOURCE)
    assert one.decide(FAILED).reason.startswith("What was learned could not be read")
    (aside,) = await connections.call("KEYS", f"*learnedaside:{_KEY}:acme")
    assert await connections.call("HGET", aside, "s") == spoilt
    await connections.close()
