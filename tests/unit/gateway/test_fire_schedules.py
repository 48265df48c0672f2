"""What is due fires once, whoever looks, whatever fails and whenever a gateway ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.schedule_loop import ScheduleLoop, firing_schedules
from gateway.usecases.resolve_function import FunctionResolver
from stockade.core.errors import StockadeError
from stockade.core.invocations import Claim, Invocation, Priority, SubmitReceipt
from stockade.core.schedules import (
    CatchUp,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
    firing_id,
)
from stockade.infra.memory.memory_queue import MemoryInvocationQueue
from stockade.infra.memory.memory_schedules import MemoryScheduleStore
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import Installation, installed

START_MS = 1_800_000_000_000
MINUTELY = ScheduleDefinition("f", IntervalTiming(60), input=b"hello", priority=Priority.HIGH)


class SetClock(SystemClock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time_ms = START_MS

    def now_ms(self) -> int:
        return self.time_ms


class RefusingQueue(MemoryInvocationQueue):
    """Refuses as often as it is told to; `lost` submissions are made, and their answer is lost."""

    refusals: Sequence[Exception] = ()
    lost: Sequence[Exception] = ()

    async def submit(self, invocation: Invocation) -> SubmitReceipt:
        if self.refusals:
            first, *self.refusals = self.refusals
            raise first
        receipt = await super().submit(invocation)
        if self.lost:
            first, *self.lost = self.lost
            raise first
        return receipt


class Killed(BaseException):
    """Ends whatever runs, as no handler expects it."""


class KilledStore(MemoryScheduleStore):
    """A gateway that ends before it can write."""

    async def change(
        self, tenant: str, name: str, rule: Callable[[Schedule], Schedule]
    ) -> Schedule | None:
        raise Killed(tenant, name, rule)


class Firing(Installation):
    """A gateway with a clock to move and a queue that may refuse."""

    @property
    def clock(self) -> SetClock:
        assert isinstance(self.services.clock, SetClock)
        return self.services.clock

    @property
    def queue(self) -> RefusingQueue:
        assert isinstance(self.services.queue, RefusingQueue)
        return self.services.queue

    def loop(self, **changes: object) -> ScheduleLoop:
        services = replace(self.services, **changes)  # type: ignore[arg-type]
        return ScheduleLoop(services, FunctionResolver(services.catalog, 0))

    async def add(self, name: str = "s", tenant: str = "alice", **changes: object) -> Schedule:
        definition = replace(MINUTELY, **changes)  # type: ignore[arg-type]
        timing = definition.timing
        assert isinstance(timing, IntervalTiming)
        due_ms = START_MS + timing.every_seconds * 1000
        made = Schedule(tenant, name, f"id-{name}", definition, START_MS, due_ms, due_ms)
        assert await self.services.schedules.add(made, 10_000)
        return made

    async def stored(self, name: str = "s") -> Schedule:
        found = await self.services.schedules.schedule("alice", name)
        assert found is not None
        return found

    async def fired(self) -> list[Claim]:
        """What was queued since the last look, as a worker gets it."""
        found: list[Claim] = []
        while claims := await self.worker.claim(100, 0):
            for claim in claims:
                assert await self.worker.begin(claim, START_MS)
            found += claims
            await self.worker.tick(100, 0)
        return found


@pytest.fixture
async def gateway() -> AsyncIterator[Firing]:
    async with installed() as plain:
        assert isinstance(plain.services.queue, MemoryInvocationQueue)
        state = plain.services.queue._state
        clock = SetClock()
        queue = RefusingQueue(clock, state=state)
        services = replace(plain.services, clock=clock, queue=queue)
        await plain.deploy("f")
        await plain.worker.tick(1000, 0)
        facts = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        yield Firing(**(facts | {"services": services}))


async def test_what_is_due_fires_and_moves_on(gateway: Firing) -> None:
    one = await gateway.add()
    assert await gateway.loop().round() == 1.0
    gateway.clock.time_ms += 59_700
    assert await gateway.loop().round() == pytest.approx(0.3)
    assert await gateway.fired() == []
    gateway.clock.time_ms += 300
    await gateway.loop().round()
    (claim,) = await gateway.fired()
    made = claim.invocation
    assert made.id == firing_id(one, START_MS + 60_000)
    assert (made.tenant, made.function, made.version) == ("alice", "f", 1)
    assert (made.input_inline, made.priority, made.reply_to) == (b"hello", Priority.HIGH, "")
    stored = await gateway.stored()
    assert (stored.last_ms, stored.last_invocation) == (START_MS + 60_000, made.id)
    assert stored.next_ms == START_MS + 120_000
    await gateway.loop().round()
    assert await gateway.fired() == []


async def test_many_gateways_make_one_firing(gateway: Firing) -> None:
    for number in range(4):
        await gateway.add(f"s{number}")
    gateway.clock.time_ms += 60_000
    await asyncio.gather(*(gateway.loop().round() for _ in range(10)))
    assert len(await gateway.fired()) == 4
    for number in range(4):
        assert (await gateway.stored(f"s{number}")).next_ms == START_MS + 120_000


async def test_a_gateway_that_ends_between_the_steps_leaves_one_firing(gateway: Firing) -> None:
    one = await gateway.add()
    gateway.clock.time_ms += 60_000
    killed = KilledStore(lambda _: None)
    await killed.add(one, 1)
    with pytest.raises(Killed):
        await gateway.loop(schedules=killed).round()
    assert (await gateway.stored()).next_ms == START_MS + 60_000
    gateway.clock.time_ms += 5_000
    await gateway.loop().round()
    (claim,) = await gateway.fired()
    assert claim.invocation.id == firing_id(one, START_MS + 60_000)
    assert (await gateway.stored()).next_ms == START_MS + 120_000


async def test_a_submission_whose_answer_was_lost_is_no_second_one(gateway: Firing) -> None:
    await gateway.add()
    gateway.clock.time_ms += 60_000
    gateway.queue.lost = [StockadeError("queue.unavailable", "Away.", retryable=True)]
    with pytest.raises(StockadeError):
        await gateway.loop().round()
    await gateway.loop().round()
    assert len(await gateway.fired()) == 1


@pytest.mark.parametrize(
    ("catch_up", "expected"), [(CatchUp.SKIP, 0), (CatchUp.ONE, 1), (CatchUp.ALL, 9)]
)
async def test_after_a_stop_the_policy_decides(
    gateway: Firing, catch_up: CatchUp, expected: int
) -> None:
    await gateway.add(catch_up=catch_up, timing=IntervalTiming(600))
    gateway.clock.time_ms += 9 * 600_000 + 120_000
    for _ in range(12):
        await asyncio.gather(gateway.loop().round(), gateway.loop().round())
    assert len(await gateway.fired()) == expected
    assert (await gateway.stored()).next_ms == START_MS + 10 * 600_000


async def test_a_function_that_is_gone_is_told_and_holds_nobody_up(gateway: Firing) -> None:
    await gateway.add("gone", function="absent")
    await gateway.add("good")
    gateway.clock.time_ms += 60_000
    await gateway.loop().round()
    assert [claim.invocation.function for claim in await gateway.fired()] == ["f"]
    stored = await gateway.stored("gone")
    assert stored.refusal is not None
    assert (stored.refusal.code, stored.refusal.count) == ("function.not_found", 1)
    assert (stored.next_ms, stored.last_ms) == (START_MS + 60_000, None)
    shown = (await gateway.http.get("/v1/schedules/gone")).json()["refusal"]
    assert shown["code"] == "function.not_found"

    await gateway.deploy("absent")
    await gateway.loop().round()
    assert await gateway.fired() == []
    gateway.clock.time_ms += 1_000
    await gateway.loop().round()
    assert [claim.invocation.function for claim in await gateway.fired()] == ["absent"]
    stored = await gateway.stored("gone")
    assert (stored.refusal, stored.last_ms) == (None, START_MS + 60_000)


async def test_a_full_backlog_delays_a_firing_and_drops_none(gateway: Firing) -> None:
    one = await gateway.add()
    gateway.clock.time_ms += 60_000
    gateway.queue.refusals = [StockadeError("queue.full", "Full.", retryable=True)] * 3
    for _ in range(10):
        await gateway.loop().round()
        gateway.clock.time_ms += 1_000
    (claim,) = await gateway.fired()
    assert claim.invocation.id == firing_id(one, START_MS + 60_000)
    assert gateway.queue.refusals == []


async def test_an_input_that_a_later_version_does_not_take_is_told(gateway: Firing) -> None:
    await gateway.add()
    await gateway.deploy("f", limits={"input_bytes": 1})
    gateway.clock.time_ms += 60_000
    await gateway.loop().round()
    stored = await gateway.stored()
    assert stored.refusal is not None
    assert stored.refusal.code == "schedule.input_too_large"


async def test_our_own_mistake_is_one_schedules_trouble(gateway: Firing) -> None:
    await gateway.add("a")
    await gateway.add("b")
    gateway.clock.time_ms += 60_000
    gateway.queue.refusals = [ZeroDivisionError()]
    with capture_logs() as logged:
        await gateway.loop().round()
    assert [entry["event"] for entry in logged] == ["schedule_failed"]
    assert len(await gateway.fired()) == 1
    told = [(await gateway.stored(name)).refusal for name in ("a", "b")]
    assert [one.code for one in told if one is not None] == ["internal.error"]


async def test_without_a_queue_nothing_is_written_and_all_waits(gateway: Firing) -> None:
    one = await gateway.add()
    gateway.clock.time_ms += 60_000
    away = StockadeError("queue.unavailable", "Away.", retryable=True)
    gateway.queue.refusals = [away]
    with pytest.raises(StockadeError):
        await gateway.loop().round()
    assert await gateway.stored() == one


async def test_a_tenant_with_thousands_due_starves_nobody(gateway: Firing) -> None:
    for number in range(300):
        await gateway.add(f"s{number}")
    await gateway.new_key("bob")
    module = (await gateway.services.catalog.function_version("alice", "f", None)) or None
    assert module is not None
    await gateway.services.catalog.put_function("bob", "f", module.content, 0)
    await gateway.add("late", tenant="bob")
    gateway.clock.time_ms += 60_000
    await gateway.loop().round()
    fired = [claim.invocation.tenant for claim in await gateway.fired()]
    assert "bob" in fired
    assert 0 < fired.count("alice") < 10


async def test_the_loop_goes_on_whatever_happens(gateway: Firing) -> None:
    class TroubledStore(MemoryScheduleStore):
        rounds = 0

        async def due(self, now_ms: int, most: int, most_of_tenant: int) -> Sequence[Schedule]:
            self.rounds += 1
            if self.rounds == 1:
                raise StockadeError("catalog.unavailable", "Away.", retryable=True)
            if self.rounds == 2:
                raise ZeroDivisionError
            third.set()
            return await super().due(now_ms, most, most_of_tenant)

    third = asyncio.Event()
    services = replace(gateway.services, schedules=TroubledStore(lambda _: None))
    with capture_logs() as logged:
        async with asyncio.timeout(30):
            async with firing_schedules(services, FunctionResolver(services.catalog, 0)):
                await third.wait()
    assert [entry["event"] for entry in logged] == ["schedules_wait", "schedule_round_failed"]


@pytest.mark.parametrize("skew_ms", [-3_600_000, 3_600_000], ids=["slow", "fast"])
async def test_a_gateway_whose_clock_is_an_hour_off_is_no_different(
    gateway: Firing, skew_ms: int
) -> None:
    skewed = SetClock()
    loop = gateway.loop(clock=skewed)
    await gateway.add()
    gateway.clock.time_ms += 59_000
    skewed.time_ms = gateway.clock.time_ms + skew_ms
    await loop.round()
    assert await gateway.fired() == []
    skewed.time_ms += 1_000
    await loop.round()
    assert len(await gateway.fired()) == 1
    assert (await gateway.stored()).next_ms == START_MS + 120_000


async def test_what_waits_is_told_once(gateway: Firing) -> None:
    class AwayStore(MemoryScheduleStore):
        rounds = 0

        async def due(self, now_ms: int, most: int, most_of_tenant: int) -> Sequence[Schedule]:
            self.rounds += 1
            if self.rounds < 3:
                raise StockadeError("catalog.unavailable", "Away.", retryable=True)
            third.set()
            return await super().due(now_ms, most, most_of_tenant)

    third = asyncio.Event()
    services = replace(gateway.services, schedules=AwayStore(lambda _: None))
    with capture_logs() as logged:
        async with asyncio.timeout(30):
            async with firing_schedules(services, FunctionResolver(services.catalog, 0)):
                await third.wait()
    assert [entry["event"] for entry in logged] == ["schedules_wait"]


async def test_a_paused_schedule_does_not_fire(gateway: Firing) -> None:
    await gateway.add()
    assert (await gateway.http.post("/v1/schedules/s/pause")).status_code == 200
    gateway.clock.time_ms += 10 * 60_000
    await gateway.loop().round()
    assert await gateway.fired() == []
