"""What one recorded end of an attempt adds to its version's tally.

- `runs`, `completed`, and `limit.NAME` for runs that passed that limit.
- `decisions` on failures that both policies decided; `both.retry`, `both.stop`, `shadow.stops`
  (the ruling policy tried again) and `shadow.retries` (it did not) part them. `other.limits` of
  those that both tried again, the delays of both in milliseconds.
- `ruled.CODE` and `would.CODE`: the reasons of either.
- Saved, as it happened: after the shadow's first stop every further attempt of the invocation is
  one that it saves (`saved.attempts`, `saved.fuel`), and a success one that it loses.
- Added, as it is reckoned: where the ruling policy stops first, the shadow would go on
  (`added.…`, `won.successes`, in thousandths), by the estimate that stands in the record.
- `bin.N.…`: what was estimated of a retry, in tenths, and whether it completed.
"""

from stockade.core.invocations import Claim, Completion
from stockade.core.outcomes import Attempt, Outcome, ShadowDecision

BINS = 10
MILLI = 1000
_UNKNOWN_SUCCESS = frozenset({Outcome.CANCELLED, Outcome.EXPIRED})
_LEARNED = "learned"


def tallied(claim: Claim, completion: Completion) -> dict[str, int]:
    """What the end of a claim adds, nothing that is zero. `completion` is as it was recorded."""
    attempt = completion.attempt
    completed = attempt.outcome is Outcome.COMPLETED
    tally = {"runs": 1, "completed": 1} if completed else {"runs": 1}
    if attempt.outcome is Outcome.LIMIT_EXCEEDED:
        tally[f"limit.{attempt.limit}"] = 1
    if claim.carry.success is not None and attempt.outcome not in _UNKNOWN_SUCCESS:
        _add_prediction(tally, claim.carry.success, completed=completed)
    if claim.carry.shadow_stopped:
        tally["saved.attempts"] = 1
        tally["saved.fuel"] = attempt.usage.fuel
        tally["lost.successes"] = int(completed)
    if attempt.shadow is not None:
        _add_decision(tally, claim, completion, attempt.shadow)
    return {name: count for name, count in tally.items() if count}


def _add_prediction(tally: dict[str, int], success: float, *, completed: bool) -> None:
    """How the retry ended, beside what was estimated of it."""
    i = min(BINS - 1, int(success * BINS))
    tally[f"bin.{i}.trials"] = 1
    tally[f"bin.{i}.expected"] = round(success * MILLI)
    tally[f"bin.{i}.successes"] = int(completed)


def _add_decision(
    tally: dict[str, int], claim: Claim, completion: Completion, shadow: ShadowDecision
) -> None:
    attempt = completion.attempt
    tally["decisions"] = 1
    tally[f"ruled.{attempt.code}"] = 1
    tally[f"would.{shadow.code}"] = 1
    if completion.retry_at_ms is None:
        tally["shadow.retries" if shadow.retry else "both.stop"] = 1
        if shadow.retry and not claim.carry.shadow_stopped:
            _add_reckoned(tally, claim, attempt, shadow)
        return
    tally["both.retry" if shadow.retry else "shadow.stops"] = 1
    if shadow.retry:
        raised = completion.carry.limits
        raised = None if raised == claim.carry.limits else raised
        tally["other.limits"] = int(shadow.limits != raised)
        tally["delay.ruled_ms"] = completion.retry_at_ms - completion.finished_ms
        tally["delay.would_ms"] = shadow.delay_ms


def _add_reckoned(
    tally: dict[str, int], claim: Claim, attempt: Attempt, shadow: ShadowDecision
) -> None:
    """The attempts that the shadow would have added, each as dear as this one or its new limit."""
    learned = shadow.policy == _LEARNED
    success = shadow.success if learned else attempt.success
    left = claim.invocation.content.retry.max_attempts - attempt.number
    attempts, won = 1.0, success or 0.0
    if not learned:
        won = 1 - (1 - won) ** left
        attempts = won / success if success else float(left)
    had = (claim.carry.limits or claim.invocation.content.limits).fuel
    rises = shadow.limits is not None and shadow.limits.fuel > had
    each = shadow.limits.fuel if shadow.limits is not None and rises else attempt.usage.fuel
    tally["added.attempts"] = round(attempts * MILLI)
    tally["added.fuel"] = round(attempts * each)
    tally["won.successes"] = round(won * MILLI)
    tally["added.unknown"] = int(success is None)
