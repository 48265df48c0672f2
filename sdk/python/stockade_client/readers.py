"""Turns answers into what calls return, and refusals into what they raise."""

import json
from collections.abc import Callable
from typing import TypeVar

import httpx

from stockade_client.errors import GuestFailed, InvocationPending, StockadeApiError
from stockade_client.fields import Fields, UnexpectedAnswer
from stockade_client.types import (
    Attempt,
    DroppedLines,
    Event,
    Function,
    FunctionDetails,
    FunctionVersion,
    Invocation,
    InvokeResult,
    LogLine,
    Logs,
    Module,
    Progress,
    Secret,
    ShadowDecision,
    Usage,
)

_Answer = TypeVar("_Answer")
_STANDARD = ("type", "title", "status", "detail", "instance", "code", "retryable", "facts")
_SHOWN_CHARACTERS = 200
_LONGEST_RETRY_MS, _RETRY_DIGITS = 10**12, 9


def read(response: httpx.Response, reader: Callable[[httpx.Response], _Answer]) -> _Answer:
    """The answer, or the right error.

    Raises:
        StockadeApiError: The platform refused or failed, or something else answered for it.
        GuestFailed: The guest failed.
        InvocationPending: The wait was over first.
    """
    try:
        if response.is_success:
            return reader(response)
        raise _refusal(response)
    except (UnexpectedAnswer, ValueError) as error:
        raise StockadeApiError(
            "client.unexpected_answer",
            response.status_code,
            f"This does not look like a Stockade gateway ({error}): {_start_of(response)}",
        ) from error


def nothing(_: httpx.Response) -> None:
    """For calls that only succeed or fail."""


def body(response: httpx.Response) -> bytes:
    """The answer's bytes."""
    return response.content


def invoke_result(response: httpx.Response) -> InvokeResult:
    """An output and its cost, which stands in headers."""
    if response.status_code == httpx.codes.ACCEPTED:
        raise InvocationPending(invocation_id(response))
    headers = response.headers
    return InvokeResult(
        output=response.content,
        invocation_id=_header(headers, "Invocation-Id"),
        outcome=_header(headers, "Outcome"),
        attempts=int(_header(headers, "Attempts")),
        fuel=int(_header(headers, "Fuel")),
        peak_memory_bytes=int(_header(headers, "Peak-Memory-Bytes")),
        wall_ms=float(_header(headers, "Wall-Ms")),
        queue_ms=float(headers.get("Stockade-Queue-Ms", "0")),
    )


def invocation_id(response: httpx.Response) -> str:
    """The id of a submitted invocation."""
    return Fields(response.json()).text("id")


def batch_answers(response: httpx.Response) -> tuple[str | StockadeApiError, ...]:
    """For each line the id of its invocation, or why there is none."""
    return tuple(_line_answer(Fields(json.loads(line))) for line in response.text.splitlines())


def _line_answer(fields: Fields) -> str | StockadeApiError:
    if (given := fields.maybe_text("id")) is not None:
        return given
    return _api_error(fields, fields.count("status"))


def invocation(response: httpx.Response) -> Invocation:
    """An invocation's record."""
    return _invocation(Fields(response.json()))


def dead_letters(response: httpx.Response) -> tuple[Invocation, ...]:
    """What failed for good."""
    return tuple(map(_invocation, Fields(response.json()).objects("dead_letters")))


def redriven(response: httpx.Response) -> tuple[str, ...]:
    """The ids of what was queued again."""
    return Fields(response.json()).texts("redriven")


def secrets(response: httpx.Response) -> tuple[Secret, ...]:
    """All secrets' names."""
    items = Fields(response.json()).objects("secrets")
    return tuple(Secret(item.text("name"), item.count("updated_ms")) for item in items)


def _invocation(fields: Fields) -> Invocation:
    progress = fields.nested("progress")
    return Invocation(
        id=fields.text("id"),
        function=fields.text("function"),
        version=fields.count("version"),
        state=fields.text("state"),
        outcome=fields.maybe_text("outcome"),
        limit=fields.maybe_text("limit"),
        detail=fields.maybe_text("detail"),
        attempts=tuple(_attempt(item) for item in fields.objects("attempts")),
        usage=_usage(fields.nested("usage")),
        events=tuple(
            Event(item.text("name"), item.text("data")) for item in fields.objects("events")
        ),
        events_truncated=fields.flag("events_truncated"),
        progress=Progress(progress.count("percent"), progress.text("message"))
        if progress.names()
        else None,
    )


def logs(response: httpx.Response) -> Logs:
    """What the guest logged."""
    fields = Fields(response.json())
    lines = fields.objects("lines")
    return Logs(
        tuple(
            LogLine(line.text("level"), line.text("text"), line.maybe_count("attempt") or 1)
            for line in lines
        ),
        fields.flag("truncated"),
        tuple(
            DroppedLines(gap.count("attempt"), gap.maybe_count("count"))
            for gap in fields.objects("dropped")
        ),
    )


def manifest(response: httpx.Response) -> str:
    """Where an artifact stands."""
    return Fields(response.json()).text("manifest")


def module(response: httpx.Response) -> Module:
    """A module's facts."""
    fields = Fields(response.json())
    return Module(
        digest=fields.text("digest"),
        signers=fields.texts("signers"),
        imports=fields.texts("imports"),
        exports=fields.texts("exports"),
        abi=fields.text("abi"),
        deterministic=fields.flag("deterministic"),
        size_bytes=fields.count("size_bytes"),
    )


def function_version(response: httpx.Response) -> FunctionVersion:
    """What a deploy made or found."""
    fields = Fields(response.json())
    return FunctionVersion(fields.text("name"), fields.count("version"))


def functions(response: httpx.Response) -> tuple[Function, ...]:
    """All functions, each with its latest version."""
    items = Fields(response.json()).objects("functions")
    return tuple(
        Function(item.text("name"), item.count("version"), item.text("module")) for item in items
    )


def function_details(response: httpx.Response) -> FunctionDetails:
    """One version in full."""
    return details_of(Fields(response.json()))


def details_of(fields: Fields) -> FunctionDetails:
    """A version in full."""
    return FunctionDetails(
        name=fields.text("name"),
        version=fields.count("version"),
        module=fields.text("module"),
        abi=fields.text("abi"),
        deterministic=fields.flag("deterministic"),
        limits=fields.pairs("limits", Fields.count),
        auto_limits=fields.texts("auto_limits"),
        retry=fields.nested("retry").rest(),
        grants=fields.texts("grants"),
        env=fields.pairs("env", Fields.text),
        created_ms=fields.maybe_count("created_ms") or 0,
        created_by=fields.maybe_text("created_by") or "",
        message=fields.maybe_text("message") or "",
        labels=fields.pairs("labels", Fields.text),
        record=fields.flag("record"),
    )


def _attempt(fields: Fields) -> Attempt:
    return Attempt(
        number=fields.count("number"),
        outcome=fields.text("outcome"),
        reason=fields.text("reason"),
        usage=_usage(fields.nested("usage")),
        limit=fields.maybe_text("limit"),
        detail=fields.maybe_text("detail"),
        policy=fields.maybe_text("policy") or "",
        code=fields.maybe_text("code") or "",
        success=fields.maybe_number("success"),
        limits=fields.pairs("limits", Fields.count),
        limits_reason=fields.maybe_text("limits_reason") or "",
        shadow=_shadow(fields.nested("shadow")),
        engine=fields.maybe_text("engine") or "",
        recorded=fields.maybe_text("recording") is not None,
    )


def _shadow(fields: Fields) -> ShadowDecision | None:
    if not fields.names():
        return None
    return ShadowDecision(
        policy=fields.text("policy"),
        retry=fields.flag("retry"),
        delay_ms=fields.count("delay_ms"),
        code=fields.text("code"),
        reason=fields.text("reason"),
        success=fields.maybe_number("success"),
        limits=fields.pairs("limits", Fields.count),
    )


def _usage(fields: Fields) -> Usage:
    return Usage(
        fuel=int(fields.number("fuel")),
        peak_memory_bytes=int(fields.number("peak_memory_bytes")),
        wall_ms=fields.number("wall_ms"),
        queue_ms=fields.number("queue_ms"),
        input_bytes=int(fields.number("input_bytes")),
        output_bytes=int(fields.number("output_bytes")),
        log_bytes=int(fields.number("log_bytes")),
        host_calls=int(fields.number("host_calls")),
    )


def _refusal(response: httpx.Response) -> StockadeApiError | GuestFailed:
    fields = Fields(response.json())
    outcome = fields.maybe_text("outcome")
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY and outcome is not None:
        return _guest_failed(fields, outcome, response.headers)
    return _api_error(fields, response.status_code, response.headers.get("Retry-After", ""))


def _api_error(fields: Fields, status: int, retry_after: str = "") -> StockadeApiError:
    return StockadeApiError(
        fields.text("code"),
        status,
        fields.maybe_text("detail") or fields.maybe_text("title") or "",
        retryable=fields.flag("retryable"),
        detail=fields.rest(*_STANDARD) | fields.nested("facts").rest(),
        retry_after_seconds=_retry_after_seconds(fields.nested("facts"), retry_after),
    )


def _retry_after_seconds(facts: Fields, header: str) -> float | None:
    """The exact time where the facts have it; the header, which has whole seconds, elsewhere."""
    exact_ms = facts.maybe_count("retry_after_ms")
    if exact_ms is not None and 0 <= exact_ms <= _LONGEST_RETRY_MS:
        return exact_ms / 1000
    return float(header) if header.isdecimal() and len(header) <= _RETRY_DIGITS else None


def _guest_failed(fields: Fields, outcome: str, headers: httpx.Headers) -> GuestFailed:
    return GuestFailed(
        outcome,
        headers.get("Stockade-Invocation-Id") or fields.maybe_text("invocation_id") or "",
        limit=fields.maybe_text("limit"),
        detail=fields.maybe_text("detail"),
        attempts=int(headers.get("Stockade-Attempts", "0")),
    )


def _header(headers: httpx.Headers, name: str) -> str:
    value: str | None = headers.get(f"Stockade-{name}")
    if value is None:
        raise UnexpectedAnswer(f"the header 'Stockade-{name}' is missing")
    return value


def _start_of(response: httpx.Response) -> str:
    return repr(response.text[:_SHOWN_CHARACTERS])
