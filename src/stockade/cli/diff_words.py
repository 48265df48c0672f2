"""Differences between versions, as lines for people: + is new, - is gone, ~ is another."""

from collections.abc import Iterator, Mapping

import typer

from stockade.cli.words import safe

_COLOURS = {"+": typer.colors.GREEN, "-": typer.colors.RED, "~": typer.colors.YELLOW}
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def print_changes(changes: Mapping[str, object]) -> None:
    """One change a line on stdout; names come from guests, so nothing is raw."""
    for mark, text in change_lines(changes):
        typer.secho(f"{mark} {safe(text)}", fg=_COLOURS[mark])


def change_lines(changes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Marks and what they stand before."""
    for name, part in changes.items():
        if isinstance(part, Mapping):
            yield from _lines(name, part)


def _lines(name: str, part: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    if {"from", "to"} <= part.keys():
        yield "~", f"{name}: {_word(part['from'])} -> {_word(part['to'])}"
        return
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _lines(f"{name}.{key}", value)
        elif isinstance(value, list):
            for one in value:
                yield _MARKS.get(key, "~"), f"{name}: {one}"


def _word(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
