"""What failed for good: kept, listed, and queued again on request."""

from dataclasses import replace

import pytest

from stockade.core.invocations import Claim, Invocation
from stockade.core.outcomes import Attempt, LogLine, Outcome, State
from stockade.core.ports import InvocationQueue
from stockade.infra.queue_settings import QueueSettings
from tests.ports.test_invocation_queue import (
    USAGE,
    asked,
    claim_one,
    claim_running,
    ended,
    record_of,
    until,
)
from tests.ports.valkey_fixture import CLOCK, Installation, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where the store is: several partitions and a cluster of three nodes as well."""
    return queue_url_of(request)


DEAD = [Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED, Outcome.CRASHED, Outcome.LOST]


async def fail(queue: InvocationQueue, outcome: Outcome, tenant: str = "acme") -> Invocation:
    invocation = asked(tenant)
    await queue.submit(invocation)
    claim = await claim_running(queue)
    attempt = Attempt(claim.attempt, outcome, "because", USAGE, "wall", "It failed.")
    end = replace(ended(outcome), attempt=attempt, logs=(LogLine(2, "x"),))
    assert await queue.complete(claim, end)
    return invocation


async def ids(queue: InvocationQueue, most: int = 100, before: str = "") -> list[str]:
    return [one.id for one in await queue.dead_letters("acme", most, before)]


async def test_what_failed_for_good_is_listed_newest_first(installation: Installation) -> None:
    queue = installation.queue()
    dead = [await fail(queue, outcome) for outcome in DEAD]
    for outcome in (Outcome.COMPLETED, Outcome.REJECTED, Outcome.CANCELLED):
        await fail(queue, outcome)
    await fail(queue, Outcome.TRAPPED, "other")
    assert await ids(queue) == [one.id for one in reversed(dead)]
    first, *_ = await queue.dead_letters("acme", 1)
    assert first == await record_of(queue, dead[-1])


async def test_a_list_goes_on_after_the_last_id(installation: Installation) -> None:
    queue = installation.queue()
    dead = [(await fail(queue, Outcome.TRAPPED)).id for _ in range(7)][::-1]
    assert await ids(queue, 3) == dead[:3]
    assert await ids(queue, 3, dead[2]) == dead[3:6]
    assert await ids(queue, 3, dead[5]) == dead[6:]
    assert await ids(queue, 3, dead[6]) == []


async def test_the_expired_are_dead_letters(installation: Installation) -> None:
    queue = installation.queue()
    overdue = asked(deadline_ms=CLOCK.now_ms() + 20)
    await queue.submit(asked())
    await queue.submit(replace(overdue, run_at_ms=CLOCK.now_ms() + 60_000))

    async def listed() -> list[str]:
        await queue.tick(4, CLOCK.now_ms())
        return await ids(queue)

    assert await until(listed) == [overdue.id]


@pytest.mark.parametrize("outcome", DEAD)
async def test_a_redriven_one_runs_again_with_its_attempts_counted_on(
    installation: Installation, outcome: Outcome
) -> None:
    queue = installation.queue()
    invocation = await fail(queue, outcome)
    assert await queue.redrive("acme", invocation.id) is True
    assert await ids(queue) == []
    waiting = await record_of(queue, invocation)
    assert (waiting.state, waiting.outcome, waiting.detail) == (State.QUEUED, None, None)
    assert (waiting.finished_ms, waiting.logs) == (None, ())
    claim: Claim = await claim_running(queue)
    assert (claim.attempt, claim.deaths) == (2, 0)
    assert claim.invocation == invocation
    assert await queue.complete(claim, ended(number=2))
    record = await record_of(queue, invocation)
    assert record.outcome is Outcome.COMPLETED
    assert [one.outcome for one in record.attempts] == [outcome, Outcome.COMPLETED]


async def test_only_ones_own_dead_letters_are_redriven(installation: Installation) -> None:
    queue = installation.queue()
    dead = await fail(queue, Outcome.TRAPPED)
    done = await fail(queue, Outcome.COMPLETED)
    waiting = asked()
    await queue.submit(waiting)
    assert await queue.redrive("other", dead.id) is None
    assert await queue.redrive("acme", CLOCK.new_id()) is None
    assert await queue.redrive("acme", done.id) is False
    assert await queue.redrive("acme", waiting.id) is False
    assert await queue.redrive("acme", dead.id) is True
    assert await queue.redrive("acme", dead.id) is False


async def test_a_stale_worker_cannot_end_a_redriven_one(installation: Installation) -> None:
    queue = installation.queue()
    invocation = asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert await queue.complete(claim, ended(Outcome.TRAPPED))
    assert await queue.redrive("acme", invocation.id)
    assert not await queue.complete(claim, ended())
    assert (await claim_one(queue)).attempt == 2


async def test_a_dead_letter_leaves_with_its_record(installation: Installation) -> None:
    installation.settings = QueueSettings(retention_ms=30)
    queue = installation.queue()
    await fail(queue, Outcome.TRAPPED)

    async def gone() -> bool:
        return not await ids(queue)

    await until(gone)
