"""What the command line writes: results on stdout, everything else on stderr, nothing raw.

Text that came from a guest or over the network may hold escape sequences that move the cursor,
rename the window or forge lines; `safe` makes them visible instead.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import typer

EXIT_PLATFORM, EXIT_REFUSED, EXIT_GUEST, EXIT_PENDING, EXIT_BROKEN = 1, 2, 3, 4, 5


def safe(text: object, *, keep: str = "") -> str:
    """The text with every control, format and unassigned character escaped, except those kept."""
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in str(text)
    )


def say(text: str) -> None:
    """One line for the person at the terminal, on stderr."""
    typer.echo(safe(text), err=True)


def fail(message: str, code: str, hint: str | None = None, *, status: int) -> NoReturn:
    """Says what is wrong and ends the command.

    Raises:
        typer.Exit: Always.
    """
    typer.secho(f"Error: {safe(message)} [{safe(code)}]", err=True, fg=typer.colors.RED)
    if hint:
        say(f"Hint: {hint}")
    raise typer.Exit(status)


def print_json(value: object) -> None:
    """One JSON document on stdout; characters beyond ASCII are escaped, so it is safe to see."""
    typer.echo(json.dumps(value, indent=2))


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns on stdout, never cut off."""
    lines = [tuple(head), *(tuple(safe(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def print_facts(facts: dict[str, object]) -> None:
    """One fact a line on stdout; what is None is left out."""
    given = {name: value for name, value in facts.items() if value is not None}
    width = max(map(len, given), default=0)
    for name, value in given.items():
        typer.echo(f"{name.ljust(width)}  {safe(value)}")


def write_output(content: bytes) -> None:
    """A guest's output: the very bytes into a pipe or file, made safe on a terminal."""
    if sys.stdout.isatty():
        text = safe(content.decode(errors="replace"), keep="\n\t")
        typer.echo(text, nl=not text.endswith("\n"))
        return
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
