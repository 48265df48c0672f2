"""`/v1/functions` and their aliases."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body, optional
from gateway.routes.context import authenticated, begin, caller_of
from gateway.routes.headers import VERSION_QUERY, version_choice
from gateway.usecases.deploy_function import DeployRequest, deploy_function
from gateway.usecases.trust_function import check_versions_trusted
from stockade.core.actions import Action
from stockade.core.aliases import Stamp, pointed
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import Alias, FunctionVersion
from stockade.core.names import check_name

router = APIRouter(tags=["functions"])
_MAX_WEIGHTS, _MAX_WEIGHT = 16, 10_000


class AliasRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version, or weights over versions."""

    version: int | None = None
    weights: dict[int, int] | None = None


@router.put(
    "/v1/functions/{name}",
    status_code=201,
    summary="Deploy a version",
    openapi_extra=json_body(DeployRequest),
)
async def put_function(request: Request, name: str) -> Response:
    """201 with a new version, 200 when the latest has the same content."""
    context, caller = await authenticated(request, Action.DEPLOY)
    check_name("function", name)
    caller.check_scope(Action.DEPLOY, name)
    # What follows tells which modules there are; deploying is asked when it is known of what.
    context.authorizer.check_policies(caller, Action.READ, name)
    await begin(request)
    asked = await read_json(request, DeployRequest)
    version, created = await deploy_function(
        context.services, context.authorizer, caller, name, asked
    )
    context.resolver.forget(caller.tenant, name)
    return JSONResponse(_shown(version), 201 if created else 200)


@router.get("/v1/functions", summary="List functions")
async def get_functions(request: Request) -> Response:
    """The latest version of each function."""
    context, caller = await caller_of(request, Action.READ)
    versions = await context.services.catalog.functions(caller.tenant)
    return JSONResponse({"functions": [_shown(version) for version in versions]})


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


@router.put(
    "/v1/functions/{name}/aliases/{alias}",
    status_code=201,
    summary="Point an alias",
    openapi_extra=json_body(AliasRequest),
)
async def put_alias(request: Request, name: str, alias: str) -> Response:
    """Points to one version, or shares invocations out by weight."""
    context, caller = await caller_of(request, Action.POINT_ALIAS, name)
    check_name("alias", alias)
    asked = await read_json(request, AliasRequest)
    weights = _weights(asked)
    versions = [version for version, _ in weights]
    await check_versions_trusted(context.services, caller.tenant, name, versions)
    stamp = Stamp(caller.id, context.services.clock.now_ms())
    change = await context.services.catalog.change_alias(
        caller.tenant, name, alias, pointed(weights), stamp
    )
    context.resolver.forget(caller.tenant, name)
    created = change is not None and change.before is None
    return JSONResponse(_shown_alias(name, Alias(alias, weights)), 201 if created else 200)


@router.get("/v1/functions/{name}/aliases/{alias}", summary="Show an alias")
async def get_alias(request: Request, name: str, alias: str) -> Response:
    """The versions that the alias points to."""
    context, caller = await caller_of(request, Action.READ, name)
    check_name("alias", alias)
    found = await context.services.catalog.alias(caller.tenant, name, alias)
    if found is None:
        raise not_found("alias", alias)
    return JSONResponse(_shown_alias(name, found))


def _weights(asked: AliasRequest) -> tuple[tuple[int, int], ...]:
    if (asked.version is None) == (asked.weights is None):
        raise StockadeError("alias.weights_invalid", "Give either 'version' or 'weights'.")
    weights = asked.weights if asked.weights is not None else {asked.version or 0: 1}
    sound = 0 < len(weights) <= _MAX_WEIGHTS and all(
        0 < version < 2**31 and 0 < weight <= _MAX_WEIGHT for version, weight in weights.items()
    )
    if not sound:
        raise StockadeError(
            "alias.weights_invalid",
            f"Weights are 1 to {_MAX_WEIGHTS} versions, each with a share of 1 to {_MAX_WEIGHT}.",
        )
    return tuple(sorted(weights.items()))


def _shown(version: FunctionVersion) -> dict[str, object]:
    content = msgspec.to_builtins(version.content)
    return {
        "name": version.name,
        "version": version.version,
        "module": version.content.digest,
        "abi": version.content.abi,
        "deterministic": version.content.deterministic,
        "limits": content["limits"],
        "grants": content["grants"],
        "retry": content["retry"],
        "concurrency": version.content.concurrency,
        "env": dict(version.content.env),
    }


def _shown_alias(function: str, alias: Alias) -> dict[str, object]:
    weights = {str(version): weight for version, weight in alias.weights}
    return {"function": function, "alias": alias.name, "weights": weights}
