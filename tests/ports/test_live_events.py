"""What runs say: in order, bounded, heard at any gateway; a stale claim is not heard any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stockade.core.invocations import Claim
from stockade.core.live_events import MOST_BYTES, LiveEvents, Spoken
from stockade.core.outcomes import LogLine, Outcome, Progress
from stockade.infra.memory.memory_live_events import MemoryLiveEvents
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_keys import RedisKeys
from stockade.infra.redis.redis_live_events import RedisLiveEvents
from tests.ports.test_invocation_queue import (
    CLOCK,
    asked,
    claim_one,
    claim_running,
    ended,
    until,
)
from tests.ports.valkey_fixture import Installation, flush, partitions_of, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)
BOUND = 4096


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    return queue_url_of(request)


@pytest.fixture
async def live(queue_url: str) -> AsyncIterator[LiveEvents]:
    if not queue_url:
        yield MemoryLiveEvents()
        return
    made = RedisLiveEvents(partitions_of(queue_url).connections, BOUND)
    yield made
    await made.aclose()


@pytest.fixture
async def real(valkey: object) -> AsyncIterator[tuple[Installation, RedisLiveEvents]]:
    """Queue and voices over the server alone: what memory does not do."""
    url = f"{valkey.url}#1"  # type: ignore[attr-defined] # the embedded server
    await flush(url)
    made = RedisLiveEvents(partitions_of(url).connections, BOUND)

    def queues(name: str, settings: QueueSettings) -> object:
        return partitions_of(url).queue(settings, gateway=name, consumer=name)

    installation = Installation(queues)  # type: ignore[arg-type] # closable queues
    yield installation, made
    await installation.close()
    await made.aclose()


def said(*texts: str, attempt: int = 1, first: int = 0) -> Spoken:
    return Spoken(attempt, tuple(LogLine(2, text) for text in texts), first_log=first)


async def submitted(installation: Installation, tenant: str = "acme") -> Claim:
    queue = installation.queue()
    await queue.submit(asked(tenant))
    return await claim_one(queue)


async def test_what_is_said_is_read_in_order_from_any_place(
    installation: Installation, live: LiveEvents
) -> None:
    claim = await submitted(installation)
    of = claim.invocation.tenant, claim.invocation.id
    assert (await live.read(*of, "", 0)).spoken == ()
    first, second = said("a", "b"), said("c", first=2)
    assert await live.tell(claim, first)
    assert await live.tell(claim, second)
    heard = await live.read(*of, "", 0)
    assert list(heard.spoken) == [first, second]
    again = await live.read(*of, heard.place, 0.01)
    assert (list(again.spoken), again.place) == ([], heard.place)
    assert list((await live.read(*of, "", 0)).spoken) == [first, second]


async def test_who_waits_hears_at_once(installation: Installation, live: LiveEvents) -> None:
    claim = await submitted(installation)
    of = claim.invocation.tenant, claim.invocation.id
    hearing = [asyncio.ensure_future(live.read(*of, "", 10)) for _ in range(2)]
    await live.tell(claim, said("a"))
    for heard in await asyncio.gather(*hearing):
        assert list(heard.spoken) == [said("a")]


async def test_another_invocation_is_not_heard(
    installation: Installation, live: LiveEvents
) -> None:
    claim, other = await submitted(installation), await submitted(installation, "rival")
    await live.tell(claim, said("a"))
    assert (await live.read("rival", other.invocation.id, "", 0)).spoken == ()


async def test_any_text_is_kept_as_it_is(installation: Installation, live: LiveEvents) -> None:
    claim = await submitted(installation)
    hostile = said("a\r\nb\0\x1b[2J", "\u2028\x85", "", "x" * 500)
    await live.tell(claim, hostile)
    heard = await live.read(claim.invocation.tenant, claim.invocation.id, "", 0)
    assert list(heard.spoken) == [hostile]


async def test_the_oldest_goes_when_there_is_too_much(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    claim = await submitted(installation)
    for number in range(50):
        assert await live.tell(claim, said("x" * 400, first=number))
    numbers = [
        one.first_log
        for one in (await live.read(claim.invocation.tenant, claim.invocation.id, "", 0)).spoken
    ]
    assert numbers == list(range(numbers[0], 50))
    assert 5 <= len(numbers) <= BOUND // 400
    # One that has no room alone leaves nothing behind, and does not shut out what comes after it.
    assert await live.tell(claim, said("x" * 5000, first=50))
    assert await live.tell(claim, said("y", first=51))
    heard = await live.read(claim.invocation.tenant, claim.invocation.id, "", 0)
    assert [one.first_log for one in heard.spoken] == [51]


async def test_a_flood_of_little_is_bounded_too(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    claim = await submitted(installation)
    for number in range(100):
        await live.tell(claim, said("", first=number))
    heard = await live.read(claim.invocation.tenant, claim.invocation.id, "", 0)
    assert len(heard.spoken) < BOUND // 64


async def test_a_stale_claim_is_not_heard(real: tuple[Installation, RedisLiveEvents]) -> None:
    installation, live = real
    claim = await submitted(installation)
    queue = installation.queue()
    assert await queue.hand_back(claim, ran=True)
    assert not await live.tell(claim, said("late"))
    second = await claim_one(queue)
    assert await live.tell(second, said("mine", attempt=2))
    assert await queue.complete(second, ended(number=2))
    assert not await live.tell(second, said("late", attempt=2))
    heard = await live.read(claim.invocation.tenant, claim.invocation.id, "", 0)
    assert list(heard.spoken) == [said("mine", attempt=2)]


async def test_listeners_are_woken_by_every_change_of_the_record(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    queue = installation.queue()
    invocation = asked()
    of = invocation.tenant, invocation.id
    await queue.submit(invocation)
    await live.listen(*of)
    await live.listen(*of)
    place = (await live.read(*of, "", 0)).place

    async def wakes() -> None:
        nonlocal place
        heard = await live.read(*of, place, 5)
        assert (heard.place != place, list(heard.spoken)) == (True, [])
        place = heard.place

    claim = await claim_running(queue)
    await wakes()
    await queue.report_progress(claim, Progress(50, "half"))
    await wakes()
    retry = ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms())
    assert await queue.complete(claim, retry)
    await wakes()
    second = await claim_running(queue)
    await wakes()
    assert await queue.hand_back(second, ran=True)
    await wakes()
    third = await claim_one(queue)
    assert await queue.complete(third, ended(number=3))
    await wakes()
    assert (await live.read(*of, place, 0.01)).place == place
    await live.listen(*of)
    assert (await live.read(*of, place, 0.01)).place == place, "it is done"


async def test_a_lapsed_lease_wakes_too(real: tuple[Installation, RedisLiveEvents]) -> None:
    installation, live = real
    installation.settings = QueueSettings(lease_ms=150)
    claim = await submitted(installation)
    of = claim.invocation.tenant, claim.invocation.id
    await live.listen(*of)
    place = (await live.read(*of, "", 0)).place
    (again,) = await until(lambda: installation.queue("other").reclaim(1))
    assert again.attempt == 2
    assert (await live.read(*of, place, 5)).place != place


async def test_without_a_word_or_a_listener_nothing_is_written(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    claim = await submitted(installation)
    await installation.queue().begin(claim, CLOCK.now_ms())
    assert await installation.queue().complete(claim, ended())
    heard = await live.read(claim.invocation.tenant, claim.invocation.id, "", 0.01)
    assert heard.place == "0-0"


async def test_what_a_dead_letter_logged_is_kept_when_it_is_queued_again(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    claim = await submitted(installation)
    of, lines = claim.invocation, (LogLine(2, "a"), LogLine(4, "b"))
    await live.tell(claim, said("a"))
    assert await installation.queue().complete(claim, ended(Outcome.TRAPPED, logs=lines))
    assert await installation.queue().redrive(of.tenant, of.id)
    heard = await live.read(of.tenant, of.id, "", 0)
    assert list(heard.spoken) == [said("a"), Spoken(1, lines)]


async def test_however_often_it_is_queued_again_what_it_logged_is_bounded(
    real: tuple[Installation, RedisLiveEvents],
) -> None:
    installation, live = real
    claim = await submitted(installation)
    of, lines = claim.invocation, (LogLine(2, "x" * 50_000),)
    for _ in range(12):
        assert await installation.queue().complete(claim, ended(Outcome.TRAPPED, logs=lines))
        assert await installation.queue().redrive(of.tenant, of.id)
        claim = await claim_one(installation.queue())
    heard = await live.read(of.tenant, of.id, "", 0)
    assert [one.attempt for one in heard.spoken] == [8, 9, 10, 11, 12]
    assert len(heard.spoken) * 50_000 <= MOST_BYTES


async def test_what_wakes_pushed_out_is_not_counted_for_ever(
    real: tuple[Installation, RedisLiveEvents], valkey: object
) -> None:
    installation, live = real
    claim = await submitted(installation)
    of = claim.invocation
    assert await live.tell(claim, said("x" * 3900))
    connections = partitions_of(f"{valkey.url}#1").connections[0]  # type: ignore[attr-defined] # as above
    await connections.call("XTRIM", RedisKeys().live(of.id), "MAXLEN", 0)
    await connections.close()
    for number in (1, 2, 3):
        assert await live.tell(claim, said("y" * 400, first=number))
    heard = await live.read(of.tenant, of.id, "", 0)
    assert [one.first_log for one in heard.spoken] == [1, 2, 3]
