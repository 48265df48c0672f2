"""Invoking, and everything about an invocation."""

import re
from collections.abc import Awaitable, Callable

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_bounded
from gateway.json_response import JSONResponse
from gateway.metrics import size_warning
from gateway.openapi import ACCEPTED, INVOCATION, OUTPUT, binary_body, optional
from gateway.problems import problem
from gateway.request_spans import RequestSpans
from gateway.routes.context import Context, authenticated, begin, caller_of, context_of
from gateway.routes.headers import (
    INVOKE_HEADERS,
    SUBMIT_HEADERS,
    VERSION_QUERY,
    invoke_options,
    version_choice,
    wait_seconds,
)
from gateway.services import Services
from gateway.usecases.clamp_limits import input_bound
from gateway.usecases.find_past import find_anywhere
from gateway.usecases.follow_run import all_that_was_said
from gateway.usecases.invoke_function import (
    cancel_invocation,
    find_record,
    read_output,
    submit_invocation,
    under,
    wait_for_end,
)
from stockade.core.actions import Action
from stockade.core.errors import StockadeError, not_found
from stockade.core.invocations import InvocationRecord
from stockade.core.log_context import Work, works_on
from stockade.core.modules import FunctionVersion
from stockade.core.outcomes import Outcome, State

router = APIRouter(tags=["invocations"])
_Find = Callable[[Services, str, str], Awaitable[InvocationRecord]]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


_INVOKE, _SUBMIT = "/v1/functions/{name}/invoke", "/v1/functions/{name}/invocations"
_ANY_INPUT = binary_body("*/*", required=False)
_VERSION = optional("query", VERSION_QUERY)


@router.post(
    _INVOKE,
    summary="Invoke and wait for the result",
    responses=OUTPUT | ACCEPTED,
    openapi_extra=_ANY_INPUT | {"parameters": _VERSION + optional("header", INVOKE_HEADERS)},
)
async def invoke(request: Request, name: str) -> Response:
    """The body is the input; 200 with the output, 422 with a guest's failure, 202 while it runs.

    An invocation goes on when its caller leaves, or the gateway stops.
    """
    with _spans(request, _INVOKE) as spans:
        context, caller = await caller_of(request, Action.INVOKE, name)
        spans.authorised(caller.tenant, name)
        settings = context.services.settings
        patience = wait_seconds(request, settings.default_wait_seconds, settings.max_wait_seconds)
        invocation_id, headers = await _submit(request, context, name, spans, waits=True)
        try:
            async with context.waiters.waiting():
                services, tenant = context.services, caller.tenant
                record = await wait_for_end(services, tenant, invocation_id, patience)
        except TimeoutError:
            record = None
        spans.ended(record)
        if record is None:
            return _accepted(invocation_id, headers)
        answer = await _answer(context, record)
        answer.headers.update(headers)
        return answer


@router.post(
    _SUBMIT,
    status_code=202,
    summary="Invoke and go on",
    responses=ACCEPTED,
    openapi_extra=_ANY_INPUT | {"parameters": _VERSION + optional("header", SUBMIT_HEADERS)},
)
async def submit(request: Request, name: str) -> Response:
    """The body is the input; 202 with the id once the invocation is on disk."""
    with _spans(request, _SUBMIT) as spans:
        context, caller = await caller_of(request, Action.INVOKE, name)
        spans.authorised(caller.tenant, name)
        return _accepted(*await _submit(request, context, name, spans, waits=False))


@router.get("/v1/invocations/{invocation_id}", summary="Show an invocation", responses=INVOCATION)
async def get_invocation(request: Request, invocation_id: str) -> Response:
    """State, attempts, outcome, usage.

    Each failed attempt says which retry policy decided, why (`reason`, `code`), by which estimate
    of success, and what the other policy would have decided (`shadow`). When its record has gone,
    this is what the history keeps of it.
    """
    _, record = await record_of(request, invocation_id, Action.READ, find_anywhere)
    return JSONResponse(shown(record))


@router.get("/v1/invocations/{invocation_id}/result", summary="The output", responses=OUTPUT)
async def get_result(request: Request, invocation_id: str) -> Response:
    """The output's bytes, or 422 with the outcome when there is none."""
    context, record = await record_of(request, invocation_id, Action.READ)
    if record.state is not State.DONE:
        raise StockadeError(
            "invocation.not_done", "The invocation is not done. Ask again later.", retryable=True
        )
    return await _answer(context, record)


@router.get("/v1/invocations/{invocation_id}/logs", summary="What the guest logged")
async def get_logs(request: Request, invocation_id: str) -> Response:
    """Log lines of all attempts, those so far while it runs; `truncated` when some were dropped.

    The last attempt's are whole; of earlier ones what is kept, which `dropped` tells.
    """
    context, record = await record_of(request, invocation_id, Action.READ)
    told = list(await all_that_was_said(context.services, record))
    names = ("attempt", "level", "text")
    lines = [{name: one.data[name] for name in names} for one in told if one.kind == "log"]
    dropped = [one.data for one in told if one.kind == "dropped" and one.data["what"] == "logs"]
    return JSONResponse({"lines": lines, "truncated": bool(dropped), "dropped": dropped})


@router.post("/v1/invocations/{invocation_id}/cancel", summary="Cancel")
async def cancel(request: Request, invocation_id: str) -> Response:
    """Ends what is queued at once, and asks for the end of what runs."""
    context, record = await record_of(request, invocation_id, Action.CANCEL)
    cancelled = await cancel_invocation(context.services, record.tenant, invocation_id)
    return JSONResponse(shown(cancelled))


def _spans(request: Request, route: str) -> RequestSpans:
    services = context_of(request).services
    return RequestSpans(services.tracer, request, route, services.clock.new_id())


async def _submit(
    request: Request, context: Context, name: str, spans: RequestSpans, *, waits: bool
) -> tuple[str, dict[str, str]]:
    """The invocation's id, and what headers say about its input."""
    services, invocation_id = context.services, spans.invocation_id
    options = invoke_options(request, services.clock.now_ms())
    works_on(Work(spans.tenant, invocation_id, traceparent=spans.context.parent))
    version = await _version(request, context, spans.tenant, name, invocation_id)
    spans.resolved(version)
    with context.room.holding(spans.tenant) as take:
        bound = input_bound(services, version)
        data = await read_bounded(request, bound, take)
        context.metrics.took_input(len(data), bound)
        spans.mark("receive")
        traced = under(options, spans.carry(waits=waits))
        invocation_id = await submit_invocation(
            services, version, invocation_id, data, traced, waits=waits
        )
    spans.submitted(invocation_id)
    return invocation_id, size_warning(len(data), bound)


async def _version(
    request: Request, context: Context, tenant: str, name: str, draw: str
) -> FunctionVersion:
    alias, version = version_choice(request)
    return await context.resolver.resolve(tenant, name, alias, version, draw)


async def record_of(
    request: Request, invocation_id: str, action: Action, find: _Find = find_record
) -> tuple[Context, InvocationRecord]:
    """The record, as `find` finds it, with whose function the caller may do this.

    Raises:
        StockadeError: `auth.…`, `invocation.not_found`.
    """
    context, caller = await authenticated(request, action)
    try:
        check_id(invocation_id)
        works_on(Work(caller.tenant, invocation_id))
        record = await find(context.services, caller.tenant, invocation_id)
    except StockadeError:
        # Who may do this to nothing does not learn what there is.
        context.authorizer.check_policies(caller, action)
        raise
    context.authorizer.check(caller, action, record.function)
    await begin(request)
    return context, record


def check_id(invocation_id: str) -> None:
    """Refuses what cannot be an invocation's id.

    Raises:
        StockadeError: `invocation.not_found`.
    """
    if not _UUID.fullmatch(invocation_id):
        raise not_found("invocation", invocation_id[:64])


def _accepted(invocation_id: str, headers: dict[str, str]) -> Response:
    location = f"/v1/invocations/{invocation_id}"
    return JSONResponse({"id": invocation_id}, 202, {"Location": location, **headers})


async def _answer(context: Context, record: InvocationRecord) -> Response:
    headers = _facts(record)
    if record.outcome is Outcome.COMPLETED:
        output = await read_output(context.services, record)
        return Response(output, 200, headers, media_type="application/octet-stream")
    return problem(
        StockadeError(f"invocation.{record.outcome}", record.detail or "The invocation failed."),
        {
            "invocation_id": record.id,
            "outcome": record.outcome,
            "limit": record.limit,
            "attempts": len(record.attempts),
            "usage": msgspec.to_builtins(record.usage),
        },
        headers,
    )


def _facts(record: InvocationRecord) -> dict[str, str]:
    return {
        "Stockade-Invocation-Id": record.id,
        "Stockade-Outcome": str(record.outcome),
        "Stockade-Attempts": str(len(record.attempts)),
        "Stockade-Fuel": str(record.usage.fuel),
        "Stockade-Peak-Memory-Bytes": str(record.usage.peak_memory_bytes),
        "Stockade-Wall-Ms": f"{record.usage.wall_ms:.3f}",
        "Stockade-Queue-Ms": f"{record.usage.queue_ms:.3f}",
    }


def shown(record: InvocationRecord) -> dict[str, object]:
    """A record as the API tells it."""
    return {
        "id": record.id,
        "function": record.function,
        "version": record.version,
        "state": record.state,
        "outcome": record.outcome,
        "limit": record.limit,
        "detail": record.detail,
        "attempts": msgspec.to_builtins(record.attempts),
        "usage": msgspec.to_builtins(record.usage),
        "submitted_ms": record.submitted_ms,
        "started_ms": record.started_ms,
        "finished_ms": record.finished_ms,
        "events": msgspec.to_builtins(record.events),
        "events_truncated": record.events_truncated,
        "progress": msgspec.to_builtins(record.progress),
    }
