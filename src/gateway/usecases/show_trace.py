"""The spans that are kept of one invocation."""

import asyncio

from gateway.services import Services
from stockade.core import span_names as names
from stockade.core.errors import StockadeError
from stockade.core.invocations import InvocationRecord
from stockade.core.otlp_json import trace_json
from stockade.core.outcomes import State
from stockade.core.request_trace import submit_span_id
from stockade.core.spans import Span, SpanKind, TracePart, attempt_span_id, seed_of

_FRESH_MS = 2000
_LOOKS, _PAUSE_SECONDS = 20, 0.05


async def show_trace(services: Services, record: InvocationRecord) -> dict[str, object]:
    """One OTLP message in JSON with all that is kept of the invocation.

    Processes tell a moment after they act, so that a run which just ended is waited for a little.

    Raises:
        StockadeError: `trace.not_kept`, `queue.unavailable`.
    """
    parts = await services.traces.parts(record.tenant, record.id)
    for _ in range(_LOOKS if _is_fresh(services, record) else 0):
        if _is_whole(parts, record):
            break
        await asyncio.sleep(_PAUSE_SECONDS)
        parts = await services.traces.parts(record.tenant, record.id)
    if not parts:
        raise StockadeError(
            "trace.not_kept",
            "No trace of this invocation is kept: it was not sampled, it is too long ago, or others"
            " took its room. Failed runs are always sampled.",
        )
    return trace_json([*parts, *_untold(parts, record)])


def _untold(parts: list[TracePart], record: InvocationRecord) -> list[TracePart]:
    """Attempts that the record knows and nobody told of: their worker died. They have no length."""
    seed, told = seed_of(record.id), {span.id: span for part in parts for span in part.spans}
    end_ns = max(span.end_ns for span in told.values())
    lost: list[Span] = []
    for attempt in reversed(record.attempts):
        own = attempt_span_id(seed, attempt.number)
        if own in told:
            end_ns = told[own].start_ns
            continue
        facts = {
            names.ATTEMPT: attempt.number,
            names.OUTCOME: attempt.outcome.value,
            names.RETRY_REASON: attempt.reason,
        }
        parent, kind = submit_span_id(record.id), int(SpanKind.CONSUMER)
        error = attempt.outcome.value
        lost.append(Span("attempt", kind, own, parent, end_ns, end_ns, facts, error))
    if not lost:
        return []
    return [parts[0]._replace(process="worker", instance="", spans=tuple(reversed(lost)))]


def _is_fresh(services: Services, record: InvocationRecord) -> bool:
    finished_ms = record.finished_ms
    if record.state is not State.DONE or finished_ms is None:
        return False
    return abs(services.clock.now_ms() - finished_ms) < _FRESH_MS


def _is_whole(parts: list[TracePart], record: InvocationRecord) -> bool:
    """Whether the last attempt was told; one whose worker died never is."""
    if not record.attempts:
        return True
    last = record.attempts[-1].number
    return any(span.attributes.get(names.ATTEMPT) == last for part in parts for span in part.spans)
