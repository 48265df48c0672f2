"""What retries came to and runs needed: a version's policy beside its shadow, and its limits."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.openapi import optional
from gateway.routes.context import caller_of
from gateway.routes.headers import VERSION_QUERY, version_choice
from gateway.usecases.advise_limits import advise_limits
from stockade.core.actions import Action
from stockade.retry.report import report_of

router = APIRouter(tags=["retries"])
_SHADOWS = {"fixed": "learned", "learned": "fixed"}


@router.get(
    "/v1/functions/{name}/retry-report",
    summary="Compare the retry policy with its shadow",
    openapi_extra={"parameters": optional("query", VERSION_QUERY)},
)
async def get_report(request: Request, name: str) -> Response:
    """Of the latest version, or the one that `alias` or `version` names: decisions that differ.

    And what would have been saved, lost, added and won had the shadow ruled, and how well success
    was estimated. Counted by workers as runs end, told within seconds, kept for 30 days.
    """
    context, caller = await caller_of(request, Action.READ, name)
    alias, version = version_choice(request)
    found = await context.resolver.resolve(caller.tenant, name, alias, version, draw="")
    tallies = context.services.tallies
    report = report_of(await tallies.tally(caller.tenant, name, found.version))
    policy = found.content.retry.policy
    shown = {"name": name, "version": found.version, "policy": policy}
    return JSONResponse(shown | {"shadow": _SHADOWS.get(policy)} | asdict(report))


@router.get(
    "/v1/functions/{name}/advice",
    summary="Suggest limits",
    openapi_extra={"parameters": optional("query", VERSION_QUERY)},
)
async def get_advice(request: Request, name: str) -> Response:
    """For the latest version, or the one that `alias` or `version` names, by what runs needed.

    For fuel, memory and wall time: what runs needed (p50, p95, p99, the most), how many passed the
    limit, what the limit is and may be, and what it should be, in one sentence. Nothing is
    suggested before enough runs were seen.
    """
    context, caller = await caller_of(request, Action.READ, name)
    alias, version = version_choice(request)
    found = await context.resolver.resolve(caller.tenant, name, alias, version, draw="")
    advice = await advise_limits(context.services, found)
    shown = {"name": name, "version": found.version, "limits": [asdict(one) for one in advice]}
    return JSONResponse(shown)
