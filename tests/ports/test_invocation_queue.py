import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import (
    NOTHING_CARRIED,
    Claim,
    Completion,
    Invocation,
    InvocationRecord,
    Priority,
    RetryCarry,
    SubmitReceipt,
)
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import (
    Attempt,
    Event,
    LogLine,
    Outcome,
    Progress,
    ReasonCode,
    State,
    Usage,
)
from stockade.core.ports import InvocationQueue
from stockade.infra.queue_settings import QueueSettings
from stockade.infra.redis.redis_keys import partition_of
from tests.ports.valkey_fixture import CLOCK, Installation, queue_url_of

pytest_plugins = ("tests.ports.valkey_fixture",)


@pytest.fixture(params=["memory", "redis", "partitions", "cluster"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where the store is: several partitions and a cluster of three nodes as well."""
    return queue_url_of(request)


CONTENT = FunctionContent(
    "sha256:" + "a" * 64,
    Abi.STOCKADE_V1,
    deterministic=True,
    grants=("log",),
    retry=RetrySettings(max_attempts=5),
    env=(("KEY", "value"),),
)
USAGE = Usage(fuel=7, peak_memory_bytes=65536, wall_ms=1.5, queue_ms=0.5, output_bytes=3)
T = TypeVar("T")
SHORT = QueueSettings(lease_ms=150)


def asked(tenant: str = "acme", **changes: Any) -> Invocation:  # noqa: ANN401 - any field
    invocation = Invocation(
        CLOCK.new_id(), tenant, "resize", 3, CONTENT, CLOCK.now_ms(), input_inline=b"in"
    )
    return replace(invocation, **changes)


def ended(outcome: Outcome = Outcome.COMPLETED, number: int = 1, **changes: Any) -> Completion:  # noqa: ANN401
    attempt = Attempt(number, outcome, "because", USAGE)
    output = b"out" if outcome is Outcome.COMPLETED else None
    return replace(Completion(attempt, CLOCK.now_ms(), output_inline=output), **changes)


async def until(look: Callable[[], Awaitable[T]], seconds: float = 10.0) -> T:
    async with asyncio.timeout(seconds):
        while not (seen := await look()):
            await asyncio.sleep(0.005)
    return seen


async def claim_all(queue: InvocationQueue, count: int = 1000) -> Sequence[Claim]:
    return await queue.claim(count, 0.0)


async def claim_one(queue: InvocationQueue) -> Claim:
    (claim,) = await queue.claim(1, 5.0)
    return claim


async def claim_running(queue: InvocationQueue) -> Claim:
    claim = await claim_one(queue)
    assert await queue.begin(claim, CLOCK.now_ms())
    return claim


async def drain_order(queue: InvocationQueue) -> list[Invocation]:
    order = []
    while claims := await queue.claim(1, 0.0):
        order.append(claims[0].invocation)
        assert await queue.complete(claims[0], ended())
    return order


def neighbours(tenant: str, count: int) -> list[str]:
    """Other tenants whose work is in the same partition, however many there are up to four."""
    names = (f"{tenant}{n}" for n in itertools.count())
    own = partition_of(tenant, 12)
    return list(itertools.islice((one for one in names if partition_of(one, 12) == own), count))


async def record_of(queue: InvocationQueue, invocation: Invocation) -> InvocationRecord:
    record = await queue.record(invocation.tenant, invocation.id)
    assert record is not None
    return record


async def outcome_of(queue: InvocationQueue, invocation: Invocation) -> Outcome | None:
    return (await record_of(queue, invocation)).outcome


# From submission to the outcome


async def test_an_invocation_reaches_the_worker_whole(installation: Installation) -> None:
    queue = installation.queue()
    invocation = asked(
        priority=Priority.HIGH,
        deadline_ms=CLOCK.now_ms() + 60_000,
        idempotency_key="k",
        input_digest="sha256:" + "b" * 64,
        reply_to="main",
        traceparent="00-1-2-01",
    )
    assert (await queue.submit(invocation)).created
    claim = await claim_one(queue)
    assert claim.invocation == invocation
    assert (claim.attempt, claim.deaths, claim.first_failure_ms) == (1, 0, None)


@pytest.mark.parametrize(
    "changes",
    [{"input_inline": b""}, {"input_inline": bytes(range(256)) * 128}, {"input_inline": None}],
)
async def test_every_kind_of_input_arrives(installation: Installation, changes: Any) -> None:  # noqa: ANN401
    queue = installation.queue()
    blob = None if changes["input_inline"] is not None else "sha256:" + "c" * 64
    invocation = asked(input_blob=blob, **changes)
    await queue.submit(invocation)
    assert (await claim_one(queue)).invocation == invocation


async def test_the_record_follows_the_invocation(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    queued = await queue.record("acme", invocation.id)
    claim = await claim_running(queue)
    running = await queue.record("acme", invocation.id)
    logs = (LogLine(2, "héllo\n\x1b[31m"), LogLine(4, ""))
    assert await queue.complete(claim, ended(logs=logs, logs_truncated=True))
    done = await queue.record("acme", invocation.id)
    assert queued is not None
    assert running is not None
    assert done is not None
    assert [r.state for r in (queued, running, done)] == [State.QUEUED, State.RUNNING, State.DONE]
    assert (done.function, done.version, done.submitted_ms) == (
        "resize",
        3,
        invocation.submitted_ms,
    )
    assert (done.outcome, done.usage, done.output_inline) == (Outcome.COMPLETED, USAGE, b"out")
    assert (done.logs, done.logs_truncated) == (logs, True)
    assert done.finished_ms is not None
    expected = Attempt(1, Outcome.COMPLETED, "because", USAGE, ended_ms=done.finished_ms)
    assert done.attempts == (expected,)
    assert done.started_ms is not None
    assert queued.finished_ms is None


async def test_a_failure_names_its_limit_and_detail(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    attempt = Attempt(1, Outcome.LIMIT_EXCEEDED, "final", USAGE, "fuel", "It ran out of fuel.")
    assert await queue.complete(await claim_running(queue), Completion(attempt, 5))
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert (
        record.outcome,
        record.limit,
        record.detail,
        record.output_inline,
        record.finished_ms,
    ) == (
        Outcome.LIMIT_EXCEEDED,
        "fuel",
        "It ran out of fuel.",
        None,
        5,
    )


async def test_an_output_in_the_blob_store_is_recorded(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    blob = "sha256:" + "d" * 64
    completion = ended(output_inline=None, output_blob=blob)
    await queue.complete(await claim_one(queue), completion)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert (record.output_inline, record.output_blob) == (None, blob)


async def test_what_was_submitted_before_the_first_worker_is_claimed(
    installation: Installation,
) -> None:
    invocation = asked()
    await installation.queue("gateway").submit(invocation)
    assert (await claim_one(installation.queue("late"))).invocation == invocation


async def test_claim_waits_for_the_first_and_gives_up(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    assert list(await queue.claim(1, 0.02)) == []
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.claim(1, 10.0))
        await queue.submit(invocation)
    assert waiting.result()[0].invocation == invocation


async def test_two_workers_never_claim_the_same(installation: Installation) -> None:
    one, other = installation.queue("one"), installation.queue("other")
    for _ in range(6):
        await one.submit(asked())
    claims = [*await one.claim(3, 1.0), *await other.claim(9, 1.0)]
    assert len({claim.invocation.id for claim in claims}) == 6


async def echo_some(worker: InvocationQueue, completed: Counter[str]) -> None:
    for claim in await worker.claim(16, 0.05):
        assert await worker.begin(claim, CLOCK.now_ms())
        echo = ended(output_inline=claim.invocation.input_inline)
        completed[claim.invocation.id] += await worker.complete(claim, echo)


async def test_a_large_batch_drains_with_one_outcome_each(installation: Installation) -> None:
    gateway = installation.queue("gateway")
    workers = [installation.queue(f"w{n}") for n in range(3)]
    invocations = [asked(f"t{n % 7}", input_inline=str(n).encode()) for n in range(2000)]
    completed: Counter[str] = Counter()

    async def work(worker: InvocationQueue) -> None:
        await worker.tick(16, CLOCK.now_ms())
        while completed.total() < len(invocations):
            await echo_some(worker, completed)

    async def submit(part: Sequence[Invocation]) -> None:
        for invocation in part:
            assert (await gateway.submit(invocation)).created

    async with asyncio.TaskGroup() as tasks:
        for start in range(8):
            tasks.create_task(submit(invocations[start::8]))
        for worker in workers:
            tasks.create_task(work(worker))
    assert set(completed.values()) == {1}
    for invocation in invocations:
        record = await gateway.record(invocation.tenant, invocation.id)
        assert record is not None
        assert record.output_inline == invocation.input_inline


# Submitting again


async def test_the_same_id_sent_again_is_one_invocation(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    assert (await queue.submit(invocation)).created
    assert (await queue.submit(invocation)).created
    assert len(await drain_order(queue)) == 1
    assert (await queue.submit(invocation)).created
    assert await drain_order(queue) == []


async def test_another_tenants_id_is_refused(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    with pytest.raises(StockadeError) as refusal:
        await queue.submit(replace(invocation, tenant=neighbours("acme", 1)[0]))
    assert refusal.value.code == "invocation.id_taken"


async def test_one_idempotency_key_is_one_invocation(installation: Installation) -> None:
    queue = installation.queue()
    invocations = [asked(idempotency_key="key") for _ in range(50)]
    receipts = await asyncio.gather(*(queue.submit(one) for one in invocations))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(receipt.created for receipt in receipts) == 1
    assert len(await drain_order(queue)) == 1


@pytest.mark.parametrize(
    ("size", "keep", "left"),
    [(1024, False, 1024), (1025, False, None), (1025, True, 1025), (0, False, 0)],
)
async def test_a_short_input_stays_with_its_record(
    installation: Installation, size: int, *, keep: bool, left: int | None
) -> None:
    gateway = worker = installation.queue()
    data = b"x" * size
    invocation = asked(input_inline=data)
    await gateway.submit(invocation)
    assert await gateway.invocation("acme", invocation.id) == invocation
    assert await gateway.invocation("other", invocation.id) is None
    claim = await claim_one(worker)
    assert await worker.complete(claim, ended(keep_input=keep))
    found = await gateway.invocation("acme", invocation.id)
    assert found == replace(invocation, input_inline=None if left is None else data)


async def test_an_input_in_the_blob_store_is_still_named(installation: Installation) -> None:
    gateway = worker = installation.queue()
    invocation = asked(input_inline=None, input_blob="sha256:" + "c" * 64)
    await gateway.submit(invocation)
    claim = await claim_one(worker)
    assert await worker.complete(claim, ended())
    assert await gateway.invocation("acme", invocation.id) == invocation


async def test_a_failed_runs_input_stays(installation: Installation) -> None:
    gateway = worker = installation.queue()
    invocation = asked(input_inline=b"x" * 2000)
    await gateway.submit(invocation)
    claim = await claim_one(worker)
    assert await worker.complete(claim, ended(Outcome.TRAPPED))
    assert await gateway.invocation("acme", invocation.id) == invocation


@pytest.mark.parametrize("changes", [{"input_inline": b"other"}, {"function": "other"}])
async def test_a_key_used_for_something_else_is_refused(
    installation: Installation, changes: dict[str, Any]
) -> None:
    queue = installation.queue()
    first = await queue.submit(asked(idempotency_key="key"))
    with pytest.raises(StockadeError) as refusal:
        await queue.submit(asked(idempotency_key="key", **changes))
    assert refusal.value.code == "invocation.idempotency_conflict"
    assert refusal.value.detail == {"id": first.id}
    assert not refusal.value.retryable


async def test_keys_of_two_tenants_do_not_meet(installation: Installation) -> None:
    queue = installation.queue()
    assert (await queue.submit(asked(idempotency_key="key"))).created
    assert (await queue.submit(asked("rival", idempotency_key="key"))).created


async def test_a_full_backlog_refuses_its_tenant_only(installation: Installation) -> None:
    installation.settings = QueueSettings(backlog_limit=2, window_floor=1)
    queue = installation.queue()
    later = CLOCK.now_ms() + 60_000
    await queue.submit(asked())
    await queue.submit(asked())
    await queue.submit(asked(run_at_ms=later))
    with pytest.raises(StockadeError) as refusal:
        await queue.submit(asked(idempotency_key="key"))
    assert (refusal.value.code, refusal.value.retryable) == ("queue.full", True)
    assert (await queue.submit(asked("rival"))).created
    await queue.complete(await claim_one(queue), ended())
    assert (await queue.submit(asked(idempotency_key="key"))).created


# Order


async def test_a_flood_of_one_tenant_does_not_starve_another(installation: Installation) -> None:
    queue = installation.queue()
    for _ in range(100):
        await queue.submit(asked("flood"))
    await queue.submit(asked("small"))
    order = [one.tenant for one in await drain_order(queue)]
    assert len(order) == 101
    assert order.index("small") <= installation.settings.window_floor + 1


async def test_tenants_take_turns(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    tenants = neighbours("a", 3)
    for tenant in tenants:
        for _ in range(5):
            await queue.submit(asked(tenant))
    order = [one.tenant for one in await drain_order(queue)]
    assert len(order) == 15
    assert all(set(order[n : n + 3]) == set(tenants) for n in range(1, 12, 3))


async def test_priority_comes_first_and_age_wins_in_the_end(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    await queue.submit(asked())
    now = CLOCK.now_ms()
    low = asked(priority=Priority.LOW, submitted_ms=now)
    aged = asked(priority=Priority.LOW, submitted_ms=now - 300_000)
    normal = asked(submitted_ms=now)
    urgent = asked(priority=Priority.URGENT, submitted_ms=now)
    for invocation in (low, normal, urgent, aged):
        await queue.submit(invocation)
    order = await drain_order(queue)
    assert [one.id for one in order[1:]] == [aged.id, urgent.id, normal.id, low.id]


async def test_live_capacity_widens_what_is_ready(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=2)
    queue = installation.queue()
    for _ in range(30):
        await queue.submit(asked())
    assert len(await claim_all(queue)) == 2
    await queue.tick(10, CLOCK.now_ms())
    assert len(await claim_all(queue)) == 18


async def test_a_silent_worker_no_longer_counts(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1, worker_ttl_ms=50)
    gone, queue = installation.queue("gone"), installation.queue()
    await gone.tick(50, CLOCK.now_ms())
    silent_since = CLOCK.now_ms()

    async def ttl_passed() -> bool:
        return CLOCK.now_ms() > silent_since + 60

    await until(ttl_passed)
    await queue.tick(1, CLOCK.now_ms())
    for _ in range(10):
        await queue.submit(asked())
    assert len(await claim_all(queue)) == 2


# Due times, retries, deadlines


async def test_a_later_run_is_not_claimed_before_its_time(installation: Installation) -> None:
    queue = installation.queue()
    invocation = asked(run_at_ms=CLOCK.now_ms() + 150)
    await queue.submit(invocation)
    assert await queue.tick(4, CLOCK.now_ms()) == 0
    assert list(await claim_all(queue)) == []
    assert await until(lambda: queue.tick(4, CLOCK.now_ms())) == 1
    assert CLOCK.now_ms() >= invocation.submitted_ms + 140
    assert (await claim_one(queue)).invocation == invocation


async def test_a_retry_comes_back_with_its_history(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    first = ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms() + 500)
    assert await queue.complete(claim, first)
    waiting = await queue.record("acme", invocation.id)
    assert waiting is not None
    assert (waiting.state, waiting.outcome, len(waiting.attempts)) == (State.QUEUED, None, 1)
    await until(lambda: queue.tick(4, CLOCK.now_ms()))
    again = await claim_running(queue)
    assert (again.attempt, again.deaths, again.first_failure_ms) == (2, 0, first.finished_ms)
    assert again.invocation == invocation
    assert await queue.complete(again, ended(number=2))
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert [(a.number, a.outcome) for a in record.attempts] == [
        (1, Outcome.TRAPPED),
        (2, Outcome.COMPLETED),
    ]
    assert record.outcome is Outcome.COMPLETED


async def test_a_retry_due_now_needs_no_tick(installation: Installation) -> None:
    queue = installation.queue()
    await queue.submit(asked())
    retry = ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms())
    assert await queue.complete(await claim_one(queue), retry)
    assert (await claim_one(queue)).attempt == 2


@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.LOST])
async def test_what_keeps_dying_is_quarantined(
    installation: Installation, outcome: Outcome
) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    for number in (1, 2, 3):
        claim = await claim_running(queue)
        assert (claim.attempt, claim.deaths) == (number, number - 1)
        retry = ended(outcome, number, retry_at_ms=CLOCK.now_ms())
        assert await queue.complete(claim, retry)
    assert list(await claim_all(queue)) == []
    assert await outcome_of(queue, invocation) is outcome


async def test_a_deadline_in_the_backlog_expires(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    await queue.submit(asked())
    overdue = asked(deadline_ms=CLOCK.now_ms() + 20)
    await queue.submit(overdue)

    async def expired() -> bool:
        await queue.tick(0, CLOCK.now_ms())
        return await outcome_of(queue, overdue) is Outcome.EXPIRED

    await until(expired)
    assert [one.id != overdue.id for one in await drain_order(queue)] == [True]


async def test_a_deadline_passed_at_submission_expires(installation: Installation) -> None:
    queue, overdue = installation.queue(), asked(deadline_ms=CLOCK.now_ms() - 1)
    await queue.submit(overdue)
    assert await outcome_of(queue, overdue) is Outcome.EXPIRED
    assert list(await claim_all(queue)) == []


async def test_a_deadline_passed_in_the_workers_hand_expires(installation: Installation) -> None:
    queue = installation.queue()
    overdue = asked(deadline_ms=CLOCK.now_ms() + 1000)
    await queue.submit(overdue)
    claim = await claim_one(queue)

    async def passed() -> bool:
        return CLOCK.now_ms() > (overdue.deadline_ms or 0) + 5

    await until(passed)
    assert not await queue.begin(claim, CLOCK.now_ms())
    assert await outcome_of(queue, overdue) is Outcome.EXPIRED
    assert not await queue.complete(claim, ended())


# Cancelling


@pytest.mark.parametrize("place", ["backlog", "due", "ready", "claimed"])
async def test_cancelling_what_is_queued_ends_it(installation: Installation, place: str) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    if place == "backlog":
        await queue.submit(asked())
    later = CLOCK.now_ms() + 60_000 if place == "due" else None
    invocation = asked(run_at_ms=later)
    await queue.submit(invocation)
    claims = await claim_all(queue) if place == "claimed" else ()
    assert await queue.cancel("acme", invocation.id, 77) is True
    assert await queue.cancel("acme", invocation.id, 78) is False
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert (record.state, record.outcome, record.finished_ms) == (
        State.DONE,
        Outcome.CANCELLED,
        77,
    )
    for claim in claims:
        assert not await queue.begin(claim, CLOCK.now_ms())
        assert not await queue.complete(claim, ended())
        assert list(await queue.heartbeat([claim])) == [claim]
    assert invocation.id not in [one.id for one in await drain_order(queue)]
    after = asked()
    await queue.submit(after)
    assert (await claim_one(queue)).invocation == after


async def test_cancelling_a_running_one_tells_its_worker(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert list(await queue.heartbeat([claim])) == []
    assert await queue.cancel("acme", invocation.id, CLOCK.now_ms()) is True
    assert await outcome_of(queue, invocation) is None
    assert list(await queue.heartbeat([claim])) == [claim]
    assert not await queue.begin(claim, CLOCK.now_ms())
    assert await queue.complete(claim, ended(Outcome.CANCELLED))
    assert await outcome_of(queue, invocation) is Outcome.CANCELLED


async def test_many_are_submitted_at_once_and_answered_each(installation: Installation) -> None:
    installation.settings = QueueSettings(backlog_limit=200)
    queue = installation.queue()
    many = [asked(input_inline=b"%d" % number) for number in range(150)]
    receipts = await queue.submit_many("acme", many)
    assert receipts == [SubmitReceipt(one.id, created=True) for one in many]
    keyed = [asked(idempotency_key="k", input_inline=body) for body in (b"a", b"a", b"b")]
    first, second, third = await queue.submit_many("acme", keyed)
    assert first == SubmitReceipt(keyed[0].id, created=True)
    assert second == SubmitReceipt(keyed[0].id, created=False)
    assert isinstance(third, StockadeError)
    assert third.code == "invocation.idempotency_conflict"
    more = await queue.submit_many("acme", [asked() for _ in range(100)])
    full = [one for one in more if isinstance(one, StockadeError)]
    assert {one.code for one in full} == {"queue.full"}
    assert len(full) == 100 - (200 + 8 - 151)
    assert await queue.submit_many("acme", []) == []
    assert {one.id for one in await drain_order(queue)} > {one.id for one in many}


async def heard(queue: InvocationQueue, count: int) -> list[str]:
    """So many cancellations, as they come; a busy machine may take longer than one look."""
    told: list[str] = []
    async with asyncio.timeout(60):
        while len(told) < count:
            told += await queue.cancellations(5)
    return told


async def test_workers_hear_of_a_cancellation_at_once(installation: Installation) -> None:
    queue, other = installation.queue(), installation.queue("other")
    waiting, claimed, running = asked(priority=Priority.LOW), asked(), asked()
    await queue.submit(running)
    await claim_running(queue)
    # What is told begins with the first look, which each partition must have had by then.
    assert not await queue.cancellations(2)
    assert not await other.cancellations(2)
    hearing = asyncio.ensure_future(heard(other, 1))
    assert await queue.cancel("acme", running.id, CLOCK.now_ms())
    assert await hearing == [running.id]
    await queue.submit(claimed)
    await claim_one(queue)
    await queue.submit(replace(waiting, run_at_ms=CLOCK.now_ms() + 60_000))
    for invocation in (claimed, waiting):
        assert await queue.cancel("acme", invocation.id, CLOCK.now_ms())
    assert await heard(queue, 2) == [running.id, claimed.id]
    assert not await queue.cancellations(0.01)


async def test_progress_is_told_while_the_claim_is_held(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert (await record_of(queue, invocation)).progress is None
    await queue.report_progress(claim, Progress(40, "half way, nearly"))
    assert (await record_of(queue, invocation)).progress == Progress(40, "half way, nearly")
    await queue.report_progress(replace(claim, attempt=9), Progress(99, "a stranger's word"))
    assert (await record_of(queue, invocation)).progress == Progress(40, "half way, nearly")


async def test_events_stand_in_the_record(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    events = (Event("order", '{"id": 1}'), Event("é", ""))
    assert await queue.complete(claim, replace(ended(), events=events, events_truncated=True))
    record = await record_of(queue, invocation)
    assert (record.events, record.events_truncated) == (events, True)


async def test_a_cancelled_one_is_not_retried(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    await queue.cancel("acme", invocation.id, CLOCK.now_ms())
    retry = ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms())
    assert await queue.complete(claim, retry)
    assert await outcome_of(queue, invocation) is Outcome.CANCELLED
    assert list(await claim_all(queue)) == []


async def test_a_cancelled_one_whose_worker_died_is_not_taken_over(
    installation: Installation,
) -> None:
    installation.settings = SHORT
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    await claim_running(queue)
    await queue.cancel("acme", invocation.id, CLOCK.now_ms())

    async def over() -> bool:
        assert list(await queue.reclaim(9)) == []
        return await outcome_of(queue, invocation) is Outcome.CANCELLED

    await until(over)


# Leases and fencing


async def test_beginning_twice_is_one_beginning(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_one(queue)
    assert await queue.begin(claim, 11)
    assert await queue.begin(claim, 22)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert record.started_ms == 11


async def test_a_completion_tells_of_a_beginning_that_was_not_told(
    installation: Installation,
) -> None:
    queue, short, long, silent = installation.queue(), asked(), asked(), asked()
    for invocation, told, started in ((short, False, 33), (long, True, 33), (silent, False, None)):
        await queue.submit(invocation)
        claim = await claim_one(queue)
        assert not told or await queue.begin(claim, 11)
        assert await queue.complete(claim, ended(started_ms=started))
    records = [await queue.record("acme", one.id) for one in (short, long, silent)]
    assert [record and record.started_ms for record in records] == [33, 11, None]


async def test_the_first_beginning_counts_for_all_attempts(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    for started in (33, 44):
        again = CLOCK.now_ms() if started == 33 else None
        completion = ended(started_ms=started, retry_at_ms=again)
        assert await queue.complete(await claim_one(queue), completion)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert (record.started_ms, len(record.attempts)) == (33, 2)


async def test_what_is_handed_back_is_anothers_at_once(installation: Installation) -> None:
    queue, heir, invocation = installation.queue("a"), installation.queue("b"), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert await queue.hand_back(claim, ran=True)
    taken = await claim_running(heir)
    assert (taken.invocation, taken.attempt, taken.deaths) == (invocation, 2, 0)
    assert not await queue.complete(claim, ended())
    assert not await queue.hand_back(claim, ran=True)
    assert list(await queue.heartbeat([claim])) == [claim]
    assert await heir.complete(taken, ended(number=2))
    record = await heir.record("acme", invocation.id)
    assert record is not None
    outcomes = [(one.number, one.outcome) for one in record.attempts]
    assert outcomes == [(1, Outcome.LOST), (2, Outcome.COMPLETED)]


async def test_what_never_ran_keeps_its_attempt(installation: Installation) -> None:
    queue, heir, invocation = installation.queue("a"), installation.queue("b"), asked()
    await queue.submit(invocation)
    claim = await claim_one(queue)
    assert await queue.hand_back(claim, ran=False)
    taken = await claim_running(heir)
    assert (taken.attempt, taken.deaths, taken.first_failure_ms) == (1, 0, None)
    assert not await queue.begin(claim, CLOCK.now_ms())
    assert not await queue.complete(claim, ended())
    assert await heir.complete(taken, ended())
    record = await heir.record("acme", invocation.id)
    assert record is not None
    assert len(record.attempts) == 1


async def test_what_is_handed_back_waits_in_its_old_place(installation: Installation) -> None:
    installation.settings = QueueSettings(window_floor=1)
    queue = installation.queue()
    invocations = [asked(submitted_ms=CLOCK.now_ms() + n) for n in range(3)]
    for one in invocations:
        await queue.submit(one)
    assert await queue.hand_back(await claim_running(queue), ran=True)
    assert [one.id for one in await drain_order(queue)] == [one.id for one in invocations]


async def test_a_cancelled_run_that_is_handed_back_is_cancelled(
    installation: Installation,
) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_running(queue)
    assert await queue.cancel("acme", invocation.id, CLOCK.now_ms())
    assert await queue.hand_back(claim, ran=True)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert (record.state, record.outcome) == (State.DONE, Outcome.CANCELLED)
    assert list(await claim_all(queue)) == []


async def test_what_is_handed_back_frees_its_slots(installation: Installation) -> None:
    queue = installation.queue()
    capped = replace(CONTENT, concurrency=1)
    first, second = (asked(content=capped, tenant_concurrency=1) for _ in range(2))
    await queue.submit(first)
    await queue.submit(second)
    claim = await claim_running(queue)
    assert list(await claim_all(queue)) == []
    assert await queue.hand_back(claim, ran=True)
    assert [one.id for one in await drain_order(queue)] == [first.id, second.id]


async def test_a_second_completion_is_refused(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked()
    await queue.submit(invocation)
    claim = await claim_one(queue)
    assert await queue.complete(claim, ended())
    assert not await queue.complete(claim, ended(Outcome.TRAPPED))
    assert await outcome_of(queue, invocation) is Outcome.COMPLETED


async def test_a_dead_workers_claim_is_taken_over_and_fenced(installation: Installation) -> None:
    installation.settings = SHORT
    dead, heir, invocation = installation.queue("dead"), installation.queue("heir"), asked()
    await dead.submit(invocation)
    stale = await claim_running(dead)
    assert list(await heir.reclaim(9)) == []
    (taken,) = await until(lambda: heir.reclaim(9))
    assert taken.invocation == invocation
    assert (taken.attempt, taken.deaths) == (2, 1)
    assert taken.first_failure_ms is not None
    assert list(await dead.heartbeat([stale])) == [stale]
    assert not await dead.begin(stale, CLOCK.now_ms())
    assert not await dead.complete(stale, ended(Outcome.TRAPPED))
    assert await heir.begin(taken, CLOCK.now_ms())
    assert list(await heir.heartbeat([taken])) == []
    assert await heir.complete(taken, ended(number=2))
    record = await heir.record("acme", invocation.id)
    assert record is not None
    assert [(a.number, a.outcome) for a in record.attempts] == [
        (1, Outcome.LOST),
        (2, Outcome.COMPLETED),
    ]


async def test_a_heartbeat_keeps_the_lease(installation: Installation) -> None:
    installation.settings = SHORT
    queue, other = installation.queue(), installation.queue("other")
    await queue.submit(asked())
    claim = await claim_running(queue)
    began = CLOCK.now_ms()

    async def beaten_past_the_lease() -> bool:
        assert list(await queue.heartbeat([claim])) == []
        assert list(await other.reclaim(9)) == []
        return CLOCK.now_ms() > began + 2 * SHORT.lease_ms

    await until(beaten_past_the_lease)
    assert await queue.complete(claim, ended())


async def test_heartbeat_tells_held_from_stale(installation: Installation) -> None:
    queue, other = installation.queue(), installation.queue("other")
    for _ in range(3):
        await queue.submit(asked())
    held, finished, foreign = [*await queue.claim(2, 1.0), *await other.claim(1, 1.0)]
    await queue.complete(finished, ended())
    assert list(await queue.heartbeat([held, finished, foreign])) == [finished, foreign]
    assert list(await queue.heartbeat([])) == []


async def test_a_poison_is_quarantined_after_its_third_death(installation: Installation) -> None:
    installation.settings = SHORT
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    await claim_running(queue)
    for deaths in (1, 2):
        (taken,) = await until(lambda: queue.reclaim(9))
        assert taken.deaths == deaths
        assert await queue.begin(taken, CLOCK.now_ms())

    async def over() -> bool:
        assert list(await queue.reclaim(9)) == []
        return await outcome_of(queue, invocation) is Outcome.LOST

    await until(over)
    record = await queue.record("acme", invocation.id)
    assert record is not None
    assert [attempt.outcome for attempt in record.attempts] == [Outcome.LOST] * 3
    assert {attempt.code for attempt in record.attempts} == {ReasonCode.LOST}
    assert await queue.wait("acme", invocation.id, 5.0)


async def test_reclaim_takes_at_most_what_it_asked_for(installation: Installation) -> None:
    installation.settings = SHORT
    queue = installation.queue()
    for _ in range(5):
        await queue.submit(asked())
    assert len(await queue.claim(5, 1.0)) == 5
    first = await until(lambda: queue.reclaim(2))
    assert 1 <= len(first) <= 2


# Waiting


async def test_wait_ends_when_the_invocation_is_done(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(queue.wait("acme", invocation.id, 10.0))
        second = tasks.create_task(queue.wait("acme", invocation.id, 10.0))
        await installation.queue("w").complete(await claim_one(installation.queue("w")), ended())
    assert (first.result(), second.result()) == (True, True)
    assert await queue.wait("acme", invocation.id, 0.0)


async def test_wait_after_the_end_returns_at_once(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    await queue.complete(await claim_one(queue), ended())
    assert await queue.wait("acme", invocation.id, 5.0)


async def test_wait_works_for_another_gateways_invocation(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="elsewhere")
    await queue.submit(invocation)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.wait("acme", invocation.id, 10.0))
        await queue.complete(await claim_one(queue), ended())
    assert waiting.result()


async def test_wait_gives_up(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    assert not await queue.wait("acme", invocation.id, 0.02)
    assert not await queue.wait("acme", CLOCK.new_id(), 0.02)


async def test_a_cancelled_wait_leaves_the_others(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(queue.wait("acme", invocation.id, 10.0))
        staying = tasks.create_task(queue.wait("acme", invocation.id, 10.0))
        claim = await claim_one(queue)
        leaving.cancel()
        await queue.complete(claim, ended())
    assert staying.result()


# Tenants and hostile names


async def test_another_tenants_invocation_is_absent(installation: Installation) -> None:
    queue, invocation = installation.queue(), asked(reply_to="main")
    await queue.submit(invocation)
    assert await queue.record("rival", invocation.id) is None
    assert await queue.cancel("rival", invocation.id, CLOCK.now_ms()) is None
    assert not await queue.wait("rival", invocation.id, 5.0)
    assert await outcome_of(queue, invocation) is None


@pytest.mark.parametrize(
    "name", ["", "*", "a:b", "{x}", "}{", "../..", "\0", "\r\nFLUSHALL\r\n", "\u202e", "é" * 300]
)
async def test_hostile_names_are_only_names(installation: Installation, name: str) -> None:
    queue = installation.queue()
    assert await queue.record(name, name) is None
    assert await queue.cancel(name, name, CLOCK.now_ms()) is None
    invocation = asked(f"t{name}", idempotency_key=name, function=name, reply_to=name)
    assert (await queue.submit(invocation)).created
    assert not (await queue.submit(replace(invocation, id=CLOCK.new_id()))).created
    other = asked(f"t{name}:x", idempotency_key=name)
    assert (await queue.submit(other)).created
    assert len(await drain_order(queue)) == 2
    assert await outcome_of(queue, invocation) is Outcome.COMPLETED


@pytest.mark.parametrize("name", ["\ud800", "ready", "sk:{p00}:ready"])
async def test_names_that_cannot_be_are_absent(installation: Installation, name: str) -> None:
    queue = installation.queue()
    await queue.submit(asked())
    assert await queue.record("acme", name) is None
    assert await queue.record(name, "x") is None
    assert await queue.cancel("acme", name, CLOCK.now_ms()) is None


async def test_what_a_decision_hands_on_comes_with_the_next_attempt(
    installation: Installation,
) -> None:
    queue, heir, invocation = installation.queue("a"), installation.queue("b"), asked()
    await queue.submit(invocation)
    first = await claim_running(queue)
    assert first.carry == NOTHING_CARRIED
    carry = RetryCarry(Limits(fuel=2**40), "tra..unreachable.001", "trapped.")
    retry = ended(Outcome.TRAPPED, retry_at_ms=CLOCK.now_ms(), carry=carry)
    assert await queue.complete(first, retry)
    second = await claim_running(queue)
    assert (second.attempt, second.carry) == (2, carry)
    # It stays with the invocation when the attempt is handed back, and goes with the next decision.
    assert await queue.hand_back(second, ran=True)
    third = await claim_running(heir)
    assert (third.attempt, third.carry) == (3, carry)
    again = ended(Outcome.TRAPPED, 3, retry_at_ms=CLOCK.now_ms())
    assert await heir.complete(third, again)
    assert (await claim_one(heir)).carry == NOTHING_CARRIED


async def test_a_retry_that_is_due_later_keeps_what_it_is_handed(
    installation: Installation,
) -> None:
    queue = installation.queue()
    await queue.submit(asked())
    due_ms, carry = CLOCK.now_ms() + 30, RetryCarry(basis="los...001")
    retry = ended(Outcome.LOST, retry_at_ms=due_ms, carry=carry)
    assert await queue.complete(await claim_running(queue), retry)

    async def claimed() -> Sequence[Claim]:
        # On a busy machine it is due before the completion ends: then no tick finds it.
        await queue.tick(1, CLOCK.now_ms())
        return await queue.claim(1, 0.0)

    (again,) = await until(claimed)
    assert again.carry == carry


async def test_a_retry_at_once_needs_no_tick_where_the_workers_clock_is_ahead(
    installation: Installation,
) -> None:
    queue = installation.queue()
    await queue.submit(asked())
    ahead_ms = CLOCK.now_ms() + 60_000
    retry = ended(Outcome.TRAPPED, finished_ms=ahead_ms, retry_at_ms=ahead_ms)
    assert await queue.complete(await claim_running(queue), retry)
    assert (await claim_one(queue)).attempt == 2


async def test_ceilings_travel_with_the_invocation(installation: Installation) -> None:
    queue = installation.queue()
    await queue.submit(asked(ceilings=Limits(fuel=2**50)))
    assert (await claim_one(queue)).invocation.ceilings == Limits(fuel=2**50)
