"""`/v1/oidc/token`: the one call under `/v1/` that wants no key, since it gives one."""

from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import begin, context_of
from gateway.trace import note_object, trace_of
from gateway.usecases.exchange_token import TokenRequest, give_key, judge_token
from stockade.core.errors import StockadeError

router = APIRouter(tags=["keys"])


@router.post(
    "/v1/oidc/token",
    status_code=201,
    summary="Exchange a CI job's token for a key",
    openapi_extra=json_body(TokenRequest) | {"security": []},
)
async def post_token(request: Request) -> Response:
    """The key lives for 15 minutes at most, and may what a rule of the operator's says."""
    context = context_of(request)
    source = context.authenticator.check_source(request)
    asked = await read_json(request, TokenRequest)
    try:
        made = await judge_token(context.services, asked)
        trace_of(request).caller = made.key.principal
        note_object(request, made.key.id)
        await begin(request)
        await give_key(context.services, made)
    except StockadeError as error:
        if error.code.startswith("oidc.") and not error.retryable:
            context.authenticator.note_failure(source)
        raise
    shown = {
        "key": made.text,
        "id": made.key.id,
        "tenant": made.key.tenant,
        "role": made.key.role,
        "scopes": list(made.key.scopes),
        "subject": made.key.subject,
        "rule": made.key.name,
        "expires_ms": made.key.expires_ms,
    }
    return JSONResponse(shown, 201, {"Cache-Control": "no-store"})
