"""`stockade logs`: what a guest logged, and what it logs while it runs."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import InvocationId, JsonFlag
from stockade.cli.words import print_json, safe, say

if TYPE_CHECKING:
    from stockade_client import Client, Logs, RunEvent

_Follow = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Go on until the run is done; each line as it is logged."),
]


@connected
def logs(
    client: "Client",
    invocation_id: InvocationId,
    *,
    follow: _Follow = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what the guest logged, in all attempts; control characters are escaped.

    With --follow states, progress and what was dropped go to stderr; with --json as well, each
    event is one line of JSON, events of the guest too.
    """
    if follow:
        for event in client.events(invocation_id):
            typer.echo(json.dumps(asdict(event))) if as_json else _print_event(event)
        return
    found = client.logs(invocation_id)
    if as_json:
        print_json(asdict(found))
    else:
        _print_logs(found)


def _print_logs(found: "Logs") -> None:
    many = len({line.attempt for line in found.lines}) > 1
    for line in found.lines:
        attempt = f"{line.attempt:>2}  " if many else ""
        typer.echo(f"{attempt}{safe(line.level):5}  {safe(line.text)}")
    if found.truncated:
        say("The guest logged more than its limit, or than is kept; the rest was dropped.")


def _print_event(event: "RunEvent") -> None:
    facts = event.data
    match event.kind:
        case "log":
            typer.echo(f"{safe(facts.get('level', '')):5}  {safe(facts.get('text', ''))}")
        case "state":
            say(_state(event))
        case "progress":
            say(f"{facts.get('percent')} % {facts.get('message')}")
        case "dropped":
            count = facts.get("count")
            many = "The rest" if count is None else f"{count}"
            say(f"{many} of attempt {facts.get('attempt')}'s {facts.get('what')} dropped.")
        case _:
            pass


def _state(event: "RunEvent") -> str:
    facts = event.data
    match facts.get("state"):
        case "queued":
            return "Queued."
        case "running":
            return f"Attempt {facts.get('attempt')} runs."
        case "retry":
            ended = f"Attempt {facts.get('attempt')} ended: {facts.get('outcome')}."
            return f"{ended} {facts.get('reason')}"
        case "done":
            detail = facts.get("detail")
            return f"Done: {facts.get('outcome')}." + (f" {detail}" if detail else "")
        case state:
            return f"{state}."
