"""Arguments that the commands about functions share, and how times are told."""

from datetime import UTC, datetime
from typing import Annotated

import typer

FunctionName = Annotated[
    str, typer.Argument(metavar="NAME", help="The function's name.", show_default=False)
]
AliasName = Annotated[
    str, typer.Argument(metavar="ALIAS", help="Such as prod or canary.", show_default=False)
]
ExpectedRevision = Annotated[
    int | None,
    typer.Option(
        "--expect",
        metavar="REVISION",
        min=0,
        help="Change nothing unless the alias is at this revision; 0 is none yet.",
        show_default=False,
    ),
]


def when(time_ms: int) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
