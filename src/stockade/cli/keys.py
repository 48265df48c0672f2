"""`stockade keys`: make the key that signs modules."""

import os
from pathlib import Path
from typing import Annotated

import typer

from stockade.cli.reporting import reported
from stockade.cli.words import say
from stockade.core.errors import StockadeError

app = typer.Typer(no_args_is_help=True, help="Make keys that sign modules.")

DEFAULT_KEY = Path("stockade-key.pem")


@app.callback()
def _keys() -> None:
    """Make keys that sign modules."""


@app.command()
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
    _write(out, keys.secret_key_pem(key), 0o600)
    _write(public, keys.public_key_pem(keys.public_bytes(key)), 0o644)
    say(f"Secret key: {out} (keep it)")
    say(f"Public key: {public}")


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


def _write(path: Path, content: bytes, mode: int) -> None:
    """Writes aside and renames, so that the mode holds from the first byte on."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
