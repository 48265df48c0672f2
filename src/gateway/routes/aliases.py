"""`/v1/functions/{name}/aliases`: where they point, how they got there, promote and rollback."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body, optional
from gateway.routes.context import Context, authenticated, begin, caller_of
from gateway.routes.headers import EXPECTED_HEADERS, expected_revision, query_number
from gateway.usecases.delete_function import check_callable
from gateway.usecases.keep_aliases import change_alias, find_alias
from stockade.core.actions import Action
from stockade.core.alias_weights import (
    WHOLE,
    Weights,
    check_percent,
    check_share,
    check_weights,
    percentages,
)
from stockade.core.aliases import (
    AliasChange,
    AliasRule,
    Promotion,
    pointed,
    promoted,
    removed,
    rolled_back,
)
from stockade.core.authorization import Question, Resource, ResourceKind
from stockade.core.errors import StockadeError
from stockade.core.modules import Alias
from stockade.core.names import check_name, check_new_name
from stockade.core.principals import Principal

router = APIRouter(tags=["aliases"])
_EXPECTED = {"parameters": optional("header", EXPECTED_HEADERS)}
_TO_REVISION = {"revision": "Go back to this revision; one step when it is left out."}


class AliasRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version; or weights over versions; or percentages, which sum to 100."""

    version: int | None = None
    weights: dict[int, int] | None = None
    percent: dict[int, float] | None = None


class PromotionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version, or another alias whose versions are taken; for a part of the invocations only."""

    version: int | None = None
    source: Annotated[str | None, msgspec.Meta(description="An alias.")] = msgspec.field(
        default=None, name="from"
    )
    percent: float | None = None


@router.get("/v1/functions/{name}/aliases", summary="List a function's aliases")
async def get_aliases(request: Request, name: str) -> Response:
    """By name; there are at most 100."""
    context, caller = await caller_of(request, Action.READ, name)
    await check_callable(context.services, caller.tenant, name)
    found = await context.services.catalog.aliases(caller.tenant, name)
    return JSONResponse({"aliases": [_shown(name, alias) for alias in found]})


@router.put(
    "/v1/functions/{name}/aliases/{alias}",
    status_code=201,
    summary="Point an alias",
    openapi_extra=json_body(AliasRequest) | _EXPECTED,
)
async def put_alias(request: Request, name: str, alias: str) -> Response:
    """Points to one version, or shares invocations out. An alias cannot point to an alias."""
    context, caller = await _changer(request, name, alias)
    weights = _weights(await read_json(request, AliasRequest))
    if await context.services.catalog.alias(caller.tenant, name, alias) is None:
        check_new_name("alias", alias)
    rule = pointed(weights, expected_revision(request))
    return await _changed(context, caller, name, alias, rule)


@router.get("/v1/functions/{name}/aliases/{alias}", summary="Show an alias")
async def get_alias(request: Request, name: str, alias: str) -> Response:
    """The versions that the alias points to; its revision is the answer's `ETag`."""
    context, caller = await caller_of(request, Action.READ, name)
    check_name("alias", alias)
    await check_callable(context.services, caller.tenant, name)
    found = await find_alias(context.services, caller.tenant, name, alias)
    return JSONResponse(_shown(name, found), headers=_etag(found.revision))


@router.delete(
    "/v1/functions/{name}/aliases/{alias}",
    status_code=204,
    summary="Delete an alias",
    openapi_extra=_EXPECTED,
)
async def delete_alias(request: Request, name: str, alias: str) -> Response:
    """Invocations that name it are refused; its history stays."""
    context, caller = await _changer(request, name, alias)
    rule = removed(expected_revision(request))
    await change_alias(context.services, context.memory, caller, name, alias, rule)
    return Response(status_code=204)


@router.get("/v1/functions/{name}/aliases/{alias}/history", summary="How an alias changed")
async def get_history(request: Request, name: str, alias: str) -> Response:
    """Who changed it when, from what to what; the last 100 changes, newest first."""
    context, caller = await caller_of(request, Action.READ, name)
    check_name("alias", alias)
    await check_callable(context.services, caller.tenant, name)
    changes = await context.services.catalog.alias_changes(caller.tenant, name, alias)
    return JSONResponse({"changes": [_shown_change(change) for change in changes]})


@router.post(
    "/v1/functions/{name}/aliases/{alias}/promote",
    summary="Promote a version or another alias",
    openapi_extra=json_body(PromotionRequest) | _EXPECTED,
)
async def promote(request: Request, name: str, alias: str) -> Response:
    """All invocations, or `percent` of them, go to the version or to what the other alias has.

    To promote what is there already changes nothing.
    """
    context, caller = await _changer(request, name, alias)
    promotion = _promotion(await read_json(request, PromotionRequest))
    if await context.services.catalog.alias(caller.tenant, name, alias) is None:
        check_new_name("alias", alias)
    rule = promoted(promotion, expected_revision(request))
    return await _changed(context, caller, name, alias, rule)


@router.post(
    "/v1/functions/{name}/aliases/{alias}/rollback",
    summary="Roll an alias back",
    openapi_extra={"parameters": [*optional("query", _TO_REVISION), *_EXPECTED["parameters"]]},
)
async def rollback(request: Request, name: str, alias: str) -> Response:
    """To what it pointed to before; again goes further back. With `If-Match`, twice is once."""
    context, caller = await _changer(request, name, alias)
    rule = rolled_back(query_number(request, "revision"), expected_revision(request))
    return await _changed(context, caller, name, alias, rule)


async def _changer(request: Request, name: str, alias: str) -> tuple[Context, Principal]:
    """Who may change this alias; policies are told which one it is."""
    context, caller = await authenticated(request, Action.POINT_ALIAS)
    check_name("function", name)
    check_name("alias", alias)
    function = Resource(ResourceKind.FUNCTION, caller.tenant, name)
    context.authorizer.check_question(
        Question(caller, Action.POINT_ALIAS, function, {"alias": alias})
    )
    await begin(request)
    return context, caller


async def _changed(
    context: Context, caller: Principal, name: str, alias: str, rule: AliasRule
) -> Response:
    services = context.services
    change = await change_alias(services, context.memory, caller, name, alias, rule)
    if change is None or change.after is None:
        found = await find_alias(services, caller.tenant, name, alias)
    else:
        found = Alias(alias, change.after, change.revision, change.at_ms, change.by)
    status = 201 if change is not None and change.before is None else 200
    shown = _shown(name, found) | {"changed": change is not None}
    return JSONResponse(shown, status, _etag(found.revision))


def _weights(asked: AliasRequest) -> Weights:
    given = (asked.version, asked.weights, asked.percent)
    if sum(one is not None for one in given) != 1:
        raise StockadeError(
            "alias.weights_invalid", "Give one of 'version', 'weights' and 'percent'."
        )
    if asked.percent is not None:
        return check_percent(asked.percent)
    if asked.weights is not None:
        return check_weights(asked.weights)
    return check_weights({asked.version or 0: 1})


def _promotion(asked: PromotionRequest) -> Promotion:
    if (asked.version is None) == (asked.source is None):
        raise StockadeError("alias.source_invalid", "Give either 'version' or 'from', an alias.")
    if asked.version is not None:
        check_weights({asked.version: 1})
    if asked.source is not None:
        check_name("alias", asked.source)
    share = WHOLE if asked.percent is None else check_share(asked.percent)
    return Promotion(asked.version, asked.source, share)


def _shown(function: str, alias: Alias) -> dict[str, object]:
    return {
        "function": function,
        "alias": alias.name,
        "weights": _by_text(alias.weights),
        "percent": {str(key): part for key, part in percentages(alias.weights).items()},
        "revision": alias.revision,
        "changed_ms": alias.changed_ms,
        "changed_by": alias.changed_by,
    }


def _shown_change(change: AliasChange) -> dict[str, object]:
    return {
        "revision": change.revision,
        "verb": change.verb,
        "from": None if change.before is None else _by_text(change.before),
        "to": None if change.after is None else _by_text(change.after),
        "at_ms": change.at_ms,
        "by": change.by,
        "restored": change.restored or None,
    }


def _by_text(weights: Weights) -> dict[str, int]:
    return {str(version): weight for version, weight in weights}


def _etag(revision: int) -> dict[str, str]:
    return {"ETag": f'"{revision}"'}
