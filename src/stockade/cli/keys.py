"""`stockade keys`: make the key that signs modules; API keys are in `api_keys`."""

from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import api_keys
from stockade.cli.files import PRIVATE, PUBLIC, written_aside
from stockade.cli.reporting import reported
from stockade.cli.words import say
from stockade.core.errors import StockadeError

app = typer.Typer(no_args_is_help=True, help="Make keys that sign modules, and API keys.")

DEFAULT_KEY = Path("stockade-key.pem")


@app.callback()
def _keys() -> None:
    """Make keys that sign modules, and API keys that callers send."""


@app.command(rich_help_panel="Signing keys")
@reported
def generate(
    *,
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="File for the secret key.")
    ] = DEFAULT_KEY,
    force: Annotated[bool, typer.Option("--force", help="Replace keys that are there.")] = False,
) -> None:
    """Make an Ed25519 key: the secret one as PEM (mode 0600), the public one beside it as .pub.

    Keep the secret key; whoever has it can sign modules in your name. Give the .pub file to
    'stockade signers add'.
    """
    from registry import keys  # noqa: PLC0415 - keeps --help fast

    public = public_path(out)
    if not force:
        _refuse_overwriting(out, public)
    key = keys.generate_secret_key()
    with written_aside(out, PRIVATE) as write:
        write(keys.secret_key_pem(key))
    with written_aside(public, PUBLIC) as write:
        write(keys.public_key_pem(keys.public_bytes(key)))
    say(f"Secret key: {out} (keep it)")
    say(f"Public key: {public}")


api_keys.add_to(app)


def public_path(secret: Path) -> Path:
    """Where the public half of a key stands."""
    return secret.with_name(secret.name + ".pub")


def _refuse_overwriting(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise StockadeError(
                "cli.key_exists",
                f"{str(path)!r} exists. Modules signed with it need it; --force replaces it.",
            )
