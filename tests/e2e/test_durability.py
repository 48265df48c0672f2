"""What an acknowledgement waits for, with a real primary and a real replica."""

import asyncio
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation
from stockade.core.outcomes import Outcome, State
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from tests.e2e.test_queue_faults import CLOCK, asked, command, ended, until


@pytest.fixture
async def primary(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "primary")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def replica(tmp_path: Path, primary: EmbeddedValkey) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "replica")
    await server.start()
    place = urlsplit(primary.url)
    await command(server, "CONFIG", "SET", "masterauth", str(place.password))
    await command(primary, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
    await command(server, "REPLICAOF", str(place.hostname), str(place.port))

    async def synchronised() -> bool:
        return b"master_link_status:up" in bytes(await command(server, "INFO", "replication"))  # type: ignore[call-overload]

    await until(synchronised)
    yield server
    await server.stop()


def queue_at(url: str, durability: Durability, *, patient: bool = True) -> RedisInvocationQueue:
    connections = RedisConnections(
        url,
        durability=durability,
        command_seconds=5.0 if patient else 0.4,
        retry_seconds=5.0 if patient else 0.1,
    )
    return RedisInvocationQueue(connections, gateway="g", consumer="w")


async def test_what_a_replica_has_survives_the_primary(
    primary: EmbeddedValkey, replica: EmbeddedValkey
) -> None:
    queue = queue_at(primary.url, Durability.REPLICATED)
    waiting, ran = [asked() for _ in range(20)], asked()
    await queue.submit(ran)
    (claim,) = await queue.claim(1, 1.0)
    assert await queue.complete(claim, ended())
    await asyncio.gather(*(queue.submit(one) for one in waiting))
    os.kill(primary.pid, signal.SIGKILL)
    await command(replica, "REPLICAOF", "NO", "ONE")
    heir = queue_at(replica.url, Durability.FSYNC)
    record = await heir.record("acme", ran.id)
    assert record is not None
    assert record.state is State.DONE
    await heir.tick(100, CLOCK.now_ms())
    claimed = await heir.claim(100, 1.0)
    assert {one.invocation.id for one in claimed} == {one.id for one in waiting}
    await heir.aclose()
    await queue.aclose()


async def test_without_its_replica_nothing_is_acknowledged(
    primary: EmbeddedValkey, replica: EmbeddedValkey
) -> None:
    await replica.stop()
    queue = queue_at(primary.url, Durability.REPLICATED, patient=False)
    first, second = asked(), asked()
    with pytest.raises(StockadeError) as failure:
        await queue.submit(first)
    assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
    with pytest.raises(StockadeError) as failure:
        await queue.submit_many("acme", [second])
    assert failure.value.code == "queue.unavailable"
    await queue.aclose()
    # It may have been taken all the same; who sends it again gets the one invocation.
    queue = queue_at(primary.url, Durability.FSYNC)
    assert (await queue.submit(first)).id == first.id
    assert [one.invocation.id for one in await queue.claim(9, 0.0)] == [first.id, second.id]
    await queue.aclose()


Say = Callable[[RedisInvocationQueue, Invocation, Claim], Awaitable[object]]
ACKNOWLEDGED: dict[str, Say] = {
    "submit": lambda queue, _, claim: queue.submit(claim.invocation),
    "submit with a key": lambda queue, keyed, _: queue.submit(replace(keyed, id=CLOCK.new_id())),
    "submit many": lambda queue, _, claim: queue.submit_many("acme", [claim.invocation]),
    "complete": lambda queue, _, claim: queue.complete(claim, ended()),
    "cancel": lambda queue, keyed, _: queue.cancel("acme", keyed.id, CLOCK.now_ms()),
}


@pytest.mark.parametrize("say", ACKNOWLEDGED.values(), ids=ACKNOWLEDGED)
async def test_what_was_not_confirmed_is_not_when_it_is_sent_again(
    primary: EmbeddedValkey, replica: EmbeddedValkey, say: Say
) -> None:
    keyed = replace(asked(), idempotency_key="k")
    easy = queue_at(primary.url, Durability.MEMORY)
    await easy.submit(asked())
    (claim,) = await easy.claim(1, 1.0)
    os.kill(replica.pid, signal.SIGSTOP)  # connected, and it confirms nothing
    try:
        await easy.submit(keyed)
        for _ in range(2):
            queue = queue_at(primary.url, Durability.REPLICATED, patient=False)
            queue._nonces = itertools.repeat("the same call")  # type: ignore[assignment]
            with pytest.raises(StockadeError) as failure:
                await say(queue, keyed, claim)
            assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
            await queue.aclose()
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    queue = queue_at(primary.url, Durability.REPLICATED)
    assert await say(queue, keyed, claim) is not None
    await queue.aclose()
    await easy.aclose()


async def test_a_redrive_that_was_not_confirmed_is_not_when_it_is_sent_again(
    primary: EmbeddedValkey, replica: EmbeddedValkey
) -> None:
    easy = queue_at(primary.url, Durability.MEMORY)
    dead = asked()
    await easy.submit(dead)
    (claim,) = await easy.claim(1, 1.0)
    failed = replace(ended(), attempt=replace(ended().attempt, outcome=Outcome.TRAPPED))
    assert await easy.complete(claim, failed)
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            queue = queue_at(primary.url, Durability.REPLICATED, patient=False)
            queue._nonces = itertools.repeat("the same call")  # type: ignore[assignment]
            with pytest.raises(StockadeError):
                await queue.redrive("acme", dead.id)
            await queue.aclose()
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    await easy.aclose()


WAITING: dict[str, Callable[[RedisInvocationQueue], Awaitable[object]]] = {
    "claim": lambda queue: queue.claim(1, 3.0),
    "cancellations": lambda queue: queue.cancellations(3.0),
    "submit": lambda queue: queue.submit(asked()),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
async def test_who_waits_at_a_primary_that_is_demoted_is_told_to_come_again(
    primary: EmbeddedValkey,
    replica: EmbeddedValkey,
    wait: Callable[[RedisInvocationQueue], Awaitable[object]],
) -> None:
    queue = queue_at(primary.url, Durability.REPLICATED)
    queue._connections._retry_seconds = 0.1
    await queue.record("acme", "none")  # a connection is there
    os.kill(replica.pid, signal.SIGSTOP)  # what is to be confirmed waits
    try:
        waiting = asyncio.ensure_future(wait(queue))

        async def waits() -> bool:
            told = bytes(await command(primary, "INFO", "clients"))  # type: ignore[call-overload]
            return b"blocked_clients:1" in told

        await until(waits)
        await command(primary, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StockadeError) as failure:
            await waiting
        assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
    finally:
        os.kill(replica.pid, signal.SIGCONT)
        await queue.aclose()


async def test_a_refusal_of_a_demoted_primary_does_not_count(primary: EmbeddedValkey) -> None:
    queue = queue_at(primary.url, Durability.FSYNC, patient=False)
    assert await queue.cancel("acme", "none", 0) is None
    await command(primary, "REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(StockadeError) as failure:
        await queue.cancel("acme", "none", 0)
    assert (failure.value.code, failure.value.retryable) == ("queue.unavailable", True)
    await queue.aclose()


@pytest.mark.parametrize("durability", [Durability.FSYNC, Durability.REPLICATED])
async def test_a_server_without_a_file_is_found_out(
    primary: EmbeddedValkey, durability: Durability
) -> None:
    await command(primary, "CONFIG", "SET", "appendonly", "no")
    queue = queue_at(primary.url, durability)
    for call in (queue._connections.check_durability(), queue.submit(asked())):
        with pytest.raises(StockadeError) as failure:
            await call
        assert (failure.value.code, failure.value.retryable) == ("queue.not_durable", False)
    await queue.aclose()
    easy = queue_at(primary.url, Durability.MEMORY)
    await easy._connections.check_durability()
    assert (await easy.submit(asked())).created
    await easy.aclose()


async def test_a_server_that_is_away_is_asked_later(primary: EmbeddedValkey) -> None:
    queue = queue_at(primary.url, Durability.FSYNC, patient=False)
    await primary.stop()
    await queue._connections.check_durability()
    await queue.aclose()


@pytest.mark.parametrize(("durability", "waits"), [(Durability.FSYNC, 6), (Durability.MEMORY, 0)])
async def test_each_acknowledgement_is_waited_for(
    primary: EmbeddedValkey, durability: Durability, waits: int
) -> None:
    queue = queue_at(primary.url, durability)
    await acknowledge_six_times(queue)  # the server knows all scripts then
    await command(primary, "CONFIG", "RESETSTAT")
    await acknowledge_six_times(queue)
    await queue.aclose()
    told = bytes(await command(primary, "INFO", "commandstats"))  # type: ignore[call-overload]
    found = re.search(rb"cmdstat_waitaof:calls=(\d+)", told)
    assert (int(found[1]) if found else 0) == waits


async def acknowledge_six_times(queue: RedisInvocationQueue) -> None:
    for invocation in (asked(), asked()):
        await queue.submit(invocation)
    first, second = await queue.claim(2, 1.0)
    await queue.hand_back(first, ran=True)
    await queue.complete(second, ended())
    await queue.cancel("acme", first.invocation.id, CLOCK.now_ms())
    later = CLOCK.now_ms() + 3_600_000
    await queue.submit_many("acme", [replace(asked(), run_at_ms=later) for _ in range(50)])


def both(first: EmbeddedValkey, second: EmbeddedValkey) -> str:
    """A URL with both addresses, and the password that both are given."""
    place, other = urlsplit(first.url), urlsplit(second.url)
    return f"redis://:{place.password}@127.0.0.1:{other.port},127.0.0.1:{place.port}/0"


@pytest.mark.parametrize("end", ["dies", "is demoted"])
async def test_whoever_is_the_primary_is_found(
    primary: EmbeddedValkey, replica: EmbeddedValkey, end: str
) -> None:
    place = urlsplit(primary.url)
    await command(replica, "CONFIG", "SET", "requirepass", str(place.password))
    queue = queue_at(both(primary, replica), Durability.FSYNC)
    before, after = asked(), asked()
    await queue.submit(before)
    replica_url = f"redis://:{place.password}@127.0.0.1:{urlsplit(replica.url).port}/0"
    heir = RedisConnections(replica_url)

    async def copied() -> bool:
        return bool(await heir.call("EXISTS", f"sk:{{p00}}:inv:{before.id}"))

    await until(copied)
    if end == "dies":
        os.kill(primary.pid, signal.SIGKILL)
    await heir.call("REPLICAOF", "NO", "ONE")
    if end == "is demoted":
        await command(primary, "CONFIG", "SET", "masterauth", str(place.password))
        await command(primary, "REPLICAOF", "127.0.0.1", str(urlsplit(replica.url).port))
    assert (await queue.submit(after)).created
    assert await heir.call("EXISTS", f"sk:{{p00}}:inv:{after.id}") == 1
    taken: list[str] = []
    while len(taken) < 2:
        with suppress(StockadeError):
            taken += [one.invocation.id for one in await queue.claim(9, 0.2)]
    assert sorted(taken) == sorted([before.id, after.id])
    await heir.close()
    await queue.aclose()
