"""Attestations of uploaded modules: `stockade modules attest` and `attestations`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Attestation, Client

_Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="sha256:…, the module's.")]


@connected
def attest(
    client: "Client",
    digest: _Digest,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="ENVELOPE", exists=True, dir_okay=False, help="As 'stockade attest' writes it."
        ),
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Put a signed attestation beside a module; policies may ask for what it says at a deploy."""
    made = client.attest_module(digest, file.read_bytes())
    if as_json:
        print_json(asdict(made))
        return
    print_attestations([made])


@connected
def attestations(client: "Client", digest: _Digest, *, as_json: JsonFlag = False) -> None:
    """List a module's attestations: who built it, out of which source, and who says so."""
    found = client.attestations(digest)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_attestations(found)


def print_attestations(found: "list[Attestation] | tuple[Attestation, ...]") -> None:
    """A table; those that do not count now are said on stderr, with the reason."""
    for one in found:
        if one.refusal is not None:
            say(f"{one.id} does not count: {one.refusal[1]} [{one.refusal[0]}]")
    rows = [
        (one.id, ", ".join(one.signers), ", ".join(one.builders), ", ".join(one.sources))
        for one in found
        if one.refusal is None
    ]
    print_table(("ATTESTATION", "SIGNERS", "BUILDERS", "SOURCES"), rows)
