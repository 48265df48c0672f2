"""Finds an invocation wherever it is told of: its record, or the history when that has gone."""

from collections.abc import Sequence

from gateway.services import Services
from gateway.usecases.invoke_function import find_record
from stockade.core.errors import StockadeError
from stockade.core.history import Amounts, PastAttempt, Run
from stockade.core.invocations import InvocationRecord
from stockade.core.outcomes import Attempt, State, Usage


async def find_anywhere(services: Services, tenant: str, invocation_id: str) -> InvocationRecord:
    """The tenant's record, or what the history has of it: no output, no logs, no events.

    Raises:
        StockadeError: `invocation.not_found`.
    """
    try:
        return await find_record(services, tenant, invocation_id)
    except StockadeError as refusal:
        if refusal.code != "invocation.not_found":
            raise
        runs = await services.history.runs_of(tenant, invocation_id)
        if not runs:
            raise
        attempts = await services.history.attempts_of(tenant, [invocation_id])
        return _record(runs, attempts.get(invocation_id, ()))


def _record(runs: Sequence[Run], attempts: Sequence[PastAttempt]) -> InvocationRecord:
    first, last = runs[0], runs[-1]
    told = tuple(map(_attempt, attempts))
    return InvocationRecord(
        id=last.invocation,
        tenant=last.tenant,
        function=last.function,
        version=last.version,
        state=State.DONE,
        submitted_ms=first.submitted_ms,
        outcome=last.outcome,
        limit=last.limit,
        detail=last.detail,
        attempts=told,
        usage=told[-1].usage if told else Usage(),
        started_ms=first.started_ms,
        finished_ms=last.finished_ms,
    )


def _attempt(one: PastAttempt) -> Attempt:
    return Attempt(
        number=one.number,
        outcome=one.outcome,
        reason=one.reason,
        usage=_usage(one.amounts, one.peak_memory_bytes),
        limit=one.limit,
        detail=one.detail,
        policy=one.policy,
        success=one.success,
        limits=one.limits,
        code=one.code,
        ended_ms=one.ended_ms,
    )


def _usage(amounts: Amounts, peak_memory_bytes: int) -> Usage:
    return Usage(
        fuel=amounts.fuel,
        peak_memory_bytes=peak_memory_bytes,
        wall_ms=amounts.wall_us / 1000,
        queue_ms=amounts.queue_us / 1000,
        input_bytes=amounts.input_bytes,
        output_bytes=amounts.output_bytes,
        log_bytes=amounts.log_bytes,
        host_calls=amounts.host_calls,
    )
