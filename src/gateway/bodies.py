"""Request bodies, read under bounds before anything looks at them."""

import asyncio
import re
from typing import NoReturn, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from gateway.body_room import Take
from stockade.core.errors import StockadeError

MAX_JSON_BYTES = 256 * 1024
BODY_SECONDS = 60.0
_MAX_DIGITS = 18
_MAX_SHOWN_CHARACTERS = 200
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`.*", re.DOTALL)
_T = TypeVar("_T")


def _take_freely(_size_bytes: int) -> None:
    """For bodies so small that nobody counts them."""


async def read_bounded(request: Request, bound: int, take: Take = _take_freely) -> bytes:
    """The body, at most `bound` bytes of it, for each of which `take` finds room.

    Raises:
        StockadeError: `request.too_large`, `request.encoding_unsupported`, `request.incomplete`,
            `request.timeout`; and what `take` raises.
    """
    check_encoding(request)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > _MAX_DIGITS or int(declared) > bound):
        raise _too_large(bound, int(declared) if len(declared) <= _MAX_DIGITS else None)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, bound, take)
    except ClientDisconnect:
        raise StockadeError("request.incomplete", "The body ended early. Send it again.") from None
    except TimeoutError:
        raise StockadeError(
            "request.timeout",
            f"The body did not come whole within {BODY_SECONDS:g} seconds. Send it again.",
            retryable=True,
        ) from None


async def read_json(
    request: Request, shape: type[_T], bound: int = MAX_JSON_BYTES, take: Take = _take_freely
) -> _T:
    """The body as JSON of this shape; unknown fields are refused.

    Raises:
        StockadeError: `request.content_type`, `request.unknown_field`, `request.invalid`, and
            those of `read_bounded`.
    """
    check_content_type(request, "application/json")
    return _decoded(await read_bounded(request, bound, take), shape)


async def read_json_or(request: Request, absent: _T) -> _T:
    """As `read_json`, of the shape of `absent`, which stands for no body at all.

    Raises:
        StockadeError: as `read_json`.
    """
    body = await read_bounded(request, MAX_JSON_BYTES)
    if not body:
        return absent
    check_content_type(request, "application/json")
    return _decoded(body, type(absent))


def check_content_type(request: Request, *accepted: str) -> None:
    """Checks the media type.

    Raises:
        StockadeError: `request.content_type`.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in accepted:
        raise StockadeError(
            "request.content_type", f"Send the body with Content-Type: {' or '.join(accepted)}."
        )


def check_encoding(request: Request) -> None:
    """Checks that the body is not compressed: it would expand behind every bound.

    Raises:
        StockadeError: `request.encoding_unsupported`.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise StockadeError(
            "request.encoding_unsupported", "Send the body without a content encoding."
        )


def _decoded(body: bytes, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse_json(str(error))


async def _read(request: Request, bound: int, take: Take) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > bound:
            raise _too_large(bound)
        take(len(chunk))
        body += chunk
    return bytes(body)


def _refuse_json(reason: str) -> NoReturn:
    unknown = _UNKNOWN_FIELD.fullmatch(reason)
    if unknown is not None:
        field = unknown[1][:_MAX_SHOWN_CHARACTERS]
        raise StockadeError(
            "request.unknown_field",
            f"There is no field {field!r} here. Check its spelling.",
            detail={"field": field},
        )
    shown = reason[:_MAX_SHOWN_CHARACTERS]
    raise StockadeError("request.invalid", f"The JSON body is not as it must be: {shown}.")


def _too_large(bound: int, size_bytes: int | None = None) -> StockadeError:
    # Without a declared length nobody knows: what is too much is not read.
    shown = "more" if size_bytes is None else f"{size_bytes} bytes, more"
    facts: dict[str, object] = {"max_bytes": bound}
    return StockadeError(
        "request.too_large",
        f"The body has {shown} than the {bound} bytes that are allowed here.",
        detail=facts if size_bytes is None else facts | {"size_bytes": size_bytes},
    )
