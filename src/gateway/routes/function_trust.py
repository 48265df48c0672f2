"""`/v1/functions/{name}/trust`: how many of which signers a function's module needs."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import caller_of
from gateway.usecases.trust_function import put_function_trust
from stockade.core.actions import Action
from stockade.core.catalog_changes import ChangeKind
from stockade.core.trust import FunctionTrust

router = APIRouter(tags=["functions"])


class TrustRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many must sign, and of whom; without names, any signers of the tenant."""

    threshold: int
    signers: list[str] = []


@router.put(
    "/v1/functions/{name}/trust",
    summary="Say how many must sign a function's module",
    openapi_extra=json_body(TrustRequest),
)
async def put_trust(request: Request, name: str) -> Response:
    """From the next run on, within seconds; the function need not be deployed yet."""
    context, caller = await caller_of(request, Action.MANAGE_SIGNERS, name)
    asked = await read_json(request, TrustRequest)
    names = tuple(asked.signers)
    created = await put_function_trust(
        context.services, caller.tenant, name, asked.threshold, names
    )
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    return JSONResponse(
        _shown(name, FunctionTrust(asked.threshold, names)), 201 if created else 200
    )


@router.get("/v1/functions/{name}/trust", summary="How many must sign a function's module?")
async def get_trust(request: Request, name: str) -> Response:
    """One of any signers, where nothing else was said."""
    context, caller = await caller_of(request, Action.READ, name)
    trust = await context.services.catalog.function_trust(caller.tenant, name)
    return JSONResponse(_shown(name, trust or FunctionTrust()))


def _shown(function: str, trust: FunctionTrust) -> dict[str, object]:
    return {
        "function": function,
        "threshold": trust.threshold,
        "signers": list(trust.signers),
    }
