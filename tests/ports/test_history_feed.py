"""The `HistoryFeed` port over Valkey: every end is told, in the step that makes it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.history_recorder import HistoryMeter, HistoryRecorder
from stockade.core.history import HistoryStore, InvocationHistory, RunQuery, UsageQuery
from stockade.core.invocations import Invocation, InvocationRecord
from stockade.core.outcomes import Outcome
from stockade.core.ports import InvocationQueue
from stockade.infra.memory.memory_history import MemoryHistoryStore
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.embedded_valkey import EmbeddedValkey
from stockade.infra.redis.redis_connection import RedisConnections
from stockade.infra.redis.redis_history import RedisHistoryFeed
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_queue import RedisInvocationQueue
from tests.ports.test_invocation_queue import asked, claim_one, claim_running, ended, until
from tests.ports.valkey_fixture import CLOCK, flush

pytest_plugins = ("tests.ports.valkey_fixture",)
SETTINGS = QueueSettings(lease_ms=100, max_deaths=2)
KEYS = RedisKeys(0)
NOW = 0


@pytest.fixture
async def connections(valkey: EmbeddedValkey) -> AsyncIterator[RedisConnections]:
    await flush(valkey.url)
    made = RedisConnections(valkey.url)
    yield made
    await made.close()


@pytest.fixture
async def queue(connections: RedisConnections) -> RedisInvocationQueue:
    return RedisInvocationQueue(connections, consumer="worker", settings=SETTINGS)


@pytest.fixture
def feed(connections: RedisConnections) -> RedisHistoryFeed:
    return feed_of(connections)


def feed_of(
    connections: RedisConnections, name: str = "one", left_ms: int = 60_000
) -> RedisHistoryFeed:
    return RedisHistoryFeed(connections, KEYS, name, SETTINGS, left_ms)


def recorder_of(
    feed: RedisHistoryFeed, store: HistoryStore
) -> tuple[HistoryRecorder, HistoryMeter]:
    meter = HistoryMeter()
    return HistoryRecorder(feed, store, meter), meter


async def ids_told(feed: RedisHistoryFeed) -> list[str]:
    return [entry.invocation for entry in await feed.take(1000, 0.0)]


async def history_of(feed: RedisHistoryFeed, invocation: Invocation) -> InvocationHistory:
    (found,) = await feed.histories([invocation.id])
    assert isinstance(found, InvocationHistory)
    return found


async def submitted(queue: InvocationQueue, **changes: object) -> Invocation:
    invocation = asked(**changes)
    await queue.submit(invocation)
    return invocation


async def fail_once(queue: RedisInvocationQueue, *, again: bool = False) -> None:
    retry_at = CLOCK.now_ms() if again else None
    claim = await claim_running(queue)
    assert await queue.complete(claim, ended(Outcome.TRAPPED, claim.attempt, retry_at_ms=retry_at))


async def test_a_completion_is_told_and_the_record_says_the_rest(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    invocation = await submitted(queue, traceparent=trace)
    assert await ids_told(feed) == []
    assert await queue.complete(await claim_running(queue), ended())
    assert await ids_told(feed) == [invocation.id]
    found, record = await history_of(feed, invocation), await queue.record("acme", invocation.id)
    assert record is not None
    assert (found.tenant, found.id, found.function, found.version) == (
        "acme",
        invocation.id,
        "resize",
        3,
    )
    assert (found.module, found.trace_id) == (invocation.content.digest, trace[3:35])
    check_same(found, record)


def check_same(found: InvocationHistory, record: InvocationRecord) -> None:
    assert (found.outcome, found.finished_ms) == (record.outcome, record.finished_ms)
    assert (found.limit, found.detail) == (record.limit, record.detail)
    assert (found.attempts, found.started_ms) == (record.attempts, record.started_ms)
    assert all(attempt.ended_ms is not None for attempt in found.attempts)


async def retry(queue: RedisInvocationQueue) -> None:
    await fail_once(queue, again=True)


async def cancel_waiting(queue: RedisInvocationQueue) -> None:
    (claim,) = await queue.claim(1, 5.0)
    await queue.hand_back(claim, ran=False)
    assert await queue.cancel("acme", claim.invocation.id, CLOCK.now_ms())


async def cancel_running(queue: RedisInvocationQueue) -> None:
    claim = await claim_running(queue)
    assert await queue.cancel("acme", claim.invocation.id, CLOCK.now_ms())
    assert await queue.complete(claim, ended(Outcome.CANCELLED))


async def hand_back(queue: RedisInvocationQueue) -> None:
    claim = await claim_running(queue)
    assert await queue.hand_back(claim, ran=True)


async def hand_back_cancelled(queue: RedisInvocationQueue) -> None:
    claim = await claim_running(queue)
    await queue.cancel("acme", claim.invocation.id, CLOCK.now_ms())
    assert await queue.hand_back(claim, ran=True)


async def reclaim(queue: RedisInvocationQueue) -> None:
    await claim_running(queue)
    await until(lambda: queue.reclaim(10))


async def quarantine(queue: RedisInvocationQueue) -> None:
    claim = await claim_running(queue)
    await until(lambda: queue.reclaim(10))

    async def lost() -> bool:
        await queue.reclaim(10)
        record = await queue.record("acme", claim.invocation.id)
        return record is not None and record.outcome is Outcome.LOST

    await until(lost)


@pytest.mark.parametrize(
    ("happens", "told", "outcome", "attempts"),
    [
        (retry, 1, None, 1),
        (cancel_waiting, 1, Outcome.CANCELLED, 0),
        (cancel_running, 1, Outcome.CANCELLED, 1),
        (hand_back, 1, None, 1),
        (hand_back_cancelled, 1, Outcome.CANCELLED, 1),
        (reclaim, 1, None, 1),
        (quarantine, 2, Outcome.LOST, 2),
    ],
)
async def test_whatever_ends_an_attempt_or_an_invocation_is_told(
    queue: RedisInvocationQueue,
    feed: RedisHistoryFeed,
    happens: Callable[[RedisInvocationQueue], object],
    told: int,
    outcome: Outcome | None,
    attempts: int,
) -> None:
    invocation = await submitted(queue)
    await happens(queue)  # type: ignore[misc]
    assert await ids_told(feed) == [invocation.id] * told
    found = await history_of(feed, invocation)
    assert (found.outcome, len(found.attempts)) == (outcome, attempts)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    check_same(found, record)


async def test_what_expires_is_told(queue: RedisInvocationQueue, feed: RedisHistoryFeed) -> None:
    invocation = await submitted(
        queue, deadline_ms=CLOCK.now_ms() + 30, run_at_ms=CLOCK.now_ms() + 60_000
    )

    async def expired() -> bool:
        await queue.tick(1, 0)
        return await ids_told(feed) == [invocation.id]

    await until(expired)
    assert (await history_of(feed, invocation)).outcome is Outcome.EXPIRED


async def test_a_redrive_wipes_nothing_that_the_history_needs(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    invocation = await submitted(queue)
    for _ in range(2):
        await fail_once(queue)
        assert await queue.redrive("acme", invocation.id)
    assert await queue.complete(await claim_one(queue), ended(number=3))
    found = await history_of(feed, invocation)
    assert [(end.outcome, end.attempts_count) for end in found.earlier] == [
        (Outcome.TRAPPED, 1),
        (Outcome.TRAPPED, 2),
    ]
    assert found.outcome is Outcome.COMPLETED
    store = MemoryHistoryStore()
    await store.record([found])
    runs = await store.runs_of("acme", invocation.id)
    assert [(one.redrive, one.outcome, one.attempts) for one in runs] == [
        (0, Outcome.TRAPPED, 1),
        (1, Outcome.TRAPPED, 1),
        (2, Outcome.COMPLETED, 1),
    ]
    assert runs[1].submitted_ms == found.earlier[0].redriven_ms >= runs[0].finished_ms


async def test_a_stale_completion_tells_nothing(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    await submitted(queue)
    claim = await claim_running(queue)
    assert await queue.complete(claim, ended())
    assert len(await ids_told(feed)) == 1
    assert not await queue.complete(claim, ended(Outcome.TRAPPED))
    assert await ids_told(feed) == []


async def test_the_stream_is_trimmed_behind_what_was_confirmed_alone(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    for _ in range(3):
        await submitted(queue)
        await fail_once(queue)
    entries = await feed.take(2, 0.0)
    status = await feed.status()
    assert (status.waiting, status.missed, status.set_aside) == (3, 0, 0)
    assert status.oldest_ms is not None
    await feed.confirm([entry.handle for entry in entries])
    await feed.confirm([entry.handle for entry in entries])
    assert (await feed.status()).waiting == 1
    await feed.confirm([entry.handle for entry in await feed.take(2, 0.0)])
    assert (await feed.status()).oldest_ms is None


async def test_any_number_of_entries_is_confirmed(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    # So many may lie there when recorders died while the database was away.
    await submitted(queue)
    await fail_once(queue)
    (last,) = await feed.take(1, 0.0)
    await feed.confirm([*(f"0-{number}" for number in range(1, 20_000)), last.handle])
    assert (await feed.status()).waiting == 0
    await feed.confirm([])


async def test_a_recorder_that_dies_after_it_wrote_changes_nothing(
    connections: RedisConnections, queue: RedisInvocationQueue
) -> None:
    store, dying, heir = MemoryHistoryStore(), feed_of(connections), feed_of(connections, "two", 0)
    await submitted(queue)
    await fail_once(queue)
    (entry,) = await dying.take(10, 0.0)
    found = await dying.histories([entry.invocation])
    await store.record([one for one in found if isinstance(one, InvocationHistory)])
    # Killed here, between write and confirmation.
    recorder, meter = recorder_of(heir, store)
    await recorder.round()
    assert (meter.runs, meter.attempts) == (0, 0)
    assert (await heir.status()).waiting == 0
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.TRAPPED: 1}, 1)


async def test_two_recorders_share_the_work_and_count_once(
    connections: RedisConnections, queue: RedisInvocationQueue
) -> None:
    store = MemoryHistoryStore()
    for _ in range(20):
        await submitted(queue)
        await fail_once(queue)
    pairs = [recorder_of(feed_of(connections, name, 0), store) for name in ("one", "two")]
    for _ in range(4):
        await asyncio.gather(*(recorder.round(5) for recorder, _ in pairs))
    assert sum(meter.runs for _, meter in pairs) == 20
    assert (await feed_of(connections).status()).waiting == 0


async def test_what_finds_no_room_is_made_good_by_a_walk_over_the_records(
    connections: RedisConnections, queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    fill = "for i = 1, 500000 do redis.call('XADD', KEYS[1], '*', 'id', 'gone') end"
    await connections.call("EVAL", fill, 1, KEYS.history)
    invocations = [await submitted(queue) for _ in range(5)]
    for _ in invocations:
        await fail_once(queue)
    status = await feed.status()
    assert (status.waiting, status.missed) == (500_000, 5)
    await connections.call("DEL", KEYS.history)
    store = MemoryHistoryStore()
    recorder, meter = recorder_of(feed, store)
    while await recorder.round(2) == 0.0:
        pass
    assert (meter.walks, meter.runs, (await feed.status()).missed) == (1, 5, 0)
    found = await store.runs("acme", RunQuery())
    assert {run.invocation for run in found} == {one.id for one in invocations}


async def test_one_recorder_walks_and_what_is_missed_meanwhile_asks_for_another_walk(
    connections: RedisConnections, feed: RedisHistoryFeed
) -> None:
    assert await feed.walk_due() == 0
    await connections.call("SET", KEYS.missed, 3)
    other = feed_of(connections, "two")
    assert (await feed.walk_due(), await other.walk_due(), await feed.walk_due()) == (3, 0, 3)
    await connections.call("INCR", KEYS.missed)
    assert await feed.walk_due(3) == 0
    assert await other.walk_due() == 4
    assert await other.walk_due(4) == 0
    assert await feed.walk_due() == 0


async def test_a_walk_begins_again_at_another_server(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    for _ in range(50):
        await submitted(queue)
    step = await feed.walk("", 2)
    server = step.cursor.split(":")[0]
    assert len(server) == 40
    seen = {one.id for one in step.histories if isinstance(one, InvocationHistory)}
    assert len(seen) < 50
    step = await feed.walk(f"{'0' * 40}:{step.cursor.split(':')[1]}", 1000)
    assert len(step.histories) == 50
    assert step.cursor == ""


async def test_a_poisoned_entry_is_set_aside_and_the_others_go_on(
    connections: RedisConnections, queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    invocations = [await submitted(queue) for _ in range(4)]
    for _ in invocations:
        await fail_once(queue)
    bad, newer, gone = (KEYS.record(one.id) for one in invocations[:3])
    await connections.call("HSET", bad, "spec", b"\xff\x00")
    await connections.call("HSET", newer, "outcome", "abducted")
    await connections.call("DEL", gone)
    store = MemoryHistoryStore()
    recorder, meter = recorder_of(feed, store)
    await recorder.round()
    assert (meter.runs, meter.set_aside, meter.gone) == (1, 2, 1)
    status = await feed.status()
    assert (status.waiting, status.set_aside) == (0, 2)
    # A release that can read it comes: what was set aside is tried again at its start.
    await connections.call("HSET", newer, "outcome", "trapped")
    recorder, meter = recorder_of(feed, store)
    await recorder.round()
    assert (meter.runs, meter.set_aside) == (1, 1)
    assert (await feed.status()).set_aside == 1


async def test_the_group_comes_back_after_a_loss_of_data(
    connections: RedisConnections, queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    assert await feed.take_over(10) == []
    await connections.call("FLUSHALL")
    assert await feed.take(10, 0.01) == []
    await connections.call("FLUSHALL")
    assert await feed.retry_aside() == 0
    invocation = await submitted(queue)
    await fail_once(queue)
    assert await ids_told(feed) == [invocation.id]


async def test_a_wait_ends_with_the_first_entry(
    queue: RedisInvocationQueue, feed: RedisHistoryFeed
) -> None:
    waiting = asyncio.ensure_future(feed.take(10, 30.0))
    invocation = await submitted(queue)
    await fail_once(queue)
    assert [entry.invocation for entry in await waiting] == [invocation.id]


async def test_entries_outlive_a_kill_of_the_server(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    await server.start()
    connections = RedisConnections(server.url)
    queue = RedisInvocationQueue(connections, consumer="worker", settings=SETTINGS)
    feed, store = feed_of(connections, left_ms=0), MemoryHistoryStore()
    await submitted(queue)
    await fail_once(queue)
    assert len(await feed.take(10, 0.0)) == 1
    await server.stop()
    await server.start()
    recorder, meter = recorder_of(feed, store)
    await recorder.round()
    assert (meter.runs, (await feed.status()).waiting) == (1, 0)
    await connections.close()
    await server.stop()


async def test_no_transition_is_half_done_for_want_of_being_told(
    connections: RedisConnections, queue: RedisInvocationQueue
) -> None:
    """Whatever stands under the keys of those who are told."""
    await connections.call("SET", KEYS.history, "no stream")
    for retry_at_ms in (NOW, None):
        invocation = await submitted(queue)
        await connections.call("SET", KEYS.live(invocation.id), "no stream")
        claim = await claim_running(queue)
        assert await queue.complete(claim, ended(Outcome.TRAPPED, retry_at_ms=retry_at_ms))
        if retry_at_ms is not None:
            again = await claim_running(queue)
            assert (again.invocation.id, again.attempt) == (invocation.id, 2)
            assert await queue.complete(again, ended())
        record = await queue.record("acme", invocation.id)
        assert record is not None
        assert record.outcome is not None
    assert int(await connections.call("GET", KEYS.missed)) == 3
    assert int(await connections.call("XLEN", KEYS.ready)) == 0
