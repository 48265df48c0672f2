"""`stockade secrets`: what only granted guests may read."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client

app = typer.Typer(no_args_is_help=True, help="Keep what only granted guests may read.")

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The secret's name.", show_default=False)
]
_File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        exists=True,
        dir_okay=False,
        help="Take the value from this file, byte for byte.",
        show_default=False,
    ),
]


@app.command("set")
@connected
def set_(client: "Client", name: _Name, file: _File = None) -> None:
    """Set a secret: typed unseen, from a pipe, or from a file.

    The value never stands on the command line, where others could read it. A line end after a
    value that is typed or piped is left out. A function reads it when deployed with
    '--grant secret:NAME'.
    """
    client.put_secret(name, _value(file))
    say(f"Secret {name} is set.")


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List the names of secrets, and when each was last set."""
    found = client.secrets()
    if as_json:
        print_json([asdict(secret) for secret in found])
    else:
        print_table(("NAME", "SET"), ((item.name, _when(item.updated_ms)) for item in found))


@app.command()
@connected
def delete(client: "Client", name: _Name) -> None:
    """Delete a secret: guests that ask for it find it absent."""
    client.delete_secret(name)
    say(f"Secret {name} is deleted.")


def _value(file: Path | None) -> bytes:
    if file is not None:
        return file.read_bytes()
    if sys.stdin.isatty():
        typed: str = typer.prompt("Value", hide_input=True)
        return typed.encode()
    return sys.stdin.buffer.read().removesuffix(b"\n").removesuffix(b"\r")


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
