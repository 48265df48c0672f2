"""JSON that has one meaning: what parsers read differently from one another is refused."""

import json
from typing import Any


def loads(data: bytes) -> object:
    """The value of a document.

    Raises:
        ValueError: It is no UTF-8 or no JSON, names a field twice, has a number that JSON has not,
            or is nested too deep.
    """
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def as_object(value: object) -> dict[str, Any]:
    """The value, an object.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, dict):
        raise ValueError("an object is not one")  # noqa: TRY004 - one error for all documents
    return value


def text_of(fields: dict[str, Any], name: str) -> str:
    """A field that is a string.

    Raises:
        ValueError: It is absent or none.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is no text")  # noqa: TRY004 - as above
    return value


def list_of(fields: dict[str, Any], name: str) -> list[Any]:
    """A field that is a list; an absent one is empty.

    Raises:
        ValueError: It is none.
    """
    value = fields.get(name, [])
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is no list")  # noqa: TRY004 - as above
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")
