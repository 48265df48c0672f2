"""`/v1/usage`: what a tenant used, by function and UTC day; it adds up to the records."""

import re
from contextlib import suppress
from dataclasses import asdict
from datetime import date, timedelta

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.openapi import optional
from gateway.places import text_of, usage_place
from gateway.routes.context import caller_of
from gateway.routes.headers import page_size
from gateway.routes.runs import asked_function
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.history import UsageDay, UsageQuery

router = APIRouter(tags=["history"])
_MOST_LISTED, _LISTED = 1000, 100
_EPOCH = date(1970, 1, 1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
KIB_MS_OF_GB_SECOND = 976_562_500
_QUERY = {
    "function": "Of this function.",
    "first_day": "From this UTC day on, such as `2030-01-31`.",
    "last_day": "Up to this UTC day, which counts.",
    "limit": f"At most so many, 1 to {_MOST_LISTED}; {_LISTED} when left out.",
    "after": "Goes on after this place: the `next` of the answer before.",
}


@router.get(
    "/v1/usage",
    summary="Show usage by function and day",
    openapi_extra={"parameters": optional("query", _QUERY)},
)
async def get_usage(request: Request) -> Response:
    """Newest day first. Reckon with the whole numbers; `gb_seconds` is for people.

    A run counts on the UTC day that it ended, an attempt and its cost on the day that that ended.
    """
    context, caller = await caller_of(request, Action.READ, asked_function(request))
    query = _query(request)
    found = await context.services.history.usage(caller.tenant, query)
    full = len(found) == query.most
    following = text_of((found[-1].day, found[-1].function)) if full else None
    return JSONResponse({"usage": [_shown(one) for one in found], "next": following})


def _shown(one: UsageDay) -> dict[str, object]:
    return {
        "function": one.function,
        "day": (_EPOCH + timedelta(days=one.day)).isoformat(),
        "runs": {str(outcome): one.runs[outcome] for outcome in sorted(one.runs)},
        "attempts": one.attempts,
        **asdict(one.amounts),
        "gb_seconds": one.amounts.memory_kib_ms / KIB_MS_OF_GB_SECOND,
    }


def _query(request: Request) -> UsageQuery:
    return UsageQuery(
        function=asked_function(request) or "",
        first_day=_day(request, "first_day"),
        last_day=_day(request, "last_day"),
        after=usage_place(request.query_params.get("after")),
        most=page_size(request, _LISTED, _MOST_LISTED),
    )


def _day(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    with suppress(ValueError):
        if _DAY.fullmatch(text):
            return (date.fromisoformat(text) - _EPOCH).days
    raise StockadeError("request.query_invalid", f"'{name}' must be a day such as 2030-01-31.")
