"""Request headers and query parameters, read strictly."""

import re
from datetime import datetime

from starlette.requests import Request

from gateway.numbers import read_number
from gateway.usecases.invoke_function import InvokeOptions
from stockade.core.errors import StockadeError
from stockade.core.invocations import Priority

VERSION_QUERY = {
    "alias": "Run the version that this alias points to.",
    "version": "Run this version; the latest when neither is given.",
}
SUBMIT_HEADERS = {
    "Idempotency-Key": "1 to 255 visible ASCII characters. The same key, function and input are"
    " one invocation for a day.",
    "Stockade-Run-At": "Not before this time (RFC 3339).",
    "Stockade-Priority": "`urgent`, `high`, `normal` or `low`: order inside the tenant.",
    "Stockade-Deadline-Seconds": "Ends as `expired` when no attempt began by then.",
    "traceparent": "W3C trace context: the run becomes part of this trace, and is recorded when its"
    " flag says so. Another trace is begun when it is malformed.",
    "tracestate": "W3C trace context, passed on to servers that the run asks.",
}
INVOKE_HEADERS = {
    "Stockade-Wait-Seconds": "How long to wait for the result; then the answer is 202.",
    **SUBMIT_HEADERS,
}

EXPECTED_HEADERS = {
    "If-Match": 'The revision that the alias must have, in quotes: `"3"`. Else 412.',
    "If-None-Match": "`*`: the alias must not be there yet. Else 412.",
}

_PRIORITIES = {priority.name.lower(): priority for priority in Priority}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ETAG = re.compile(r'"([0-9]{1,9})"', re.ASCII)
_MOST_VERSIONS = 2**31 - 1
_MAX_DEADLINE_SECONDS = 30 * 24 * 3600
_MAX_AHEAD_DAYS = 366
_DAY_MS = 24 * 3600 * 1000


def invoke_options(request: Request, now_ms: int) -> InvokeOptions:
    """What the headers say about an invocation, its trace left out.

    Raises:
        StockadeError: `request.header_invalid`, naming the header.
    """
    headers = request.headers
    key = headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise _invalid("Idempotency-Key", "1 to 255 visible ASCII characters")
    return InvokeOptions(
        priority=_priority(headers.get("stockade-priority", "normal")),
        run_at_ms=_run_at(headers.get("stockade-run-at"), now_ms),
        deadline_ms=_deadline(headers.get("stockade-deadline-seconds"), now_ms),
        idempotency_key=key,
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
    number = read_number(version, most=_MOST_VERSIONS)
    if number is None:
        raise StockadeError("request.query_invalid", "A version is a number from 1.")
    return None, number


def page_size(request: Request, default: int, most: int) -> int:
    """How many the query's `limit` asks for.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    text = request.query_params.get("limit")
    if text is None:
        return default
    number = read_number(text, most=most)
    if number is None:
        raise StockadeError("request.query_invalid", f"The limit is 1 to {most}.")
    return number


def query_number(request: Request, name: str) -> int | None:
    """A whole number from 1 in the query.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    number = read_number(text, most=_MOST_VERSIONS)
    if number is None:
        raise StockadeError("request.query_invalid", f"{name} is a number from 1.")
    return number


def query_flag(request: Request, name: str) -> bool:
    """Whether the query says `true`; it can say `false`, or nothing.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    text = request.query_params.get(name, "false")
    if text not in {"true", "false"}:
        raise StockadeError("request.query_invalid", f"{name} is true or false.")
    return text == "true"


def query_time(request: Request, name: str) -> int | None:
    """A time in the query, as Unix milliseconds.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    time_ms = parse_time(text)
    if time_ms is None:
        raise StockadeError(
            "request.query_invalid", f"'{name}' must be a time such as 2030-01-31T12:00:00Z."
        )
    return time_ms


def expected_revision(request: Request) -> int | None:
    """The revision that the caller saw: `If-Match: "3"`, or `If-None-Match: *` for none, as 0.

    Raises:
        StockadeError: `request.header_invalid`.
    """
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if none_match is not None:
        if none_match != "*" or match is not None:
            raise _invalid("If-None-Match", "*, and without If-Match")
        return 0
    if match is None:
        return None
    found = _ETAG.fullmatch(match)
    if found is None:
        raise _invalid("If-Match", 'one revision in quotes, such as "3"')
    return int(found[1])


def parse_time(text: str) -> int | None:
    """An RFC 3339 time as Unix milliseconds; None when it is none."""
    if not _TIME.fullmatch(text):
        return None
    try:
        return round(datetime.fromisoformat(text.upper()).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _run_at(text: str | None, now_ms: int) -> int | None:
    if text is None:
        return None
    time_ms = parse_time(text)
    if time_ms is None:
        raise _invalid("Stockade-Run-At", "a time such as 2030-01-31T12:00:00Z")
    if time_ms > now_ms + _MAX_AHEAD_DAYS * _DAY_MS:
        raise _invalid("Stockade-Run-At", f"at most {_MAX_AHEAD_DAYS} days ahead")
    return max(time_ms, 0)


def _priority(text: str) -> Priority:
    if text not in _PRIORITIES:
        raise _invalid("Stockade-Priority", f"one of {', '.join(_PRIORITIES)}")
    return _PRIORITIES[text]


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
