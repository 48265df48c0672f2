"""`/v1/upstreams`: what workers know of the servers that this tenant's guests call."""

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.routes.context import caller_of
from stockade.core.actions import Action
from stockade.core.errors import not_found
from stockade.core.upstreams import MAX_UPSTREAM_CHARACTERS, UpstreamView

router = APIRouter(tags=["upstreams"])


@router.get("/v1/upstreams", summary="List upstreams that fail")
async def get_upstreams(request: Request) -> Response:
    """Those of which a call failed lately; of one that is not listed every call goes out.

    `state` is `closed` (calls go out), `open` (they are refused until the next probe) or
    `half_open` (a probe is under way). Times are Unix milliseconds.
    """
    context, caller = await caller_of(request, Action.READ)
    found = await context.services.upstreams.views(caller.tenant)
    return JSONResponse({"upstreams": [_shown(view) for view in found]})


@router.delete("/v1/upstreams/{upstream}", status_code=204, summary="Let calls out again")
async def delete_upstream(request: Request, upstream: str) -> Response:
    """Forgets what is known of an upstream: calls to it go out at once, and are counted anew."""
    context, caller = await caller_of(request, Action.REDRIVE)
    services = context.services
    known = len(upstream) <= MAX_UPSTREAM_CHARACTERS
    if not known or not await services.upstreams.reset(caller.tenant, upstream):
        raise not_found("upstream", upstream[:MAX_UPSTREAM_CHARACTERS])
    await services.upstream_news.tell(caller.tenant, upstream)
    return Response(status_code=204)


def _shown(view: UpstreamView) -> dict[str, object]:
    return {
        "upstream": view.upstream,
        "state": view.state,
        "failures": view.failures,
        "cause": view.cause,
        "since_ms": view.since_ms,
        "next_probe_ms": view.next_probe_ms,
        "failed_probes": view.failed_probes,
    }
