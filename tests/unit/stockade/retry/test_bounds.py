"""Whatever was learned, and whatever fails: the bounds hold."""

import random
from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS, Limits
from stockade.core.modules import RetrySettings
from stockade.core.outcomes import Outcome, Usage
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import Memory
from stockade.retry.parts import MOST_OF_ONE_TENANT
from stockade.retry.rates import PRIOR, PRIOR_TRIALS
from stockade.retry.state import part_of, plain
from stockade.retry.types import AttemptObservation, FailureContext, Source
from tests.unit.stockade.retry.contexts import BASIS, COMPLETED, FAILED, NOW_MS, REJECTED, SOURCE

LIMIT_NAMES = (None, "fuel", "memory", "wall", "table", "output", "host_calls")
SOURCES = st.builds(
    Source,
    st.sampled_from(("acme", "b")),
    st.sampled_from(("f", "g")),
    st.just(1),
    st.sampled_from(("", "http_fetch:x")),
)
LIMITS = st.builds(
    lambda fuel, memory, wall: replace(
        DEFAULT_LIMITS, fuel=fuel, memory_bytes=memory, wall_ms=wall
    ),
    st.integers(1, CEILINGS.fuel),
    st.integers(1, CEILINGS.memory_bytes),
    st.integers(1, CEILINGS.wall_ms),
)
MOMENTS = st.integers(-(10**6), 10**6).map(lambda passed: NOW_MS + passed) | st.sampled_from(
    (-1, 0, 1, 2**52)
)
OBSERVATIONS = st.builds(
    AttemptObservation,
    SOURCES,
    st.sampled_from(Outcome),
    MOMENTS,
    st.builds(
        Usage,
        st.integers(0, 10**15),
        st.integers(0, 2**40),
        st.floats(allow_nan=True, allow_infinity=True),
    ),
    LIMITS,
    st.sampled_from(LIMIT_NAMES),
    st.integers(1, 6),
    st.sampled_from(("", BASIS, BASIS + "?", "lim.f..001", "tra..a.b.112")),
)
CONTEXTS = st.builds(
    FailureContext,
    attempt=st.integers(1, 8),
    outcome=st.sampled_from(Outcome),
    limit=st.sampled_from(LIMIT_NAMES),
    retry_hint=st.booleans(),
    deterministic=st.booleans(),
    now_ms=MOMENTS,
    deadline_ms=st.none() | MOMENTS,
    settings=st.builds(
        RetrySettings,
        st.sampled_from(("learned", "never")),
        st.integers(1, 7),
        st.integers(0, 5000),
        st.integers(0, 60_000),
    ),
    source=SOURCES,
    cause=st.text(max_size=40),
    repeats=st.booleans(),
    limits=LIMITS,
    ceilings=LIMITS,
)
FINAL = {Outcome.COMPLETED, Outcome.CANCELLED, Outcome.EXPIRED}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(OBSERVATIONS, max_size=40), st.lists(CONTEXTS, min_size=1, max_size=4), st.randoms()
)
def test_no_state_passes_the_bounds(
    observed: list[AttemptObservation], contexts: list[FailureContext], chance: random.Random
) -> None:
    policy = LearnedRetryPolicy(chance.random)
    for observation in observed:
        policy.observe(observation)
    for context in contexts:
        decision = policy.decide(context)
        assert decision.reason.endswith(".")
        if decision.retry:
            assert 0 <= decision.delay_ms <= context.settings.max_delay_ms
            assert context.attempt < context.settings.max_attempts
            assert context.outcome not in FINAL
            assert context.settings.policy != "never"
            assert decision.success is None or 0 <= decision.success <= 1
            if context.deadline_ms is not None:
                assert context.now_ms + decision.delay_ms < context.deadline_ms
            assert_limits_rise_within_ceilings(context, decision.limits)
    for part in policy.memory.parts.values():
        assert plain(part_of(plain(part))) == plain(part)


def assert_limits_rise_within_ceilings(context: FailureContext, limits: Limits | None) -> None:
    guests = context.outcome in {Outcome.TRAPPED, Outcome.LIMIT_EXCEEDED}
    if limits is None:
        assert not (guests and context.deterministic)
        assert not (guests and context.limit in {"fuel", "memory", "table", "output"})
        return
    assert limits != context.limits
    for name in (field.name for field in fields(Limits)):
        had = getattr(context.limits, name)
        assert had <= getattr(limits, name) <= max(had, getattr(context.ceilings, name))


def test_one_tenants_history_moves_what_is_thought_of_others_by_a_bound() -> None:
    poisoned, clean = Memory(), Memory()
    for i in range(5000):
        end = replace(REJECTED, attempt=2, now_ms=NOW_MS + i, basis=BASIS)
        poisoned.observe(replace(end, source=replace(SOURCE, tenant="mallory")))
    other = replace(FAILED, source=replace(SOURCE, tenant="honest"), now_ms=NOW_MS + 5000)
    moved = abs(poisoned.chance(other, 1)[0] - clean.chance(other, 1)[0])
    told = MOST_OF_ONE_TENANT + 1
    assert moved <= PRIOR * told / (told + PRIOR_TRIALS)
    for memory in (poisoned, clean):
        for _ in range(20):
            memory.observe(
                replace(COMPLETED, source=other.source, attempt=2, now_ms=other.now_ms, basis=BASIS)
            )
    assert abs(poisoned.chance(other, 1)[0] - clean.chance(other, 1)[0]) < 0.05


def test_thousands_of_functions_with_one_sample_each_stay_bounded() -> None:
    memory = Memory(most=100)
    for i in range(1000):
        memory.observe(replace(REJECTED, source=replace(SOURCE, function=f"f{i}"), basis=BASIS))
    assert len(memory.parts) == 100
    assert ("acme", "f999", "1") in memory.parts


@pytest.mark.parametrize("jump_ms", [-(10**12), -1, 1, 10**12])
def test_a_clock_that_jumps_leaves_a_policy_that_decides(jump_ms: int) -> None:
    policy = LearnedRetryPolicy(lambda: 0.5)
    for now_ms in (NOW_MS, NOW_MS + jump_ms, NOW_MS):
        for good in (True, False, True):
            end = COMPLETED if good else REJECTED
            policy.observe(replace(end, now_ms=now_ms, basis=BASIS, attempt=2))
        decision = policy.decide(replace(FAILED, now_ms=now_ms))
        assert decision.retry
        assert decision.delay_ms <= FAILED.settings.max_delay_ms
