"""`stockade modules`: upload signed modules and look at them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag, ModuleFile, SignatureFile
from stockade.cli.words import print_facts, print_json

if TYPE_CHECKING:
    from stockade_client import Client, Module

app = typer.Typer(no_args_is_help=True, help="Upload signed modules, and look at them.")


@app.command()
@connected
def push(
    client: "Client",
    file: ModuleFile,
    *,
    signature: SignatureFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Upload a signed module; prints its digest, which names it from now on.

    The signature is embedded (see 'stockade sign') or given with --signature. Uploading the same
    module again changes nothing.
    """
    _show(upload(client, file, signature), as_json=as_json)


@app.command()
@connected
def show(
    client: "Client",
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="sha256:…, as the upload printed it.")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Show what is known about a module: signers, ABI, imports, exports."""
    _show(client.module(digest), as_json=as_json)


def upload(client: "Client", file: Path, signature: Path | None) -> "Module":
    """Uploads a module's file."""
    detached = None if signature is None else signature.read_bytes()
    return client.upload_module(file.read_bytes(), detached)


def _show(module: "Module", *, as_json: bool) -> None:
    facts = asdict(module)
    if as_json:
        print_json(facts)
        return
    lists = {name: ", ".join(facts[name]) or "none" for name in ("signers", "imports", "exports")}
    print_facts(facts | lists)
