"""`/v1/modules`."""

import base64
import binascii
import re
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from gateway.bodies import check_content_type, read_bounded
from gateway.json_response import JSONResponse
from gateway.openapi import binary_body, optional
from gateway.problems import problem_facts
from gateway.routes.context import caller_of
from gateway.trace import note_object
from gateway.usecases import keep_modules
from gateway.usecases.keep_modules import show_module
from gateway.usecases.upload_module import upload_module
from stockade.core.actions import Action
from stockade.core.catalog_changes import ChangeKind
from stockade.core.digests import check_digest
from stockade.core.errors import StockadeError
from stockade.core.modules import ModuleFacts

router = APIRouter(tags=["modules"])
_MEDIA_TYPES = ("application/wasm", "application/octet-stream")
_MOST_LISTED, _LISTED = 1000, 100
_LIMIT = re.compile(r"[1-9][0-9]{0,2}|1000")
_AFTER = re.compile(r"(?:([0-9]{1,15})-(sha256:[0-9a-f]{64}))?")
_PAGE_QUERY = {
    "limit": f"At most so many, 1 to {_MOST_LISTED}; {_LISTED} when left out.",
    "after": "Goes on after this place: the `next` of the answer before.",
}


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
    # Another signature may be what a function's threshold waits for.
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    note_object(request, uploaded.digest)
    body = {
        "digest": uploaded.digest,
        "signers": list(uploaded.signers),
        **module_facts(uploaded.facts),
    }
    return JSONResponse(body, 201 if uploaded.created else 200)


@router.get(
    "/v1/modules",
    summary="List modules",
    openapi_extra={"parameters": optional("query", _PAGE_QUERY)},
)
async def get_modules(request: Request) -> Response:
    """The tenant's modules, newest first."""
    context, caller = await caller_of(request, Action.READ)
    most, before = _page(request)
    found = await context.services.catalog.modules(caller.tenant, most, before)
    full = len(found) == most
    body = {
        "modules": [asdict(one) for one in found],
        "next": f"{found[-1].created_ms}-{found[-1].digest}" if full else None,
    }
    return JSONResponse(body)


@router.get("/v1/modules/{digest}", summary="What is known of a module")
async def get_module(request: Request, digest: str) -> Response:
    """The module's facts, who vouches for it now or why nobody does, and what is made of it."""
    context, caller = await caller_of(request, Action.READ)
    shown = await show_module(context.services, caller.tenant, check_digest(digest))
    versions = [{"function": name, "version": number} for name, number in shown.versions]
    body = {
        "digest": digest,
        "created_ms": shown.module.created_ms,
        "signers": list(shown.signers),
        "signatures": len(shown.module.signatures),
        "refusal": problem_facts(shown.refusal) if shown.refusal else None,
        "versions": versions,
        **module_facts(shown.module.facts),
    }
    return JSONResponse(body)


@router.delete("/v1/modules/{digest}", status_code=204, summary="Delete a module")
async def delete_module(request: Request, digest: str) -> Response:
    """Refused while a function version is made of it. What was submitted before still runs."""
    context, caller = await caller_of(request, Action.DELETE_MODULE)
    await keep_modules.delete_module(context.services, caller.tenant, check_digest(digest))
    return Response(status_code=204)


@router.get("/v1/usage/storage", summary="What modules take, and may take")
async def get_storage_usage(request: Request) -> Response:
    """Bytes and numbers; deleted modules count until their grace is over."""
    context, caller = await caller_of(request, Action.READ)
    usage, quota = await keep_modules.storage_of(context.services, caller.tenant)
    oci_bytes = await context.services.oci.store.used_bytes(caller.tenant)
    return JSONResponse({"used": asdict(usage) | {"oci_bytes": oci_bytes}, "limit": asdict(quota)})


def _page(request: Request) -> tuple[int, tuple[int, str] | None]:
    limit = request.query_params.get("limit", str(_LISTED))
    after = _AFTER.fullmatch(request.query_params.get("after", ""))
    if not _LIMIT.fullmatch(limit) or after is None:
        raise StockadeError(
            "request.query_invalid",
            f"limit is a number from 1 to {_MOST_LISTED}, after the next of the answer before.",
        )
    return int(limit), (int(after[1]), after[2]) if after[2] else None


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
