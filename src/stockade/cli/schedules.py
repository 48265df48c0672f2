"""`stockade schedules`: functions that run by the clock."""

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.durations import span_seconds
from stockade.cli.options import (
    AliasOption,
    InputFile,
    InputText,
    JsonFlag,
    VersionOption,
    read_input,
)
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, Cron, Every, Schedule

app = typer.Typer(no_args_is_help=True, help="Run functions by the clock.")

_SHOWN_CHARACTERS = 60


class _Priority(StrEnum):
    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class _CatchUp(StrEnum):
    SKIP = "skip"
    ONE = "one"
    ALL = "all"


_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.", show_default=False)
]
_Function = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="The function to run.", show_default=False)
]
_CronOption = Annotated[
    str | None,
    typer.Option(
        "--cron",
        metavar="EXPRESSION",
        help="Minute, hour, day of month, month and day of week.",
        show_default=False,
    ),
]
_ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone",
        metavar="ZONE",
        help="IANA time zone that --cron is read in; UTC when left out.",
        show_default=False,
    ),
]
_EveryOption = Annotated[
    str | None,
    typer.Option(
        "--every",
        metavar="INTERVAL",
        help="Such as 30s, 5m, 12h or 1d; a bare number is seconds.",
        show_default=False,
    ),
]
_AnchorOption = Annotated[
    str | None,
    typer.Option(
        "--anchor",
        metavar="TIME",
        help="Where --every counts from, such as 2030-01-31T12:00:00Z; now when left out.",
        show_default=False,
    ),
]
_PriorityOption = Annotated[
    _Priority, typer.Option("--priority", help="Order among the tenant's own runs.")
]
_CatchUpOption = Annotated[
    _CatchUp,
    typer.Option(
        "--catch-up", help="Of times that were missed: fire none, one for all, or each of them."
    ),
]


@app.command("set")
@connected
def set_(  # noqa: PLR0913 - one for each option
    client: "Client",
    name: _Name,
    function: _Function,
    *,
    cron: _CronOption = None,
    zone: _ZoneOption = None,
    every: _EveryOption = None,
    anchor: _AnchorOption = None,
    input_file: InputFile = None,
    data: InputText = None,
    alias: AliasOption = None,
    version: VersionOption = None,
    priority: _PriorityOption = _Priority.NORMAL,
    catch_up: _CatchUpOption = _CatchUp.ONE,
) -> None:
    """Create a schedule, or replace one; one that is paused stays so.

    Example: stockade schedules set nightly report --cron "30 3 * * MON-FRI" --zone Europe/Berlin

    Example: stockade schedules set poll fetch-feed --every 5m --data '{"feed": 7}'
    """
    timing = _timing(cron, zone, every, anchor)
    content = read_input(input_file, data)
    kept = client.put_schedule(
        name,
        function,
        timing,
        content,
        alias=alias,
        version=version,
        priority=priority.value,
        catch_up=catch_up.value,
    )
    say(f"Schedule {name} is set; {_coming(kept)}.")


@app.command("list")
@connected
def list_(client: "Client", *, as_json: JsonFlag = False) -> None:
    """List schedules: when each fires next, and what kept it from firing."""
    found = client.schedules()
    if as_json:
        print_json([_facts(one) for one in found])
        return
    rows = (
        (one.name, one.function, _words(one), _next(one), _when(one.last_ms), _trouble(one))
        for one in found
    )
    print_table(("NAME", "FUNCTION", "WHEN", "NEXT", "LAST", "TROUBLE"), rows)


@app.command()
@connected
def show(client: "Client", name: _Name, *, as_json: JsonFlag = False) -> None:
    """Show a schedule, its last firing, and its next five times."""
    one = client.schedule(name)
    if as_json:
        print_json(_facts(one))
        return
    facts: dict[str, object] = {
        "name": one.name,
        "function": one.function,
        "alias": one.alias,
        "version": one.version,
        "when": _words(one),
        "anchor": _when(one.anchor_ms) or None,
        "catch_up": one.catch_up,
        "priority": one.priority,
        "input": _start(one.content) or None,
        "paused": one.paused,
        "last": _when(one.last_ms) or None,
        "last_invocation": one.last_invocation,
        "trouble": _trouble(one) or None,
    }
    print_facts(facts)
    if one.refusal is not None:
        say(f"{one.refusal.message} It is tried again.")
    typer.echo()
    print_table(("NEXT (UTC)", "LOCAL"), ((time.utc, time.local) for time in one.next_times))


@app.command()
@connected
def pause(client: "Client", name: _Name) -> None:
    """Keep a schedule from firing until it is resumed."""
    client.pause_schedule(name)
    say(f"Schedule {name} is paused.")


@app.command()
@connected
def resume(client: "Client", name: _Name) -> None:
    """Let a schedule fire from now on; what the pause kept from firing does not."""
    say(f"Schedule {name} goes on; {_coming(client.resume_schedule(name))}.")


@app.command()
@connected
def delete(client: "Client", name: _Name) -> None:
    """Delete a schedule; what it fired goes on."""
    client.delete_schedule(name)
    say(f"Schedule {name} is deleted.")


def _timing(
    cron: str | None, zone: str | None, every: str | None, anchor: str | None
) -> "Cron | Every":
    from stockade_client import Cron, Every  # noqa: PLC0415 - keeps --help fast

    if (cron is None) == (every is None):
        raise typer.BadParameter("Give --cron or --every.")
    if cron is not None:
        if anchor is not None:
            raise typer.BadParameter("--anchor goes with --every.")
        return Cron(cron, "UTC" if zone is None else zone)
    if zone is not None:
        raise typer.BadParameter("--zone goes with --cron.")
    return Every(span_seconds("--every", every or ""), anchor)


def _facts(one: "Schedule") -> dict[str, object]:
    return asdict(one) | {"content": _text(one.content)}


def _text(content: bytes) -> str:
    return content.decode(errors="backslashreplace")


def _start(content: bytes) -> str:
    text = _text(content)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return f"{text[:_SHOWN_CHARACTERS]}… ({len(content)} bytes)"


def _words(one: "Schedule") -> str:
    return f"{one.cron} {one.time_zone}" if one.cron is not None else f"every {one.every_seconds} s"


def _coming(one: "Schedule") -> str:
    if one.paused:
        return "it is paused"
    return f"it fires next at {_next(one)}" if one.next_ms is not None else "it never fires again"


def _next(one: "Schedule") -> str:
    return "paused" if one.paused else _when(one.next_ms)


def _trouble(one: "Schedule") -> str:
    return "" if one.refusal is None else f"{one.refusal.code} ({one.refusal.count} times)"


def _when(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
