"""Where policies are found, and how questions and answers read; for `stockade policy`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.paths import policy_dir
from stockade.cli.words import say
from stockade.core.authorization import Question, ResourceKind, Vouching

if TYPE_CHECKING:
    from stockade.core.plans import Plans
    from stockade.infra.policies.cedar_policies import CedarPolicies

Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR]",
        exists=True,
        file_okay=False,
        help="Directory with *.cedar and the schema. Default: 'authorization' in the directory of"
        " policies.",
        show_default=False,
    ),
]
PolicyDir = Annotated[
    Path | None,
    typer.Option(
        "--policy-dir",
        envvar="STOCKADE_POLICY_DIR",
        exists=True,
        file_okay=False,
        help="Directory of policies, where DIR is not given. Default: those that were installed.",
        show_default=False,
    ),
]


def locate(directory: Path | None, policies: Path | None) -> Path:
    """The directory that was named, or `authorization` of the policies, which is then told.

    Raises:
        StockadeError: `cli.policies_missing`.
    """
    if directory is not None:
        return directory
    chosen = (policies or policy_dir()) / "authorization"
    say(f"The policies are those in {chosen}.")
    return chosen


def load(directory: Path) -> "CedarPolicies":
    """The policies, as a gateway reads them.

    Raises:
        StockadeError: `config.policies_invalid`.
    """
    from stockade.infra.policies.cedar_policies import CedarPolicies  # noqa: PLC0415 - keeps --help fast

    return CedarPolicies.load(directory)


def load_plans(policies: Path | None) -> "Plans":
    """The plans, as a gateway reads them.

    Raises:
        StockadeError: `config.limits_invalid`.
    """
    from stockade.infra.policies.watched_plans import plan_files  # noqa: PLC0415 - keeps --help fast

    return plan_files(policies or policy_dir()).current


def asked_of(asked: Question | Vouching) -> str:
    """A question in a line."""
    if isinstance(asked, Vouching):
        return (
            f"signer {asked.signer} of {asked.tenant}: vouch for a module of {asked.module.tenant}"
        )
    caller = asked.principal
    return f"{caller.kind.value} {caller.role.value}: {asked.action.value} {resource_of(asked)}"


def resource_of(asked: Question) -> str:
    """What is acted on, and whose it is when it is another tenant's."""
    resource = asked.resource
    name = "" if resource.kind is ResourceKind.TENANT else f" {resource.name[:19]}"
    foreign = "" if resource.tenant == asked.principal.tenant else f" of {resource.tenant}"
    return f"{resource.kind.value.lower()}{name}{foreign}"


def answer(*, allowed: bool) -> str:
    """In a word."""
    return "allow" if allowed else "deny"


def by(policies: Iterable[str]) -> str:
    """Which policies decided."""
    return ", ".join(sorted(policies)) or "(none permits)"
