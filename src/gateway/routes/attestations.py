"""`/v1/modules/{digest}/attestations`: who built a module, out of which source."""

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import check_content_type, read_bounded
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.problems import problem_facts
from gateway.routes.context import caller_of
from gateway.trace import note_object
from gateway.usecases.attest_module import (
    ShownAttestation,
    attest_module,
    find_attestation,
    show_attestations,
)
from stockade.core.actions import Action
from stockade.core.attestations import MAX_ENVELOPE_BYTES
from stockade.core.digests import check_digest

router = APIRouter(tags=["modules"])
_MEDIA_TYPES = ("application/vnd.dsse.envelope.v1+json", "application/json")


class EnvelopeSignature(msgspec.Struct, frozen=True):
    """One signature; the key id is a hint."""

    sig: str
    keyid: str = ""


class EnvelopeRequest(msgspec.Struct, frozen=True):
    """A DSSE envelope with an in-toto statement of SLSA provenance; base64 within."""

    payload: str
    payloadType: str  # noqa: N815 - the specification's name
    signatures: list[EnvelopeSignature]


@router.post(
    "/v1/modules/{digest}/attestations",
    status_code=201,
    summary="Attest where a module comes from",
    openapi_extra=json_body(EnvelopeRequest),
)
async def post_attestation(request: Request, digest: str) -> Response:
    """A signed envelope, of at most 128 KiB; 200 when the module has it already."""
    context, caller = await caller_of(request, Action.UPLOAD)
    check_digest(digest)
    check_content_type(request, *_MEDIA_TYPES)
    content = await read_bounded(request, MAX_ENVELOPE_BYTES)
    shown, created = await attest_module(context.services, caller.tenant, digest, content)
    note_object(request, digest)
    return JSONResponse(_shown(shown), 201 if created else 200)


@router.get("/v1/modules/{digest}/attestations", summary="List a module's attestations")
async def get_attestations(request: Request, digest: str) -> Response:
    """What each says and who signed it, or why it does not count now."""
    context, caller = await caller_of(request, Action.READ)
    found = await show_attestations(context.services, caller.tenant, check_digest(digest))
    return JSONResponse({"attestations": [_shown(one) for one in found]})


@router.get("/v1/modules/{digest}/attestations/{attestation}", summary="An attestation's envelope")
async def get_attestation(request: Request, digest: str, attestation: str) -> Response:
    """The DSSE envelope, with the signatures of keys that were trusted when it came."""
    context, caller = await caller_of(request, Action.READ)
    found = await find_attestation(
        context.services, caller.tenant, check_digest(digest), attestation
    )
    return Response(found.envelope, media_type=_MEDIA_TYPES[0])


def _shown(shown: ShownAttestation) -> dict[str, object]:
    verified = shown.verified
    provenance = None if verified is None else verified.provenance
    return {
        "id": shown.stored.id,
        "created_ms": shown.stored.created_ms,
        "signers": [] if verified is None else list(verified.signers),
        "predicate_type": None if verified is None else verified.predicate_type,
        "builders": [] if provenance is None else list(provenance.builders),
        "sources": [] if provenance is None else list(provenance.sources),
        "refusal": problem_facts(shown.refusal) if shown.refusal else None,
    }
