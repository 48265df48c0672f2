"""`/v1/signers`: the keys that a tenant trusts."""

import base64

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json, read_json_or
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import Context, caller_of
from gateway.routes.headers import parse_time
from gateway.trace import note_object, note_reason
from gateway.usecases.rotate_signer import check_room, rotate_signer
from registry.keys import load_public_key
from stockade.core.actions import Action
from stockade.core.catalog_changes import ChangeKind
from stockade.core.errors import StockadeError, not_found
from stockade.core.modules import Signer
from stockade.core.names import check_name
from stockade.core.trust import MAX_REASON_CHARACTERS

router = APIRouter(tags=["signers"])


class SignerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to trust, as PEM, an OpenSSH line, or base64 of its 32 raw bytes."""

    name: str
    public_key: str
    not_before: str | None = None
    not_after: str | None = None


class SignerRotationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key that comes in a signer's place, and how long both count.

    Without a name, it is the old one's with the next number.
    """

    public_key: str
    name: str | None = None
    overlap_seconds: int = 7 * 24 * 3600
    not_after: str | None = None


class RevocationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why, for those who read the list later."""

    reason: str | None = None


@router.post(
    "/v1/signers",
    status_code=201,
    summary="Trust a key",
    openapi_extra=json_body(SignerRequest),
)
async def post_signer(request: Request) -> Response:
    """201 when it is new, 200 when exactly this signer was trusted already."""
    context, caller = await caller_of(request, Action.MANAGE_SIGNERS)
    asked = await read_json(request, SignerRequest)
    note_object(request, asked.name)
    signer = Signer(
        name=check_name("signer", asked.name),
        public_key=load_public_key(asked.public_key.encode()),
        not_before_ms=_time(asked.not_before, "not_before"),
        not_after_ms=_time(asked.not_after, "not_after"),
    )
    _check_window(signer)
    catalog = context.services.catalog
    check_room(signer, await catalog.signers(caller.tenant))
    created = await catalog.add_signer(caller.tenant, signer)
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    return JSONResponse(_shown(signer), 201 if created else 200)


@router.get("/v1/signers", summary="List signers")
async def get_signers(request: Request) -> Response:
    """All signers, revoked ones too."""
    context, caller = await caller_of(request, Action.READ)
    signers = await context.services.catalog.signers(caller.tenant)
    return JSONResponse({"signers": [_shown(signer) for signer in signers]})


@router.get("/v1/signers/{name}", summary="Show a signer")
async def get_signer(request: Request, name: str) -> Response:
    """One signer: its key, its window, whether and why it was revoked, what it replaces."""
    context, caller = await caller_of(request, Action.READ)
    return JSONResponse(_shown(await _found(context, caller.tenant, name)))


@router.post(
    "/v1/signers/{name}/rotate",
    status_code=201,
    summary="Put a new key in a signer's place",
    openapi_extra=json_body(SignerRotationRequest),
)
async def post_rotation(request: Request, name: str) -> Response:
    """Both count for the overlap, as one party; then the old one has expired."""
    context, caller = await caller_of(request, Action.MANAGE_SIGNERS)
    check_name("signer", name)
    asked = await read_json(request, SignerRotationRequest)
    successor = Signer(
        name="" if asked.name is None else check_name("signer", asked.name),
        public_key=load_public_key(asked.public_key.encode()),
        not_after_ms=_time(asked.not_after, "not_after"),
        replaces=name,
    )
    made = await rotate_signer(context.services, caller.tenant, successor, asked.overlap_seconds)
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    old = await _found(context, caller.tenant, name)
    return JSONResponse(_shown(made) | {"replaced": _shown(old)}, 201)


@router.post(
    "/v1/signers/{name}/revoke",
    summary="Revoke a signer",
    openapi_extra=json_body(RevocationRequest),
)
async def revoke_signer(request: Request, name: str) -> Response:
    """Stops the next run of everything that only this signer signed, within seconds.

    The body may be left out. The first revocation counts, with its reason.
    """
    context, caller = await caller_of(request, Action.MANAGE_SIGNERS)
    check_name("signer", name)
    asked = await read_json_or(request, RevocationRequest())
    reason = _reason(asked.reason)
    if reason is not None:
        note_reason(request, reason)
    catalog, now_ms = context.services.catalog, context.services.clock.now_ms()
    if not await catalog.revoke_signer(caller.tenant, name, now_ms, reason):
        raise not_found("signer", name)
    await context.memory.changed(ChangeKind.TRUST, caller.tenant)
    return JSONResponse({"name": name, "revoked": True})


async def _found(context: Context, tenant: str, name: str) -> Signer:
    check_name("signer", name)
    for one in await context.services.catalog.signers(tenant):
        if one.name == name:
            return one
    raise not_found("signer", name)


def _reason(text: str | None) -> str | None:
    if text is None or (0 < len(text) <= MAX_REASON_CHARACTERS and text.isprintable()):
        return text
    raise StockadeError(
        "signer.reason_invalid",
        f"reason is one line of 1 to {MAX_REASON_CHARACTERS} printable characters.",
    )


def _time(text: str | None, field: str) -> int | None:
    if text is None:
        return None
    time_ms = parse_time(text)
    if time_ms is None:
        raise StockadeError(
            "request.invalid", f"The field {field} must be a time such as 2030-01-31T12:00:00Z."
        )
    return time_ms


def _check_window(signer: Signer) -> None:
    begin, end = signer.not_before_ms, signer.not_after_ms
    if begin is not None and end is not None and begin >= end:
        raise StockadeError("signer.window_invalid", "not_after must be later than not_before.")


def _shown(signer: Signer) -> dict[str, object]:
    return {
        "name": signer.name,
        "public_key": base64.b64encode(signer.public_key).decode(),
        "not_before_ms": signer.not_before_ms,
        "not_after_ms": signer.not_after_ms,
        "revoked_ms": signer.revoked_ms,
        "revoked_reason": signer.revoked_reason,
        "replaces": signer.replaces,
    }
