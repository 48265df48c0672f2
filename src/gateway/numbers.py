"""Whole numbers in paths and queries, read strictly."""

_MAX_DIGITS = 10


def read_number(text: str, least: int = 1, most: int = 10**_MAX_DIGITS - 1) -> int | None:
    """The number that all of `text` is, or None when it is none from `least` to `most`.

    No text longer than ten digits is one: cut short, it would be another number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        return None
    return int(text) if least <= int(text) <= most else None
