"""`/v1/modules:from-oci`: modules of artifacts that were pushed under `/v2/`."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.oci.promotion import promote_reference
from gateway.openapi import json_body
from gateway.routes.context import caller_of
from gateway.routes.modules import module_facts
from gateway.trace import note_object
from stockade.core.actions import Action
from stockade.core.oci import OciRepository, parse_repository

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


def _parsed(text: str, tenant: str) -> tuple[OciRepository, str]:
    name, at, reference = text.partition("@")
    if not at:
        name, colon, reference = text.rpartition(":")
        if not colon:
            name, reference = text, "latest"
    if not name.startswith(f"{tenant}/"):
        name = f"{tenant}/{name}"
    return parse_repository(name), reference
