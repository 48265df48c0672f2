"""`stockade modules`: upload signed modules, look at them, delete them."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli.attestations import attest, attestations, print_attestations
from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag, ModuleFile, SignatureFile
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stockade_client import Client, Module, ModuleEntry

_PAGE = 1000
_Digest = Annotated[
    str, typer.Argument(metavar="DIGEST", help="sha256:…, as the upload printed it.")
]

app = typer.Typer(no_args_is_help=True, help="Upload signed modules, look at them, delete them.")

app.command()(attest)
app.command()(attestations)


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


@app.command("list")
@connected
def list_modules(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List the tenant's modules, newest first."""
    found = list(_every_module(client))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [(one.digest, one.abi, one.size_bytes, _time(one.created_ms)) for one in found]
    print_table(("MODULE", "ABI", "BYTES", "UPLOADED"), rows)


@app.command("from-oci")
@connected
def from_oci(
    client: "Client",
    reference: Annotated[
        str, typer.Argument(metavar="NAME:TAG", help="What was pushed; or NAME@sha256:…")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Make a module of an OCI artifact that was pushed with oras, skopeo or another client.

    Artifacts that verify become modules as they are pushed; this tries again, as after a
    signer was trusted, and says what is wrong.

    Example: stockade modules from-oci tools/hello:1.0
    """
    _show(client.module_from_oci(reference), as_json=as_json)


@app.command("to-oci")
@connected
def to_oci(
    client: "Client",
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="sha256:…, as the upload printed it.")
    ],
    reference: Annotated[
        str, typer.Argument(metavar="NAME:TAG", help="Where OCI clients shall find it.")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Make an OCI artifact of a module, so that oras, skopeo and others can pull it.

    Its signatures are embedded in the file. What had the tag before loses it.

    Example: stockade modules to-oci sha256:… tools/hello:1.0
    """
    facts: dict[str, object] = {"manifest": client.module_to_oci(digest, reference)}
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


@app.command()
@connected
def show(client: "Client", digest: _Digest, *, as_json: JsonFlag = False) -> None:
    """Show what is known about a module: who vouches for and attests it, what uses it."""
    facts, attested = asdict(client.module(digest)), client.attestations(digest)
    if as_json:
        print_json(facts | {"attestations": [asdict(one) for one in attested]})
        return
    versions = (f"{one['function']} v{one['version']}" for one in facts["versions"])
    uploaded = None if facts["created_ms"] is None else _time(facts["created_ms"])
    del facts["created_ms"]
    shown = {"uploaded": uploaded, "versions": ", ".join(versions) or "none"}
    print_facts(facts | _lists(facts) | shown)
    if attested:
        typer.echo()
        print_attestations(attested)


@app.command()
@connected
def delete(client: "Client", digest: _Digest) -> None:
    """Delete a module that no function version is made of.

    Runs that were submitted before still find it until the operator's grace is over; until then an
    upload of the same module takes the deletion back, and it counts against the quota.
    """
    client.delete_module(digest)
    say(f"Module {digest} is deleted.")


@app.command()
@connected
def usage(client: "Client", *, as_json: JsonFlag = False) -> None:
    """Show what the tenant's modules take, and what they may take."""
    used = client.storage_usage()
    if as_json:
        print_json(asdict(used))
        return
    rows = [
        ("bytes", used.module_bytes, used.limit_module_bytes),
        ("modules", used.modules, used.limit_modules),
        ("oci_bytes", used.oci_bytes, used.limit_oci_bytes),
    ]
    print_table(("WHAT", "USED", "LIMIT"), rows)


def upload(client: "Client", file: Path, signature: Path | None) -> "Module":
    """Uploads a module's file."""
    detached = None if signature is None else signature.read_bytes()
    return client.upload_module(file.read_bytes(), detached)


def _show(module: "Module", *, as_json: bool) -> None:
    facts = asdict(module)
    if as_json:
        print_json(facts)
        return
    print_facts(facts | _lists(facts))


def _lists(facts: dict[str, Any]) -> dict[str, object]:
    return {name: ", ".join(facts[name]) or "none" for name in ("signers", "imports", "exports")}


def _every_module(client: "Client") -> "Iterator[ModuleEntry]":
    page = client.modules(limit=_PAGE)
    yield from page.modules
    while page.following is not None:
        page = client.modules(limit=_PAGE, after=page.following)
        yield from page.modules


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
