"""`stockade runs`: look at invocations, past and present."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from stockade.cli.connection import connected
from stockade.cli.options import InvocationId, JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, safe, say, write_output

if TYPE_CHECKING:
    from stockade_client import Client, Invocation

app = typer.Typer(no_args_is_help=True, help="Look at invocations: state, output, logs.")


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


@app.command()
@connected
def logs(client: "Client", invocation_id: InvocationId, *, as_json: JsonFlag = False) -> None:
    """Show what the guest logged; control characters are escaped."""
    found = client.logs(invocation_id)
    if as_json:
        print_json(asdict(found))
        return
    for line in found.lines:
        typer.echo(f"{safe(line.level):5}  {safe(line.text)}")
    if found.truncated:
        say("The guest logged more than its limit; the rest was dropped.")


@app.command()
@connected
def cancel(client: "Client", invocation_id: InvocationId) -> None:
    """End a queued invocation, or stop a running one."""
    client.cancel(invocation_id)
    say(f"Invocation {invocation_id} is being cancelled.")


def _print_record(record: "Invocation") -> None:
    facts = asdict(record)
    attempts, usage = facts.pop("attempts"), facts.pop("usage")
    print_facts(facts | (usage if record.done else {}))
    if attempts:
        typer.echo()
        rows = (
            (item.number, item.outcome, f"{item.usage.wall_ms:.3f}", item.usage.fuel, item.reason)
            for item in record.attempts
        )
        print_table(("ATTEMPT", "OUTCOME", "WALL MS", "FUEL", "REASON"), rows)
