"""`stockade storage`: the operator's commands on what is stored, beside the running gateways."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli.options import JsonFlag
from stockade.cli.reporting import reported
from stockade.cli.words import EXIT_PLATFORM, EXIT_REFUSED, fail, print_facts, print_json, say

if TYPE_CHECKING:
    from gateway.collect_blobs import Checked, Collected
    from gateway.settings import StorageSettings

app = typer.Typer(
    no_args_is_help=True,
    help="Keep stored modules in order: check them, collect what nobody needs (operators).",
)


def _option(name: str, text: str, metavar: str = "TEXT") -> Any:  # noqa: ANN401 - Typer's own type is private
    variable = "STOCKADE_" + name.upper()
    flag = "--" + name.replace("_", "-")
    return typer.Option(flag, envvar=variable, metavar=metavar, help=text, show_default=False)


_DatabaseUrl = Annotated[
    str, _option("database_url", "The catalog: sqlite:///FILE or postgresql://….", "URL")
]
_BlobDir = Annotated[Path | None, _option("blob_dir", "The directory of the blobs.", "PATH")]
_BlobsUrl = Annotated[
    str | None, _option("blobs_url", "Where they are else: s3://BUCKET/PREFIX.", "URL")
]
_Endpoint = Annotated[str | None, _option("blobs_endpoint", "The bucket's server.", "URL")]
_Region = Annotated[str | None, _option("blobs_region", "The bucket's region.")]
_Credentials = Annotated[
    Path | None, _option("blobs_credentials_file", "TOML with the bucket's credentials.", "PATH")
]
_Grace = Annotated[
    float | None,
    _option("blob_grace_seconds", "Nothing younger goes. Default: 7200.", "N"),
]


@app.command()
@reported
def collect(
    database_url: _DatabaseUrl,
    *,
    blob_dir: _BlobDir = None,
    blobs_url: _BlobsUrl = None,
    blobs_endpoint: _Endpoint = None,
    blobs_region: _Region = None,
    blobs_credentials_file: _Credentials = None,
    blob_grace_seconds: _Grace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete content that no module needs any more, as gateways do every ten minutes.

    Modules that were deleted longer ago than the grace are forgotten first. Gateways may run.
    """
    settings = _settings(
        database_url=database_url,
        blob_dir=blob_dir,
        blobs_url=blobs_url,
        blobs_endpoint=blobs_endpoint,
        blobs_region=blobs_region,
        blobs_credentials_file=blobs_credentials_file,
        blob_grace_seconds=blob_grace_seconds,
    )
    collected = asyncio.run(_collect(settings, dry_run=dry_run))
    if as_json:
        print_json(asdict(collected))
        return
    for digest in collected.blobs:
        typer.echo(digest)
    say(_told(collected, dry_run=dry_run))


@app.command()
@reported
def check(
    database_url: _DatabaseUrl,
    *,
    blob_dir: _BlobDir = None,
    blobs_url: _BlobsUrl = None,
    blobs_endpoint: _Endpoint = None,
    blobs_region: _Region = None,
    blobs_credentials_file: _Credentials = None,
    as_json: JsonFlag = False,
) -> None:
    """Read all stored content: is each module's there, and whole? Exits with 1 when not.

    A damaged or missing module never runs; an upload of the same file mends it.
    """
    settings = _settings(
        database_url=database_url,
        blob_dir=blob_dir,
        blobs_url=blobs_url,
        blobs_endpoint=blobs_endpoint,
        blobs_region=blobs_region,
        blobs_credentials_file=blobs_credentials_file,
    )
    found = asyncio.run(_check(settings))
    if as_json:
        print_json(asdict(found) | {"sound": found.sound})
    else:
        _print_found(found)
    if not found.sound:
        message = "Stored content is missing or damaged. Have these modules uploaded again."
        fail(message, "blobs.corrupt", status=EXIT_PLATFORM)


def _settings(**given: str | float | Path | None) -> "StorageSettings":
    from pydantic import ValidationError  # noqa: PLC0415 - keeps --help fast

    from gateway.settings import StorageSettings  # noqa: PLC0415 - likewise

    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return StorageSettings(**options)
    except ValidationError as error:
        # Without the values: some are secrets.
        faults = error.errors(include_input=False, include_url=False)
        told = "; ".join(": ".join((*map(str, one["loc"]), one["msg"])) for one in faults)
        fail(f"These settings are wrong. {told}.", "config.invalid", status=EXIT_REFUSED)


async def _collect(settings: "StorageSettings", *, dry_run: bool) -> "Collected":
    from gateway.bootstrap import open_collector  # noqa: PLC0415 - keeps --help fast

    async with open_collector(settings) as collector:
        return await collector.collect(dry_run=dry_run)


async def _check(settings: "StorageSettings") -> "Checked":
    from gateway.bootstrap import open_collector  # noqa: PLC0415 - keeps --help fast

    async with open_collector(settings) as collector:
        return await collector.check()


def _told(collected: "Collected", *, dry_run: bool) -> str:
    if dry_run:
        return f"{len(collected.blobs)} blobs would go."
    return (
        f"{len(collected.blobs)} blobs are deleted, {collected.modules} deleted modules forgotten,"
        f" {collected.abandoned} files of killed writers removed."
    )


def _print_found(found: "Checked") -> None:
    for what, places in (("missing", found.missing), ("damaged", found.corrupt)):
        for tenant, digest in places:
            typer.echo(f"{what}  {tenant}  {digest}")
    needed = {digest for _, digest in found.corrupt}
    for digest in found.corrupt_blobs:
        if digest not in needed:
            typer.echo(f"damaged  -  {digest}")
    names = ("modules", "blobs", "blob_bytes", "unneeded")
    print_facts({name: getattr(found, name) for name in names})
