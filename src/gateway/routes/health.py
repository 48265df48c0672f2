"""Liveness, readiness, version, metrics: the routes without a key."""

import asyncio
from collections.abc import Awaitable
from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.metrics import CONTENT_TYPE
from gateway.routes.context import context_of
from gateway.services import Services
from stockade.core.errors import StockadeError

router = APIRouter(tags=["health"])
_READY_SECONDS = 1.0
_STATES = {True: "ok", False: "unavailable"}
_NOBODY, _NOTHING = "nobody", "00000000-0000-0000-0000-000000000000"


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Response:
    """Always 200 while the process answers."""
    return JSONResponse({"ok": True})


@router.get("/readyz", summary="Can it serve?")
async def readyz(request: Request) -> Response:
    """200 when Valkey and the database answer; else 503, naming which does not.

    Policies that could not be changed are told as stale, but those before them are in force.
    """
    services = context_of(request).services
    queue, catalog = await asyncio.gather(
        _answers(services.queue.record(_NOBODY, _NOTHING)),
        _answers(services.catalog.find_key(_NOBODY)),
    )
    ready = queue and catalog
    states = {"queue": _STATES[queue], "catalog": _STATES[catalog]}
    states["policies"] = "stale" if any(_stale(services).values()) else "ok"
    return JSONResponse({"ready": ready, **states}, 200 if ready else 503)


@router.get("/version", summary="Which release is this?")
async def get_version() -> Response:
    """The release."""
    return JSONResponse({"version": version("stockade")})


@router.get(
    "/metrics",
    summary="What does it count?",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def get_metrics(request: Request) -> Response:
    """Sizes of inputs and refusals by code, in Prometheus' text format; nothing by tenant."""
    context = context_of(request)
    for files, stale in _stale(context.services).items():
        context.metrics.follows(files, stale=stale)
    return Response(context.metrics.text(), media_type=CONTENT_TYPE)


def _stale(services: Services) -> dict[str, bool]:
    """Which files were changed into what cannot be used."""
    return {
        "authorization": services.policies.alarm is not None,
        "plans": services.plans.alarm is not None,
        "trust": services.trust_rules.alarm is not None,
        "identity": services.identity.alarm is not None,
    }


async def _answers(check: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await check
    except (StockadeError, TimeoutError):
        return False
    return True
