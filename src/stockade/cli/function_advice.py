"""`stockade functions advise`: what limits a function should have."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from stockade.cli.connection import connected
from stockade.cli.function_options import FunctionName, OfAlias, OfVersion
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_json, print_table, safe, say

if TYPE_CHECKING:
    from stockade_client import Client, LimitAdvice

_HEAD = ("LIMIT", "PRESENT", "CEILING", "RUNS", "P50", "P95", "P99", "MOST", "PASSED", "SUGGESTED")


@connected
def advise(
    client: "Client",
    name: FunctionName,
    *,
    alias: OfAlias = None,
    version: OfVersion = None,
    as_json: JsonFlag = False,
) -> None:
    """Suggest fuel, memory and time limits, by what runs needed.

    Sizes are right within a tenth. A run that passed its limit counts as twice the limit.
    """
    found = client.advice(name, alias=alias, version=version)
    if as_json:
        print_json(asdict(found))
        return
    say(f"Function {found.name}, version {found.version}")
    print_table(_HEAD, map(_row, found.limits))
    typer.echo()
    for one in found.limits:
        typer.echo(f"{safe(one.limit)}: {safe(one.sentence)}")


def _row(one: "LimitAdvice") -> tuple[object, ...]:
    sizes = ("-" if size is None else size for size in (one.p50, one.p95, one.p99, one.most))
    present = f"auto ({one.present})" if one.automatic else one.present
    suggested = "-" if one.suggested is None else one.suggested
    return (one.limit, present, one.ceiling, one.runs, *sizes, one.failures, suggested)
