"""`stockade functions`: make modules callable."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.function_trust import trust
from stockade.cli.modules import upload
from stockade.cli.options import JsonFlag, SignatureFile, pairs, whole_numbers
from stockade.cli.words import print_facts, print_json, print_table

if TYPE_CHECKING:
    from stockade_client import Client

app = typer.Typer(no_args_is_help=True, help="Make modules callable under a name.")
app.command()(trust)

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The function's name.", show_default=False)
]
_Module = Annotated[
    str,
    typer.Option(
        metavar="DIGEST|FILE", help="An uploaded module's digest, or a signed file to upload."
    ),
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="A ceiling for each run: fuel, memory_bytes, table_elements, wall_ms, input_bytes, "
        "output_bytes, log_bytes, host_calls. Repeatable; the rest takes defaults.",
    ),
]
_Grants = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        metavar="GRANT",
        help="A capability, such as now_ms, kv:NAMESPACE, secret:NAME or 'http_fetch:GET "
        "https://api.example.com/'. Repeatable.",
    ),
]
_Environment = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="K=V",
        help="A setting: what config_get or a WASI environment tells the guest. Repeatable.",
    ),
]


@app.command()
@connected
def deploy(
    client: "Client",
    name: _Name,
    *,
    module: _Module,
    signature: SignatureFile = None,
    limit: _Limits = None,
    grant: _Grants = None,
    env: _Environment = None,
    as_json: JsonFlag = False,
) -> None:
    """Deploy a module as the next version of a function.

    Deploying the same module with the same limits, grants and environment makes no new version.

    Example: stockade functions deploy hello --module hello.signed.wasm --limit fuel=50_000_000
    """
    limits, variables = whole_numbers("--limit", limit or []), pairs("--env", env or [])
    digest = module
    if not module.startswith("sha256:"):
        digest = upload(client, _existing(module), signature).digest
    made = client.put_function(name, digest, limits=limits, grants=grant or [], env=variables)
    if as_json:
        print_json(asdict(made) | {"module": digest})
    else:
        print_facts(asdict(made) | {"module": digest})


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List all functions, each with its latest version."""
    found = client.functions()
    if as_json:
        print_json([asdict(function) for function in found])
    else:
        rows = ((item.name, item.version, item.module) for item in found)
        print_table(("NAME", "VERSION", "MODULE"), rows)


@app.command()
@connected
def show(client: "Client", name: _Name, *, as_json: JsonFlag = False) -> None:
    """Show a function's latest version: module, limits, grants."""
    facts = asdict(client.function(name))
    if as_json:
        print_json(facts)
        return
    limits = {f"limit {limit}": value for limit, value in facts.pop("limits").items()}
    variables = {f"env {key}": value for key, value in facts.pop("env").items()}
    grants = {"grants": ", ".join(facts["grants"]) or "none"}
    print_facts(facts | grants | limits | variables)


@app.command()
@connected
def alias(
    client: "Client",
    name: _Name,
    alias_name: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as prod or canary.")],
    targets: Annotated[
        list[str],
        typer.Argument(metavar="VERSION[=WEIGHT]…", help="One version; or several, by weight."),
    ],
) -> None:
    """Point an alias to a version, or share it out over several.

    Example: stockade functions alias hello prod 3=9 4=1
    """
    if len(targets) == 1 and targets[0].isdecimal():
        client.put_alias(name, alias_name, version=int(targets[0]))
        return
    weights = whole_numbers("VERSION=WEIGHT", targets)
    shares = {int(version): share for version, share in weights.items()}
    client.put_alias(name, alias_name, weights=shares)


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise typer.BadParameter(
            f"{text!r} is neither a digest (sha256:…) nor a file.", param_hint="--module"
        )
    return path
