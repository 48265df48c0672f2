"""`/v1/functions`: deploy, look, compare, delete and restore."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import MAX_JSON_BYTES, read_json
from gateway.json_response import JSONResponse
from gateway.numbers import read_number
from gateway.openapi import json_body, optional
from gateway.problems import problem_facts
from gateway.routes.context import authenticated, begin, caller_of
from gateway.routes.headers import (
    VERSION_QUERY,
    page_size,
    query_flag,
    query_number,
    version_choice,
)
from gateway.usecases import delete_function as deletion
from gateway.usecases.compare_versions import (
    Rehearsal,
    RehearsalRequest,
    compare,
    find_version,
    rehearse_deploy,
)
from gateway.usecases.deploy_function import DeployRequest, check_deploy, put_version
from stockade.core.actions import Action
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import StockadeError
from stockade.core.functions import DeletedFunction
from stockade.core.modules import FunctionVersion
from stockade.core.names import check_name

router = APIRouter(tags=["functions"])
_LISTED, _MOST_LISTED = 50, 200
_PAGE = {"limit": f"How many, 1 to {_MOST_LISTED}; {_LISTED} when it is left out."}
_LIST_QUERY = _PAGE | {
    "after": "The last name of the page before.",
    "deleted": "`true`: what was deleted and can be restored.",
}
_VERSIONS_QUERY = _PAGE | {"before": "The last version of the page before."}
_DIFF_QUERY = {
    "from": "A version, an alias or `latest`.",
    "to": "The same; `latest` when it is left out.",
}
_DEPLOY_QUERY = {
    "dry_run": "`true`: says what would change and what would be refused, and writes nothing."
    " Instead of `module`, `wasm_base64` may hold the module itself, not yet uploaded, and"
    " `signature_base64` its signature when that is detached.",
    "against": "With `dry_run`: compares with this version or alias, not with the latest.",
}


@router.put(
    "/v1/functions/{name}",
    status_code=201,
    summary="Deploy a version",
    openapi_extra=json_body(DeployRequest) | {"parameters": optional("query", _DEPLOY_QUERY)},
)
async def put_function(request: Request, name: str) -> Response:
    """201 with a new version, 200 when the latest has the same content."""
    if request.query_params.get("dry_run") == "true":
        return await _rehearsed(request, name)
    context, caller = await authenticated(request, Action.DEPLOY)
    check_name("function", name)
    caller.check_scope(Action.DEPLOY, name)
    # What follows tells which modules there are; deploying is asked when it is known of what.
    context.authorizer.check_policies(caller, Action.READ, name)
    if query_flag(request, "dry_run") or "against" in request.query_params:
        raise StockadeError("request.query_invalid", "against goes with dry_run=true only.")
    asked = await read_json(request, DeployRequest)
    content = await check_deploy(context.services, context.authorizer, caller, name, asked)
    # Only now: whoever may not deploy gets refusals, of which the log takes so many and no more.
    await begin(request)
    version, created = await put_version(context.services, caller, name, content, asked)
    await context.memory.changed(ChangeKind.FUNCTION, caller.tenant, name)
    return JSONResponse(_shown(version), 201 if created else 200)


async def _rehearsed(request: Request, name: str) -> Response:
    """It changes nothing, so it begins nothing that the audit log would tell of."""
    context, caller = await authenticated(request, Action.READ)
    check_name("function", name)
    caller.check_scope(Action.DEPLOY, name)
    context.authorizer.check_policies(caller, Action.READ, name)
    against = _reference(request, "against")
    services = context.services
    bound = MAX_JSON_BYTES + services.settings.max_module_bytes * 4 // 3
    with context.room.holding(caller.tenant) as take:
        asked = await read_json(request, RehearsalRequest, bound, take)
        rehearsal = await rehearse_deploy(
            services, context.authorizer, context.resolver, caller, name, asked, against
        )
    return JSONResponse(_shown_rehearsal(name, rehearsal))


@router.get(
    "/v1/functions",
    summary="List functions",
    openapi_extra={"parameters": optional("query", _LIST_QUERY)},
)
async def get_functions(request: Request) -> Response:
    """The latest version of each function, by name, page by page; `next` begins the next one."""
    context, caller = await caller_of(request, Action.READ)
    most, after = page_size(request, _LISTED, _MOST_LISTED), request.query_params.get("after", "")
    if after:
        check_name("function", after)
    catalog = context.services.catalog
    if query_flag(request, "deleted"):
        gone = await catalog.deleted_functions(caller.tenant, most)
        return JSONResponse({"deleted": [_shown_deleted(one) for one in gone]})
    found = await catalog.functions(caller.tenant, most + 1, after)
    page = found[:most]
    following = page[-1].name if len(found) > most else None
    return JSONResponse({"functions": [_shown(one) for one in page], "next": following})


@router.get(
    "/v1/functions/{name}",
    summary="Show a version",
    openapi_extra={"parameters": optional("query", VERSION_QUERY)},
)
async def get_function(request: Request, name: str) -> Response:
    """The latest version, or the one that `alias` or `version` names."""
    context, caller = await caller_of(request, Action.READ, name)
    alias, version = version_choice(request)
    found = await context.resolver.resolve(caller.tenant, name, alias, version, draw="")
    return JSONResponse(_shown(found))


@router.get(
    "/v1/functions/{name}/versions",
    summary="List a function's versions",
    openapi_extra={"parameters": optional("query", _VERSIONS_QUERY)},
)
async def get_versions(request: Request, name: str) -> Response:
    """Newest first, page by page; `next` begins the next one."""
    context, caller = await caller_of(request, Action.READ, name)
    most, before = page_size(request, _LISTED, _MOST_LISTED), query_number(request, "before")
    await deletion.check_callable(context.services, caller.tenant, name)
    catalog = context.services.catalog
    found = await catalog.function_versions(caller.tenant, name, most + 1, before)
    page = found[:most]
    following = page[-1].version if len(found) > most else None
    return JSONResponse({"versions": [_shown(one) for one in page], "next": following})


@router.delete(
    "/v1/functions/{name}/versions/{version}", status_code=204, summary="Delete a version"
)
async def delete_version(request: Request, name: str, version: str) -> Response:
    """For good; neither the latest one, nor one that an alias points to."""
    context, caller = await caller_of(request, Action.DELETE_FUNCTION, name)
    number = read_number(version, least=0)
    if number is None:
        raise StockadeError("request.invalid", "A version is a number from 1.")
    await deletion.delete_version(context.services, context.memory, caller, name, number)
    return Response(status_code=204)


@router.get(
    "/v1/functions/{name}/diff",
    summary="Compare two versions",
    openapi_extra={"parameters": optional("query", _DIFF_QUERY)},
)
async def get_diff(request: Request, name: str) -> Response:
    """What differs, and nothing else: module, imports, exports, grants, limits, environment.

    Of an alias that shares invocations out, the version with the greatest share is compared.
    """
    context, caller = await caller_of(request, Action.READ, name)
    first, second = _reference(request, "from"), _reference(request, "to") or "latest"
    if first is None:
        raise StockadeError("request.query_invalid", "Say what to compare: from, and to.")
    services, resolver = context.services, context.resolver
    before = await find_version(services, resolver, caller.tenant, name, first)
    after = await find_version(services, resolver, caller.tenant, name, second)
    changes = await compare(services, before, after)
    shown = {"name": name, "from": before.version, "to": after.version, "changes": changes}
    return JSONResponse(shown)


@router.delete("/v1/functions/{name}", summary="Delete a function")
async def delete(request: Request, name: str) -> Response:
    """Nothing new is invoked; what was acknowledged runs to its end. Can be restored for a time."""
    context, caller = await caller_of(request, Action.DELETE_FUNCTION, name)
    gone = await deletion.delete_function(context.services, context.memory, caller, name)
    return JSONResponse(_shown_deleted(gone))


@router.post("/v1/functions/{name}/restore", summary="Restore a deleted function")
async def restore(request: Request, name: str) -> Response:
    """With all its versions and aliases, as long as it can be."""
    context, caller = await caller_of(request, Action.DELETE_FUNCTION, name)
    await deletion.restore_function(context.services, context.memory, caller, name)
    found = await context.resolver.resolve(caller.tenant, name, None, None, draw="")
    return JSONResponse(_shown(found))


def _reference(request: Request, name: str) -> str | None:
    text = request.query_params.get(name)
    if text == "":
        raise StockadeError("request.query_invalid", f"{name} is a version, an alias or latest.")
    return text


def _shown(version: FunctionVersion) -> dict[str, object]:
    content = msgspec.to_builtins(version.content)
    return {
        "name": version.name,
        "version": version.version,
        "module": version.content.digest,
        "abi": version.content.abi,
        "deterministic": version.content.deterministic,
        "limits": content["limits"],
        "auto_limits": content["auto_limits"],
        "grants": content["grants"],
        "retry": content["retry"],
        "concurrency": version.content.concurrency,
        "env": dict(version.content.env),
        "record": version.content.record,
        "created_ms": version.created_ms,
        "created_by": version.note.by,
        "message": version.note.message,
        "labels": dict(version.note.labels),
    }


def _shown_rehearsal(name: str, rehearsal: Rehearsal) -> dict[str, object]:
    return {
        "dry_run": True,
        "name": name,
        "version": rehearsal.version,
        "creates": rehearsal.creates,
        "against": None if rehearsal.base is None else rehearsal.base.version,
        "changes": rehearsal.changes,
        "refusals": [problem_facts(error) for error in rehearsal.refusals],
    }


def _shown_deleted(gone: DeletedFunction) -> dict[str, object]:
    return {
        "name": gone.name,
        "version": gone.latest_version,
        "deleted_ms": gone.deleted.at_ms,
        "deleted_by": gone.deleted.by,
        "restorable_until_ms": gone.restorable_until_ms,
    }
