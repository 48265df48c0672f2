"""`/v1/modules:from-oci` and `:to-oci`: modules of OCI artifacts, and artifacts of modules."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.oci.export import export_module
from gateway.oci.promotion import promote_reference
from gateway.openapi import json_body
from gateway.routes.context import caller_of
from gateway.routes.modules import module_facts
from gateway.trace import note_object
from stockade.core.actions import Action
from stockade.core.digests import check_digest
from stockade.core.errors import StockadeError
from stockade.core.oci import OciRepository, check_reference, is_digest, parse_repository

router = APIRouter(tags=["modules"])


class FromOciRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The artifact: `NAME:TAG` or `NAME@DIGEST`, with the tenant before NAME or without."""

    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


@router.post(
    "/v1/modules:from-oci",
    status_code=201,
    summary="Make a module of a pushed OCI artifact",
    openapi_extra=json_body(FromOciRequest),
)
async def post_from_oci(request: Request) -> Response:
    """Verifies the artifact as an upload would be; `manifest` is what the tag pointed to."""
    context, caller = await caller_of(request, Action.UPLOAD)
    asked = await read_json(request, FromOciRequest)
    repository, reference = _parsed(asked.reference, caller.tenant)
    manifest, uploaded = await promote_reference(context, caller, repository, reference)
    note_object(request, uploaded.digest)
    body = {
        "digest": uploaded.digest,
        "signers": list(uploaded.signers),
        **module_facts(uploaded.facts),
        "manifest": f"{repository.name}@{manifest.digest}",
    }
    return JSONResponse(body, 201 if uploaded.created else 200)


class ToOciRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The module's digest, and where it is to stand: `NAME:TAG`."""

    module: str
    reference: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


@router.post(
    "/v1/modules:to-oci",
    status_code=201,
    summary="Make an OCI artifact of an uploaded module",
    openapi_extra=json_body(ToOciRequest),
)
async def post_to_oci(request: Request) -> Response:
    """Puts the module into a repository, its signatures embedded, for OCI clients to pull."""
    context, caller = await caller_of(request, Action.UPLOAD)
    asked = await read_json(request, ToOciRequest)
    repository, tag = _parsed(asked.reference, caller.tenant)
    if is_digest(check_reference(tag)):
        raise StockadeError("oci.tag_invalid", "Name a tag: the digest is what comes of it.")
    digest = check_digest(asked.module)
    manifest = await export_module(context, caller, digest, repository, tag)
    named = f"{repository.name}@{manifest.digest}"
    note_object(request, named)
    return JSONResponse({"manifest": named, "tag": tag}, 201)


def _parsed(text: str, tenant: str) -> tuple[OciRepository, str]:
    name, at, reference = text.partition("@")
    if not at:
        name, colon, reference = text.rpartition(":")
        if not colon:
            name, reference = text, "latest"
    if not name.startswith(f"{tenant}/"):
        name = f"{tenant}/{name}"
    return parse_repository(name), reference
