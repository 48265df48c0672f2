"""`/v1/secrets`: what only granted guests may read. No call answers with a secret's value."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from gateway.bodies import read_bounded
from gateway.json_response import JSONResponse
from gateway.openapi import binary_body
from gateway.routes.context import caller_of
from stockade.core.actions import Action
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import SecretEntry
from stockade.core.names import check_secret_name

router = APIRouter(tags=["secrets"])
MAX_SECRET_BYTES = 64 * 1024
MAX_SECRETS = 1_000
"""Of one tenant."""


@router.put(
    "/v1/secrets/{name}",
    status_code=201,
    summary="Set a secret",
    openapi_extra=binary_body("*/*"),
)
async def put_secret(request: Request, name: str) -> Response:
    """The body is the value; 201 when the name is new, 204 when it had another value.

    The next run reads it. It is kept encrypted, and left out of logs, events and details.
    """
    context, caller = await caller_of(request, Action.MANAGE_SECRETS)
    check_secret_name(name)
    value = await read_bounded(request, MAX_SECRET_BYTES)
    if not value:
        raise StockadeError("request.invalid", "A secret has at least one byte. Send it as body.")
    services = context.services
    _check_room(name, await services.catalog.secrets(caller.tenant))
    sealed = services.secret_box.seal(caller.tenant, name, value)
    now_ms = services.clock.now_ms()
    created = await services.catalog.put_secret(caller.tenant, name, sealed, now_ms)
    return Response(status_code=201 if created else 204)


@router.get("/v1/secrets", summary="List secrets")
async def get_secrets(request: Request) -> Response:
    """Names and when each was last set; never what they hold."""
    context, caller = await caller_of(request, Action.MANAGE_SECRETS)
    found = await context.services.catalog.secrets(caller.tenant)
    shown = [{"name": one.name, "updated_ms": one.updated_ms} for one in found]
    return JSONResponse({"secrets": shown})


@router.delete("/v1/secrets/{name}", status_code=204, summary="Delete a secret")
async def delete_secret(request: Request, name: str) -> Response:
    """The next run that asks for it finds it absent."""
    context, caller = await caller_of(request, Action.MANAGE_SECRETS)
    check_secret_name(name)
    if not await context.services.catalog.delete_secret(caller.tenant, name):
        raise not_found("secret", name)
    return Response(status_code=204)


def _check_room(name: str, known: Sequence[SecretEntry]) -> None:
    """Refuses one secret more than a tenant may have."""
    if len(known) >= MAX_SECRETS and name not in {one.name for one in known}:
        raise StockadeError(
            "secret.too_many",
            f"This tenant has {MAX_SECRETS} secrets, as many as it may. Delete one first.",
            detail={"most": MAX_SECRETS},
        )
