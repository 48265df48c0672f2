"""`/v1/dead-letters`: what failed for good, and queueing it again."""

from functools import partial

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import ACCEPTED, json_body, optional
from gateway.problems import problem_facts
from gateway.routes.context import caller_of
from gateway.routes.headers import page_size
from gateway.routes.invocations import check_id, record_of, shown
from gateway.usecases.redrive_dead_letters import redrive, redrive_all
from stockade.core.actions import Action
from stockade.core.errors import StockadeError

router = APIRouter(tags=["dead letters"])
_MOST_LISTED, _LISTED = 1000, 100
_MOST_REDRIVEN = 1000
_PAGE_QUERY = {
    "limit": f"At most so many, 1 to {_MOST_LISTED}; {_LISTED} when left out.",
    "after": "Goes on after this id: the `next` of the answer before.",
}


class RedriveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters to queue again: these, or (`all`) all that there are."""

    ids: list[str] = []
    all: bool = False


@router.get(
    "/v1/dead-letters",
    summary="List dead letters",
    openapi_extra={"parameters": optional("query", _PAGE_QUERY)},
)
async def get_dead_letters(request: Request) -> Response:
    """Invocations that ended as trapped, limit_exceeded, crashed, lost or expired, newest first."""
    context, caller = await caller_of(request, Action.READ)
    most, after = _page(request)
    found = await context.services.queue.dead_letters(caller.tenant, most, after)
    following = found[-1].id if len(found) == most else None
    return JSONResponse({"dead_letters": [shown(one) for one in found], "next": following})


@router.post(
    "/v1/invocations/{invocation_id}/redrive",
    status_code=202,
    summary="Queue a dead letter again",
    responses=ACCEPTED,
)
async def post_redrive(request: Request, invocation_id: str) -> Response:
    """Settings are kept, attempts counted on; a deadline that passed is dropped."""
    context, record = await record_of(request, invocation_id, Action.REDRIVE)
    await redrive(context.services, record.tenant, invocation_id)
    return JSONResponse({"id": invocation_id}, 202)


@router.post(
    "/v1/dead-letters/redrive",
    status_code=202,
    summary="Queue many dead letters again",
    openapi_extra=json_body(RedriveRequest),
)
async def post_redrive_many(request: Request) -> Response:
    """Answers which were queued, and why the others were not."""
    context, caller = await caller_of(request, Action.REDRIVE)
    asked = await read_json(request, RedriveRequest)
    _check(asked)
    services, check = context.services, partial(context.authorizer.check, caller, Action.REDRIVE)
    if asked.all:
        redriven = await redrive_all(services, caller.tenant, _MOST_REDRIVEN, check)
        return JSONResponse({"redriven": redriven, "refused": []}, 202)
    redriven, refused = [], []
    for invocation_id in asked.ids:
        try:
            check_id(invocation_id)
            await redrive(services, caller.tenant, invocation_id, check)
            redriven.append(invocation_id)
        except StockadeError as error:
            refused.append({"id": invocation_id[:64], **problem_facts(error)})
    return JSONResponse({"redriven": redriven, "refused": refused}, 202)


def _check(asked: RedriveRequest) -> None:
    if bool(asked.ids) == asked.all or len(asked.ids) > _MOST_REDRIVEN:
        raise StockadeError(
            "request.invalid", f"Give 1 to {_MOST_REDRIVEN} ids, or all: true, not both."
        )


def _page(request: Request) -> tuple[int, str]:
    after = request.query_params.get("after", "")
    if after:
        check_id(after)
    return page_size(request, _LISTED, _MOST_LISTED), after
