"""State: round trips, bounds, merging in any order, and what is refused."""

import math
import random
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.core.outcomes import Usage
from stockade.retry.budgets import Account
from stockade.retry.memory import Memory
from stockade.retry.needs import MEMORY, MOST_BINS, Sketch
from stockade.retry.outages import BINS, Outage
from stockade.retry.parts import MOST_BASES, MOST_SHARED_BASES, Part
from stockade.retry.rates import Rate
from stockade.retry.state import LIMITS, MIGRATIONS, VERSION, part_of, plain
from tests.unit.stockade.retry.contexts import COMPLETED, NOW_MS


def a_rate(rng: random.Random) -> Rate:
    trials = rng.randrange(20_000)
    numbers = (rng.randint(0, trials) / 100, trials / 100, rng.randrange(3), a_moment(rng))
    return Rate(*numbers, rng.randrange(700) / 100, rng.randrange(700) / 100)


def a_moment(rng: random.Random) -> int:
    return NOW_MS - rng.choice((0, 1, rng.randrange(10_000_000)))


def a_part(seed: int) -> Part:
    rng = random.Random(seed)  # noqa: S311 (repeatable)
    lengths = [rng.randrange(600) / 100 for _ in range(BINS)]
    run = sorted((a_moment(rng), a_moment(rng)))
    outage = Outage(a_rate(rng), rng.randrange(99), *run, a_moment(rng), lengths)
    needs = {
        limit: Sketch(
            {rng.randrange(400): rng.randrange(1700) / 100 for _ in range(rng.randrange(MOST_BINS))}
        )
        for limit in rng.sample(LIMITS, rng.randrange(4))
    }
    bases = rng.sample("abcdef", rng.randrange(7))
    account = Account(rng.randrange(2) * 7.5, rng.randrange(2) * 3.25, 0.0, 9)
    account = account if account.earned or account.drawn else Account()
    return Part({basis: a_rate(rng) for basis in bases}, a_rate(rng), outage, needs, account)


PARTS = st.integers(0, 2**32).map(a_part)


@settings(deadline=None)
@given(PARTS)
def test_what_is_told_plainly_is_read_again(part: Part) -> None:
    assert part_of(plain(part)) == part
    assert part_of(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(part)))) == part


def test_a_full_part_of_a_function_takes_a_kilobyte_at_most() -> None:
    rate = Rate(199.99, 200.0, 99, NOW_MS, 4.99, 4.99)
    sketch = Sketch({400 + i: MEMORY / MOST_BINS for i in range(MOST_BINS)})
    bases = {f"lim.f.{'x' * 11}{i}.113": rate for i in range(MOST_BASES)}
    outage = Outage(rate, 9999, NOW_MS, NOW_MS, NOW_MS, [6.25] * BINS)
    part = Part(bases, rate, outage, {"fuel": sketch, "memory": sketch, "wall": sketch})
    assert len(msgspec.msgpack.encode(plain(part))) <= 1024
    shared = Part({f"{i:021}": rate for i in range(MOST_SHARED_BASES)})
    assert len(msgspec.msgpack.encode(plain(shared))) <= 5000


def test_the_basis_longest_unseen_goes_first() -> None:
    part = Part()
    for i in range(MOST_BASES + 5):
        part.rate(f"b{i:02}", MOST_BASES).add(1.0, 1.0, NOW_MS + i)
    assert sorted(part.rates) == [f"b{i:02}" for i in range(5, MOST_BASES + 5)]


GOOD = plain(Part({"b": Rate(1, 2, 0, 5)}, needs={"fuel": Sketch({3: 1.0})}))


def with_rate(*numbers: object) -> tuple[object, ...]:
    return (GOOD[0], (("b", *numbers),), *GOOD[2:])


@pytest.mark.parametrize(
    "found",
    [
        None,
        (),
        b"\x01",
        "text",
        {"version": 1},
        (99, *GOOD[1:]),
        (True, *GOOD[1:]),
        GOOD[:-1],
        with_rate(1, 2, 0, 5, 0),
        with_rate(math.nan, 2, 0, 5, 0, 0),
        with_rate(math.inf, 2, 0, 5, 0, 0),
        with_rate(1.5, 2, 0, 5, 0, 0),
        with_rate(-1, 2, 0, 5, 0, 0),
        with_rate(1, 2**53 + 1, 0, 5, 0, 0),
        with_rate(3, 2, 0, 5, 0, 0),
        (GOOD[0], (("x" * 25, 1, 2, 0, 5, 0, 0),), *GOOD[2:]),
        (GOOD[0], ((7, 1, 2, 0, 5, 0, 0),), *GOOD[2:]),
        (GOOD[0], ((),), *GOOD[2:]),
        (GOOD[0], (("b\x1b[2J", 1, 2, 0, 5, 0, 0),), *GOOD[2:]),
        with_rate(1, 20_001, 0, 5, 0, 0),
        (GOOD[0], (("b", 1, 2, 0, 5, 0, 0),) * 97, *GOOD[2:]),
        (*GOOD[:3], (1, 2, 3), *GOOD[4:]),
        (*GOOD[:3], (0, 0, 0, 0, 0, 0, 1, 9, 8, 0, *[0] * BINS), *GOOD[4:]),
        (*GOOD[:3], (0, 0, 0, 0, 0, 0, 1, 8, 9, 0, *[700] * BINS), *GOOD[4:]),
        (*GOOD[:4], (("fuel", 1),), ()),
        (*GOOD[:4], (("fuel", 461, 1),), ()),
        (*GOOD[:4], (("disk", 1, 1),), ()),
        (*GOOD[:4], (("fuel", *range(100)),), ()),
        (*GOOD[:4], (("fuel", 3, 40_201),), ()),
        (*GOOD[:5], (1, 2, 3)),
    ],
)
def test_what_is_no_state_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match=r"State|rate|basis|outage|sketch"):
        part_of(found)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=6),
        max_leaves=30,
    )
)
def test_whatever_else_is_found_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        part_of(found)


def test_an_older_version_is_migrated() -> None:
    version, rates, firsts, run, needs, _ = plain(replace(a_part(7), account=Account()))
    assert isinstance(run, tuple)
    found = part_of((1, rates, firsts, (*run[:9], *run[10:]), needs))
    assert found == part_of((version, rates, firsts, (*run[:9], 0, *run[10:]), needs, ()))
    with pytest.raises(ValueError, match="version 0 is unknown"):
        part_of((0, *GOOD[1:]))


def test_versions_are_migrated_step_by_step() -> None:
    def to_1(old: tuple[object, ...]) -> tuple[object, ...]:
        return (1, *old[1:])

    version, rates, firsts, run, needs, _ = GOOD
    assert isinstance(run, tuple)
    oldest = (0, rates, firsts, (*run[:9], *run[10:]), needs)
    assert part_of(oldest, {0: to_1, **MIGRATIONS}) == part_of(GOOD)
    assert version == VERSION


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -5])
def test_what_is_no_size_never_enters(value: float) -> None:
    memory = Memory()
    memory.observe(replace(COMPLETED, usage=Usage(0, 0, value)))
    assert not any(sketch.counts for sketch in memory.parts["acme", "f", "1"].needs.values())


def test_a_run_shorter_than_the_least_size_is_seen_too() -> None:
    memory = Memory()
    memory.observe(replace(COMPLETED, usage=Usage(0, 0, 0.04)))
    assert memory.parts["acme", "f", "1"].needs["wall"].quantile(1.0) == 1.0
