"""`stockade replay`: run an attempt again, here, and say where it differs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.options import InvocationId, JsonFlag, pairs
from stockade.core.limits import HARD_CEILINGS
from stockade.core.walls import DEFAULT_REQUIRED

if TYPE_CHECKING:
    from stockade_client import Client

_Attempt = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Which attempt. Default: the last one.")
]
_Fuel = Annotated[
    int | None,
    typer.Option(min=1, max=HARD_CEILINGS.fuel, metavar="N", help="What if it had this fuel?"),
]
_Memory = Annotated[
    int | None,
    typer.Option(
        min=1, max=HARD_CEILINGS.memory_bytes, metavar="BYTES", help="What if it had this memory?"
    ),
]
_WallMs = Annotated[
    int | None,
    typer.Option(
        min=1, max=HARD_CEILINGS.wall_ms, metavar="MS", help="What if it had so long to run?"
    ),
]
_Input = Annotated[
    Path | None,
    typer.Option(
        "--input",
        "-i",
        exists=True,
        dir_okay=False,
        show_default=False,
        help="The input, where the platform did not keep it; it must be the very same.",
    ),
]
_Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="NAME=FILE",
        help="The value that a secret had. Recordings hold none; without it, text of the same "
        "length stands in. Repeatable.",
    ),
]
_PolicyDir = Annotated[
    Path | None,
    typer.Option(
        envvar="STOCKADE_POLICY_DIR",
        exists=True,
        file_okay=False,
        show_default=False,
        help="Directory with the policies. Default: those that were installed.",
    ),
]
_Walls = Annotated[
    str,
    typer.Option(
        "--require-walls",
        envvar="STOCKADE_REQUIRE_WALLS",
        metavar="WALL,…",
        help="The walls that must stand around it, as for 'stockade serve'.",
    ),
]


@connected
def replay(  # noqa: PLR0913 - one for each option
    client: "Client",
    invocation_id: InvocationId,
    *,
    attempt: _Attempt = None,
    fuel: _Fuel = None,
    memory: _Memory = None,
    wall_ms: _WallMs = None,
    input_file: _Input = None,
    secret: _Secrets = None,
    policy_dir: _PolicyDir = None,
    require_walls: _Walls = DEFAULT_REQUIRED,
    as_json: JsonFlag = False,
) -> None:
    """Run an attempt again on this machine, jailed, and check that it ends the same way.

    Outcome, output and fuel must be equal. A deterministic run needs nothing more; any other must
    have been recorded (functions deploy --record). --fuel, --memory and --wall-ms ask "what if".

    Exit codes: 0 equal, or what if was answered; 1 platform failure; 2 it cannot be replayed;
    5 it differs.

    Example: stockade replay 01900000-0000-7000-8000-000000000001 --fuel 50000000
    """
    from stockade.cli.replay_plan import fetch  # noqa: PLC0415 - keeps --help fast
    from stockade.cli.replay_report import tell  # noqa: PLC0415 - likewise
    from stockade.cli.replay_run import run_again  # noqa: PLC0415 - likewise

    asked = {"fuel": fuel, "memory_bytes": memory, "wall_ms": wall_ms}
    what_if = {name: value for name, value in asked.items() if value is not None}
    values = {
        name: Path(file).read_bytes() for name, file in pairs("--secret", secret or []).items()
    }
    fetched = fetch(client, invocation_id, attempt, input_file, what_if, values)
    engine, replayed = run_again(fetched.plan, policy_dir, require_walls)
    tell(fetched, engine, replayed, as_json=as_json)
