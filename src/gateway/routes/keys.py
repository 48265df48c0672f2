"""`/v1/keys`: API keys of the caller's own tenant."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import Context, caller_of, context_of
from gateway.trace import note_object
from stockade.core.actions import Action
from stockade.core.api_keys import ID_CHARACTERS, ApiKey, generate_key
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import StockadeError, not_found
from stockade.core.names import check_name
from stockade.core.principals import Kind, Role, check_scopes

router = APIRouter(tags=["keys"])
_DAY_SECONDS = 24 * 3600
MAX_KEYS = 1_000
"""In force, of one tenant."""
_MAX_SECONDS, _MAX_OVERLAP_SECONDS = 10 * 366 * _DAY_SECONDS, 30 * _DAY_SECONDS


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name to know the key by, what it may and how long: by default as its maker."""

    name: str
    role: Role | None = None
    scopes: list[str] | None = None
    expires_in_seconds: int | None = None


class RotationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key goes on beside the new one."""

    overlap_seconds: int = _DAY_SECONDS


@router.post(
    "/v1/keys", status_code=201, summary="Make an API key", openapi_extra=json_body(KeyRequest)
)
async def post_key(request: Request) -> Response:
    """The key's text is in this answer and nowhere else."""
    context, caller = await caller_of(request, Action.MANAGE_KEYS)
    asked = await read_json(request, KeyRequest)
    check_name("key", asked.name)
    role = caller.role if asked.role is None else asked.role
    scopes = caller.scopes if asked.scopes is None else check_scopes(asked.scopes)
    expires_ms = _in(context, asked.expires_in_seconds, _MAX_SECONDS) or caller.expires_ms
    caller.check_may_give(role, scopes, expires_ms)
    return await _made(request, caller.tenant, asked.name, role, scopes, expires_ms)


@router.get("/v1/keys", summary="List API keys")
async def get_keys(request: Request) -> Response:
    """Those no longer in force too; never a secret. `last_used_ms` lags by up to a minute."""
    context, caller = await caller_of(request, Action.MANAGE_KEYS)
    found = await context.services.catalog.keys(caller.tenant)
    return JSONResponse({"keys": [_shown(key) for key in found]})


@router.post(
    "/v1/keys/{key_id}/rotate",
    status_code=201,
    summary="Rotate an API key",
    openapi_extra=json_body(RotationRequest),
)
async def rotate_key(request: Request, key_id: str) -> Response:
    """A new key of the same name, role and scopes; the old one ends after the overlap.

    A key that ends may renew itself, for as long again as it was made for, but none that outlives
    it.
    """
    note_object(request, _id_alone(key_id))
    context, caller = await caller_of(request, Action.MANAGE_KEYS)
    asked = await read_json(request, RotationRequest)
    ends_ms = _in(context, asked.overlap_seconds, _MAX_OVERLAP_SECONDS, least=0)
    catalog, now_ms = context.services.catalog, context.services.clock.now_ms()
    old = await catalog.find_key(key_id)
    if old is None or old.tenant != caller.tenant:
        raise not_found("key", _id_alone(key_id))
    if old.kind is Kind.WORKLOAD:
        raise StockadeError("key.of_a_job", "A CI job's key is not rotated: exchange a new token.")
    if not old.in_force(now_ms):
        raise StockadeError("key.not_in_force", "This key has ended. Make a new one.")
    lifetime_ms = None if old.expires_ms is None else old.expires_ms - old.created_ms
    expires_ms = None if lifetime_ms is None else now_ms + lifetime_ms
    own_end_ms = caller.expires_ms
    caller.check_may_give(old.role, old.scopes, own_end_ms if key_id == caller.id else expires_ms)
    # The new one first: a caller that is cut off between the two still has the old one.
    answer = await _made(request, caller.tenant, old.name, old.role, old.scopes, expires_ms)
    await catalog.expire_key(caller.tenant, key_id, ends_ms or now_ms)
    await context.memory.changed(ChangeKind.KEY, caller.tenant, key_id)
    return answer


@router.delete("/v1/keys/{key_id}", status_code=204, summary="Revoke an API key")
async def revoke_key(request: Request, key_id: str) -> Response:
    """Requests with it are refused, within seconds on every gateway; it stays in the list."""
    note_object(request, _id_alone(key_id))
    context, caller = await caller_of(request, Action.MANAGE_KEYS)
    now_ms = context.services.clock.now_ms()
    if not await context.services.catalog.revoke_key(caller.tenant, key_id, now_ms):
        raise not_found("key", _id_alone(key_id))
    await context.memory.changed(ChangeKind.KEY, caller.tenant, key_id)
    return Response(status_code=204)


async def _made(
    request: Request,
    tenant: str,
    name: str,
    role: Role,
    scopes: tuple[str, ...],
    expires_ms: int | None,
) -> Response:
    context = context_of(request)
    services = context.services
    await _check_room(context, tenant)
    text, key = generate_key(services.settings.environment)
    created_ms = services.clock.now_ms()
    stored = ApiKey(key.id, tenant, name, key.secret_hash, created_ms, expires_ms, role, scopes)
    await services.catalog.add_key(stored)
    note_object(request, key.id)
    return JSONResponse(_shown(stored) | {"key": text}, 201, {"Cache-Control": "no-store"})


def _id_alone(text: str) -> str:
    """No more of it than an id is long: some send their whole key, which no log may hold."""
    return text[:ID_CHARACTERS]


async def _check_room(context: Context, tenant: str) -> None:
    """Refuses one key more than a tenant may have; those no longer in force do not count."""
    now_ms = context.services.clock.now_ms()
    found = await context.services.catalog.keys(tenant)
    if sum(key.kind is Kind.KEY and key.in_force(now_ms) for key in found) >= MAX_KEYS:
        raise StockadeError(
            "key.too_many",
            f"This tenant has {MAX_KEYS} keys, as many as it may. Revoke one first.",
            detail={"most": MAX_KEYS},
        )


def _in(context: Context, seconds: int | None, most: int, least: int = 1) -> int | None:
    """The time in so many seconds."""
    if seconds is None:
        return None
    if not least <= seconds <= most:
        raise StockadeError("key.expiry_invalid", f"Give {least} to {most} seconds.")
    return context.services.clock.now_ms() + seconds * 1000


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "kind": key.kind,
        "subject": key.subject,
        "role": key.role,
        "scopes": list(key.scopes),
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "revoked_ms": key.revoked_ms,
        "last_used_ms": key.last_used_ms,
    }
