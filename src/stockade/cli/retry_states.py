"""`stockade retries state|freeze|unfreeze|reset|export|import`: what was learned of retries."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli.connection import connected
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import Client, RetryState

app = typer.Typer(no_args_is_help=True, help="What was learned of retries.")

_PAGE, _IMPORTED = 200, 200
_MAX_FILE_BYTES = 256 * 1024 * 1024
_NO_EXPORT = "This file is no export of 'stockade retries export'."

_Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="A function; the whole tenant without.", show_default=False
    ),
]
_Version = Annotated[
    int | None,
    typer.Option("--version", min=1, help="Its version; the latest without.", show_default=False),
]
_Everything = Annotated[
    bool, typer.Option("--tenant", help="Yes, of the whole tenant: needed without a NAME.")
]


@app.command()
@connected
def state(
    client: "Client", name: _Name = None, version: _Version = None, *, as_json: JsonFlag = False
) -> None:
    """Show what was learned of a function's retries, or list all of the tenant's states.

    By class of failure: how often a retry succeeds, from how many fading trials, and how often
    the world changed meanwhile. A class reads outcome.limit.cause.FLAGS: whether the failure
    repeats the one before, whether others fail too, and the attempt.
    """
    if name is None:
        _list(client, as_json=as_json)
        return
    found = client.retry_state(name, version)
    if as_json:
        print_json(asdict(found))
        return
    print_facts(_facts(found))
    print_table(
        ("CLASS OF FAILURE", "SUCCESS", "TRIALS", "CHANGES"),
        (
            (one.basis, f"{one.success:.0%}", f"{one.trials:.0f}", str(one.changes))
            for one in found.retries
        ),
    )
    print_table(
        ("LIMIT", "RUNS", "HALF WITHIN", "95 % WITHIN", "99 % WITHIN"),
        (
            (limit, f"{need.seen:.0f}", *map(_size, (need.p50, need.p95, need.p99)))
            for limit, need in found.needs.items()
        ),
    )


@app.command()
@connected
def freeze(
    client: "Client", name: _Name = None, version: _Version = None, *, tenant: _Everything = False
) -> None:
    """Keep what was learned as it is: it decides, and nothing more is learned."""
    _check_meant(name, tenant=tenant)
    client.freeze_retries(name, version)
    say(f"What was learned of {_whose(name)} is frozen.")


@app.command()
@connected
def unfreeze(
    client: "Client", name: _Name = None, version: _Version = None, *, tenant: _Everything = False
) -> None:
    """Learn again."""
    _check_meant(name, tenant=tenant)
    client.unfreeze_retries(name, version)
    say(f"{_whose(name, capital=True)} is learned of again.")


@app.command()
@connected
def reset(
    client: "Client", name: _Name = None, version: _Version = None, *, tenant: _Everything = False
) -> None:
    """Forget what was learned. Budgets and freezes stay as they are."""
    _check_meant(name, tenant=tenant)
    count = client.reset_retries(name, version)
    say(f"Forgotten: {count} {'state' if count == 1 else 'states'}.")


@app.command()
@connected
def export(client: "Client", name: _Name = None, version: _Version = None) -> None:
    """Write what was learned to the standard output, as JSON, of a function or of the tenant."""
    pages = list(_pages(client, name, version))
    states = [one for page in pages for one in page["states"]]
    print_json({"format": pages[0]["format"], "tenant": pages[0]["tenant"], "states": states})


@app.command("import")
@connected
def import_(
    client: "Client",
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An export; '-' reads the standard input.",
            show_default=False,
        ),
    ],
) -> None:
    """Bring in an export of this tenant, in the place of what is known of the same functions."""
    exported = _read(file)
    states, count = exported["states"], 0
    for i in range(0, len(states), _IMPORTED):
        count += client.import_retries({**exported, "states": states[i : i + _IMPORTED]})
    say(f"Brought in: {count} {'state' if count == 1 else 'states'}.")


def _list(client: "Client", *, as_json: bool) -> None:
    found: list[RetryState] = []
    after: str | None = None
    while True:
        page, after = client.retry_states(after=after, limit=_PAGE)
        found += page
        if after is None:
            break
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ("OF", "FIRST ATTEMPTS SUCCEED", "TRIALS", "CLASSES", "OUT", "FROZEN", "BYTES"),
        map(_row, found),
    )


def _row(one: "RetryState") -> tuple[str, ...]:
    first, out = one.first_attempts, one.outage
    return (
        _scope(one),
        f"{first.success:.0%}" if first and first.trials else "-",
        f"{first.trials:.0f}" if first else "-",
        str(len(one.retries)),
        "yes" if out and out.is_out else "no",
        "yes" if one.frozen else "no",
        str(one.size_bytes or "unreadable"),
    )


def _scope(one: "RetryState") -> str:
    if one.function is not None:
        return f"{one.function} version {one.version}"
    return one.upstream or "(tenant)"


def _facts(one: "RetryState") -> dict[str, object]:
    facts: dict[str, object] = {"of": _scope(one), "frozen": "yes" if one.frozen else "no"}
    if one.set_aside or not one.readable:
        facts["set aside"] = "an earlier state could not be read; the fixed rules decide meanwhile"
    first, out = one.first_attempts, one.outage
    if first is not None and out is not None:
        facts["first attempts"] = f"{first.success:.0%} succeed ({first.trials:.0f} trials)"
        facts["outage"] = f"{out.failures} failures in a row" if out.is_out else "none"
        facts["outages seen"] = f"{out.outages_seen:.0f}"
        facts["size"] = f"{one.size_bytes} bytes"
    return facts


def _size(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _whose(name: str | None, *, capital: bool = False) -> str:
    whose = f"function {name}" if name else "the tenant"
    return whose.capitalize() if capital and not name else whose


def _check_meant(name: str | None, *, tenant: bool) -> None:
    if (name is None) is not tenant:
        raise typer.BadParameter("Name a function, or say --tenant for all of them.")


def _pages(client: "Client", name: str | None, version: int | None) -> Iterator[dict[str, Any]]:
    after: str | None = None
    while True:
        page = client.export_retries(name, version, after=after, limit=_PAGE)
        yield page
        after = page.get("next")
        if after is None:
            return


def _read(file: Path) -> dict[str, Any]:
    """The export; the gateway looks at what is in it."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as content:
            text = content.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None
    try:
        found = json.loads(text) if len(text) <= _MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("states"), list):
        raise typer.BadParameter(_NO_EXPORT)
    return found
