"""`stockade functions trust`: how many must sign what a function runs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_facts, print_json

if TYPE_CHECKING:
    from stockade_client import Client


@connected
def trust(
    client: "Client",
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The function's name.", show_default=False)
    ],
    *,
    threshold: Annotated[
        int | None,
        typer.Option(min=1, help="How many must sign. Left out, it is shown and not set."),
    ] = None,
    signer: Annotated[
        list[str] | None,
        typer.Option(
            "--signer", metavar="NAME", help="Who may sign. Repeatable; none means any signer."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say how many of which signers a function's module needs, or show it.

    It holds from the next run on, and may be said before the first deploy. A signer that replaced
    another counts as the same one.

    Example: stockade functions trust pay --threshold 2 --signer release --signer security
    """
    if threshold is None and signer:
        raise typer.BadParameter("--signer goes with --threshold.")
    if threshold is None:
        found = client.function_trust(name)
    else:
        found = client.put_function_trust(name, threshold, signer or [])
    if as_json:
        print_json(asdict(found))
    else:
        print_facts(asdict(found) | {"signers": ", ".join(found.signers) or "any"})
