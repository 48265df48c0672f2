"""What happened to an invocation, step by step."""

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.routes.invocations import record_of
from gateway.usecases.show_trace import show_trace
from stockade.core.actions import Action

router = APIRouter(tags=["invocations"])


@router.get("/v1/invocations/{invocation_id}/trace", summary="The spans of a recent invocation")
async def get_trace(request: Request, invocation_id: str) -> Response:
    """One OTLP message (`TracesData`) in its JSON form: what gateways and workers did, and when."""
    context, record = await record_of(request, invocation_id, Action.READ)
    return JSONResponse(await show_trace(context.services, record))
