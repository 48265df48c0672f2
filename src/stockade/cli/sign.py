"""`stockade sign`: put a signature into a module, or beside it."""

from pathlib import Path
from typing import Annotated

import typer

from stockade.cli.options import ModuleFile
from stockade.cli.reporting import reported
from stockade.cli.words import say

_Key = Annotated[
    Path,
    typer.Option("--key", "-k", exists=True, dir_okay=False, help="Secret key, Ed25519 in PEM."),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        dir_okay=False,
        help="Default: MODULE with .signed.wasm, or .sig when detached.",
        show_default=False,
    ),
]


@reported
def sign(
    module: ModuleFile,
    *,
    key: _Key,
    out: _Out = None,
    detached: Annotated[
        bool, typer.Option("--detached", help="Write only the signature, not the module.")
    ] = False,
) -> None:
    """Sign a WebAssembly module, in the format that wasmsign2 speaks.

    A module may be signed by several keys, one after the other.

    Example: stockade sign hello.wasm --key stockade-key.pem
    """
    from registry import signing  # noqa: PLC0415 - likewise
    from registry.keys import load_secret_key  # noqa: PLC0415 - keeps --help fast

    secret = load_secret_key(key.read_bytes())
    make = signing.sign_detached if detached else signing.sign
    target = out or module.with_suffix(".sig" if detached else ".signed.wasm")
    target.write_bytes(make(module.read_bytes(), secret))
    say(f"Signed: {target}")
