"""`stockade runs list` and `export`, and `stockade usage`: what ended, and what it cost."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, Run, RunFilter, UsageOfDay

_Function = Annotated[
    str | None, typer.Option("--function", "-f", show_default=False, help="Of this function.")
]
_Version = Annotated[
    int | None, typer.Option(min=1, show_default=False, help="Of this version of --function.")
]
_Outcome = Annotated[
    str | None, typer.Option(show_default=False, help="completed, trapped, limit_exceeded, …")
]
_Exceeded = Annotated[
    str | None, typer.Option(show_default=False, help="That exceeded this limit, such as fuel.")
]
_Since = Annotated[
    str | None,
    typer.Option(show_default=False, help="That ended then or later: 2030-01-31T12:00:00Z."),
]
_Until = Annotated[str | None, typer.Option(show_default=False, help="That ended before.")]
_Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]
_FirstDay = Annotated[
    str | None,
    typer.Option("--first-day", metavar="DAY", show_default=False, help="From this UTC day on."),
]
_LastDay = Annotated[
    str | None,
    typer.Option("--last-day", metavar="DAY", show_default=False, help="Up to and with this one."),
]


@connected
def list_runs(
    client: "Client",
    *,
    function: _Function = None,
    version: _Version = None,
    outcome: _Outcome = None,
    exceeded: _Exceeded = None,
    since: _Since = None,
    until: _Until = None,
    limit: _Limit = 100,
    as_json: JsonFlag = False,
) -> None:
    """List runs that ended, newest end first.

    What waits or runs is not among them. A redriven invocation has a run for each end.

    Example: stockade runs list --function hello --outcome limit_exceeded
    """
    wanted = _wanted(function, version, outcome, exceeded, since, until)
    found = list(islice(client.all_runs(wanted), limit))
    if as_json:
        print_json([asdict(run) for run in found])
        return
    head = ("ENDED", "ID", "FUNCTION", "OUTCOME", "LIMIT", "ATTEMPTS", "WALL MS", "FUEL", "DETAIL")
    print_table(head, map(_row, found))


@connected
def export_runs(
    client: "Client",
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", dir_okay=False, show_default=False, help="Else stdout."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            show_default=False,
            help="Goes on after the line with this place, in a file that is appended to.",
        ),
    ] = None,
    function: _Function = None,
    version: _Version = None,
    outcome: _Outcome = None,
    exceeded: _Exceeded = None,
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Write runs with their attempts as NDJSON, one run a line, oldest end first.

    It comes in pages, so it may be as long as it likes. The last line's place goes on with it.

    Example: stockade runs export --since 2030-01-01T00:00:00Z --out runs.ndjson
    """
    wanted = _wanted(function, version, outcome, exceeded, since, until)
    _write(client.run_lines(wanted, after=after), out, "a" if after else "w")


@connected
def usage(
    client: "Client",
    *,
    function: _Function = None,
    first_day: _FirstDay = None,
    last_day: _LastDay = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what was used, by function and UTC day, newest day first, with the sum below.

    A run counts on the day it ended, an attempt and its cost on the day that the attempt ended.

    Example: stockade usage --first-day 2030-01-01 --last-day 2030-01-31
    """
    from stockade_client import UsageFilter  # noqa: PLC0415 - httpx is slow to import

    found = list(client.all_usage(UsageFilter(function, first_day, last_day)))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    head = ("DAY", "FUNCTION", "RUNS", "COMPLETED", "ATTEMPTS", "FUEL", "GB-SECONDS", "WALL S")
    rows = [(one.day, one.function, *_figures([one])) for one in found]
    rows.append(("total", "", *_figures(found)))
    print_table((*head, "IN BYTES", "OUT BYTES", "HOST CALLS"), rows)


def _figures(days: "list[UsageOfDay]") -> tuple[object, ...]:
    """Added up as whole numbers, and told apart only then."""
    amounts = [one.usage for one in days]
    memory_kib_ms = sum(one.memory_kib_ms for one in amounts)
    return (
        sum(sum(one.runs.values()) for one in days),
        sum(one.runs.get("completed", 0) for one in days),
        sum(one.attempts for one in days),
        sum(one.fuel for one in amounts),
        f"{memory_kib_ms / 976_562_500:.6f}",
        f"{sum(one.wall_us for one in amounts) / 1_000_000:.3f}",
        sum(one.input_bytes for one in amounts),
        sum(one.output_bytes for one in amounts),
        sum(one.host_calls for one in amounts),
    )


def _wanted(
    function: str | None,
    version: int | None,
    outcome: str | None,
    exceeded: str | None,
    since: str | None,
    until: str | None,
) -> "RunFilter":
    from stockade_client import RunFilter  # noqa: PLC0415 - httpx is slow to import

    return RunFilter(function, version, outcome, exceeded, since, until)


def _row(run: "Run") -> tuple[object, ...]:
    return (
        _time(run.finished_ms),
        run.id + (f" redrive {run.redrive}" if run.redrive else ""),
        run.function,
        run.outcome,
        run.limit or "",
        run.attempt_count,
        f"{run.usage.wall_us / 1000:.3f}",
        run.usage.fuel,
        run.detail or "",
    )


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"  # a clock that jumped


def _write(lines: Iterable[str], out: Path | None, mode: str) -> None:
    count = 0
    with nullcontext(sys.stdout) if out is None else out.open(mode, encoding="ascii") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    say(f"{count} runs.")
