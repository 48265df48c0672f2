"""`/v1/retries`: what workers learned of retries, and what a tenant may do about it."""

from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.numbers import read_number
from gateway.openapi import json_body
from gateway.routes.context import Context, caller_of
from gateway.trace import note_object
from gateway.usecases.keep_retry_states import (
    FORMAT,
    ImportRequest,
    bring,
    exported,
    forget,
    freeze,
    look,
    scopes_after,
    states_named,
)
from gateway.usecases.show_retry_state import shown
from stockade.core.actions import Action
from stockade.core.errors import StockadeError
from stockade.core.learned_states import Scope
from stockade.core.modules import FunctionVersion

router = APIRouter(tags=["retries"])
MAX_IMPORT_BYTES = 2 * 1024 * 1024
_LIMIT, _MOST = 50, 200
_MAX_CURSOR_CHARACTERS = 400
_NAMES = {"function", "version", "after", "limit"}


@router.get("/v1/retries", summary="List what was learned of retries")
async def get_states(request: Request) -> Response:
    """The tenant's own state, then function versions' and upstreams', by name, in pages.

    `?limit=` (50, at most 200) and `?after=`, the `next` of the page before.
    """
    context, caller = await caller_of(request, Action.READ)
    page, last = await _page(request, context, caller.tenant)
    found, now_ms = await look(context.services.learned, page), context.services.clock.now_ms()
    return JSONResponse({"states": [shown(one, now_ms) for one in found], "next": last})


@router.get("/v1/functions/{name}/retries", summary="What was learned of a function's retries?")
async def get_state(request: Request, name: str) -> Response:
    """How often first attempts and retries succeed, by class of failure, and what runs need.

    Of `?version=`, or of the latest; also whether the function is out.
    """
    context, caller = await caller_of(request, Action.READ, name)
    asked = _version(request)
    version = await context.resolver.resolve(caller.tenant, name, None, asked, "")
    (found,) = await look(context.services.learned, [_scope(caller.tenant, version)])
    return JSONResponse(shown(found, context.services.clock.now_ms()))


@router.post("/v1/retries/freeze", summary="Keep what was learned as it is")
async def post_freeze(request: Request) -> Response:
    """Of `?function=` and `?version=`, or of the whole tenant: decided by, and no more learned.

    Workers follow within a second. Freezing twice is no harm.
    """
    return await _freeze(request, frozen=True)


@router.post("/v1/retries/unfreeze", summary="Learn again")
async def post_unfreeze(request: Request) -> Response:
    """Of `?function=` and `?version=`, or of the whole tenant, whose functions stay as they are."""
    return await _freeze(request, frozen=False)


@router.post("/v1/retries/reset", summary="Forget what was learned")
async def post_reset(request: Request) -> Response:
    """Of `?function=` and `?version=`, or of the whole tenant. Budgets and freezes stay."""
    context, _, scope = await _target(request)
    return JSONResponse({"forgotten": await forget(context.services, scope)})


@router.get("/v1/retries/export", summary="Take out what was learned")
async def get_export(request: Request) -> Response:
    """Of `?function=` and `?version=`, or the whole tenant's in pages (`?limit=`, `?after=`).

    What comes out can be brought in again, here or at another installation with this tenant.
    """
    context, tenant, scope = await _target(request)
    page, last = [scope], None
    if len(scope) == 1:
        page, last = await _page(request, context, tenant)
    states = exported(await look(context.services.learned, page))
    return JSONResponse({"format": FORMAT, "tenant": tenant, "states": states, "next": last})


@router.post(
    "/v1/retries/import",
    summary="Bring in what was learned",
    openapi_extra=json_body(ImportRequest),
)
async def post_import(request: Request) -> Response:
    """Takes the place of what is known of each scope. One state that is refused refuses all."""
    context, caller = await caller_of(request, Action.MANAGE_RETRIES)
    asked = await read_json(request, ImportRequest, MAX_IMPORT_BYTES)
    note_object(request, states_named(asked))

    async def resolve(function: str, version: int) -> FunctionVersion:
        return await context.resolver.resolve(caller.tenant, function, None, version, "")

    count = await bring(context.services, resolve, caller.tenant, asked)
    return JSONResponse({"imported": count})


async def _freeze(request: Request, *, frozen: bool) -> Response:
    context, _, scope = await _target(request)
    await freeze(context.services.learned, scope, frozen=frozen)
    return JSONResponse({"frozen": frozen})


async def _target(request: Request) -> tuple[Context, str, Scope]:
    """Whose state is meant: the caller may manage it, and it is there."""
    function = request.query_params.get("function")
    named = (function, request.query_params.get("version"))
    note_object(request, "/".join(part for part in named if part))
    context, caller = await caller_of(request, Action.MANAGE_RETRIES, function)
    asked = _version(request)
    if function is None:
        if asked is not None:
            raise _query("Name the function whose version this is: ?function=NAME.")
        return context, caller.tenant, (caller.tenant,)
    version = await context.resolver.resolve(caller.tenant, function, None, asked, "")
    return context, caller.tenant, _scope(caller.tenant, version)


async def _page(request: Request, context: Context, tenant: str) -> tuple[list[Scope], str | None]:
    after, limit = request.query_params.get("after"), request.query_params.get("limit")
    count = _LIMIT if limit is None else read_number(limit, 1, _MOST)
    if count is None or len(after or "") > _MAX_CURSOR_CHARACTERS:
        raise _query(f"'limit' is a number from 1 to {_MOST}; 'after' is the 'next' of a page.")
    return await scopes_after(context.services.learned, tenant, after, count)


def _version(request: Request) -> int | None:
    if not set(request.query_params) <= _NAMES:
        raise _query("The query has 'function', 'version', 'after' and 'limit' alone.")
    text = request.query_params.get("version")
    number = None if text is None else read_number(text)
    if text is not None and number is None:
        raise _query("'version' is a number from 1.")
    return number


def _query(message: str) -> StockadeError:
    return StockadeError("request.query_invalid", message)


def _scope(tenant: str, version: FunctionVersion) -> Scope:
    return tenant, version.name, str(version.version)
