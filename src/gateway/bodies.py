"""Request bodies, read under bounds before anything looks at them."""

from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from stockade.core.errors import StockadeError

MAX_JSON_BYTES = 256 * 1024
_T = TypeVar("_T")


async def read_bounded(request: Request, bound: int) -> bytes:
    """The body, at most `bound` bytes of it.

    Raises:
        StockadeError: `request.too_large`, `request.encoding_unsupported`, `request.incomplete`.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise StockadeError(
            "request.encoding_unsupported", "Send the body without a content encoding."
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bound:
        raise _too_large(bound)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > bound:
                raise _too_large(bound)
    except ClientDisconnect:
        raise StockadeError("request.incomplete", "The body ended early. Send it again.") from None
    return bytes(body)


async def read_json(request: Request, shape: type[_T]) -> _T:
    """The body as JSON of this shape; unknown fields are refused.

    Raises:
        StockadeError: `request.content_type`, `request.invalid`, and those of `read_bounded`.
    """
    check_content_type(request, "application/json")
    body = await read_bounded(request, MAX_JSON_BYTES)
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StockadeError(
            "request.invalid", f"The JSON body is not as it must be: {error}."
        ) from None


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


def _too_large(bound: int) -> StockadeError:
    return StockadeError(
        "request.too_large",
        f"The body has more than the {bound} bytes that are allowed here.",
        detail={"max_bytes": bound},
    )
