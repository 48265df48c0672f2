"""`stockade batch`: run a function once for every line of a file."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from stockade.cli.connection import connected
from stockade.cli.reporting import retry_hint
from stockade.cli.words import EXIT_REFUSED, safe, say

if TYPE_CHECKING:
    from stockade_client import Client, StockadeApiError

_MOST_LINES = 10_000
_MOST_BYTES = 8 << 20
"""Of one call, so that a large file is answered as it goes."""

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The function's name.", show_default=False)
]
_File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="One JSON value on each line; - reads stdin."),
]
_Key = Annotated[
    str | None,
    typer.Option(help="Repeating the same file with this key runs nothing twice."),
]
_Priority = Annotated[str | None, typer.Option(help="urgent, high, normal or low.")]
_Alias = Annotated[str | None, typer.Option(help="Run what this alias points to.")]
_Version = Annotated[int | None, typer.Option(min=1, help="Run this version, not the latest.")]


@connected
def batch(
    client: "Client",
    name: _Name,
    file: _File = Path("-"),
    *,
    idempotency_key: _Key = None,
    priority: _Priority = None,
    alias: _Alias = None,
    version: _Version = None,
) -> None:
    """Queue a run for every line of a file; prints an id for each, or an empty line.

    Why a line was refused goes to stderr with its number; the others run. Empty lines are left out.
    Exit codes: 0 all are queued, 1 platform failure, 2 some were refused.

    Example: stockade batch resize orders.ndjson > ids
    """
    refused = False
    with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
        for place, group in enumerate(_groups(source)):
            answers = client.submit_batch(
                name,
                [line for _, line in group],
                alias=alias,
                version=version,
                idempotency_key=idempotency_key and f"{idempotency_key}/{place}",
                priority=priority,
            )
            # Where the gateway stopped reading, the last answer says why, for all lines behind it.
            answers += answers[-1:] * (len(group) - len(answers))
            told = [_told(number, one) for (number, _), one in zip(group, answers, strict=False)]
            refused = refused or not all(told)
    if refused:
        raise typer.Exit(EXIT_REFUSED)


def _told(number: int, answer: "str | StockadeApiError") -> bool:
    """Prints one answer; whether it is an id."""
    if isinstance(answer, str):
        typer.echo(safe(answer))
        return True
    typer.echo()
    hint = retry_hint(answer.retry_after_seconds)
    say(f"Line {number}: {answer}" + (f" {hint}" if hint else ""))
    return False


def _groups(source: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Numbered lines, in groups that one call may carry."""
    lines = ((number, line.strip()) for number, line in enumerate(source, 1) if line.strip())
    while group := _group(lines):
        yield group


def _group(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    group: list[tuple[int, bytes]] = []
    size = 0
    for number, line in islice(lines, _MOST_LINES):
        group.append((number, line))
        size += len(line)
        if size >= _MOST_BYTES:
            break
    return group
