"""From what a record says to the history's rows, and what they add to usage."""

from collections.abc import Sequence

from stockade.core.errors import StockadeError
from stockade.core.history import (
    DAY_MS,
    Amounts,
    EarlierEnd,
    InvocationHistory,
    PastAttempt,
    Run,
    UsageDay,
)
from stockade.core.outcomes import Outcome, Usage

MOST_TEXT = 4096
LAST_DAY = 2_932_896
"""9999-12-31: a clock that jumps further must not make a day that no calendar has."""


def amounts_of(usage: Usage) -> Amounts:
    """What an attempt cost, in whole numbers.

    Raises:
        OverflowError, ValueError: A time is no finite number.
    """
    wall_us = round(usage.wall_ms * 1000)
    return Amounts(
        fuel=usage.fuel,
        memory_kib_ms=(usage.peak_memory_bytes * wall_us + 512_000) // 1_024_000,
        wall_us=wall_us,
        queue_us=round(usage.queue_ms * 1000),
        input_bytes=usage.input_bytes,
        output_bytes=usage.output_bytes,
        log_bytes=usage.log_bytes,
        host_calls=usage.host_calls,
    )


def attempts_of(history: InvocationHistory) -> list[PastAttempt]:
    """All attempts that the record knows, in their order."""
    ends = [end.attempts_count for end in history.earlier]
    return [
        PastAttempt(
            tenant=history.tenant,
            invocation=history.id,
            position=position,
            redrive=sum(end < position for end in ends),
            function=history.function,
            number=attempt.number,
            outcome=attempt.outcome,
            code=str(attempt.code),
            reason=_kept(attempt.reason),
            limit=attempt.limit,
            detail=_maybe_kept(attempt.detail),
            policy=attempt.policy,
            success=attempt.success,
            limits=attempt.limits,
            ended_ms=history.submitted_ms if attempt.ended_ms is None else attempt.ended_ms,
            peak_memory_bytes=attempt.usage.peak_memory_bytes,
            amounts=amounts_of(attempt.usage),
        )
        for position, attempt in enumerate(history.attempts, 1)
    ]


def runs_of(history: InvocationHistory, attempts: Sequence[PastAttempt]) -> list[Run]:
    """All runs that ended, in their order; `attempts` are those of `attempts_of`."""
    begun_ms, runs = history.submitted_ms, []
    for redrive, end in enumerate(history.earlier):
        runs.append(_run(history, redrive, begun_ms, end, attempts))
        begun_ms = end.redriven_ms
    if history.outcome is not None and history.finished_ms is not None:
        end = EarlierEnd(
            history.outcome, history.finished_ms, len(attempts), 0, history.limit, history.detail
        )
        runs.append(_run(history, len(runs), begun_ms, end, attempts))
    return runs


def day_of(time_ms: int) -> int:
    """The UTC day, counted from 1970-01-01; the nearest that a calendar has."""
    return min(max(time_ms // DAY_MS, 0), LAST_DAY)


def usage_of(runs: Sequence[Run], attempts: Sequence[PastAttempt]) -> list[UsageDay]:
    """What these add to usage, sorted by tenant, function and day."""
    counted: dict[tuple[str, str, int], dict[Outcome, int]] = {}
    costs: dict[tuple[str, str, int], tuple[int, Amounts]] = {}
    for run in runs:
        outcomes = counted.setdefault((run.tenant, run.function, day_of(run.finished_ms)), {})
        outcomes[run.outcome] = outcomes.get(run.outcome, 0) + 1
    for one in attempts:
        key = (one.tenant, one.function, day_of(one.ended_ms))
        count, amounts = costs.get(key, (0, Amounts()))
        costs[key] = count + 1, amounts + one.amounts
    return [
        UsageDay(*key, counted.get(key, {}), *costs.get(key, (0, Amounts())))
        for key in sorted(counted.keys() | costs.keys())
    ]


def can_never_be_kept(error: Exception) -> bool:
    """Whether a failure is the record's own fault, which trying again does not mend."""
    if isinstance(error, StockadeError):
        return error.code == "catalog.value_invalid"
    return isinstance(error, OverflowError | ValueError | TypeError)


def _run(
    history: InvocationHistory,
    redrive: int,
    begun_ms: int,
    end: EarlierEnd,
    attempts: Sequence[PastAttempt],
) -> Run:
    own = [one for one in attempts[: end.attempts_count] if one.redrive == redrive]
    return Run(
        tenant=history.tenant,
        invocation=history.id,
        redrive=redrive,
        function=history.function,
        version=history.version,
        module=history.module,
        outcome=end.outcome,
        limit=end.limit,
        detail=_maybe_kept(end.detail),
        submitted_ms=begun_ms,
        started_ms=_started_ms(history, redrive, own),
        finished_ms=end.finished_ms,
        attempts=len(own),
        peak_memory_bytes=max((one.peak_memory_bytes for one in own), default=0),
        amounts=sum((one.amounts for one in own), Amounts()),
        trace_id=history.trace_id,
    )


def _started_ms(history: InvocationHistory, redrive: int, own: Sequence[PastAttempt]) -> int | None:
    """The record remembers the first beginning alone; later runs' are reckoned from their ends."""
    if redrive == 0:
        return history.started_ms
    return own[0].ended_ms - own[0].amounts.wall_us // 1000 if own else None


def _maybe_kept(text: str | None) -> str | None:
    return None if text is None else _kept(text)


def _kept(text: str) -> str:
    """A guest's words as every database takes them: bounded, valid Unicode, no NUL."""
    return text[:MOST_TEXT].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
