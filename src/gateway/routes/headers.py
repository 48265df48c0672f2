"""Request headers and query parameters, read strictly."""

import re
from datetime import datetime

from starlette.requests import Request

from gateway.usecases.invoke_function import InvokeOptions
from stockade.core.errors import StockadeError
from stockade.core.invocations import Priority

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_DEADLINE_SECONDS = 30 * 24 * 3600


def invoke_options(request: Request, now_ms: int) -> InvokeOptions:
    """What the headers say about an invocation.

    Raises:
        StockadeError: `request.header_invalid`, naming the header.
    """
    headers = request.headers
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise _invalid("Idempotency-Key", "1 to 255 visible ASCII characters")
    trace = headers.get("traceparent", "")
    return InvokeOptions(
        priority=_priority(headers.get("stockade-priority", "normal")),
        run_at_ms=_run_at(headers.get("stockade-run-at")),
        deadline_ms=_deadline(headers.get("stockade-deadline-seconds"), now_ms),
        idempotency_key=key,
        traceparent=trace if _TRACEPARENT.fullmatch(trace) else "",
    )


def wait_seconds(request: Request, default: float, longest: float) -> float:
    """How long the caller waits for the result.

    Raises:
        StockadeError: `request.header_invalid`.
    """
    text = request.headers.get("stockade-wait-seconds")
    if text is None:
        return default
    seconds = _number(text, "Stockade-Wait-Seconds", longest)
    if seconds > longest:
        raise _invalid("Stockade-Wait-Seconds", f"a number from 0 to {longest:g}")
    return seconds


def version_choice(request: Request) -> tuple[str | None, int | None]:
    """The alias or the version that the query names, if either.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    alias, version = request.query_params.get("alias"), request.query_params.get("version")
    if alias is not None and version is not None:
        raise StockadeError("request.query_invalid", "Name an alias or a version, not both.")
    if version is None:
        return alias, None
    if not (version.isdecimal() and version.isascii() and 0 < int(version[:10]) < 2**31):
        raise StockadeError("request.query_invalid", "A version is a number from 1.")
    return None, int(version[:10])


def parse_time(text: str, what: str) -> int:
    """An RFC 3339 time with its offset, as Unix milliseconds.

    Raises:
        StockadeError: `request.header_invalid`.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise _invalid(what, "a time such as 2030-01-31T12:00:00Z")
    return round(time.timestamp() * 1000)


def _run_at(text: str | None) -> int | None:
    return None if text is None else parse_time(text, "Stockade-Run-At")


def _priority(text: str) -> Priority:
    names = {priority.name.lower(): priority for priority in Priority}
    if text not in names:
        raise _invalid("Stockade-Priority", f"one of {', '.join(names)}")
    return names[text]


def _deadline(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    seconds = _number(text, "Stockade-Deadline-Seconds", _MAX_DEADLINE_SECONDS)
    if not 0 < seconds <= _MAX_DEADLINE_SECONDS:
        raise _invalid(
            "Stockade-Deadline-Seconds", f"more than 0 and at most {_MAX_DEADLINE_SECONDS}"
        )
    return now_ms + round(seconds * 1000)


def _number(text: str, header: str, longest: float) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII):
        raise _invalid(header, f"a number from 0 to {longest:g}")
    return float(text)


def _invalid(header: str, expected: str) -> StockadeError:
    return StockadeError("request.header_invalid", f"The header {header} must be {expected}.")
