"""`/v1/status`: how the installation stands."""

from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.routes.context import caller_of
from gateway.usecases.tell_status import sees_all
from stockade.core.actions import Action

router = APIRouter(tags=["status"])


@router.get("/v1/status", summary="How does it stand?")
async def get_status(request: Request) -> Response:
    """What waits, what runs, how much of late failed: the caller's, or all to operators' admins.

    Workers tell of themselves every two seconds; the answer may be a second old beyond that.
    """
    context, caller = await caller_of(request, Action.READ)
    services, teller = context.services, context.status
    if sees_all(caller, services.settings.operator_tenant):
        stale = [files for files, is_stale in services.stale().items() if is_stale]
        told = await teller.installation(stale)
    else:
        told = await teller.tenant(caller.tenant)
    return JSONResponse({"version": version("stockade"), **told})
