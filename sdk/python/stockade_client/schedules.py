"""Schedules: what they look like, every call about them, and how its answer is read."""

import base64
from dataclasses import dataclass

import httpx

from stockade_client import readers
from stockade_client.calls import Call, path_part
from stockade_client.fields import Fields


@dataclass(frozen=True, slots=True)
class Cron:
    """Fires by a cron expression of five fields, read in an IANA time zone."""

    expression: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Every:
    """Fires every so many seconds, from `anchor` (RFC 3339) or the schedule's creation on."""

    seconds: int
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class FiringTime:
    """One time to come: Unix milliseconds, and the same in UTC and in the schedule's zone."""

    time_ms: int
    utc: str
    local: str


@dataclass(frozen=True, slots=True)
class ScheduleRefusal:
    """Why a schedule's time could not fire, `count` times in a row; it is tried again."""

    code: str
    message: str
    at_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule and where it stands. Times are Unix milliseconds.

    Either `cron` and `time_zone` are set, or `every_seconds`. `content` (the input) and
    `next_times` are left out of lists.
    """

    name: str
    function: str
    priority: str
    catch_up: str
    paused: bool
    created_ms: int
    alias: str | None = None
    version: int | None = None
    cron: str | None = None
    time_zone: str | None = None
    every_seconds: int | None = None
    anchor_ms: int | None = None
    next_ms: int | None = None
    last_ms: int | None = None
    last_invocation: str | None = None
    refusal: ScheduleRefusal | None = None
    content: bytes = b""
    next_times: tuple[FiringTime, ...] = ()


def put_schedule(
    name: str,
    function: str,
    timing: Cron | Every,
    content: bytes,
    options: dict[str, str | int | None],
) -> Call[Schedule]:
    """PUT /v1/schedules/{name}; of the options, what is None takes the default."""
    asked: dict[str, str | int | None] = {"function": function, **options}
    if isinstance(timing, Cron):
        asked |= {"cron": timing.expression, "time_zone": timing.time_zone}
    else:
        asked |= {"every_seconds": timing.seconds, "anchor": timing.anchor}
    if content:
        asked["input_base64"] = base64.b64encode(content).decode()
    given = {key: value for key, value in asked.items() if value is not None}
    return Call("PUT", _path(name), _read_one, json=given)


def schedules() -> Call[tuple[Schedule, ...]]:
    """GET /v1/schedules."""
    return Call("GET", "/v1/schedules", _read_all)


def schedule(name: str) -> Call[Schedule]:
    """GET /v1/schedules/{name}."""
    return Call("GET", _path(name), _read_one)


def pause_schedule(name: str) -> Call[Schedule]:
    """POST /v1/schedules/{name}/pause."""
    return Call("POST", f"{_path(name)}/pause", _read_one)


def resume_schedule(name: str) -> Call[Schedule]:
    """POST /v1/schedules/{name}/resume."""
    return Call("POST", f"{_path(name)}/resume", _read_one)


def delete_schedule(name: str) -> Call[None]:
    """DELETE /v1/schedules/{name}."""
    return Call("DELETE", _path(name), readers.nothing)


def _path(name: str) -> str:
    return f"/v1/schedules/{path_part(name)}"


def _read_one(response: httpx.Response) -> Schedule:
    return _schedule(Fields(response.json()))


def _read_all(response: httpx.Response) -> tuple[Schedule, ...]:
    return tuple(map(_schedule, Fields(response.json()).objects("schedules")))


def _schedule(fields: Fields) -> Schedule:
    return Schedule(
        name=fields.text("name"),
        function=fields.text("function"),
        priority=fields.text("priority"),
        catch_up=fields.text("catch_up"),
        paused=fields.flag("paused"),
        created_ms=fields.count("created_ms"),
        alias=fields.maybe_text("alias"),
        version=fields.maybe_count("version"),
        cron=fields.maybe_text("cron"),
        time_zone=fields.maybe_text("time_zone"),
        every_seconds=fields.maybe_count("every_seconds"),
        anchor_ms=fields.maybe_count("anchor_ms"),
        next_ms=fields.maybe_count("next_ms"),
        last_ms=fields.maybe_count("last_ms"),
        last_invocation=fields.maybe_text("last_invocation"),
        refusal=_refusal(fields.nested("refusal")),
        content=_content(fields),
        next_times=tuple(_time(item) for item in fields.objects("next_times")),
    )


def _refusal(fields: Fields) -> ScheduleRefusal | None:
    if not fields.names():
        return None
    return ScheduleRefusal(
        fields.text("code"), fields.text("message"), fields.count("at_ms"), fields.count("count")
    )


def _content(fields: Fields) -> bytes:
    encoded = fields.maybe_text("input_base64")
    if encoded is not None:
        return base64.b64decode(encoded, validate=True)
    return (fields.maybe_text("input") or "").encode()


def _time(fields: Fields) -> FiringTime:
    return FiringTime(fields.count("time_ms"), fields.text("utc"), fields.text("local"))
