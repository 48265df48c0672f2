"""Workers that share what they saw know together what one who saw all would know."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.retry.budgets import PLATFORMS, TENANTS, Spending
from stockade.retry.journal import MOST_OF_SCOPE, Batch, Journal, replay
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import Memory, scopes_of
from stockade.retry.needs import Sketch
from stockade.retry.parts import MOST_OF_ONE_TENANT, PLATFORM, Key, Lesson, Part
from stockade.retry.state import Plain, part_of, plain
from stockade.retry.types import AttemptObservation
from tests.unit.stockade.retry.contexts import BASIS, COMPLETED, FAILED, NOW_MS, REJECTED, SOURCE

FUNCTION = ("acme", "f", "1")
TENANT = ("acme",)


class Together:
    """Workers over one store, as `sandbox_worker.learning` brings them together."""

    def __init__(self, count: int) -> None:
        self.store: dict[Key, Plain] = {}
        self.workers = [LearnedRetryPolicy(lambda: 0.5, new_memory()) for _ in range(count)]

    def share(self, worker: int, most: int = 1000) -> None:
        memory = self.workers[worker].memory
        journal = memory.journal
        assert journal
        for key in journal.first(most):
            journal.tell_platform(self._write(memory, key, journal.cut_one(key)))
        self._write(memory, PLATFORM, journal.cut_one(PLATFORM))

    def refresh(self, worker: int, keys: Sequence[Key]) -> None:
        memory = self.workers[worker].memory
        for key in keys:
            memory.adopt(key, self.part(key))

    def part(self, key: Key) -> Part:
        return part_of(self.store[key]) if key in self.store else Part()

    def _write(self, memory: Memory, key: Key, batch: Batch) -> Batch:
        part = self.part(key)
        told = replay(key, part, batch)
        self.store[key] = plain(part)
        memory.adopt(key, part)
        return told


def new_memory() -> Memory:
    return Memory(journal=Journal())


def seen(good: bool, i: int, **change: object) -> AttemptObservation:  # noqa: FBT001 (a draw)
    end = COMPLETED if good else REJECTED
    return replace(end, now_ms=NOW_MS + 10 * i, **change)  # type: ignore[arg-type]


ENDS = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.booleans()), max_size=60)


@settings(deadline=None)
@given(ENDS, st.integers(0, 2**32))
def test_in_any_order_and_at_once_they_know_what_one_would(
    ends: list[tuple[bool, int, bool]], seed: int
) -> None:
    together, alone = Together(3), Memory()
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    for i, (good, worker, retry) in enumerate(ends):
        end = seen(good, i, attempt=1 + retry, basis=BASIS if retry else "")
        alone.observe(end)
        together.workers[worker].observe(end)
        if chance.random() < 0.2:
            together.share(chance.randrange(3), chance.randrange(4))
    for worker in chance.sample(range(3), 3):
        together.share(worker)
    shared, one = together.part(FUNCTION), alone.part(FUNCTION)
    if one.firsts.changes or shared.firsts.changes:
        return
    assert shared.firsts.trials == pytest.approx(one.firsts.trials, abs=0.1)
    assert shared.firsts.successes == pytest.approx(one.firsts.successes, abs=0.1)
    for name in one.needs:
        assert shared.needs[name].counts == pytest.approx(one.needs[name].counts)
    for worker in range(3):
        together.refresh(worker, [FUNCTION, TENANT, PLATFORM])
        memory = together.workers[worker].memory
        assert [memory.part(key) for key in (FUNCTION, TENANT, PLATFORM)] == [
            together.part(key) for key in (FUNCTION, TENANT, PLATFORM)
        ]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12), st.permutations(range(3)))
def test_a_run_of_failures_is_seen_whole_by_all_who_saw_parts_of_it(
    who: list[int], order: list[int]
) -> None:
    together = Together(3)
    for i in range(40):
        together.workers[i % 3].observe(seen(good=True, i=i))
    for i, worker in enumerate(who):
        together.workers[worker].observe(seen(good=False, i=100 + i))
    for worker in order:
        together.share(worker)
    for worker in range(3):
        together.refresh(worker, [FUNCTION])
        outage = together.workers[worker].memory.part(FUNCTION).outage
        assert (outage.failures, outage.since_ms) == (12, NOW_MS + 1000)
        assert outage.is_out
        decision = together.workers[worker].decide(replace(FAILED, now_ms=NOW_MS + 2000))
        assert "12 failures in a row" in decision.reason


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1)), max_size=50), st.integers(0, 1))
def test_every_end_counts_once_for_the_health_or_in_the_run(
    ends: list[tuple[bool, int]], first: int
) -> None:
    together = Together(2)
    for i, (good, worker) in enumerate(ends):
        together.workers[worker].observe(seen(good, i))
    together.share(first)
    together.share(1 - first)
    outage = together.part(FUNCTION).outage
    if not outage.health.changes and not sum(outage.lengths):
        assert outage.health.trials + outage.failures == pytest.approx(len(ends), abs=0.1)


def test_a_change_of_which_each_saw_half_is_noticed_as_by_one() -> None:
    together, alone = Together(2), Memory()
    for i in range(200):
        end = seen(i < 180, i, attempt=2, basis=BASIS)
        alone.observe(end)
        together.workers[i % 2].observe(end)
        if i % 6 == 5:
            together.share(0)
            together.share(1)
    assert alone.part(FUNCTION).rates[BASIS].changes == 1
    found = together.part(FUNCTION).rates[BASIS]
    assert found.changes == 1
    assert found.estimate(0.5, NOW_MS + 2000) < 0.3


def test_however_many_workers_see_a_tenant_the_platform_hears_of_it_as_from_one() -> None:
    together, alone = Together(8), Memory()
    for i in range(400):
        end = seen(good=False, i=i, attempt=2, basis=BASIS)
        alone.observe(end)
        together.workers[i % 8].observe(end)
    assert not Batch(spending=Spending(earned=1)).is_nothing
    for worker in range(8):
        together.share(worker)
    (told,) = together.part(PLATFORM).rates.values()
    (one,) = alone.part(PLATFORM).rates.values()
    assert told.trials == pytest.approx(one.trials, abs=0.01)
    assert told.trials <= MOST_OF_ONE_TENANT + 1


def test_a_frozen_scope_learns_nothing_but_that_a_run_of_failures_ended() -> None:
    part = Part(frozen=True)
    lesson = Lesson(
        NOW_MS, success=False, follows=True, first=True, needs=(("fuel", 7),), basis=BASIS
    )
    part.learn(lesson)
    assert (part.outage.failures, part.rates, part.needs, part.firsts.trials) == (1, {}, {}, 0)
    assert not part.tells(BASIS)
    part.learn(replace(lesson, success=True))
    assert (part.outage.failures, part.outage.health.trials) == (0, 0)
    out = Part()
    for i in range(40):
        out.learn(replace(lesson, success=i < 20, now_ms=NOW_MS + i))
    out.frozen = True
    out.learn(replace(lesson, success=True, now_ms=NOW_MS + 900))
    assert (out.outage.failures, sum(out.outage.lengths)) == (0, 0)


def test_what_is_not_shared_yet_is_bounded_and_the_oldest_goes_first() -> None:
    journal = Journal(most_lessons=1000, most_scopes=5)
    for i in range(MOST_OF_SCOPE + 7):
        journal.note(FUNCTION, [Lesson(i, success=True)])
    assert (journal.lessons, journal.dropped) == (MOST_OF_SCOPE, 7)
    for i in range(9):
        journal.note(("acme", "g", str(i)), [Lesson(i, success=True)] * 100)
    assert (len(journal.batches), journal.lessons) == (5, 500)
    assert FUNCTION not in journal.batches
    for i in range(4, 7):
        journal.note(("acme", "g", str(i)), [Lesson(i, success=True)] * 250)
    assert journal.lessons <= 1000
    assert not journal.cut_one(("acme", "unknown", "1")).lessons
    assert (journal.first(1), journal.waiting) == ([("acme", "g", "5")], 4)


def test_what_could_not_be_told_comes_before_what_was_noted_since() -> None:
    journal = Journal()
    journal.note(FUNCTION, [Lesson(1, success=True), Lesson(2, success=True)])
    journal.spend("acme", Spending(earned=1))
    batches = [(key, journal.cut_one(key)) for key in journal.first(9)]
    journal.note(FUNCTION, [Lesson(3, success=True)])
    journal.spend("acme", Spending(earned=2))
    for key, batch in batches:
        journal.give_back(key, batch)
    assert [lesson.now_ms for lesson in journal.cut_one(FUNCTION).lessons] == [1, 2, 3]
    assert journal.cut_one(TENANT).spending.earned == 3
    assert (journal.lessons, journal.waiting) == (0, 0)


@pytest.mark.parametrize("workers", [2, 8])
def test_workers_overspend_a_tenants_budget_by_one_share_each_and_pay_it_back(
    workers: int,
) -> None:
    together = Together(workers)
    context = replace(FAILED, deadline_ms=None)
    taken = 0
    for worker in range(workers):
        policy = together.workers[worker]
        while policy.decide(context).retry:
            taken += 1
    room = TENANTS.most + context.settings.max_delay_ms / 1000 + 1
    assert taken <= workers * room
    for worker in range(workers):
        together.share(worker)
    account = together.part(TENANT).account
    assert account.drawn == taken
    assert together.part(PLATFORM).account.drawn <= TENANTS.most
    assert account.wait_ms(NOW_MS, TENANTS) / 1000 >= taken - TENANTS.most
    for worker in range(workers):
        together.refresh(worker, scopes_of(SOURCE))
        assert not together.workers[worker].decide(context).retry
    honest = replace(context, source=replace(SOURCE, tenant="honest"))
    assert together.workers[0].decide(honest).delay_ms == 100


def test_what_time_brings_is_brought_once_however_many_workers_tell() -> None:
    together = Together(4)
    shared = together.part(TENANT)
    shared.account.drawn = TENANTS.most
    shared.account.seen_ms = NOW_MS
    for i in range(40):
        batch = Batch(spending=Spending(of_allowance=1, now_ms=NOW_MS + 1000 - i % 4))
        replay(TENANT, shared, batch)
    assert shared.account.drawn == pytest.approx(TENANTS.most - 1 + 40, abs=0.01)
    platform = Part()
    replay(PLATFORM, platform, Batch(spending=Spending(of_allowance=9, now_ms=NOW_MS)))
    assert platform.account.drawn == 9
    assert platform.account.wait_ms(NOW_MS, PLATFORMS) == 0


def test_what_is_behind_is_learned_once_it_is_looked_at() -> None:
    late, at_once = new_memory(), Memory()
    for i in range(50):
        late.observe(seen(i % 3 > 0, i))
        at_once.observe(seen(i % 3 > 0, i))
    assert len(late.behind[FUNCTION]) == 50
    found, expected = late.known(FUNCTION), at_once.parts[FUNCTION]
    assert found is not None
    assert (found.firsts, found.outage) == (expected.firsts, expected.outage)
    assert {name: sketch.counts for name, sketch in found.needs.items()} == {
        name: pytest.approx(sketch.counts) for name, sketch in expected.needs.items()
    }
    assert not late.behind


def test_nothing_stays_behind_of_a_scope_that_is_forgotten_or_known_anew() -> None:
    memory = Memory(journal=Journal(), most=2)
    for version in range(4):
        memory.observe(seen(True, version, source=replace(SOURCE, version=version)))
    assert memory.behind.keys() == memory.parts.keys()
    (adopted, _) = memory.parts
    memory.adopt(adopted, Part())
    assert adopted not in memory.behind
    assert memory.part(adopted).firsts.trials == 0


@given(st.lists(st.floats(0.0, 1e15), max_size=900))
def test_many_needs_at_once_count_as_one_behind_the_other(needs: list[float]) -> None:
    one, many = Sketch(), Sketch()
    for need in needs:
        one.add(need)
    many.add_all(needs)
    assert many.counts == pytest.approx(one.counts)
