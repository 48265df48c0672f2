"""Runs that ended and usage: what they look like, every call about them, how answers are read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from stockade_client.calls import Call
from stockade_client.fields import Fields, UnexpectedAnswer

PAGE = 1000
KIB_MS_OF_GB_SECOND = 976_562_500


@dataclass(frozen=True, slots=True)
class Amounts:
    """What attempts cost, in whole numbers that add up.

    `memory_kib_ms` is peak memory in KiB times wall time in milliseconds.
    """

    fuel: int
    memory_kib_ms: int
    wall_us: int
    queue_us: int
    input_bytes: int
    output_bytes: int
    log_bytes: int
    host_calls: int

    @property
    def gb_seconds(self) -> float:
        """Memory times time in GB-seconds (10^9 bytes), to look at: it is not exact."""
        return self.memory_kib_ms / KIB_MS_OF_GB_SECOND


@dataclass(frozen=True, slots=True)
class Run:
    """An invocation from its submission, or a redrive (counted from 0), to its outcome.

    `detail` may be the guest's own words. Times are Unix milliseconds.
    """

    id: str
    redrive: int
    function: str
    version: int
    module: str
    outcome: str
    limit: str | None
    detail: str | None
    submitted_ms: int
    started_ms: int | None
    finished_ms: int
    attempt_count: int
    peak_memory_bytes: int
    usage: Amounts
    trace_id: str


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs; `next` is where the list goes on, None at its end."""

    runs: tuple[Run, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; what is None is left open. Times are RFC 3339 and about the end."""

    function: str | None = None
    version: int | None = None
    outcome: str | None = None
    exceeded: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class UsageOfDay:
    """What a function used on a UTC day, such as `2030-01-31`; `runs` counts ends by outcome."""

    function: str
    day: str
    runs: Mapping[str, int]
    attempts: int
    usage: Amounts


@dataclass(frozen=True, slots=True)
class UsagePage:
    """Some usage; `next` is where the list goes on, None at its end."""

    usage: tuple[UsageOfDay, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage; what is None is left open. Both days count."""

    function: str | None = None
    first_day: str | None = None
    last_day: str | None = None


def runs(wanted: RunFilter, limit: int | None, after: str | None) -> Call[RunPage]:
    """GET /v1/runs."""
    return Call("GET", "/v1/runs", _run_page, params=_run_params(wanted, limit, after))


def run_lines(wanted: RunFilter, limit: int | None, after: str | None) -> Call[tuple[str, ...]]:
    """GET /v1/runs/export."""
    return Call("GET", "/v1/runs/export", _lines, params=_run_params(wanted, limit, after))


def usage(wanted: UsageFilter, limit: int | None, after: str | None) -> Call[UsagePage]:
    """GET /v1/usage."""
    given = {
        "function": wanted.function,
        "first_day": wanted.first_day,
        "last_day": wanted.last_day,
        "limit": limit,
        "after": after,
    }
    return Call("GET", "/v1/usage", _usage_page, params=_texts(given))


def place_of(line: str) -> str:
    """Where an export goes on behind this line."""
    return Fields(json.loads(line)).text("place")


def _run_params(wanted: RunFilter, limit: int | None, after: str | None) -> dict[str, str]:
    given = {
        "function": wanted.function,
        "version": wanted.version,
        "outcome": wanted.outcome,
        "exceeded": wanted.exceeded,
        "since": wanted.since,
        "until": wanted.until,
        "limit": limit,
        "after": after,
    }
    return _texts(given)


def _texts(given: Mapping[str, str | int | None]) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _run_page(response: httpx.Response) -> RunPage:
    fields = Fields(response.json())
    return RunPage(tuple(map(_run, fields.objects("runs"))), fields.maybe_text("next"))


def _usage_page(response: httpx.Response) -> UsagePage:
    fields = Fields(response.json())
    return UsagePage(tuple(map(_usage, fields.objects("usage"))), fields.maybe_text("next"))


def _lines(response: httpx.Response) -> tuple[str, ...]:
    lines = response.text.split("\n")
    if lines.pop():
        raise UnexpectedAnswer("the last line is cut off")
    return tuple(lines)


def _run(fields: Fields) -> Run:
    cost = fields.nested("usage")
    return Run(
        id=fields.text("id"),
        redrive=fields.count("redrive"),
        function=fields.text("function"),
        version=fields.count("version"),
        module=fields.text("module"),
        outcome=fields.text("outcome"),
        limit=fields.maybe_text("limit"),
        detail=fields.maybe_text("detail"),
        submitted_ms=fields.count("submitted_ms"),
        started_ms=fields.maybe_count("started_ms"),
        finished_ms=fields.count("finished_ms"),
        attempt_count=fields.count("attempt_count"),
        peak_memory_bytes=cost.count("peak_memory_bytes"),
        usage=_amounts(cost),
        trace_id=fields.text("trace_id"),
    )


def _usage(fields: Fields) -> UsageOfDay:
    return UsageOfDay(
        function=fields.text("function"),
        day=fields.text("day"),
        runs=fields.pairs("runs", Fields.count),
        attempts=fields.count("attempts"),
        usage=_amounts(fields),
    )


def _amounts(fields: Fields) -> Amounts:
    return Amounts(
        fuel=fields.count("fuel"),
        memory_kib_ms=fields.count("memory_kib_ms"),
        wall_us=fields.count("wall_us"),
        queue_us=fields.count("queue_us"),
        input_bytes=fields.count("input_bytes"),
        output_bytes=fields.count("output_bytes"),
        log_bytes=fields.count("log_bytes"),
        host_calls=fields.count("host_calls"),
    )
