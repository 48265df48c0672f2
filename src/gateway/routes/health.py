"""Liveness, readiness, version: the routes without a key."""

import asyncio
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway.routes.context import context_of
from stockade.core.errors import StockadeError

router = APIRouter(tags=["health"])
_READY_SECONDS = 1.0
_NOBODY, _NOTHING = "nobody", "00000000-0000-0000-0000-000000000000"


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Response:
    """Always 200 while the process answers."""
    return JSONResponse({"ok": True})


@router.get("/readyz", summary="Can it serve?")
async def readyz(request: Request) -> Response:
    """200 when Valkey and the database answer; else 503, naming which does not."""
    services = context_of(request).services
    checks = {
        "queue": services.queue.record(_NOBODY, _NOTHING),
        "catalog": services.catalog.find_key(_NOBODY),
    }
    states = {}
    for name, check in checks.items():
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await check
            states[name] = "ok"
        except (StockadeError, TimeoutError):
            states[name] = "unavailable"
    ready = set(states.values()) == {"ok"}
    return JSONResponse({"ready": ready, **states}, 200 if ready else 503)


@router.get("/version", summary="Which release is this?")
async def get_version() -> Response:
    """The release."""
    return JSONResponse({"version": version("stockade")})
