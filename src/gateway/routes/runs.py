"""`/v1/runs`: what ended, kept longer than records are; to look at and to export."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import asdict, replace

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.export_stream import LINES, ExportStream, may_still
from gateway.json_response import JSONResponse
from gateway.openapi import optional
from gateway.places import run_place, text_of
from gateway.routes.context import caller_of
from gateway.routes.headers import page_size, query_number, query_time
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.history import HistoryStore, PastAttempt, Run, RunQuery
from stockade.core.outcomes import Outcome

router = APIRouter(tags=["history"])
_MOST_LISTED, _LISTED = 1000, 100
_PAGE = 200
_MOST_DETAIL_CHARACTERS = 128 * 1024
_CHUNK_BYTES = 64 * 1024
_MOST_LIMIT_CHARACTERS = 64
_FILTER = {
    "function": "Of this function.",
    "version": "Of this version of the function.",
    "outcome": "With this outcome: `completed`, `rejected`, `trapped`, `limit_exceeded`, `crashed`,"
    " `lost`, `cancelled` or `expired`.",
    "exceeded": "That exceeded this limit, such as `fuel`.",
    "since": "That ended at this time (RFC 3339) or later.",
    "until": "That ended before this time.",
}
_QUERY = {
    **_FILTER,
    "limit": f"At most so many, 1 to {_MOST_LISTED}; {_LISTED} when left out. Fewer where guests"
    " gave long reasons: `next` says whether there are more.",
    "after": "Goes on after this place: the `next` of the answer before.",
}
_EXPORT_QUERY = {
    **_FILTER,
    "limit": "At most so many, 1 to 100000; all when left out.",
    "after": "Goes on after this place: the `place` of a line.",
}
_MOST_EXPORTED = 100_000


@router.get(
    "/v1/runs",
    summary="List runs that ended",
    openapi_extra={"parameters": optional("query", _QUERY)},
)
async def get_runs(request: Request) -> Response:
    """Newest end first. A redriven invocation has a run for each time that it ended.

    A run is there a moment after its end, and for as long as the operator keeps the history.
    """
    context, caller = await caller_of(request, Action.READ, asked_function(request))
    query = replace(_query(request), most=page_size(request, _LISTED, _MOST_LISTED))
    found = await context.services.history.runs(caller.tenant, query)
    page = _within_bounds(found)
    is_last = len(found) < query.most and len(page) == len(found)
    following = None if is_last else _place(page[-1])
    return JSONResponse({"runs": [shown_run(one) for one in page], "next": following})


@router.get(
    "/v1/runs/export",
    summary="Export runs with their attempts",
    openapi_extra={"parameters": optional("query", _EXPORT_QUERY)},
    responses={200: {"content": {LINES: {}}, "description": "One run a line, attempts within."}},
)
async def export_runs(request: Request) -> Response:
    """Oldest end first, as NDJSON; `place` in each line says where an export can go on."""
    function = asked_function(request)
    context, caller = await caller_of(request, Action.READ, function)
    query = replace(_query(request), oldest_first=True)
    most = page_size(request, 0, _MOST_EXPORTED) or None
    lines = _lines(context.services.history, caller.tenant, query, most)
    check = may_still(request, Action.READ, function)
    return ExportStream(lines, context.exports, caller.tenant, check)


def asked_function(request: Request) -> str | None:
    """The function that the query asks for: whoever may read no other may ask for this one."""
    return request.query_params.get("function") or None


def shown_run(run: Run) -> dict[str, object]:
    """A run as the API tells it."""
    return {
        "id": run.invocation,
        "redrive": run.redrive,
        "function": run.function,
        "version": run.version,
        "module": run.module,
        "outcome": run.outcome,
        "limit": run.limit,
        "detail": run.detail,
        "submitted_ms": run.submitted_ms,
        "started_ms": run.started_ms,
        "finished_ms": run.finished_ms,
        "attempt_count": run.attempts,
        "usage": {"peak_memory_bytes": run.peak_memory_bytes, **asdict(run.amounts)},
        "trace_id": run.trace_id,
    }


def _within_bounds(found: Sequence[Run]) -> Sequence[Run]:
    """As many as make an answer of bounded size: guests' words may be long."""
    room = _MOST_DETAIL_CHARACTERS
    for i, run in enumerate(found):
        room -= len(run.detail or "")
        if room < 0:
            return found[: max(1, i)]
    return found


async def _lines(
    history: HistoryStore, tenant: str, query: RunQuery, most: int | None
) -> AsyncIterator[bytes]:
    """A page at a time is looked up, as the reader takes them."""
    left = most
    while True:
        size = _PAGE if left is None else min(_PAGE, left)
        page = await history.runs(tenant, replace(query, most=size))
        if page:
            ids = list(dict.fromkeys(run.invocation for run in page))
            attempts = await history.attempts_of(tenant, ids)
            for chunk in _chunks(_line(run, attempts.get(run.invocation, ())) for run in page):
                yield chunk
        left = None if left is None else left - len(page)
        if len(page) < size or left == 0:
            return
        last = page[-1]
        query = replace(query, after=(last.finished_ms, last.invocation, last.redrive))


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Several lines in one piece, made as they are sent: guests' words may be long."""
    chunk = bytearray()
    for line in lines:
        chunk += line
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _line(run: Run, attempts: Sequence[PastAttempt]) -> bytes:
    own = [_shown_attempt(one) for one in attempts if one.redrive == run.redrive]
    told = shown_run(run) | {"attempts": own, "place": _place(run)}
    return bytes(JSONResponse(told).body) + b"\n"


def _shown_attempt(one: PastAttempt) -> dict[str, object]:
    return {
        "number": one.number,
        "outcome": one.outcome,
        "code": one.code,
        "reason": one.reason,
        "limit": one.limit,
        "detail": one.detail,
        "policy": one.policy,
        "success": one.success,
        "limits": msgspec.to_builtins(one.limits),
        "ended_ms": one.ended_ms,
        "usage": {"peak_memory_bytes": one.peak_memory_bytes, **asdict(one.amounts)},
    }


def _place(run: Run) -> str:
    return text_of((run.finished_ms, run.invocation, run.redrive))


def _query(request: Request) -> RunQuery:
    given = request.query_params
    function, version = asked_function(request) or "", query_number(request, "version")
    if version is not None and not function:
        raise StockadeError("request.query_invalid", "A version is a function's: name that too.")
    limit = given.get("exceeded", "")[:_MOST_LIMIT_CHARACTERS]
    return RunQuery(
        function=function,
        version=version,
        outcome=_outcome(given.get("outcome", Outcome.LIMIT_EXCEEDED if limit else None)),
        limit=limit,
        since_ms=query_time(request, "since"),
        until_ms=query_time(request, "until"),
        after=run_place(given.get("after")),
    )


def _outcome(text: str | None) -> Outcome | None:
    if text is not None and text not in set(Outcome):
        raise StockadeError("request.query_invalid", f"The outcome is one of {', '.join(Outcome)}.")
    return None if text is None else Outcome(text)
