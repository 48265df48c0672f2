"""Workers share what they learned; a store that is away, corrupt or raced for harms no run."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sandbox_worker.learning import SharedLearning
from sandbox_worker.metrics import WorkerMetrics
from stockade.core.learned_states import LearnedState, Scope, StateWrite
from stockade.core.outcomes import Usage
from stockade.infra.learned_values import packed
from stockade.infra.memory.memory_learned_states import MemoryLearnedStates
from stockade.infra.system_clock import SystemClock
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.parts import Part
from stockade.retry.state import part_of, plain
from tests.unit.stockade.retry.contexts import BASIS, COMPLETED, FAILED, NOW_MS, REJECTED, SOURCE

FUNCTION = ("acme", "f", "1")


class Store(MemoryLearnedStates):
    """Can be away, answer never, or lose the answer of what it did."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.away = self.mute = False
        self.silent = asyncio.Event()
        self.silent.set()
        self.loads = 0

    async def load(self, scopes: Sequence[Scope]) -> list[LearnedState | None]:
        self.loads += 1
        await self.silent.wait()
        return [None] * len(scopes) if self.away else await super().load(scopes)

    async def swap(self, writes: Sequence[StateWrite]) -> list[bool | None]:
        await asyncio.sleep(0)
        if self.away:
            return [None] * len(writes)
        done = await super().swap(writes)
        return [None] * len(writes) if self.mute else done


@pytest.fixture
def store() -> Store:
    return Store()


def worker(store: MemoryLearnedStates) -> SharedLearning:
    def half() -> float:
        return 0.5

    return SharedLearning(LearnedRetryPolicy(half), FixedRetryPolicy(half), store, WorkerMetrics())


def events(one: SharedLearning) -> dict[str, float]:
    (family,) = one._metrics.families.learning.collect()
    return {
        sample.labels["event"]: sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }


async def part_in(store: MemoryLearnedStates, scope: Scope = FUNCTION) -> Part:
    (found,) = await store.load([scope])
    assert found is not None
    return Part() if found.state is None else part_of(found.state)


def saw(one: SharedLearning, count: int, *, good: bool = True, since_ms: int = 0) -> None:
    end = COMPLETED if good else REJECTED
    for i in range(count):
        one.observe(replace(end, now_ms=NOW_MS + since_ms + i))


async def test_what_one_worker_saw_another_decides_by(store: Store) -> None:
    one, other = worker(store), worker(store)
    saw(one, 40)
    saw(one, 6, good=False, since_ms=100)
    await one.share()
    saw(other, 6, good=False, since_ms=200)
    await other.share()
    for each in (one, other, worker(store)):
        await each.share()
        each._seen.clear()
        await each.prepare(SOURCE)
        decision = each.decide(replace(FAILED, now_ms=NOW_MS + 1000))
        assert "12 failures in a row" in decision.reason
        assert each.consider(replace(FAILED, now_ms=NOW_MS + 1000)).code is decision.code
    assert events(one)["shared"] == 46


async def test_workers_that_share_at_once_lose_no_lesson(store: Store) -> None:
    workers = [worker(store) for _ in range(6)]
    for i, one in enumerate(workers):
        saw(one, 10, since_ms=i)
    while any(one._journal.lessons or one._in_hand for one in workers):
        await asyncio.gather(*(one.share() for one in workers))
    assert (await part_in(store)).firsts.trials == pytest.approx(60, abs=0.2)
    assert sum(events(one)["raced"] for one in workers) > 0


async def test_who_starts_again_knows_what_was_known(store: Store) -> None:
    before = worker(store)
    async with before.sharing():
        saw(before, 30)
        for _ in range(30):
            before.observe(replace(REJECTED, attempt=2, basis=BASIS))
    after = worker(store)
    await after.prepare(SOURCE)
    assert after.decide(replace(FAILED, source=SOURCE)).reason == (
        before.decide(replace(FAILED, source=SOURCE)).reason
    )


async def test_rounds_share_by_themselves(store: Store) -> None:
    one = worker(store)
    async with one.sharing():
        saw(one, 3)
        async with asyncio.timeout(10):
            while not store._kept:
                await asyncio.sleep(0.02)
        store.away = True
        saw(one, 1)
    assert one._journal.lessons == 1


async def test_a_round_that_breaks_is_followed_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_worker.learning.ROUND_SECONDS", 0.01)
    one, broke = worker(store), asyncio.Event()
    kept = store._kept

    class Broken(dict[Scope, object]):
        def get(self, *_: object) -> object:
            broke.set()
            raise LookupError

    async with one.sharing():
        saw(one, 3)
        store._kept = Broken()  # type: ignore[assignment]
        await broke.wait()
        store._kept = kept
        async with asyncio.timeout(10):
            while not store._kept:
                await asyncio.sleep(0.01)
    assert (await part_in(store)).firsts.trials == pytest.approx(3, abs=0.1)


async def test_a_store_that_is_away_delays_nobody_and_is_told_later(store: Store) -> None:
    one = worker(store)
    store.away = True
    await one.prepare(SOURCE)
    loads = store.loads
    for _ in range(50):
        await one.prepare(SOURCE)
        saw(one, 100)
    assert store.loads == loads
    await one.share()
    assert one.decide(FAILED).retry
    assert one._journal.lessons == 400
    store.away = False
    await one.share()
    assert (await part_in(store)).firsts.trials == pytest.approx(200)
    assert events(one)["dropped"] == 4600
    assert events(one)["away"] == 1


async def test_a_store_that_never_answers_delays_one_decision_for_a_moment(store: Store) -> None:
    one = worker(store)
    store.silent.clear()
    begin = time.monotonic()
    await asyncio.gather(*(one.prepare(SOURCE) for _ in range(100)))
    await one.prepare(SOURCE)
    assert time.monotonic() - begin < 5
    assert store.loads == 1
    saw(one, 1)
    async with asyncio.timeout(10):
        async with one.sharing():
            pass
    assert one.decide(FAILED).retry
    store.silent.set()


async def test_a_store_that_breaks_fails_no_run(store: Store) -> None:
    one = worker(store)
    saw(one, 1)

    async def breaks(_scopes: Sequence[Scope]) -> list[LearnedState | None]:
        raise RuntimeError("The queue's server refused a command.")

    store.load = breaks  # type: ignore[method-assign]
    await one.prepare(SOURCE)
    assert one.decide(FAILED).retry
    async with one.sharing():
        pass
    assert events(one)["away"] == 1


async def test_a_write_whose_answer_was_lost_counts_once(store: Store) -> None:
    one = worker(store)
    store.mute = True
    saw(one, 5)
    await one.share()
    assert one._in_hand
    saw(one, 2, since_ms=10)
    await one.prepare(SOURCE)
    assert one._memory.part(FUNCTION).firsts.trials == pytest.approx(7, abs=0.1)
    store.away, store.mute = True, False
    await one.share()
    assert one._in_hand
    store.away = False
    await one.share()
    await one.share()
    assert (await part_in(store)).firsts.trials == pytest.approx(7, abs=0.1)
    assert not one._in_hand


@pytest.mark.parametrize(
    "spoilt",
    [
        b"\xc1",
        [99],
        [2, [], [math.nan] * 6, [], [], []],
        "text",
        [1, [], [0] * 6, [], []],
        {"a": 1},
    ],
)
async def test_what_cannot_be_read_is_set_aside_and_the_fixed_rules_decide_until_it_is_fresh(
    store: Store, spoilt: object
) -> None:
    one, other = worker(store), worker(store)
    saw(one, 20)
    await one.share()
    store._kept[FUNCTION].state = spoilt if isinstance(spoilt, bytes) else packed(spoilt)
    for each in (one, other):
        each._seen.clear()
        await each.prepare(SOURCE)
        for decision in (each.decide(FAILED), each.consider(FAILED)):
            assert decision.reason.startswith("What was learned could not be read")
            assert (decision.retry, decision.success) == (True, None)
    assert (events(one)["set_aside"], events(other).get("set_aside", 0)) == (1, 0)
    assert store.put_away.keys() == {FUNCTION}
    saw(one, 3)
    await one.share()
    assert one.decide(FAILED).reason.startswith("What was learned could not be read")
    saw(other, 4, since_ms=9)
    for each in (other, one):
        await each.share()
    for each in (one, other):
        each._seen.clear()
        await each.prepare(SOURCE)
        assert each.decide(FAILED).success == 0.5
    assert not (await store.load([FUNCTION]))[0].aside  # type: ignore[union-attr]


async def test_corruption_found_while_sharing_costs_no_lesson(store: Store) -> None:
    one = worker(store)
    saw(one, 8)
    await one.share()
    store._kept[FUNCTION].state = b"\xc1"
    store._kept[("acme",)].state = b"\xc1"
    saw(one, 7)
    await one.share()
    assert (await part_in(store)).firsts.trials == pytest.approx(7, abs=0.1)
    assert events(one)["set_aside"] == 2
    assert one.decide(FAILED).success == 0.5


async def test_an_older_state_is_read_and_written_anew(store: Store) -> None:
    one = worker(store)
    saw(one, 9)
    await one.share()
    version, rates, firsts, run, needs, _ = plain(await part_in(store))
    assert isinstance(run, tuple)
    store._kept[FUNCTION].state = packed((1, rates, firsts, (*run[:9], *run[10:]), needs))
    saw(one, 1)
    await one.share()
    (found,) = await store.load([FUNCTION])
    assert found is not None
    assert isinstance(found.state, list)
    assert found.state[0] == version
    assert (await part_in(store)).firsts.trials == pytest.approx(10, abs=0.1)


async def test_what_is_frozen_is_read_and_not_learned(store: Store) -> None:
    one = worker(store)
    saw(one, 20)
    await one.share()
    await store.freeze(FUNCTION, frozen=True)
    saw(one, 5, good=False, since_ms=50)
    await one.share()
    part = await part_in(store)
    assert part.firsts.trials == pytest.approx(20, abs=0.1)
    assert part.outage.failures == 5
    saw(one, 1, since_ms=90)
    assert one._memory.part(FUNCTION).firsts.trials == pytest.approx(20, abs=0.1)


async def test_what_nobody_can_measure_never_enters(store: Store) -> None:
    one = worker(store)
    for value in (math.nan, math.inf, -math.inf, -1.0):
        one.observe(replace(COMPLETED, usage=Usage(10**30, 2**62, value)))
    one.observe(replace(COMPLETED, now_ms=-5))
    await one.share()
    part = await part_in(store)
    assert plain(part_of(plain(part))) == plain(part)
    assert sum(part.needs["wall"].counts.values()) == 1


@pytest.mark.parametrize("jump_ms", [-(10**12), -7_200_000, -1, 1, 7_200_000, 10**12])
async def test_a_worker_whose_clock_jumps_spoils_nothing_for_the_others(
    store: Store, jump_ms: int
) -> None:
    one, wrong = worker(store), worker(store)
    for round_ms in range(0, 5000, 1000):
        saw(one, 10, since_ms=round_ms)
        saw(wrong, 10, since_ms=round_ms + jump_ms)
        saw(wrong, 2, good=False, since_ms=round_ms + jump_ms)
        await wrong.share()
        await one.share()
    saw(one, 20, since_ms=6000)
    await one.share()
    part = await part_in(store)
    assert plain(part_of(plain(part))) == plain(part)
    assert 10 <= part.firsts.trials <= 200
    assert part.firsts.successes / part.firsts.trials > 0.6
    decision = one.decide(replace(FAILED, now_ms=NOW_MS + 7000))
    assert decision.retry
    assert decision.delay_ms <= FAILED.settings.max_delay_ms


async def test_ten_thousand_ends_leave_a_kilobyte(store: Store) -> None:
    one = worker(store)
    for i in range(25):
        for j in range(400):
            end = COMPLETED if (i + j) % 3 else REJECTED
            one.observe(replace(end, now_ms=NOW_MS + 400 * i + j, usage=Usage(1 + 7**j % 10**12)))
        await one.share()
    assert len(store._kept[FUNCTION].state) <= 1024
    assert (await part_in(store)).firsts.trials <= 200


async def test_what_was_looked_at_when_is_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_worker.learning.MOST_PARTS", 10)
    one = worker(store)
    for i in range(25):
        await one.prepare(replace(SOURCE, function=f"f{i}"))
    assert len(one._seen) <= 10


async def test_thousands_of_functions_are_shared_in_turn(store: Store) -> None:
    one = worker(store)
    for i in range(1500):
        one.observe(replace(COMPLETED, source=replace(SOURCE, function=f"f{i}")))
    while one._journal.lessons:
        await one.share()
    assert len([scope for scope in store._kept if len(scope) == 3]) == 1500
