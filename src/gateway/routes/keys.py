"""`/v1/keys`: API keys of the caller's own tenant."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import caller_of
from stockade.core.api_keys import ApiKey, generate_key
from stockade.core.names import check_name

router = APIRouter(tags=["keys"])


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name to know the key by."""

    name: str


@router.post(
    "/v1/keys", status_code=201, summary="Make an API key", openapi_extra=json_body(KeyRequest)
)
async def post_key(request: Request) -> Response:
    """The key's text is in this answer and nowhere else."""
    context, caller = await caller_of(request)
    asked = await read_json(request, KeyRequest)
    services = context.services
    text, key = generate_key(services.settings.environment)
    stored = ApiKey(
        id=key.id,
        tenant=caller.tenant,
        name=check_name("key", asked.name),
        secret_hash=key.secret_hash,
        created_ms=services.clock.now_ms(),
    )
    await services.catalog.add_key(stored)
    return JSONResponse({"id": key.id, "name": stored.name, "key": text}, 201)
