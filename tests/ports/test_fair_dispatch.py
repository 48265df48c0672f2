"""Shares and caps: who is served next, and how many run at once."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from stockade.core.invocations import Claim, Invocation
from stockade.core.outcomes import Attempt, Outcome
from stockade.core.ports import InvocationQueue
from stockade.infra.queue_settings import QueueSettings
from tests.ports.test_invocation_queue import (
    CONTENT,
    SHORT,
    USAGE,
    asked,
    claim_all,
    claim_one,
    drain_order,
    ended,
    outcome_of,
    until,
)
from tests.ports.valkey_fixture import CLOCK, Installation

pytest_plugins = ("tests.ports.valkey_fixture",)


def capped(function: str, cap: int, tenant: str = "acme", **changes: object) -> Invocation:
    """An invocation of a function of which only so many may run at once."""
    content = replace(CONTENT, concurrency=cap)
    return replace(asked(tenant, function=function, content=content), **changes)  # type: ignore[arg-type]


async def submit_all(queue: InvocationQueue, invocations: Sequence[Invocation]) -> None:
    for invocation in invocations:
        await queue.submit(invocation)


async def complete(queue: InvocationQueue, claim: Claim) -> None:
    assert await queue.complete(claim, ended(number=claim.attempt))


@pytest.mark.parametrize("window", [1, 3, 8])
async def test_shares_are_exact_whatever_the_window(
    installation: Installation, window: int
) -> None:
    installation.settings = QueueSettings(window_floor=window)
    queue, weights = installation.queue(), {"a": 1, "b": 2, "c": 4}
    await submit_all(queue, [asked("first") for _ in range(window)])
    for tenant, weight in weights.items():
        await submit_all(queue, [asked(tenant, weight=weight) for _ in range(100)])
    order = [one.tenant for one in await drain_order(queue)][window:]
    for rounds in (1, 5, 20):
        assert Counter(order[: 7 * rounds]) == {"a": rounds, "b": 2 * rounds, "c": 4 * rounds}


async def test_a_new_weight_counts_from_the_next_submission_on(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    await submit_all(queue, [asked("first"), *(asked("a", weight=5) for _ in range(20))])
    await submit_all(queue, [asked("b") for _ in range(20)])
    await submit_all(queue, [asked("a", weight=1)])
    order = [one.tenant for one in await drain_order(queue)][1:]
    assert abs(order[:20].count("a") - 10) <= 4


async def test_a_tenant_at_its_cap_leaves_the_room_to_others(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=6)
    queue = installation.queue()
    await submit_all(queue, [asked("greedy", tenant_concurrency=2) for _ in range(10)])
    await submit_all(queue, [asked("other") for _ in range(10)])
    claims = list(await claim_all(queue))
    assert Counter(claim.invocation.tenant for claim in claims) == {"greedy": 2, "other": 4}
    for tenant in ("greedy", "other"):
        await complete(queue, next(one for one in claims if one.invocation.tenant == tenant))
    assert {one.invocation.tenant for one in await claim_all(queue)} == {"greedy", "other"}


async def test_a_cap_that_was_reached_with_nothing_left_gives_no_second_turn(
    installation: Installation,
) -> None:
    installation.settings = QueueSettings(window_floor=2)
    queue = installation.queue()

    def shared() -> Invocation:
        return asked("a", weight=4, tenant_concurrency=3)

    await queue.tick(10, CLOCK.now_ms())
    await submit_all(queue, [asked("first") for _ in range(20)])
    await submit_all(queue, [shared() for _ in range(3)])
    await queue.tick(20, CLOCK.now_ms())  # room for all of them: the cap is reached within a turn
    await queue.tick(0, CLOCK.now_ms())
    await submit_all(queue, [shared() for _ in range(40)])
    await submit_all(queue, [asked("b") for _ in range(40)])
    order = [one.tenant for one in await drain_order(queue)][23:]
    assert Counter(order[:25]) == {"a": 20, "b": 5}


async def test_a_functions_cap_holds_and_its_tenants_others_pass(
    installation: Installation,
) -> None:
    installation.settings = QueueSettings(window_floor=6)
    queue = installation.queue()
    await submit_all(queue, [capped("slow", 2) for _ in range(10)])
    await submit_all(queue, [asked(function="quick") for _ in range(3)])
    claims = list(await claim_all(queue))
    assert Counter(one.invocation.function for one in claims) == {"slow": 2, "quick": 3}
    await complete(queue, next(one for one in claims if one.invocation.function == "slow"))
    assert [one.invocation.function for one in await claim_all(queue)] == ["slow"]


async def test_what_was_parked_keeps_its_order(installation: Installation) -> None:
    queue = installation.queue()
    invocations = [capped("slow", 1, submitted_ms=CLOCK.now_ms() + n) for n in range(8)]
    await submit_all(queue, invocations)
    assert [one.id for one in await drain_order(queue)] == [one.id for one in invocations]


async def test_caps_of_one_tenant_do_not_touch_anothers(installation: Installation) -> None:
    queue = installation.queue()
    await submit_all(queue, [capped("f", 1, "a"), capped("f", 1, "a"), capped("f", 1, "b")])
    assert Counter(one.invocation.tenant for one in await claim_all(queue)) == {"a": 1, "b": 1}


async def test_the_parked_can_be_cancelled_and_expire(installation: Installation) -> None:
    queue = installation.queue()
    first, cancelled, last = (capped("f", 1) for _ in range(3))
    overdue = capped("f", 1, deadline_ms=CLOCK.now_ms() + 40)
    await submit_all(queue, [first, cancelled, overdue, last])
    claim = await claim_one(queue)
    assert await queue.cancel("acme", cancelled.id, CLOCK.now_ms()) is True

    async def expired() -> bool:
        await queue.tick(4, CLOCK.now_ms())
        return await outcome_of(queue, overdue) is Outcome.EXPIRED

    await until(expired)
    await complete(queue, claim)
    assert [one.id for one in await drain_order(queue)] == [last.id]


async def test_the_parked_count_towards_the_backlog_bound(installation: Installation) -> None:
    installation.settings = QueueSettings(backlog_limit=3, window_floor=8)
    queue = installation.queue()
    await submit_all(queue, [capped("f", 1) for _ in range(4)])
    with pytest.raises(Exception, match="waiting"):
        await queue.submit(capped("f", 1))


async def test_a_retry_gives_its_slot_back(installation: Installation) -> None:
    queue = installation.queue()
    await submit_all(queue, [capped("f", 1, tenant_concurrency=1) for _ in range(2)])
    claim = await claim_one(queue)
    failed = Attempt(1, Outcome.TRAPPED, "again", USAGE)
    later = CLOCK.now_ms() + 60_000
    again = replace(ended(Outcome.TRAPPED), attempt=failed, retry_at_ms=later)
    assert await queue.complete(claim, again)
    assert (await claim_one(queue)).invocation.id != claim.invocation.id


async def test_a_death_keeps_the_slot_and_the_last_one_gives_it_back(
    installation: Installation,
) -> None:
    installation.settings = replace(SHORT, max_deaths=2)
    queue, heir = installation.queue("dies"), installation.queue("heir")
    first, second = (capped("f", 1, tenant_concurrency=1) for _ in range(2))
    await submit_all(queue, [first, second])
    await claim_one(queue)

    async def taken() -> Sequence[Claim]:
        return await heir.reclaim(10)

    await until(taken)
    assert not await claim_all(queue)

    async def quarantined() -> bool:
        await heir.reclaim(10)
        return await outcome_of(queue, first) is Outcome.LOST

    await until(quarantined)
    assert (await claim_one(queue)).invocation.id == second.id


async def test_a_higher_cap_lets_the_parked_go(installation: Installation) -> None:
    queue = installation.queue()
    await submit_all(queue, [asked(tenant_concurrency=1) for _ in range(6)])
    assert len(await claim_all(queue)) == 1
    await queue.submit(asked(tenant_concurrency=4))
    assert len(await claim_all(queue)) == 3
    await queue.submit(asked())
    await queue.tick(4, CLOCK.now_ms())
    assert len(await claim_all(queue)) == 4


async def test_no_cap_is_ever_passed_and_none_is_left_behind(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=10)
    queue, chance = installation.queue(), random.Random(7)  # noqa: S311 (repeatable)
    held: list[Claim] = []
    submitted = 0
    for _ in range(300):
        step = chance.random()
        if step < 0.5:
            tenant = chance.choice("ab")
            await queue.submit(
                capped(chance.choice("fg"), 2, tenant, tenant_concurrency=3, weight=2)
            )
            submitted += 1
        elif step < 0.75 and held:
            claim = held.pop(chance.randrange(len(held)))
            retry_at_ms = CLOCK.now_ms() if chance.random() < 0.3 else None
            outcome = Outcome.TRAPPED if retry_at_ms else Outcome.COMPLETED
            end = ended(outcome, claim.attempt, retry_at_ms=retry_at_ms)
            assert await queue.complete(claim, end)
            submitted -= retry_at_ms is None
        else:
            held += await claim_all(queue)
        of = Counter(one.invocation.tenant for one in held)
        lanes = Counter((one.invocation.tenant, one.invocation.function) for one in held)
        assert max(of.values(), default=0) <= 3
        assert max(lanes.values(), default=0) <= 2
    for claim in held:
        await complete(queue, claim)
    assert len(await drain_order(queue)) == submitted - len(held)
