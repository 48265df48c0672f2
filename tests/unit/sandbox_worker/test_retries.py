"""What follows a failed attempt in a worker: whose policy decides, and what is handed on."""

from dataclasses import replace

import pytest

from sandbox_worker.retries import Retries
from stockade.core.invocations import NOTHING_CARRIED, Claim, Completion, Invocation, RetryCarry
from stockade.core.limits import CEILINGS, Limits
from stockade.core.modules import Abi, FunctionContent, RetrySettings
from stockade.core.outcomes import Attempt, Outcome, ReasonCode, RunResult, Usage
from stockade.retry.fixed import FixedRetryPolicy
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.needs import Sketch
from stockade.retry.types import FailureContext, RetryDecision, Source

NOW_MS = 1_000_000
LIMITS = Limits(fuel=1000)
OUT_OF_FUEL = RunResult(Outcome.LIMIT_EXCEEDED, limit="fuel", usage=Usage(fuel=1000))
TRAPPED = RunResult(Outcome.TRAPPED, detail="The guest trapped: unreachable.", usage=Usage(fuel=9))


def retries() -> Retries:
    learned = LearnedRetryPolicy(lambda: 0.5)
    return Retries(FixedRetryPolicy(lambda: 0.5), learned, learned.memory.needs)


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


def test_what_an_upstream_did_is_the_cause_and_names_the_source() -> None:
    desk, first = retries(), claim()
    upstream = "http_fetch:api.example.org"
    well = RunResult(Outcome.COMPLETED, upstream=upstream)
    bad = RunResult(Outcome.REJECTED, retry_hint=True, upstream=upstream, cause="5xx")
    for _ in range(10):
        learn(desk, first, well)
    for _ in range(4):
        learn(desk, first, bad)
    decision = desk.decide(first, bad, NOW_MS + 2000)
    assert decision.ruling.reason.startswith(
        f"{upstream} has been out for 2.0 s (4 failures in a row)"
    )
    elsewhere = desk.decide(first, replace(bad, upstream="http_fetch:other"), NOW_MS + 2000)
    assert "has been out" not in elsewhere.ruling.reason
    assert desk.carry(first, bad, decision).failure.startswith("rejected..5xx.")


def test_a_call_that_was_not_sent_tells_that_its_upstream_is_out() -> None:
    """Other workers may know of the outage what this one has not learned yet."""
    desk, first = retries(), claim()
    refused = RunResult(Outcome.TRAPPED, upstream="http_fetch:x", cause="upstream_out")
    assert "has been out" not in desk.decide(first, refused, NOW_MS).ruling.reason
    learn(desk, first, refused)
    assert "has been out" in desk.decide(first, refused, NOW_MS + 1).ruling.reason


def learn(desk: Retries, of: Claim, result: RunResult) -> None:
    attempt = Attempt(of.attempt, result.outcome, "", result.usage)
    desk.observe(of, result, Completion(attempt, NOW_MS))


@pytest.mark.parametrize(
    ("policy", "retry"), [("learned", True), ("fixed", False), ("never", False)]
)
def test_the_functions_policy_decides(policy: str, *, retry: bool) -> None:
    decided = retries().decide(claim(policy), OUT_OF_FUEL, NOW_MS)
    assert decided.ruling.retry is retry


def test_a_raised_limit_is_the_next_attempts_and_keeps_to_the_ceiling() -> None:
    desk, first = retries(), claim()
    decided = desk.decide(first, OUT_OF_FUEL, NOW_MS)
    carry = desk.carry(first, OUT_OF_FUEL, decided)
    assert carry.limits == replace(LIMITS, fuel=2000)
    second = claim(attempt=2, carry=carry)
    assert desk.limits(first) == LIMITS
    assert desk.limits(second) == carry.limits
    more = replace(OUT_OF_FUEL, usage=Usage(fuel=2000))
    decided = desk.decide(second, more, NOW_MS)
    assert desk.attempt(second, more, decided).limits == carry.limits
    assert desk.carry(second, more, decided).limits == replace(LIMITS, fuel=3000)


def test_without_ceilings_nothing_rises() -> None:
    bare = claim()
    bare = replace(bare, invocation=replace(bare.invocation, ceilings=None))
    assert not retries().decide(bare, OUT_OF_FUEL, NOW_MS).ruling.retry


def test_a_final_end_hands_nothing_on() -> None:
    desk, done = retries(), RunResult(Outcome.COMPLETED, b"out")
    decided = desk.decide(claim(), done, NOW_MS)
    assert desk.carry(claim(), done, decided) == NOTHING_CARRIED
    attempt = desk.attempt(claim(), done, decided)
    assert (attempt.reason, attempt.success, attempt.policy) == (
        "The run completed.",
        None,
        "learned",
    )


def test_what_a_retrys_end_teaches_goes_to_the_basis_it_was_decided_by() -> None:
    desk, first, fine = retries(), claim(), RunResult(Outcome.COMPLETED, b"out")
    decided = desk.decide(first, TRAPPED, NOW_MS)
    carry = desk.carry(first, TRAPPED, decided)
    assert carry.basis == "tra..unreachable.001"
    for _ in range(40):
        learn(desk, first, fine)
        learn(desk, claim(attempt=2, carry=carry), TRAPPED)
    learn(desk, first, fine)
    again = desk.decide(first, TRAPPED, NOW_MS).ruling
    assert decided.ruling.success == pytest.approx(0.5)
    assert again.success is not None
    assert again.success < 0.1
    assert not again.retry


def test_a_failure_alike_to_the_last_instruction_is_another_class() -> None:
    desk, first = retries(), claim()
    carry = desk.carry(first, TRAPPED, desk.decide(first, TRAPPED, NOW_MS))
    second = claim(attempt=2, carry=carry)
    assert desk.decide(second, TRAPPED, NOW_MS).ruling.basis == "tra..unreachable.102"
    differs = replace(TRAPPED, usage=Usage(fuel=10))
    assert desk.decide(second, differs, NOW_MS).ruling.basis == "tra..unreachable.002"


@pytest.mark.parametrize(("policy", "other"), [("learned", "fixed"), ("fixed", "learned")])
def test_the_other_policy_decides_in_the_shadow_of_every_failure(policy: str, other: str) -> None:
    desk, first = retries(), claim(policy)
    decided = desk.decide(first, OUT_OF_FUEL, NOW_MS)
    shown = desk.attempt(first, OUT_OF_FUEL, decided)
    assert shown.policy == policy
    assert shown.shadow is not None
    assert shown.shadow.policy == other
    verdicts = {shown.policy: shown.code, shown.shadow.policy: shown.shadow.code}
    assert verdicts == {"learned": ReasonCode.LIMIT_RAISED, "fixed": ReasonCode.CERTAIN}
    rose = decided.shadow if policy == "fixed" else decided.ruling
    assert rose is not None
    assert rose.limits == replace(LIMITS, fuel=2000)
    assert shown.shadow.limits == (rose.limits if policy == "fixed" else None)


def test_what_is_never_tried_again_and_what_completed_have_no_shadow() -> None:
    desk = retries()
    assert desk.decide(claim("never"), OUT_OF_FUEL, NOW_MS).shadow is None
    done = RunResult(Outcome.COMPLETED, b"out")
    assert desk.attempt(claim(), done, desk.decide(claim(), done, NOW_MS)).shadow is None


def test_a_shadow_takes_nothing_and_changes_no_decision() -> None:
    desk, first = retries(), claim("fixed")
    for i in range(500):
        decided = desk.decide(first, TRAPPED, NOW_MS + i)
        assert (decided.ruling.retry, decided.ruling.delay_ms) == (True, 100)
        assert decided.shadow is not None
        assert decided.shadow.code is ReasonCode.CHANCE
    ruled = desk.decide(claim("learned"), TRAPPED, NOW_MS).ruling
    assert (ruled.retry, ruled.delay_ms) == (True, 100)


class Broken(FixedRetryPolicy):
    def consider(self, context: FailureContext) -> RetryDecision:
        raise ZeroDivisionError(context.attempt)

    def decide(self, context: FailureContext) -> RetryDecision:
        raise OverflowError(context.attempt)


def test_where_the_learned_policy_fails_the_fixed_rules_decide() -> None:
    desk = Retries(FixedRetryPolicy(lambda: 0.5), Broken(lambda: 0.5), lambda _source: {})
    assert (
        desk.decide(claim(), TRAPPED, NOW_MS).ruling
        == desk.decide(claim("fixed"), TRAPPED, NOW_MS).ruling
    )


def test_needs_that_cannot_be_reckoned_with_leave_limits_as_deployed() -> None:
    def broken(_source: Source) -> dict[str, Sketch]:
        raise OverflowError

    policy = FixedRetryPolicy(lambda: 0.5)
    of = automatic("learned")
    assert Retries(policy, policy, broken).fitted(of) == of


def test_a_shadow_that_fails_is_left_out() -> None:
    desk = Retries(FixedRetryPolicy(lambda: 0.5), Broken(lambda: 0.5), lambda _source: {})
    decided = desk.decide(claim("fixed"), TRAPPED, NOW_MS)
    assert (decided.ruling.retry, decided.shadow) == (True, None)
    assert desk.carry(claim("fixed"), TRAPPED, decided).basis == ""


def test_a_fixed_functions_retries_teach_the_learned_policy() -> None:
    desk, first, fine = retries(), claim("fixed"), RunResult(Outcome.COMPLETED, b"out")
    for _ in range(40):
        learn(desk, first, fine)
        carry = desk.carry(first, TRAPPED, desk.decide(first, TRAPPED, NOW_MS))
        assert carry.basis == "tra..unreachable.001"
        assert carry.success is not None
        learn(desk, claim("fixed", attempt=2, carry=carry), TRAPPED)
    learn(desk, first, fine)
    decided = desk.decide(first, TRAPPED, NOW_MS)
    assert decided.ruling.retry
    assert decided.shadow is not None
    assert not decided.shadow.retry
    carry = desk.carry(first, TRAPPED, decided)
    assert carry.basis == "tra..unreachable.001"
    assert carry.shadow_stopped
    third = claim("fixed", attempt=2, carry=carry)
    rejected = RunResult(Outcome.REJECTED, retry_hint=True)
    later = desk.decide(third, rejected, NOW_MS)
    assert later.shadow is not None
    assert later.shadow.retry
    assert desk.carry(third, rejected, later).shadow_stopped


def test_a_retry_under_the_same_limit_teaches_nothing_of_raised_ones() -> None:
    late = RunResult(Outcome.LIMIT_EXCEEDED, limit="wall", usage=Usage(fuel=1000))
    desk, first = retries(), claim("fixed")
    first = replace(first, invocation=replace(first.invocation, ceilings=CEILINGS))
    decided = desk.decide(first, late, NOW_MS)
    assert decided.ruling.retry
    carry = desk.carry(first, late, decided)
    assert (carry.limits, carry.basis, carry.success) == (None, "", None)


@pytest.mark.parametrize("policy", ["learned", "fixed", "never"])
def test_caps_deadline_and_ceilings_hold_whichever_policy_decides(policy: str) -> None:
    desk = retries()
    failures = (TRAPPED, OUT_OF_FUEL, RunResult(Outcome.LOST), RunResult(Outcome.CRASHED))
    for result in failures:
        used_up = claim(policy, attempt=3)
        assert not desk.decide(used_up, result, NOW_MS).ruling.retry
        late = claim(policy)
        late = replace(late, invocation=replace(late.invocation, deadline_ms=NOW_MS))
        assert not desk.decide(late, result, NOW_MS).ruling.retry
        for _ in range(200):
            ruling = desk.decide(claim(policy), result, NOW_MS).ruling
            assert 0 <= ruling.delay_ms <= 30_000
            assert ruling.retry is False or policy != "never"
            if ruling.limits is not None:
                assert ruling.limits.fuel <= 3000


def automatic(policy: str, ceiling: int = 10**10) -> Claim:
    base = claim(policy)
    content = replace(base.invocation.content, auto_limits=("fuel",))
    ceilings = replace(CEILINGS, fuel=ceiling)
    return replace(base, invocation=replace(base.invocation, content=content, ceilings=ceilings))


def ran(desk: Retries, fuel: int, runs: int = 40) -> None:
    done = RunResult(Outcome.COMPLETED, usage=Usage(fuel, 2**20, 5))
    for _ in range(runs):
        learn(desk, claim(), done)


def test_automatic_limits_are_the_first_attempts_own_and_stand_in_its_record() -> None:
    desk = retries()
    early = desk.fitted(automatic("learned"))
    assert (early.carry.limits, desk.limits(early)) == (None, LIMITS)
    assert "0 of 30 runs seen" in early.carry.limits_reason
    ran(desk, 5_000_000)
    held = desk.fitted(automatic("learned"))
    assert 5_000_000 < desk.limits(held).fuel < 7_000_000
    assert replace(desk.limits(held), fuel=LIMITS.fuel) == LIMITS
    # What is learned while it runs changes nothing for it.
    ran(desk, 8_000_000, 400)
    shown = desk.attempt(held, TRAPPED, desk.decide(held, TRAPPED, NOW_MS))
    assert shown.limits == desk.limits(held)
    assert shown.limits_reason == "Automatic limits: fuel by the need of 40 runs."


@pytest.mark.parametrize("policy", ["learned", "fixed", "never"])
def test_automatic_limits_keep_to_the_ceilings_of_the_invocation(policy: str) -> None:
    desk = retries()
    ran(desk, 5_000_000_000)
    assert desk.limits(desk.fitted(automatic(policy, 6000))).fuel == 6000
    old = automatic(policy)
    old = replace(old, invocation=replace(old.invocation, ceilings=None))
    assert desk.limits(desk.fitted(old)) == LIMITS


def test_a_raised_limit_stays_raised_where_limits_are_automatic() -> None:
    desk, first = retries(), automatic("learned")
    carry = desk.carry(first, OUT_OF_FUEL, desk.decide(first, OUT_OF_FUEL, NOW_MS))
    assert carry.limits_reason == "The fuel limit was raised after attempt 1."
    ran(desk, 200_000)
    second = desk.fitted(replace(first, attempt=2, carry=carry))
    assert second.carry == carry


def test_limits_of_other_functions_are_as_deployed() -> None:
    desk, plain = retries(), claim()
    ran(desk, 5_000_000)
    assert desk.fitted(plain) is plain


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.EXPIRED])
def test_ends_that_say_nothing_of_the_function_teach_nothing(outcome: Outcome) -> None:
    desk = retries()
    ran(desk, 1000)
    for _ in range(50):
        learn(desk, claim(), RunResult(outcome))
    ruling = desk.decide(claim(), TRAPPED, NOW_MS).ruling
    assert (ruling.code, ruling.delay_ms) == (ReasonCode.CHANCE, 100)
    for _ in range(50):
        learn(desk, claim(), TRAPPED)
    assert desk.decide(claim(), TRAPPED, NOW_MS + 1000).ruling.code is ReasonCode.OUTAGE
