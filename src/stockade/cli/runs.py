"""`stockade runs`: look at invocations, past and present."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.attempts import print_attempts
from stockade.cli.connection import connected
from stockade.cli.history import export_runs, list_runs
from stockade.cli.logs import logs
from stockade.cli.options import InvocationId, JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, say, write_output

if TYPE_CHECKING:
    from stockade_client import Client, Invocation

_MaybeId = Annotated[
    str | None, typer.Argument(metavar="ID", help="The invocation's id.", show_default=False)
]

app = typer.Typer(
    no_args_is_help=True,
    help="Look at runs: state, reasons of retries, output, history.",
)


app.command("list")(list_runs)
app.command("export")(export_runs)


@app.command()
@connected
def show(client: "Client", invocation_id: InvocationId, *, as_json: JsonFlag = False) -> None:
    """Show where an invocation stands, how it ended, and what it cost."""
    record = client.get(invocation_id)
    if as_json:
        print_json(asdict(record))
        return
    _print_record(record)


@app.command()
@connected
def result(client: "Client", invocation_id: InvocationId) -> None:
    """Write the output of a completed invocation to stdout."""
    write_output(client.result(invocation_id))


app.command()(logs)


@app.command()
@connected
def cancel(client: "Client", invocation_id: InvocationId) -> None:
    """End a queued invocation, or stop a running one."""
    client.cancel(invocation_id)
    say(f"Invocation {invocation_id} is being cancelled.")


@app.command()
@connected
def dead(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List what failed for good and can be redriven, newest first."""
    found = client.dead_letters(limit=1000)
    if as_json:
        print_json([asdict(record) for record in found])
        return
    rows = (
        (item.id, item.function, item.outcome, item.limit or "", len(item.attempts), item.detail)
        for item in found
    )
    print_table(("ID", "FUNCTION", "OUTCOME", "LIMIT", "ATTEMPTS", "DETAIL"), rows)


@app.command()
@connected
def redrive(
    client: "Client",
    invocation_id: _MaybeId = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Redrive all dead letters.")] = False,
) -> None:
    """Queue a dead letter again, or all of them: settings kept, attempts counted on."""
    if (invocation_id is None) != every:
        raise typer.BadParameter("Give an id, or --all.")
    if invocation_id is not None:
        client.redrive(invocation_id)
        say(f"Invocation {invocation_id} is queued again.")
        return
    say(f"{len(client.redrive_all())} invocations are queued again.")


def _print_record(record: "Invocation") -> None:
    facts = asdict(record)
    attempts, usage = facts.pop("attempts"), facts.pop("usage")
    events, cut = facts.pop("events"), facts.pop("events_truncated")
    if record.progress is not None:
        facts["progress"] = f"{record.progress.percent} % {record.progress.message}"
    print_facts(facts | (usage if record.done else {}))
    if attempts:
        typer.echo()
        print_attempts(record.attempts)
    if events:
        typer.echo()
        print_table(("EVENT", "DATA"), ((item["name"], item["data"]) for item in events))
    if cut:
        say("The guest emitted more events than its limit; the rest was dropped.")
