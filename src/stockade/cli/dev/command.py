"""`stockade dev`: all of Stockade on this machine, with one command."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from stockade.cli.dev.data_dir import choose_port, locked
from stockade.cli.parent import die_with as end_with
from stockade.cli.reporting import reported

_Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Where the gateway listens; 0 takes a free port.")
]
_DataDir = Annotated[
    Path, typer.Option(file_okay=False, help="Keeps everything: queue, modules, catalog, key.")
]
_Fsync = Annotated[
    Literal["always", "everysec"],
    typer.Option(help="'everysec' is faster, and may lose the last second in a power cut."),
]
_Capacity = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="How many invocations run at once; twice the number of processors when left out.",
        show_default=False,
    ),
]
_PolicyDir = Annotated[
    Path | None,
    typer.Option(
        envvar="STOCKADE_POLICY_DIR",
        exists=True,
        file_okay=False,
        resolve_path=True,
        help="Policies of your own, in place of those that Stockade comes with.",
        show_default=False,
    ),
]


_Ratio = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        envvar="STOCKADE_TRACE_RATIO",
        help="Which share of traces is recorded, all when left out; failures always are.",
        show_default=False,
    ),
]
_Collector = Annotated[
    str | None,
    typer.Option(
        envvar="STOCKADE_OTLP_ENDPOINT",
        help="Send spans to this collector (OTLP over HTTP), such as http://127.0.0.1:4318.",
        show_default=False,
    ),
]


@reported
def dev(
    *,
    port: _Port = 8080,
    data_dir: _DataDir = Path(".stockade"),
    fsync: _Fsync = "always",
    workers_capacity: _Capacity = None,
    policy_dir: _PolicyDir = None,
    trace_ratio: _Ratio = None,
    otlp_endpoint: _Collector = None,
    die_with: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run all of Stockade on this machine: an embedded Valkey, the gateway, a worker.

    When it can serve, it prints one JSON line with its URL and the file that holds the API key of
    the tenant 'dev', made on the first start. Logs go to stderr. Ctrl-C (or SIGTERM) finishes what
    runs and stops all of it; a second one does not wait.
    """
    if die_with is not None:
        end_with(die_with, signal.SIGTERM)
    with locked(data_dir) as held:
        chosen = choose_port(port)
        from stockade.cli.dev.stack import DevPlan, DevStack  # noqa: PLC0415 - keeps --help fast
        from stockade.infra.logging import configure_logging  # noqa: PLC0415 - likewise

        configure_logging("dev", "info")
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every look
        plan = DevPlan(
            held, chosen, fsync, workers_capacity, policy_dir, trace_ratio, otlp_endpoint
        )
        asyncio.run(DevStack(plan).run())
