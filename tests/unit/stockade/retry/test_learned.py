"""The learned policy: certainties, waiting for outages, value, exploration, budget, limits."""

from copy import deepcopy
from dataclasses import replace

import pytest

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.core.outcomes import Outcome, ReasonCode, Usage
from stockade.retry.exploring import EXPLORED, PROBE_GAP_MS, Explorers
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.memory import EXPLORING
from stockade.retry.types import Source
from tests.unit.stockade.retry.contexts import (
    BASIS,
    COMPLETED,
    FAILED,
    NOW_MS,
    REJECTED,
    SOURCE,
    taught,
)

FUEL_PASSED = replace(
    FAILED, outcome=Outcome.LIMIT_EXCEEDED, limit="fuel", deterministic=True, cause=""
)


def learner(uniform: float = 0.5) -> LearnedRetryPolicy:
    return LearnedRetryPolicy(lambda: uniform)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outcome": Outcome.CANCELLED}, "final"),
        ({"outcome": Outcome.TRAPPED, "deterministic": True}, "deterministic"),
        ({"outcome": Outcome.LIMIT_EXCEEDED, "limit": "output"}, "output limit"),
        ({"retry_hint": False}, "guest said"),
        ({"attempt": 5}, "All 5 attempts"),
        ({"deadline_ms": NOW_MS + 100}, "deadline would pass"),
    ],
)
def test_certainties_and_the_deadline_come_before_learning(
    change: dict[str, object], words: str
) -> None:
    decision = learner().decide(replace(FAILED, **change))
    assert not decision.retry
    assert words in decision.reason


def test_without_knowledge_it_retries_as_the_fixed_policy() -> None:
    decision = learner().decide(FAILED)
    assert (decision.retry, decision.delay_ms, decision.success) == (True, 100, 0.5)
    assert decision.basis == BASIS
    assert decision.reason == (
        "Retries of such failures succeed in 50% (none was seen yet): "
        "attempt 2 follows after 100 ms."
    )


def test_a_lost_run_goes_to_another_worker_at_once() -> None:
    decision = learner().decide(replace(FAILED, outcome=Outcome.LOST))
    assert (decision.retry, decision.delay_ms) == (True, 0)


def test_what_never_helped_is_given_up_with_its_figures() -> None:
    policy = learner()
    for attempt in (1, 2, 3):
        taught(policy, [False] * 30, f"{BASIS[:-1]}{attempt}")
    many = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))
    decision = policy.decide(many)
    assert not decision.retry
    assert decision.success == pytest.approx(0.0, abs=0.05)
    assert "costs more than it earns" in decision.reason
    taught(policy, [True] * 30)
    assert policy.decide(many).retry


def test_at_most_one_decision_in_a_hundred_explores_and_its_success_begins_anew() -> None:
    policy = learner()
    for attempt in (1, 2, 3):
        taught(policy, [False] * 40, f"{BASIS[:-1]}{attempt}")
    elsewhere = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))
    decisions = [
        policy.decide(replace(elsewhere, now_ms=NOW_MS + i * PROBE_GAP_MS)) for i in range(1000)
    ]
    explored = [decision for decision in decisions if decision.retry]
    assert 5 <= len(explored) <= EXPLORED * 1000
    assert {decision.basis for decision in explored} == {BASIS + EXPLORING}
    assert not policy.decide(elsewhere).retry
    policy.observe(replace(COMPLETED, attempt=2, basis=BASIS + EXPLORING))
    assert policy.decide(elsewhere).retry


@pytest.mark.parametrize("change", [{"repeats": True}, {"deterministic": True}, {"attempt": 2}])
def test_what_looks_deterministic_is_never_explored(change: dict[str, object]) -> None:
    policy = learner()
    for flags in ("001", "101", "002", "003"):
        taught(policy, [False] * 60, f"rej..busy.{flags}")
    taught(policy, [False] * 60, "rej..busy.102")
    taught(policy, [False] * 60, "rej..busy.103")
    context = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"), **change)
    assert not any(
        policy.decide(replace(context, now_ms=NOW_MS + i * PROBE_GAP_MS)).retry for i in range(500)
    )


def test_explorations_are_spaced() -> None:
    policy = learner()
    for attempt in (1, 2, 3):
        taught(policy, [False] * 40, f"{BASIS[:-1]}{attempt}")
    context = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))
    assert sum(policy.decide(context).retry for _ in range(900)) == 1


def out(policy: LearnedRetryPolicy, source: Source, failures: int = 8) -> None:
    for i in range(20):
        policy.observe(replace(COMPLETED, source=source, now_ms=NOW_MS - 60_000 + i))
    for i in range(failures):
        policy.observe(replace(REJECTED, source=source, now_ms=NOW_MS - 8000 + 1000 * i))


def test_an_outage_is_waited_for_and_few_look_early() -> None:
    policy, upstream = learner(), replace(SOURCE, upstream="http_fetch:api")
    out(policy, upstream)
    context = replace(FAILED, source=upstream)
    first, *_, last = [policy.decide(context) for _ in range(10)]
    assert first.delay_ms == 0.5 * 24_000
    assert last.delay_ms == 30_000
    assert last.reason.startswith(
        "http_fetch:api has been out for 8.0 s (8 failures in a row), some 24.0 s are likely left"
    )
    assert (last.success, last.basis) == (None, "")
    assert policy.decide(replace(FAILED, source=replace(SOURCE, tenant="other"))).delay_ms == 100


def test_a_function_can_be_out_and_the_last_attempt_waits_longest() -> None:
    policy = learner(0.0)
    out(policy, SOURCE, 4)
    decision = policy.decide(replace(FAILED, attempt=4, now_ms=NOW_MS - 7000))
    assert decision.delay_ms == 9000
    assert decision.reason.startswith("The function has been out")


def test_a_budget_that_is_used_up_stops_its_tenant_alone() -> None:
    policy = learner(0.0)
    reasons = {policy.decide(FAILED).reason.split(" for ")[0] for _ in range(200)}
    assert "The tenant's retry budget is used up" in reasons
    neighbour = replace(FAILED, source=replace(SOURCE, tenant="neighbour"))
    assert policy.decide(neighbour).delay_ms == 0


def test_a_passed_limit_rises_as_the_need_suggests_and_the_others_too() -> None:
    policy = learner()
    policy.observe(
        replace(
            COMPLETED,
            attempt=2,
            usage=Usage(5_000_000_000, 100 * 2**20, 12_000),
            basis="lim.f..003",
        )
    )
    decision = policy.decide(FUEL_PASSED)
    assert decision.retry
    assert decision.limits is not None
    assert 1.25 * 5e9 <= decision.limits.fuel <= 1.1 * 1.25 * 5e9
    assert decision.limits.memory_bytes >= 1.25 * 100 * 2**20
    assert decision.limits.wall_ms >= 15_000
    assert f"from 1000000000 to {decision.limits.fuel}" in decision.reason
    assert decision.basis == "lim.f..001"


def test_an_unknown_need_doubles_the_limit_up_to_its_ceiling() -> None:
    policy = learner()
    decision = policy.decide(FUEL_PASSED)
    assert decision.limits == replace(DEFAULT_LIMITS, fuel=2 * DEFAULT_LIMITS.fuel)
    full = policy.decide(replace(FUEL_PASSED, limits=CEILINGS))
    assert (full.retry, full.limits) == (False, None)
    assert "ceiling" in full.reason


def test_what_no_limit_helps_is_given_up() -> None:
    policy = learner()
    for attempt in (1, 2, 3):
        for i in range(40):
            policy.observe(
                replace(
                    REJECTED,
                    outcome=Outcome.LIMIT_EXCEEDED,
                    limit="fuel",
                    attempt=attempt + 1,
                    now_ms=NOW_MS - 40 + i,
                    basis=f"lim.f..00{attempt}",
                )
            )
    decision = policy.decide(replace(FUEL_PASSED, source=replace(SOURCE, upstream="x")))
    assert not decision.retry
    assert decision.reason.endswith("more fuel is not worth it.")


def test_when_first_attempts_change_what_was_learned_of_retries_is_void() -> None:
    policy = learner()
    for i in range(60):
        policy.observe(replace(REJECTED, now_ms=NOW_MS - 1000 + i))
    for attempt in (1, 2, 3):
        taught(policy, [False] * 40, f"{BASIS[:-1]}{attempt}")
    elsewhere = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))
    assert not policy.decide(elsewhere).retry
    for i in range(30):
        policy.observe(replace(COMPLETED, now_ms=NOW_MS + i))
    assert policy.decide(elsewhere).retry


def test_of_attempts_never_seen_nothing_better_is_expected_than_of_the_one_before() -> None:
    policy = learner()
    taught(policy, [False] * 40)
    assert not policy.decide(replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))).retry


def test_considering_takes_nothing_however_often() -> None:
    policy = learner()
    out(policy, SOURCE)
    for attempt in (1, 2, 3):
        taught(policy, [False] * 40, f"{BASIS[:-1]}{attempt}", replace(SOURCE, upstream="y:z"))
    elsewhere = replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x"))
    for i in range(300):
        policy.decide(replace(elsewhere, now_ms=NOW_MS + i))
    elsewhere = replace(elsewhere, now_ms=NOW_MS + 2 * PROBE_GAP_MS)
    contexts = (FAILED, FUEL_PASSED, replace(FAILED, source=Source("new", "g", 9)), elsewhere)
    before = [policy.consider(context) for context in contexts]
    assert {decision.code for decision in before} == {
        ReasonCode.OUTAGE, ReasonCode.LIMIT_RAISED, ReasonCode.CHANCE, ReasonCode.EXPLORE,
    }  # fmt: skip
    known = deepcopy(policy.memory)
    for _ in range(300):
        assert [policy.consider(context) for context in contexts] == before
    assert policy.memory == known
    assert [policy.decide(context) for context in contexts] == before


def test_what_is_not_worth_it_still_names_its_basis_so_that_others_retries_teach_it() -> None:
    policy = learner()
    taught(policy, [False] * 40)
    stopped = policy.consider(replace(FAILED, source=replace(SOURCE, upstream="http_fetch:x")))
    assert (stopped.retry, stopped.code, stopped.basis) == (False, ReasonCode.CHANCE, BASIS)


def test_the_tenants_whose_explorations_are_counted_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stockade.retry.exploring.MOST_TENANTS", 3)
    explorers = Explorers()
    for i in (*range(9), 6):
        explorers.earn(f"t{i}")
    assert list(explorers.tenants) == ["t7", "t8", "t6"]
    assert explorers.tenants["t6"].credit == pytest.approx(2 * EXPLORED)
