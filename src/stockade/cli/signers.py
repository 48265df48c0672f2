"""`stockade signers`: whose modules this tenant runs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, Signer

app = typer.Typer(no_args_is_help=True, help="Choose whose signatures this tenant trusts.")

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The signer's name.", show_default=False)
]
_KeyFile = Annotated[
    Path,
    typer.Argument(
        metavar="PUBKEY_FILE",
        exists=True,
        dir_okay=False,
        help="The signer's public key.",
        show_default=False,
    ),
]


@app.command()
@connected
def add(client: "Client", name: _Name, pubkey_file: _KeyFile) -> None:
    """Trust a public key: modules signed with it may be uploaded and run.

    The file holds an Ed25519 public key: PEM (as 'stockade keys generate' writes it), OpenSSH, the
    file of wasmsign2, or the base64 of its 32 bytes.
    """
    from registry.keys import load_public_key, public_key_pem  # noqa: PLC0415 - keeps --help fast

    content = pubkey_file.read_bytes()
    if b"PRIVATE KEY" in content:
        raise ValueError("this is a secret key; give the file with its public key (.pub)")
    text = public_key_pem(load_public_key(content)).decode()
    client.add_signer(name, text)
    say(f"Signer {name} is trusted.")


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List all signers, revoked ones too."""
    found = client.signers()
    if as_json:
        print_json([asdict(signer) for signer in found])
    else:
        rows = ((item.name, _state(item), item.public_key) for item in found)
        print_table(("NAME", "STATE", "PUBLIC KEY"), rows)


@app.command()
@connected
def revoke(client: "Client", name: _Name) -> None:
    """Stop trusting a signer: what only this key signed no longer runs."""
    client.revoke_signer(name)
    say(f"Signer {name} is revoked.")


def _state(signer: "Signer") -> str:
    return "trusted" if signer.revoked_ms is None else "revoked"
