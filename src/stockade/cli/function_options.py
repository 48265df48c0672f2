"""Arguments that the commands about functions share, and how times are told."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stockade.cli.options import whole_numbers
from stockade.core.limits import AUTO, LEARNED_LIMITS

if TYPE_CHECKING:
    from stockade_client.calls import AskedLimits

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
OfAlias = Annotated[
    str | None, typer.Option("--alias", help="The version this points to.", show_default=False)
]
OfVersion = Annotated[
    int | None,
    typer.Option("--version", min=1, help="This version, not the latest.", show_default=False),
]


def asked_limits(each: list[str], every: str | None) -> "AskedLimits":
    """What `--limit` (`NAME=NUMBER` or `NAME=auto`) and `--limits auto` ask for together.

    Raises:
        typer.BadParameter: One of them is not of that form.
    """
    if every not in {None, AUTO}:
        raise typer.BadParameter(f"It can only be {AUTO!r}.", param_hint="--limits")
    auto = [text.partition("=")[0] for text in each if text.endswith(f"={AUTO}")]
    numbers = whole_numbers("--limit", [text for text in each if not text.endswith(f"={AUTO}")])
    learned = (*(LEARNED_LIMITS if every else ()), *auto)
    found: dict[str, int | Literal["auto"]] = dict.fromkeys(learned, AUTO)
    return found | numbers


def asked_retry(policy: str | None, max_attempts: int | None) -> dict[str, object] | None:
    """The settings that `--retry` and `--max-attempts` ask for; None leaves the defaults."""
    given = {"policy": policy, "max_attempts": max_attempts}
    return {name: value for name, value in given.items() if value is not None} or None


def when(time_ms: int) -> str:
    """A time in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
