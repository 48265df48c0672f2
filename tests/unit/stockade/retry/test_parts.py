"""Rates, outages, sketches and budgets by themselves."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.retry.budgets import (
    EARNED,
    MOST_EARNED,
    PLATFORMS,
    TENANTS,
    Account,
    Budgets,
    Spending,
)
from stockade.retry.memory import Memory
from stockade.retry.needs import GROWTH, MEMORY, MOST_BINS, Sketch
from stockade.retry.outages import Outage
from stockade.retry.rates import HALF_LIFE_MS, PRIOR, Rate
from stockade.retry.rates import MEMORY as MOST_TRIALS

HOUR_MS = int(HALF_LIFE_MS)


def test_little_data_leans_on_the_wider_scope() -> None:
    rate = Rate()
    assert rate.estimate(0.3, 0) == 0.3
    rate.add(1.0, 1.0, 1)
    assert rate.estimate(0.3, 1) == pytest.approx((1 + 6 * 0.3) / 7)


def test_what_was_seen_fades_to_the_wider_scope() -> None:
    rate = Rate()
    for i in range(50):
        rate.add(1.0, 1.0, i)
    assert rate.estimate(0.1, 50) > 0.9
    assert rate.estimate(0.1, 10 * HOUR_MS) < 0.2
    rate.add(1.0, 1.0, HOUR_MS)
    assert rate.trials == pytest.approx(26, rel=0.01)


@pytest.mark.parametrize("good", [True, False])
def test_a_change_makes_the_memory_void(*, good: bool) -> None:
    rate = Rate()
    for i in range(100):
        rate.add(float(not good), 1.0, i)
    changed = [rate.add(float(good), 1.0, 100 + i) for i in range(12)]
    assert any(changed)
    assert rate.changes == 1
    assert (rate.estimate(PRIOR, 112) > 0.5) is good


def test_memory_is_bounded_and_clocks_may_jump() -> None:
    rate = Rate()
    for i in range(1000):
        rate.add(float(i % 2), 1.0, 5 * HOUR_MS - i)
    assert rate.trials == MOST_TRIALS
    rate.add(1.0, 1.0, 0)
    assert (rate.seen_ms, rate.trials) == (0, MOST_TRIALS)
    rate.add(1.0, 1.0, -7)
    assert rate.seen_ms == 0
    rate.add(1.0, 1.0, 2**52)
    assert rate.trials == 1.0


def test_what_comes_late_counts_as_if_it_had_faded() -> None:
    rate = Rate()
    rate.add(0.0, 1.0, 2 * HOUR_MS)
    rate.add(1.0, 1.0, HOUR_MS)
    assert (rate.successes, rate.trials, rate.seen_ms) == (0.5, 1.5, 2 * HOUR_MS)


def failing(outage: Outage, begin_ms: int, end_ms: int) -> None:
    for now_ms in range(begin_ms, end_ms, 500):
        outage.observe(success=False, now_ms=now_ms)


def test_an_outage_is_a_run_of_failures_that_chance_does_not_explain() -> None:
    outage = Outage()
    failing(outage, 0, 5000)
    assert not outage.is_out
    for i in range(40):
        outage.observe(success=True, now_ms=5000 + i)
    failing(outage, 6000, 7000)
    assert not outage.is_out
    failing(outage, 7000, 7500)
    assert outage.is_out
    outage.observe(success=True, now_ms=8000)
    assert not outage.is_out


def test_what_remains_is_the_age_at_first_and_then_as_others_lasted() -> None:
    outage = Outage()
    for i in range(40):
        outage.observe(success=True, now_ms=i)
    for day in range(150):
        begin_ms = 10_000 * (day + 1)
        failing(outage, begin_ms, begin_ms + 2500)
        if day == 0:
            assert outage.remaining_ms(begin_ms + 1500) == 1500
        outage.observe(success=True, now_ms=begin_ms + 3000)
        outage.observe(success=True, now_ms=begin_ms + 3001)
    assert sum(outage.lengths) == pytest.approx(100, abs=1)
    failing(outage, 3_000_000, 3_002_000)
    assert outage.remaining_ms(3_001_000) == 4096 - 1000
    assert outage.remaining_ms(3_100_000) == 100_000
    assert outage.remaining_ms(0) > 0


def test_an_outage_longer_than_all_bins_counts_in_the_last() -> None:
    outage = Outage()
    for i in range(40):
        outage.observe(success=True, now_ms=i)
    failing(outage, 1000, 5000)
    outage.observe(success=True, now_ms=2**40)
    assert outage.lengths[-1] == 1


@settings(deadline=None)
@given(st.lists(st.floats(1, 1e12), min_size=1, max_size=60), st.floats(0.05, 1))
def test_quantiles_are_right_within_a_bin(values: list[float], share: float) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    exact = sorted(values)[max(0, math.ceil(share * len(values) - 1e-9) - 1)]
    found = sketch.quantile(share)
    assert found is not None
    assert found >= exact * (1 - 1e-9)
    if len(sketch.counts) < MOST_BINS:
        assert found <= exact * GROWTH * (1 + 1e-9)


def test_a_sketch_stays_small_and_follows_what_is_new() -> None:
    sketch = Sketch()
    for i in range(200):
        sketch.add(1.2**i)
    assert len(sketch.counts) == MOST_BINS
    sketch = Sketch()
    for value in [100] * 1000 + [1000] * 1500:
        sketch.add(value)
    assert sum(sketch.counts.values()) == pytest.approx(MEMORY, abs=1)
    assert sketch.quantile(0.1) == pytest.approx(1000, rel=0.1)
    assert sketch.quantile(0.5, above=2000) is None
    assert Sketch().quantile(0.5) is None
    sketch.add(1e300)
    assert sketch.quantile(1.0) == pytest.approx(1e19, rel=0.3)


def test_ends_are_put_in_the_order_of_their_times() -> None:
    outage = Outage()
    failing(outage, 1000, 3000)
    outage.observe(success=True, now_ms=500)
    assert (outage.failures, outage.since_ms, outage.health.trials) == (4, 1000, 1)
    outage.observe(success=True, now_ms=1800)
    assert (outage.failures, outage.since_ms) == (2, 1800)
    assert outage.health.trials == pytest.approx(4, abs=0.01)
    outage.observe(success=False, now_ms=1700)
    assert outage.failures == 2
    assert outage.health.trials == pytest.approx(5, abs=0.01)
    outage.observe(success=False, now_ms=1900)
    assert (outage.failures, outage.since_ms, outage.seen_ms) == (3, 1800, 2500)


def test_a_run_that_another_clock_told_of_begins_anew() -> None:
    outage = Outage()
    for now_ms in (10 * HOUR_MS, 10 * HOUR_MS + 5, 9):
        outage.observe(success=False, now_ms=now_ms)
    assert (outage.failures, outage.since_ms, outage.seen_ms) == (3, 9, 9)
    outage.observe(success=True, now_ms=10 * HOUR_MS)
    outage.observe(success=False, now_ms=10)
    assert (outage.failures, outage.succeeded_ms) == (1, 10)


def test_a_tenant_that_burns_the_platforms_budget_does_not_slow_who_earns() -> None:
    memory = Memory()
    budgets = Budgets(memory.account, memory.spend)
    for number in range(int(PLATFORMS.most)):
        budgets.take(f"t{number % 60}", 0)
    assert memory.account("").drawn == PLATFORMS.most
    memory.account("").drawn += 1000
    assert budgets.look("t0", 0)[0] > 0
    for _ in range(4):
        budgets.earn("honest", 0)
    assert budgets.look("honest", 0) == (0, 0)
    budgets.take("honest", 0)
    assert memory.account("honest").earned == pytest.approx(4 * EARNED - 1)
    assert budgets.look("poor", 0)[0] == pytest.approx(20_020, abs=2)
    assert ("poor",) not in memory.parts


def test_budgets_are_bounded_and_clocks_may_jump() -> None:
    memory = Memory()
    budgets = Budgets(memory.account, memory.spend)
    for _ in range(1000):
        budgets.earn("t", 0)
    assert memory.account("t").earned == MOST_EARNED
    assert budgets.look("t", 0)[1] == 0
    assert budgets.look("new", 0)[1] == 0
    for _ in range(200):
        budgets.take("new", 0)
    assert budgets.look("new", 0)[1] == 1
    account = Account(drawn=TENANTS.most)
    assert account.wait_ms(0, TENANTS) == 1001
    assert account.wait_ms(500, TENANTS) == 501
    assert account.wait_ms(0, TENANTS) == 501
    assert account.wait_ms(1000, TENANTS) == 0
    assert account.wait_ms(2**60, TENANTS) == 0
    assert account.drawn == 0
    account.drawn = TENANTS.most
    assert account.wait_ms(-1, TENANTS) == 1001
    assert account.wait_ms(1000, TENANTS) == 0


def test_what_several_spent_twice_over_is_a_debt_and_the_platform_is_not_charged_for_it() -> None:
    account = Account(earned=10)
    twice = Spending(of_earned=10, of_allowance=80, now_ms=5)
    assert account.spend(twice, TENANTS) == 80
    assert account.spend(twice, TENANTS) == 20
    assert (account.earned, account.drawn) == (0, 170)
    assert account.wait_ms(5, TENANTS) == 71_001
    assert account.spend(Spending(of_allowance=1, now_ms=10_005), TENANTS) == 1
    assert account.spend(Spending(of_allowance=30, now_ms=10_005), TENANTS) == 9
