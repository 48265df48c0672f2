"""Spans of time as people write them: 30s, 5m, 12h, 1d."""

import re

import typer

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)")


def span_seconds(option: str, text: str) -> int:
    """The span in seconds; a bare number is seconds.

    Raises:
        typer.BadParameter: It is none.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is no interval such as 30s, 5m, 12h or 1d.", param_hint=option
        )
    return int(match[1]) * _UNITS[match[2]]
