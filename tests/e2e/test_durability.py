"""What an acknowledgement waits for, with a real primary and a real replica."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stockade.core.durability import Durability
from stockade.core.errors import StockadeError
from stockade.core.outcomes import State
from stockade.infra.embedded_valkey import EmbeddedValkey
from stockade.infra.redis_connection import RedisConnections
from stockade.infra.redis_queue import RedisInvocationQueue
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
