"""`stockade functions alias`, `promote`, `rollback` and the like."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.connection import connected
from stockade.cli.function_options import AliasName, ExpectedRevision, FunctionName, when
from stockade.cli.options import JsonFlag, pairs, whole_numbers
from stockade.cli.words import print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Alias, Client

_PARAMETER = "VERSION=SHARE"


@connected
def alias(
    client: "Client",
    name: FunctionName,
    alias_name: AliasName,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="VERSION[=SHARE]…",
            help="One version; or several, by weight (3=9 4=1) or in percent (3=95% 4=5%).",
        ),
    ],
    *,
    expect: ExpectedRevision = None,
) -> None:
    """Point an alias to a version, or share it out over several.

    Example: stockade functions alias hello prod 3=95% 4=5%
    """
    if len(targets) == 1 and targets[0].isdecimal():
        version = int(targets[0])
        made = client.put_alias(name, alias_name, version=version, expected_revision=expect)
    elif all(target.endswith("%") for target in targets):
        percent = _percentages(targets)
        made = client.put_alias(name, alias_name, percent=percent, expected_revision=expect)
    else:
        weights = whole_numbers(_PARAMETER, targets)
        shares = {int(version): share for version, share in weights.items()}
        made = client.put_alias(name, alias_name, weights=shares, expected_revision=expect)
    _tell(made)


@connected
def aliases(client: "Client", name: FunctionName, *, as_json: JsonFlag = False) -> None:
    """List a function's aliases: where they point, and who pointed them there."""
    found = client.aliases(name)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = (
        (one.name, _shares(one.percent), one.revision, when(one.changed_ms), one.changed_by)
        for one in found
    )
    print_table(("ALIAS", "VERSIONS", "REVISION", "CHANGED", "BY"), rows)


@connected
def promote(
    client: "Client",
    name: FunctionName,
    alias_name: AliasName,
    source: Annotated[
        str,
        typer.Argument(
            metavar="VERSION|ALIAS",
            help="What it is to point to: a version, or what another alias points to.",
            show_default=False,
        ),
    ],
    *,
    percent: Annotated[
        float | None,
        typer.Option(help="How much of the alias it gets; all when left out.", show_default=False),
    ] = None,
    expect: ExpectedRevision = None,
    as_json: JsonFlag = False,
) -> None:
    """Point an alias to a version or to what another alias has, at once or step by step.

    Twice does no more than once.

    Example: stockade functions promote hello prod canary --percent 5
    """
    chosen = int(source) if source.isascii() and source.isdecimal() else source
    made = client.promote(name, alias_name, chosen, percent=percent, expected_revision=expect)
    _answer(made, as_json=as_json)


@connected
def rollback(
    client: "Client",
    name: FunctionName,
    alias_name: AliasName,
    *,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="REVISION",
            min=1,
            help="Go back to this one; 'stockade functions history' lists them.",
            show_default=False,
        ),
    ] = None,
    expect: ExpectedRevision = None,
    as_json: JsonFlag = False,
) -> None:
    """Point an alias to what it pointed to before; again goes further back."""
    seen = client.alias(name, alias_name).revision if expect is None else expect
    made = client.rollback(name, alias_name, to_revision=to, expected_revision=seen)
    _answer(made, as_json=as_json)


@connected
def history(
    client: "Client", name: FunctionName, alias_name: AliasName, *, as_json: JsonFlag = False
) -> None:
    """Show how an alias changed: from what to what, when, by whom."""
    found = client.alias_history(name, alias_name)
    if as_json:
        print_json([asdict(change) for change in found])
        return
    rows = (
        (one.revision, one.verb, _weights(one.before), _weights(one.after), when(one.at_ms), one.by)
        for one in found
    )
    print_table(("REVISION", "CHANGE", "FROM", "TO", "WHEN", "BY"), rows)


@connected
def unalias(
    client: "Client", name: FunctionName, alias_name: AliasName, *, expect: ExpectedRevision = None
) -> None:
    """Delete an alias; its history stays."""
    client.delete_alias(name, alias_name, expected_revision=expect)


def _answer(made: "Alias", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(made))
    else:
        _tell(made)


def _tell(made: "Alias") -> None:
    done = "points to" if made.changed else "points already to"
    say(f"Alias {made.name} {done} {_shares(made.percent)} (revision {made.revision}).")


def _shares(percent: Mapping[int, float]) -> str:
    if len(percent) == 1:
        return str(next(iter(percent)))
    return ", ".join(f"{version}={share:g}%" for version, share in percent.items())


def _weights(weights: Mapping[int, int] | None) -> str:
    if weights is None:
        return "-"
    whole = sum(weights.values())
    return _shares({version: 100 * share / whole for version, share in weights.items()})


def _percentages(targets: list[str]) -> dict[int, float]:
    given = pairs(_PARAMETER, [target.removesuffix("%") for target in targets])
    try:
        return {int(version): float(share) for version, share in given.items()}
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint=_PARAMETER) from error
