"""`stockade invoke`: run a function once."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import (
    AliasOption,
    InputFile,
    InputText,
    VersionOption,
    read_input,
)
from stockade.cli.words import safe, say, write_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from stockade_client import Client, InvokeResult, Usage

_LONGEST_GATEWAY_WAIT_SECONDS = 30.0

_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The function's name.", show_default=False)
]
_Async = Annotated[
    bool, typer.Option("--async", help="Queue it, print its id, and do not wait for it.")
]
_Key = Annotated[
    str | None,
    typer.Option(help="Repeating the same call with this key runs nothing twice."),
]
_Wait = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long to wait.")]


@connected
def invoke(
    client: "Client",
    name: _Name,
    *,
    input_file: InputFile = None,
    data: InputText = None,
    do_not_wait: _Async = False,
    idempotency_key: _Key = None,
    wait: _Wait = 60.0,
    alias: AliasOption = None,
    version: VersionOption = None,
) -> None:
    """Run a function on an input; its output goes to stdout, what it cost to stderr.

    Exit codes: 0 completed, 1 platform failure, 2 refused, 3 the guest failed, 4 still running.

    Example: echo hello | stockade invoke shout --input -
    """
    content = read_input(input_file, data)
    if do_not_wait:
        submit = partial(client.submit, alias=alias, version=version)
        typer.echo(safe(submit(name, content, idempotency_key=idempotency_key)))
        return
    start = partial(client.invoke, name, content, alias=alias, version=version)
    _run(client, partial(start, idempotency_key=idempotency_key), wait)


def _run(client: "Client", start: "Callable[..., InvokeResult]", wait_seconds: float) -> None:
    """Waits within the call first, then by looking at the record."""
    from stockade_client import InvocationPending  # noqa: PLC0415 - keeps --help fast

    first = min(wait_seconds, _LONGEST_GATEWAY_WAIT_SECONDS)
    try:
        result = start(wait_seconds=first)
    except InvocationPending as pending:
        record = client.wait(pending.invocation_id, wait_seconds - first)
        output = client.result(record.id)
        _tell(record.id, len(record.attempts), record.usage, output)
    else:
        _tell(result.invocation_id, result.attempts, result, result.output)


def _tell(invocation_id: str, attempts: int, cost: "InvokeResult | Usage", output: bytes) -> None:
    write_output(output)
    say(
        f"completed attempts={attempts} fuel={cost.fuel} "
        f"peak_memory_bytes={cost.peak_memory_bytes} wall_ms={cost.wall_ms:.3f} "
        f"output_bytes={len(output)} id={invocation_id}"
    )
