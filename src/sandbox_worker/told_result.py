"""What an executor tells about a run, and what of it is believed.

An executor stands beside a tenant's code, so its word is a claim: it is refused where no sound
executor could say it, and its figures are cut to what was allowed. Wall time is never asked of it.
"""

from sandbox_worker.executor_task import Task
from sandbox_worker.guest.frames import FrameError, Ran
from stockade.core.limits import Limits
from stockade.core.outcomes import Outcome, RunResult, Usage

WORST_TEXT_EXPANSION = 4
"""One byte that is no UTF-8 becomes a character of three; lines and names cost something too."""
_HIGHEST_LEVEL = 4
_MAX_DETAIL_CHARACTERS = 8192
_LIMITS_TO_TELL = frozenset({"fuel", "memory", "table", "wall", "output", "host_calls"})
_NOT_ITS_OWN = frozenset({Outcome.LOST, Outcome.CANCELLED, Outcome.EXPIRED, Outcome.CRASHED})


def believe(ran: Ran, output: bytes, task: Task) -> RunResult:
    """The result of the run; `usage.wall_ms` is still to be set.

    Raises:
        FrameError: a sound executor does not say this.
    """
    _check(ran, output, task.limits)
    return RunResult(
        outcome=ran.outcome,
        output=output,
        limit=ran.limit,
        detail=ran.detail,
        retry_hint=ran.retry_hint,
        usage=_usage(ran, output, task),
        logs=ran.logs,
        logs_truncated=ran.logs_truncated,
        events=ran.events,
        events_truncated=ran.events_truncated,
    )


def _check(ran: Ran, output: bytes, limits: Limits) -> None:
    if len(output) > limits.output_bytes:
        raise FrameError("the executor answers with more output than is allowed")
    if ran.outcome in _NOT_ITS_OWN:
        raise FrameError("the executor tells an outcome that is not its to tell")
    told = sum(len(line.text.encode()) for line in ran.logs)
    emitted = sum(len(event.name.encode()) + len(event.data.encode()) for event in ran.events)
    sound = (
        told <= WORST_TEXT_EXPANSION * limits.log_bytes
        and emitted <= limits.log_bytes
        and all(0 <= line.level <= _HIGHEST_LEVEL for line in ran.logs)
        and len(ran.detail or "") <= _MAX_DETAIL_CHARACTERS
        and ran.limit in {None, *_LIMITS_TO_TELL}
    )
    if not sound:
        raise FrameError("the executor tells what no run can end with")


def _usage(ran: Ran, output: bytes, task: Task) -> Usage:
    limits = task.limits
    return Usage(
        fuel=_within(ran.fuel, limits.fuel),
        peak_memory_bytes=_within(ran.peak_memory_bytes, limits.memory_bytes),
        input_bytes=len(task.data),
        output_bytes=len(output),
        log_bytes=_within(ran.log_bytes, limits.log_bytes),
        host_calls=_within(ran.host_calls, limits.host_calls + 1),
    )


def _within(told: int, bound: int) -> int:
    return max(0, min(told, bound))
