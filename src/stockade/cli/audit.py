"""`stockade audit`: who did what and who was refused what, and whether anybody touched the log."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.audit_check import Report, check_chain, print_reports
from stockade.cli.audit_sources import DatabaseLogs, lines_of_files, lines_of_gateway
from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import AuditEntry, Client

app = typer.Typer(
    no_args_is_help=True, help="Look at the audit log, export it, and verify that it is whole."
)
_PAGE = 1000
_Text = Annotated[str | None, typer.Option(show_default=False)]
_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        exists=True,
        dir_okay=False,
        show_default=False,
        help="Exports, oldest first, verified offline. Without one the gateway's log is verified.",
    ),
]
_Checkpoint = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        show_default=False,
        help="File that remembers how far the log was sound, and the operator's key. It is made, or"
        " must fit, and goes on to the new head. Keep it where the operator cannot write.",
    ),
]
_PublicKey = Annotated[
    str | None,
    typer.Option(show_default=False, help="The operator's key, 64 hexadecimal digits."),
]
_Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL", show_default=False, help="For operators: all chains, in the database itself."
    ),
]
_KeyFile = Annotated[
    Path | None,
    typer.Option(dir_okay=False, show_default=False, help="With --database-url: the audit key."),
]
_Chain = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        help="With --database-url: this tenant's, or _platform: what belongs to no tenant.",
    ),
]


@app.command("list")
@connected
def list_entries(
    client: "Client",
    *,
    action: _Text = None,
    principal: _Text = None,
    target: Annotated[
        str | None,
        typer.Option("--object", show_default=False, help="Name, digest or id acted on."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(show_default=False, help="As 2030-01-31T12:00:00Z.")
    ] = None,
    until: _Text = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE)] = 100,
    before: Annotated[
        int | None, typer.Option(show_default=False, help="Goes on before this number.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List audit entries, newest first.

    Actions that change something have two: 'begun' before and 'done' after, with a code when they
    failed. A 'begun' without a 'done' says that a gateway died between: nobody knows how it ended.

    Example: stockade audit list --action deploy --object hello
    """
    from stockade_client import AuditFilter  # noqa: PLC0415 - httpx is slow to import

    wanted = AuditFilter(action, principal, target, since, until)
    found = client.audit(wanted, limit=limit, before=before)
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    head = ("NO", "TIME", "KIND", "ACTION", "OBJECT", "PRINCIPAL", "SOURCE", "CODE", "REQUEST")
    print_table(head, map(_row, found))


@app.command()
@connected
def export(
    client: "Client",
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", dir_okay=False, show_default=False, help="Else stdout."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, show_default=False, help="Goes on after the entry of this number."),
    ] = None,
    database_url: _Database = None,
    audit_key_file: _KeyFile = None,
    chain: _Chain = None,
) -> None:
    """Write the log as NDJSON, one entry a line in canonical form, the signed head last.

    Example: stockade audit export --out audit.ndjson
    """
    if database_url is not None:
        if after is not None or chain is None:
            raise typer.BadParameter("With --database-url give --chain, and no --after.")
        with _database(database_url, audit_key_file).opened() as logs:
            _write(logs.lines(chain), out)
    else:
        _write(lines_of_gateway(client, after), out)


@app.command()
@connected
def verify(
    client: "Client",
    files: _Files = None,
    *,
    checkpoint: _Checkpoint = None,
    public_key: _PublicKey = None,
    database_url: _Database = None,
    audit_key_file: _KeyFile = None,
    chain: _Chain = None,
    as_json: JsonFlag = False,
) -> None:
    """Verify that nobody edited, deleted, added or moved an entry; names the first that is wrong.

    What is missing at the end, or written anew from some entry on, shows by the signed head; an old
    state that was put back as a whole, and whatever somebody with the operator's key did, shows by
    a checkpoint alone. Ends with 5 when something is wrong.

    Examples: stockade audit verify --checkpoint ~/stockade-audit.json;
    stockade audit verify audit.ndjson
    """
    if database_url is not None:
        reports = _verify_database(database_url, audit_key_file, chain)
    else:
        lines = lines_of_files(files) if files else lines_of_gateway(client, None)
        reports = [check_chain(lines, checkpoint, public_key)]
    print_reports(reports, as_json=as_json)


def _verify_database(url: str, key_file: Path | None, chain: str | None) -> list[Report]:
    from stockade.core.audit_chain import head_is_signed  # noqa: PLC0415 - beside its use

    with _database(url, key_file).opened() as logs:
        return [
            check_chain(
                logs.lines(name), None, None, name, lambda head: head_is_signed(head, logs.signer)
            )
            for name in (logs.chains() if chain is None else [chain])
        ]


def _write(lines: Iterable[str], out: Path | None) -> None:
    count = 0
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="ascii") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    say(f"{count} lines.")


def _database(url: str, key_file: Path | None) -> DatabaseLogs:
    if key_file is None:
        raise typer.BadParameter("With --database-url give --audit-key-file.")
    return DatabaseLogs(url, key_file)


def _row(entry: "AuditEntry") -> tuple[object, ...]:
    time = datetime.fromtimestamp(entry.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    target = f"{entry.object_kind} {entry.object}".strip()
    count = f" x{entry.count}" if entry.count != 1 else ""
    return (
        entry.sequence,
        time,
        entry.kind + count,
        entry.action,
        target,
        entry.principal,
        entry.source,
        entry.code,
        entry.request,
    )
