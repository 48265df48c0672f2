"""Options that several commands share."""

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
