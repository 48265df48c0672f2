"""What an executor tells about a run, and what of it is believed.

An executor stands beside a tenant's code, so its word is a claim: it is refused where no sound
executor could say it, and its figures are cut to what was allowed. Wall time is never asked of it.
"""

from dataclasses import replace

from sandbox_worker.executor_task import Task
from sandbox_worker.guest.frames import FrameError, Ran, Told
from sandbox_worker.guest.run_state import LINE_COST_BYTES
from stockade.core.limits import Limits
from stockade.core.outcomes import Event, LogLine, Outcome, RunResult, Usage

WORST_TEXT_EXPANSION = 4
"""One byte that is no UTF-8 becomes a character of three; lines and names cost something too."""
_HIGHEST_LEVEL = 4
_MAX_DETAIL_CHARACTERS = 8192
_LIMITS_TO_TELL = frozenset({"fuel", "memory", "table", "wall", "output", "host_calls"})
_NOT_ITS_OWN = frozenset({Outcome.LOST, Outcome.CANCELLED, Outcome.EXPIRED, Outcome.CRASHED})


class Said:
    """What an executor has told of its guest's lines and events so far.

    Kept as it comes, so that what was said before the executor died is not lost with it.
    """

    def __init__(self, limits: Limits) -> None:
        self.logs: tuple[LogLine, ...] = ()
        self.events: tuple[Event, ...] = ()
        self._log_room = WORST_TEXT_EXPANSION * limits.log_bytes
        self._event_room = limits.log_bytes

    def add(self, told: Told | Ran) -> None:
        """Takes what comes behind it.

        Raises:
            FrameError: A sound executor does not say this, or not so much, or nothing.
        """
        self._log_room -= sum(len(line.text.encode()) + LINE_COST_BYTES for line in told.logs)
        self._event_room -= sum(
            len(event.name.encode()) + len(event.data.encode()) + LINE_COST_BYTES
            for event in told.events
        )
        levels = all(0 <= line.level <= _HIGHEST_LEVEL for line in told.logs)
        empty = isinstance(told, Told) and not told.logs and not told.events
        if empty or self._log_room < 0 or self._event_room < 0 or not levels:
            raise FrameError("the executor tells what no guest may say")
        self.logs += told.logs
        self.events += told.events

    def before(self, result: RunResult) -> RunResult:
        """The result of a run whose executor did not live to tell it."""
        return replace(result, logs=self.logs, events=self.events)


def believe(ran: Ran, output: bytes, task: Task, said: Said) -> RunResult:
    """The result of the run; `usage.wall_ms` is still to be set.

    Raises:
        FrameError: a sound executor does not say this.
    """
    _check(ran, output, task.limits)
    said.add(ran)
    return RunResult(
        outcome=ran.outcome,
        output=output,
        limit=ran.limit,
        detail=ran.detail,
        retry_hint=ran.retry_hint,
        usage=_usage(ran, output, task),
        logs=said.logs,
        logs_truncated=ran.logs_truncated,
        events=said.events,
        events_truncated=ran.events_truncated,
    )


def _check(ran: Ran, output: bytes, limits: Limits) -> None:
    if len(output) > limits.output_bytes:
        raise FrameError("the executor answers with more output than is allowed")
    if ran.outcome in _NOT_ITS_OWN:
        raise FrameError("the executor tells an outcome that is not its to tell")
    sound = len(ran.detail or "") <= _MAX_DETAIL_CHARACTERS and ran.limit in {
        None,
        *_LIMITS_TO_TELL,
    }
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
