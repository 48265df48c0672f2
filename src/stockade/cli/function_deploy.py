"""`stockade functions deploy`, and its rehearsal."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.diff_words import print_changes
from stockade.cli.function_options import FunctionName, asked_limits, asked_retry
from stockade.cli.modules import upload
from stockade.cli.options import JsonFlag, SignatureFile, pairs
from stockade.cli.reporting import hint_for
from stockade.cli.words import EXIT_REFUSED, print_facts, print_json, say

if TYPE_CHECKING:
    from stockade_client import Client, Rehearsal

_Module = Annotated[
    str,
    typer.Option(
        metavar="DIGEST|FILE|oci:NAME:TAG",
        help="An uploaded module's digest, a signed file to upload, or what was pushed by an OCI "
        "client: its tag is looked up once.",
    ),
]
_Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="A ceiling for each run: fuel, memory_bytes, table_elements, wall_ms, input_bytes, "
        "output_bytes, log_bytes, host_calls. Repeatable; the rest takes defaults. "
        "fuel=auto (and memory_bytes, wall_ms) follows what runs needed.",
    ),
]
_AllLimits = Annotated[
    str | None,
    typer.Option(
        "--limits",
        metavar="auto",
        help="auto: fuel, memory_bytes and wall_ms follow what runs needed, but for those that "
        "--limit names.",
        show_default=False,
    ),
]
_Retry = Annotated[
    str | None,
    typer.Option(
        "--retry",
        metavar="fixed|learned|never",
        help="When a failed run is tried again: by backoff (the default), by what was learned, or "
        "never.",
        show_default=False,
    ),
]
_MaxAttempts = Annotated[
    int | None,
    typer.Option(min=1, help="Attempts at most, the first one counted.", show_default=False),
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
_Record = Annotated[
    bool,
    typer.Option(
        "--record", help="Have each attempt write down what varied, for 'stockade replay'."
    ),
]
_Message = Annotated[str | None, typer.Option("--message", "-m", help="A line about this version.")]
_Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="K=V", help="More about it, such as commit=abc. Repeatable."),
]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would change, and everything it would be refused for; write nothing. Ends "
        "with 2 when it would be refused.",
    ),
]
_Against = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION|ALIAS", help="With --dry-run: compare with this, not with the latest."
    ),
]


@connected
def deploy(  # noqa: PLR0913 - one for each option
    client: "Client",
    name: FunctionName,
    *,
    module: _Module,
    signature: SignatureFile = None,
    limit: _Limits = None,
    limits: _AllLimits = None,
    retry: _Retry = None,
    max_attempts: _MaxAttempts = None,
    grant: _Grants = None,
    env: _Environment = None,
    record: _Record = False,
    message: _Message = None,
    label: _Labels = None,
    dry_run: _DryRun = False,
    against: _Against = None,
    as_json: JsonFlag = False,
) -> None:
    """Deploy a module as the next version of a function.

    Deploying the same module with the same limits, grants and environment makes no new version.

    Example: stockade functions deploy hello --module hello.signed.wasm --limit fuel=50_000_000
    """
    asked, variables = asked_limits(limit or [], limits), pairs("--env", env or [])
    retries = asked_retry(retry, max_attempts)
    grants, labels = grant or [], pairs("--label", label or []) or None
    if dry_run:
        found = client.rehearse_function(
            name,
            _rehearsed(module),
            detached_signature=None if signature is None else signature.read_bytes(),
            limits=asked,
            grants=grants,
            env=variables,
            retry=retries,
            record=record or None,
            against=against,
        )
        _tell(found, as_json=as_json)
        return
    if against is not None:
        raise typer.BadParameter("--against goes with --dry-run.")
    digest = _named(client, module) or upload(client, _existing(module), signature).digest
    made = client.put_function(
        name,
        digest,
        limits=asked,
        grants=grants,
        env=variables,
        retry=retries,
        record=record or None,
        message=message,
        labels=labels,
    )
    facts = asdict(made) | {"module": digest}
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


def _tell(found: "Rehearsal", *, as_json: bool) -> None:
    """What would be, on stdout; what stands against it, on stderr and by the exit code."""
    if as_json:
        print_json(asdict(found) | {"passes": found.passes})
    else:
        print_facts(
            {
                "name": found.name,
                "version": f"{found.version} ({'new' if found.creates else 'as it is'})",
                "against": found.against,
            }
        )
        print_changes(found.changes)
        for refusal in found.refusals:
            say(f"Would be refused: {refusal.message} [{refusal.code}]")
            if hint := hint_for(refusal.code):
                say(f"Hint: {hint}")
        if found.passes:
            say("The deploy would pass; nothing was changed.")
    if not found.passes:
        raise typer.Exit(EXIT_REFUSED)


def _named(client: "Client", text: str) -> str | None:
    """The digest of a module that is at the gateway; None for what may be a file here."""
    if text.startswith("oci:"):
        return client.module_from_oci(text.removeprefix("oci:")).digest
    return text if text.startswith("sha256:") else None


def _rehearsed(text: str) -> str | bytes:
    """A digest, or a file's content, which goes along and is not stored."""
    if text.startswith("oci:"):
        raise typer.BadParameter(
            "Making a module of a pushed artifact stores it: give --dry-run a digest or a file.",
            param_hint="--module",
        )
    return text if text.startswith("sha256:") else _existing(text).read_bytes()


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise typer.BadParameter(
            f"{text!r} is neither a digest (sha256:…) nor a file.", param_hint="--module"
        )
    return path
