"""What follows a failed attempt in a worker: whose policy decides, and what is handed on."""

from dataclasses import replace

import pytest

from sandbox_worker.retries import Retries
from stockade.core.invocations import NOTHING_CARRIED, Claim, Invocation, RetryCarry
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import Outcome, RunResult, Usage
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy

NOW_MS = 1_000_000
LIMITS = Limits(fuel=1000)
OUT_OF_FUEL = RunResult(Outcome.LIMIT_EXCEEDED, limit="fuel", usage=Usage(fuel=1000))
TRAPPED = RunResult(Outcome.TRAPPED, detail="The guest trapped: unreachable.", usage=Usage(fuel=9))


def retries() -> Retries:
    return Retries(FixedRetryPolicy(lambda: 0.5), LearnedRetryPolicy(lambda: 0.5))


def claim(policy: str = "learned", attempt: int = 1, carry: RetryCarry = NOTHING_CARRIED) -> Claim:
    content = FunctionContent(
        "sha256:" + "a" * 64,
        Abi.STOCKADE_V1,
        deterministic=False,
        limits=LIMITS,
        retry=RetrySettings(policy=policy),
    )
    invocation = Invocation(
        "id", "acme", "resize", 3, content, NOW_MS, b"", ceilings=Limits(fuel=3000)
    )
    return Claim(invocation, attempt, "1-0", carry=carry)


@pytest.mark.parametrize(
    ("policy", "retry"), [("learned", True), ("fixed", False), ("never", False)]
)
def test_the_functions_policy_decides(policy: str, *, retry: bool) -> None:
    decision = retries().decide(claim(policy), OUT_OF_FUEL, NOW_MS)
    assert decision.retry is retry


def test_a_raised_limit_is_the_next_attempts_and_keeps_to_the_ceiling() -> None:
    desk, first = retries(), claim()
    decision = desk.decide(first, OUT_OF_FUEL, NOW_MS)
    carry = desk.carry(first, OUT_OF_FUEL, decision)
    assert carry.limits == replace(LIMITS, fuel=2000)
    second = claim(attempt=2, carry=carry)
    assert desk.limits(first) == LIMITS
    assert desk.limits(second) == carry.limits
    more = replace(OUT_OF_FUEL, usage=Usage(fuel=2000))
    decision = desk.decide(second, more, NOW_MS)
    assert desk.attempt(second, more, decision).limits == carry.limits
    assert desk.carry(second, more, decision).limits == replace(LIMITS, fuel=3000)


def test_without_ceilings_nothing_rises() -> None:
    bare = claim()
    bare = replace(bare, invocation=replace(bare.invocation, ceilings=None))
    assert not retries().decide(bare, OUT_OF_FUEL, NOW_MS).retry


def test_a_final_end_hands_nothing_on() -> None:
    desk, done = retries(), RunResult(Outcome.COMPLETED, b"out")
    decision = desk.decide(claim(), done, NOW_MS)
    assert desk.carry(claim(), done, decision) == NOTHING_CARRIED
    attempt = desk.attempt(claim(), done, decision)
    assert (attempt.reason, attempt.success, attempt.policy) == (
        "The run completed.",
        None,
        "learned",
    )


def test_what_a_retrys_end_teaches_goes_to_the_basis_it_was_decided_by() -> None:
    desk, first, fine = retries(), claim(), RunResult(Outcome.COMPLETED, b"out")
    decision = desk.decide(first, TRAPPED, NOW_MS)
    carry = desk.carry(first, TRAPPED, decision)
    assert carry.basis == "tra..unreachable.001"
    for _ in range(40):
        desk.observe(first, fine, NOW_MS)
        desk.observe(claim(attempt=2, carry=carry), TRAPPED, NOW_MS)
    desk.observe(first, fine, NOW_MS)
    again = desk.decide(first, TRAPPED, NOW_MS)
    assert decision.success == pytest.approx(0.5)
    assert again.success is not None
    assert again.success < 0.1
    assert not again.retry


def test_a_failure_alike_to_the_last_instruction_is_another_class() -> None:
    desk, first = retries(), claim()
    carry = desk.carry(first, TRAPPED, desk.decide(first, TRAPPED, NOW_MS))
    second = claim(attempt=2, carry=carry)
    assert desk.decide(second, TRAPPED, NOW_MS).basis == "tra..unreachable.102"
    differs = replace(TRAPPED, usage=Usage(fuel=10))
    assert desk.decide(second, differs, NOW_MS).basis == "tra..unreachable.002"
