"""`/v1/modules`."""

import base64
import binascii

from fastapi import APIRouter, Request, Response

from gateway.bodies import check_content_type, read_bounded
from gateway.json_response import JSONResponse
from gateway.openapi import binary_body, optional
from gateway.routes.context import caller_of
from gateway.trace import note_object
from gateway.usecases.upload_module import find_module, upload_module
from stockade.core.actions import Action
from stockade.core.digests import check_digest
from stockade.core.errors import StockadeError
from stockade.core.modules import ModuleFacts

router = APIRouter(tags=["modules"])
_MEDIA_TYPES = ("application/wasm", "application/octet-stream")


@router.post(
    "/v1/modules",
    status_code=201,
    summary="Upload a signed module",
    openapi_extra=binary_body(*_MEDIA_TYPES)
    | {"parameters": optional("header", {"Stockade-Signature": "Base64, when it is detached."})},
)
async def post_module(request: Request) -> Response:
    """The body is the module; a detached signature comes as base64 in `Stockade-Signature`."""
    context, caller = await caller_of(request, Action.UPLOAD)
    check_content_type(request, *_MEDIA_TYPES)
    detached = _detached_signature(request)
    services = context.services
    with context.room.holding(caller.tenant) as take:
        content = await read_bounded(request, services.settings.max_module_bytes, take)
        uploaded = await upload_module(services, context.authorizer, caller, content, detached)
    note_object(request, uploaded.digest)
    body = {
        "digest": uploaded.digest,
        "signers": list(uploaded.signers),
        **module_facts(uploaded.facts),
    }
    return JSONResponse(body, 201 if uploaded.created else 200)


@router.get("/v1/modules/{digest}", summary="What is known of a module")
async def get_module(request: Request, digest: str) -> Response:
    """The module's facts."""
    context, caller = await caller_of(request, Action.READ)
    module = await find_module(context.services, caller.tenant, check_digest(digest))
    return JSONResponse({"digest": module.digest, **module_facts(module.facts)})


def module_facts(facts: ModuleFacts) -> dict[str, object]:
    """What the reader saw, as it is shown."""
    return {
        "imports": list(facts.imports),
        "exports": list(facts.exports),
        "abi": facts.abi,
        "deterministic": facts.deterministic,
        "size_bytes": facts.size_bytes,
    }


def _detached_signature(request: Request) -> bytes | None:
    text = request.headers.get("stockade-signature")
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StockadeError(
            "request.header_invalid", "The header Stockade-Signature must be base64."
        ) from None
