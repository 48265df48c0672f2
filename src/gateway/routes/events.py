"""Listening to a run while it goes on."""

from fastapi import APIRouter, Request, Response

from gateway.event_stream import EventStream
from gateway.openapi import EVENTS, optional
from gateway.routes.context import Context
from gateway.routes.invocations import record_of
from gateway.usecases.follow_run import follow_run
from stockade.core.actions import Action
from stockade.core.live_events import ListenerPlace
from stockade.core.log_context import Work, works_on

router = APIRouter(tags=["invocations"])
_LAST_ID = "Last-Event-ID"
_HEADERS = {_LAST_ID: "Goes on behind the event with this id."}


@router.get(
    "/v1/invocations/{invocation_id}/events",
    summary="Listen to an invocation until it is done",
    responses=EVENTS,
    openapi_extra={"parameters": optional("header", _HEADERS)},
)
async def get_events(request: Request, invocation_id: str) -> Response:
    """Server-sent events: states, progress, log lines and events of the guest, of all attempts.

    What was before comes first, then what is new as it comes; the end of the invocation ends it.
    """
    context, record = await record_of(request, invocation_id, Action.READ)
    last = request.headers.get(_LAST_ID, "")
    place = ListenerPlace.parse(last[:64]) if last else None

    async def check() -> None:
        await _check(request, context, record.function)

    works_on(Work(record.tenant, record.id))
    rounds = follow_run(context.services, record, place, check)
    return EventStream(rounds, context.listeners, context.waiters, record.tenant)


async def _check(request: Request, context: Context, function: str) -> None:
    """Whether the caller may still listen: keys end, and policies change."""
    caller = await context.authenticator.authenticate(request)
    context.authorizer.check(caller, Action.READ, function)
