"""`stockade signers`: whose modules this tenant runs."""

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.function_options import when
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, Signer

app = typer.Typer(no_args_is_help=True, help="Choose whose signatures this tenant trusts.")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]{1,9})([smhd])")
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
_NotBefore = Annotated[
    str | None,
    typer.Option("--not-before", metavar="TIME", help="From when it counts: 2030-01-31T12:00:00Z."),
]
_NotAfter = Annotated[
    str | None,
    typer.Option("--not-after", metavar="TIME", help="Until when it counts: 2031-01-31T12:00:00Z."),
]


@app.command()
@connected
def add(
    client: "Client",
    name: _Name,
    pubkey_file: _KeyFile,
    *,
    not_before: _NotBefore = None,
    not_after: _NotAfter = None,
) -> None:
    """Trust a public key: modules signed with it may be uploaded and run.

    The file holds an Ed25519 public key: PEM (as 'stockade keys generate' writes it), DER, OpenSSH,
    the file of wasmsign2, or the base64 of its 32 bytes.
    """
    client.add_signer(name, _public_pem(pubkey_file), not_before=not_before, not_after=not_after)
    say(f"Signer {name} is trusted.")


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List all signers, revoked ones too."""
    found = client.signers()
    if as_json:
        print_json([asdict(signer) for signer in found])
    else:
        rows = (
            (item.name, _state(item), _time(item.not_after_ms) or "-", item.public_key)
            for item in found
        )
        print_table(("NAME", "STATE", "NOT AFTER", "PUBLIC KEY"), rows)


@app.command()
@connected
def show(client: "Client", name: _Name, *, as_json: JsonFlag = False) -> None:
    """Show a signer: its key, its window, why it was revoked, whom it replaces."""
    signer = client.signer(name)
    if as_json:
        print_json(asdict(signer))
        return
    print_facts({
        "name": signer.name,
        "state": _state(signer),
        "public key": signer.public_key,
        "not before": _time(signer.not_before_ms),
        "not after": _time(signer.not_after_ms),
        "revoked": _time(signer.revoked_ms),
        "reason": signer.revoked_reason,
        "replaces": signer.replaces,
    })  # fmt: skip


@app.command()
@connected
def rotate(
    client: "Client",
    name: _Name,
    pubkey_file: _KeyFile,
    *,
    new_name: Annotated[
        str | None, typer.Option("--name", help="The new signer's name; else NAME-2, NAME-3, …")
    ] = None,
    overlap: Annotated[
        str, typer.Option(metavar="SPAN", help="How long both count, as one: 90s, 30m, 12h, 7d.")
    ] = "7d",
    not_after: _NotAfter = None,
    as_json: JsonFlag = False,
) -> None:
    """Put a new key in a signer's place; the old one expires after the overlap.

    Until then sign what still runs with the new key, and upload it again: the signature is added,
    and no deploy is needed. Functions that ask for NAME take the new key for it.

    Example: stockade signers rotate ci ci-2030.pem.pub --overlap 30d
    """
    made = client.rotate_signer(
        name,
        _public_pem(pubkey_file),
        new_name=new_name,
        overlap_seconds=_seconds(overlap),
        not_after=not_after,
    )
    if as_json:
        print_json(asdict(made))
    say(f"Signer {made.name} takes the place of {name}, which counts for another {overlap}.")
    say("Sign what still runs with the new key, and upload it again.")


@app.command()
@connected
def revoke(
    client: "Client",
    name: _Name,
    *,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for those who read the list later.")
    ] = None,
) -> None:
    """Stop trusting a signer: what only this key signed no longer runs.

    It acts within seconds, whenever the signatures were made, and cannot be taken back. What runs
    is ended too, unless the operator's policies/trust.toml lets it finish.
    """
    client.revoke_signer(name, reason)
    say(f"Signer {name} is revoked.")


def _public_pem(file: Path) -> str:
    from registry.keys import load_public_key, public_key_pem  # noqa: PLC0415 - keeps --help fast

    content = file.read_bytes()
    if b"PRIVATE KEY" in content:
        raise ValueError("this is a secret key; give the file with its public key (.pub)")
    return public_key_pem(load_public_key(content)).decode()


def _state(signer: "Signer") -> str:
    now_ms = time.time_ns() // 1_000_000
    if signer.revoked_ms is not None:
        return "revoked"
    if signer.not_after_ms is not None and now_ms >= signer.not_after_ms:
        return "expired"
    early = signer.not_before_ms is not None and now_ms < signer.not_before_ms
    return "not yet valid" if early else "trusted"


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else when(time_ms)


def _seconds(text: str) -> int:
    read = _SPAN.fullmatch(text)
    if read is None:
        raise typer.BadParameter(
            f"{text!r} is no span such as 90s, 30m, 12h or 7d.", param_hint="--overlap"
        )
    return int(read[1]) * _UNITS[read[2]]
