"""State: round trips, bounds, merging in any order, and what is refused."""

import math
import random
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.core.outcomes import Outcome, Usage
from stockade.retry.memory import Memory
from stockade.retry.needs import MEMORY, MOST_BINS, Sketch
from stockade.retry.outages import BINS, Outage
from stockade.retry.rates import Rate
from stockade.retry.state import LIMITS, MOST_BASES, VERSION, Part, merged, part_of, plain
from tests.unit.stockade.retry.contexts import COMPLETED, NOW_MS


def a_rate(rng: random.Random) -> Rate:
    trials = rng.randrange(20_000)
    numbers = (rng.randint(0, trials) / 100, trials / 100, rng.randrange(3), a_moment(rng))
    return Rate(*numbers, rng.randrange(700) / 100, rng.randrange(700) / 100)


def a_moment(rng: random.Random) -> int:
    return NOW_MS - rng.choice((0, 1, rng.randrange(10_000_000)))


def a_part(seed: int) -> Part:
    rng = random.Random(seed)  # noqa: S311 (repeatable)
    lengths = [rng.randrange(10_000) / 100 for _ in range(BINS)]
    outage = Outage(a_rate(rng), rng.randrange(99), a_moment(rng), a_moment(rng), lengths)
    needs = {
        limit: Sketch(
            {
                rng.randrange(400): rng.randrange(10_000) / 100
                for _ in range(rng.randrange(MOST_BINS))
            }
        )
        for limit in rng.sample(LIMITS, rng.randrange(4))
    }
    bases = rng.sample("abcdef", rng.randrange(7))
    return Part({basis: a_rate(rng) for basis in bases}, a_rate(rng), outage, needs)


PARTS = st.integers(0, 2**32).map(a_part)


def flat(found: object) -> list[object]:
    if isinstance(found, tuple):
        return [leaf for one in found for leaf in flat(one)]
    return [found]


def assert_alike(one: Part, other: Part) -> None:
    mine, others = flat(plain(one)), flat(plain(other))
    assert len(mine) == len(others)
    for a, b in zip(mine, others, strict=True):
        assert a == b or (
            isinstance(a, int)
            and isinstance(b, int)
            and math.isclose(a, b, rel_tol=1e-9, abs_tol=1)
        )


@settings(deadline=None)
@given(PARTS)
def test_what_is_told_plainly_is_read_again(part: Part) -> None:
    assert part_of(plain(part)) == part
    assert part_of(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(part)))) == part


@settings(deadline=None)
@given(PARTS, PARTS, PARTS)
def test_parts_merge_in_any_order(one: Part, two: Part, three: Part) -> None:
    assert_alike(merged(one, two), merged(two, one))
    assert_alike(merged(merged(one, two), three), merged(one, merged(two, three)))
    assert_alike(merged(one, Part()), merged(Part(), one))


def test_two_workers_together_know_what_one_would() -> None:
    alone, first, second = Memory(), Memory(), Memory()
    for i in range(60):
        end = replace(COMPLETED, now_ms=NOW_MS, attempt=2, basis="rej..busy.001")
        end = end if i % 3 else replace(end, outcome=Outcome.REJECTED)
        alone.observe(end)
        (first if i < 30 else second).observe(end)
    key = ("acme", "f", "1")
    together = merged(first.parts[key], second.parts[key]).rates["rej..busy.001"]
    assert (together.successes, together.trials) == pytest.approx((40, 60))
    assert together.trials == alone.parts[key].rates["rej..busy.001"].trials


def test_a_full_part_of_a_function_takes_a_kilobyte_at_most() -> None:
    rate = Rate(199.99, 200.0, 99, NOW_MS, 4.99, 4.99)
    sketch = Sketch({400 + i: MEMORY / MOST_BINS for i in range(MOST_BINS)})
    bases = {f"lim.f.{'x' * 11}{i}.113": rate for i in range(MOST_BASES)}
    outage = Outage(rate, 9999, NOW_MS, NOW_MS, [99.99] * BINS)
    part = Part(bases, rate, outage, {"fuel": sketch, "memory": sketch, "wall": sketch})
    assert len(msgspec.msgpack.encode(plain(part))) <= 1024


def test_the_basis_longest_unseen_goes_first() -> None:
    part = Part()
    for i in range(MOST_BASES + 5):
        part.rate(f"b{i:02}", MOST_BASES).add(1.0, 1.0, NOW_MS + i)
    assert sorted(part.rates) == [f"b{i:02}" for i in range(5, MOST_BASES + 5)]
    other = Part({"newer": Rate(1, 1, 0, NOW_MS + 99)})
    assert {"newer", "b06"} <= merged(part, other).rates.keys()
    assert len(merged(part, other).rates) == MOST_BASES


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
        (GOOD[0], (("b", 1, 2, 0, 5, 0, 0),) * 33, *GOOD[2:]),
        (*GOOD[:3], (1, 2, 3), GOOD[4]),
        (*GOOD[:4], (("fuel", 1),)),
        (*GOOD[:4], (("fuel", 461, 1),)),
        (*GOOD[:4], (("disk", 1, 1),)),
        (*GOOD[:4], (("fuel", *range(100)),)),
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


def test_an_older_version_is_migrated_step_by_step() -> None:
    migrations = {
        -1 + VERSION: lambda old: (VERSION, *old[1:]),
    }
    assert part_of((VERSION - 1, *GOOD[1:]), migrations) == part_of(GOOD)
    with pytest.raises(ValueError, match="version 0 is unknown"):
        part_of((0, *GOOD[1:]), {})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0, -5])
def test_what_is_no_size_never_enters(value: float) -> None:
    memory = Memory()
    memory.observe(replace(COMPLETED, usage=Usage(0, 0, value)))
    assert not any(sketch.counts for sketch in memory.parts["acme", "f", "1"].needs.values())
