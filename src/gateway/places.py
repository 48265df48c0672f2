"""Where a list goes on, as an opaque text that callers hand back: bounded, and read strictly.

A place says nothing but where: whose list it is, the caller's key says. So a forged one finds
another page of the caller's own list, and nothing else.
"""

import base64
import binascii
import re
from typing import TypeVar

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.history import RunPlace, UsagePlace

_Place = TypeVar("_Place", RunPlace, UsagePlace)
_RUN = msgspec.msgpack.Decoder(RunPlace)
_USAGE = msgspec.msgpack.Decoder(UsagePlace)
_MOST_CHARACTERS = 512
_SHAPE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_LEAST, _MOST = -(2**63), 2**63 - 1


def run_place(text: str | None) -> RunPlace | None:
    """The place in a list of runs that a query names.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    return None if text is None else _checked(_decoded(text, _RUN))


def usage_place(text: str | None) -> UsagePlace | None:
    """The place in a list of usage that a query names.

    Raises:
        StockadeError: `request.query_invalid`.
    """
    return None if text is None else _checked(_decoded(text, _USAGE))


def text_of(place: RunPlace | UsagePlace) -> str:
    """The place as callers get it."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def _decoded(text: str, decoder: msgspec.msgpack.Decoder[_Place]) -> _Place:
    if len(text) > _MOST_CHARACTERS or not _SHAPE.fullmatch(text):
        raise _invalid()
    try:
        body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return decoder.decode(body)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise _invalid() from error


def _checked(place: _Place) -> _Place:
    """The place, when every database can hold it."""
    for part in place:
        sound = "\0" not in part if isinstance(part, str) else _LEAST <= part <= _MOST
        if not sound:
            raise _invalid()
    return place


def _invalid() -> StockadeError:
    return StockadeError(
        "request.query_invalid", "The place must be the 'next' of the answer before, as it was."
    )
