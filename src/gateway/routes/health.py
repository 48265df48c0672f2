"""Liveness, readiness, version, metrics: the routes without a key."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from gateway.json_response import JSONResponse
from gateway.metrics import CONTENT_TYPE
from gateway.routes.context import Context, context_of
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

    What does not keep it from taking work is told beside: whether a worker lives; policies that
    could not be changed, where those before them are in force; walls of the host with a gap.
    """
    services = context_of(request).services
    queue, catalog, workers = await asyncio.gather(
        _answers(services.queue.record(_NOBODY, _NOTHING)),
        _answers(services.catalog.find_key(_NOBODY)),
        _anybody_works(services),
    )
    ready = queue and catalog
    states = {"queue": _STATES[queue], "catalog": _STATES[catalog]}
    states["workers"] = "ok" if workers else "none"
    states["policies"] = "stale" if any(services.stale().values()) else "ok"
    states["walls"] = "weak" if services.weak_walls else "ok"
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
    """Requests, refusals by code and more in Prometheus' text format; nothing by tenant."""
    context = context_of(request)
    return Response(
        await context.writing.run("", partial(_written, context)), media_type=CONTENT_TYPE
    )


async def _written(context: Context) -> bytes:
    """The page, made beside the event loop; who asks meanwhile shares it, so floods cost one."""
    for files, stale in context.services.stale().items():
        context.metrics.follows(files, stale=stale)
    context.metrics.traced(context.services.tracer.counts)
    context.metrics.recorded(context.history)
    return await asyncio.to_thread(context.metrics.text)


async def _anybody_works(services: Services) -> bool:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            return bool(await services.board.workers())
    except (StockadeError, TimeoutError):
        return False


async def _answers(check: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await check
    except (StockadeError, TimeoutError):
        return False
    return True
