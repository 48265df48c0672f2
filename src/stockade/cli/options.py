"""Options that several commands share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
ModuleFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODULE", exists=True, dir_okay=False, help="A .wasm file.", show_default=False
    ),
]
SignatureFile = Annotated[
    Path | None,
    typer.Option(
        "--signature",
        exists=True,
        dir_okay=False,
        help="Detached signature, as 'stockade sign --detached' writes it.",
        show_default=False,
    ),
]
InvocationId = Annotated[
    str, typer.Argument(metavar="ID", help="The invocation's id.", show_default=False)
]

InputFile = Annotated[
    Path | None,
    typer.Option("--input", "-i", help="File with the input; - reads stdin.", show_default=False),
]
InputText = Annotated[
    str | None, typer.Option("--data", "-d", help="The input as text.", show_default=False)
]
AliasOption = Annotated[str | None, typer.Option("--alias", help="Run what this alias points to.")]
VersionOption = Annotated[
    int | None, typer.Option("--version", min=1, help="Run this version, not the latest.")
]


def read_input(file: Path | None, data: str | None) -> bytes:
    """An invocation's input, from a file, stdin or the command line; else it is empty.

    Raises:
        typer.BadParameter: Both were given.
    """
    if file is not None and data is not None:
        raise typer.BadParameter("Give --input or --data, not both.")
    if file is None:
        return (data or "").encode()
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def pairs(option: str, values: list[str]) -> dict[str, str]:
    """Reads repeated `NAME=VALUE`.

    Raises:
        typer.BadParameter: One of them is not of that form.
    """
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE.", param_hint=option)
        found[name] = value
    return found


def whole_numbers(option: str, values: list[str]) -> dict[str, int]:
    """Reads repeated `NAME=NUMBER`; `1_000_000` is a number too.

    Raises:
        typer.BadParameter: One of them is not of that form.
    """
    try:
        return {name: int(value) for name, value in pairs(option, values).items()}
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint=option) from error
