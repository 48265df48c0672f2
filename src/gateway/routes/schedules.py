"""`/v1/schedules`: functions that run by the clock."""

import base64
import binascii
from datetime import UTC, datetime, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.bodies import read_json
from gateway.json_response import JSONResponse
from gateway.openapi import json_body
from gateway.routes.context import Context, caller_of
from gateway.routes.headers import parse_time
from gateway.usecases.keep_schedules import (
    find_schedule,
    pause_schedule,
    put_schedule,
    resume_schedule,
)
from stockade.core.actions import Action
from stockade.core.errors import StockadeError, not_found
from stockade.core.invocations import Priority
from stockade.core.names import check_name
from stockade.core.schedules import (
    MAX_SCHEDULED_INPUT_BYTES,
    CatchUp,
    CronTiming,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
    Timing,
    coming,
)

router = APIRouter(tags=["schedules"])
_TIMES_SHOWN = 5
_MAX_ANCHOR_DAYS, _DAY_MS = 366, 24 * 3600 * 1000


class ScheduleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs when: `cron` (with `time_zone`) or `every_seconds` (with `anchor`)."""

    function: str
    cron: str | None = None
    time_zone: str | None = None
    every_seconds: int | None = None
    anchor: str | None = None
    alias: str | None = None
    version: int | None = None
    input: str | None = None
    input_base64: str | None = None
    priority: Literal["urgent", "high", "normal", "low"] = "normal"
    catch_up: CatchUp = CatchUp.ONE


@router.put(
    "/v1/schedules/{name}",
    status_code=201,
    summary="Set a schedule",
    openapi_extra=json_body(ScheduleRequest),
)
async def put(request: Request, name: str) -> Response:
    """201 when the name is new, 200 when it had another definition.

    The same timing keeps its next time; another one begins now. One that is paused stays so.
    """
    context, caller = await caller_of(request, Action.SCHEDULE)
    check_name("schedule", name)
    asked = await read_json(request, ScheduleRequest)
    check_name("function", asked.function)
    context.authorizer.check(caller, Action.INVOKE, asked.function)
    definition = _definition(asked, context.services.clock.now_ms())
    kept, created = await put_schedule(
        context.services, context.resolver, caller.tenant, name, definition
    )
    return _answer(context, kept, 201 if created else 200)


@router.get("/v1/schedules", summary="List schedules")
async def get_all(request: Request) -> Response:
    """The tenant's schedules by name, without their inputs."""
    context, caller = await caller_of(request, Action.READ)
    found = await context.services.schedules.schedules(caller.tenant)
    return JSONResponse({"schedules": [_shown(one) for one in found]})


@router.get("/v1/schedules/{name}", summary="Show a schedule")
async def get(request: Request, name: str) -> Response:
    """The schedule with its input and its next times, in UTC and in its own time zone."""
    context, caller = await caller_of(request, Action.READ)
    check_name("schedule", name)
    return _answer(context, await find_schedule(context.services, caller.tenant, name))


@router.post("/v1/schedules/{name}/pause", summary="Pause a schedule")
async def pause(request: Request, name: str) -> Response:
    """It does not fire until it is resumed."""
    context, caller = await caller_of(request, Action.SCHEDULE)
    check_name("schedule", name)
    return _answer(context, await pause_schedule(context.services, caller.tenant, name))


@router.post("/v1/schedules/{name}/resume", summary="Resume a schedule")
async def resume(request: Request, name: str) -> Response:
    """It fires from now on; what the pause kept from firing does not."""
    context, caller = await caller_of(request, Action.SCHEDULE)
    check_name("schedule", name)
    return _answer(context, await resume_schedule(context.services, caller.tenant, name))


@router.delete("/v1/schedules/{name}", status_code=204, summary="Delete a schedule")
async def delete(request: Request, name: str) -> Response:
    """It does not fire any more; what it fired goes on."""
    context, caller = await caller_of(request, Action.SCHEDULE)
    check_name("schedule", name)
    if not await context.services.schedules.delete(caller.tenant, name):
        raise not_found("schedule", name)
    return Response(status_code=204)


def _definition(asked: ScheduleRequest, now_ms: int) -> ScheduleDefinition:
    if asked.alias is not None and asked.version is not None:
        raise StockadeError("request.invalid", "Name an alias or a version, not both.")
    return ScheduleDefinition(
        function=asked.function,
        timing=_timing(asked, now_ms),
        alias=asked.alias,
        version=asked.version,
        input=_input(asked),
        priority=Priority[asked.priority.upper()],
        catch_up=asked.catch_up,
    )


def _timing(asked: ScheduleRequest, now_ms: int) -> Timing:
    of_cron = asked.every_seconds is None and asked.anchor is None
    of_interval = asked.cron is None and asked.time_zone is None
    if asked.cron is not None and of_cron:
        zone = "UTC" if asked.time_zone is None else asked.time_zone
        return CronTiming(asked.cron, zone)
    if asked.every_seconds is not None and of_interval:
        return IntervalTiming(asked.every_seconds, _anchor(asked.anchor, now_ms))
    raise StockadeError(
        "schedule.timing_invalid",
        "Give 'cron', with a 'time_zone' if it is not UTC; or 'every_seconds', with an 'anchor' if"
        " it does not count from now.",
    )


def _anchor(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    time_ms = parse_time(text)
    if time_ms is None or time_ms > now_ms + _MAX_ANCHOR_DAYS * _DAY_MS:
        raise StockadeError(
            "schedule.anchor_invalid",
            "The anchor is a time such as 2030-01-31T12:00:00Z, at most"
            f" {_MAX_ANCHOR_DAYS} days ahead.",
        )
    return time_ms


def _input(asked: ScheduleRequest) -> bytes:
    if asked.input is not None and asked.input_base64 is not None:
        raise StockadeError("schedule.input_invalid", "Give 'input' or 'input_base64', not both.")
    try:
        data = base64.b64decode(asked.input_base64 or "", validate=True)
    except (binascii.Error, ValueError):
        raise StockadeError("schedule.input_invalid", "'input_base64' is not base64.") from None
    data = data if asked.input is None else asked.input.encode()
    if len(data) > MAX_SCHEDULED_INPUT_BYTES:
        raise StockadeError(
            "schedule.input_too_large",
            f"The input has {len(data)} bytes; {MAX_SCHEDULED_INPUT_BYTES} are allowed here.",
            detail={"max_bytes": MAX_SCHEDULED_INPUT_BYTES},
        )
    return data


def _answer(context: Context, schedule: Schedule, status: int = 200) -> Response:
    services = context.services
    times = coming(services.calendar, schedule, services.clock.now_ms(), _TIMES_SHOWN)
    timing = schedule.definition.timing
    zone = ZoneInfo(timing.time_zone) if isinstance(timing, CronTiming) else UTC
    shown = _shown(schedule) | _shown_input(schedule.definition.input)
    return JSONResponse(shown | {"next_times": [_shown_time(one, zone) for one in times]}, status)


def _shown(schedule: Schedule) -> dict[str, object]:
    asked = schedule.definition
    return {
        "name": schedule.name,
        "function": asked.function,
        "alias": asked.alias,
        "version": asked.version,
        **_shown_timing(asked.timing),
        "priority": asked.priority.name.lower(),
        "catch_up": asked.catch_up,
        "paused": schedule.paused,
        "created_ms": schedule.created_ms,
        "next_ms": None if schedule.paused else schedule.next_ms,
        "last_ms": schedule.last_ms,
        "last_invocation": schedule.last_invocation,
        "refusal": msgspec.to_builtins(schedule.refusal),
    }


def _shown_timing(timing: Timing) -> dict[str, object]:
    if isinstance(timing, CronTiming):
        return {"cron": timing.expression, "time_zone": timing.time_zone}
    return {"every_seconds": timing.every_seconds, "anchor_ms": timing.anchor_ms}


def _shown_input(data: bytes) -> dict[str, str]:
    try:
        return {"input": data.decode()}
    except UnicodeDecodeError:
        return {"input_base64": base64.b64encode(data).decode()}


def _shown_time(time_ms: int, zone: tzinfo) -> dict[str, object]:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    detail = "milliseconds" if moment.microsecond else "seconds"
    utc = moment.isoformat(timespec=detail).replace("+00:00", "Z")
    local = moment.astimezone(zone).isoformat(timespec=detail)
    return {"time_ms": time_ms, "utc": utc, "local": local}
