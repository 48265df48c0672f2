"""Says what a replay came to: both endings side by side, and where they differ first."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from stockade.cli.words import EXIT_BROKEN, print_json, print_table, say
from stockade.core.replays import WALL, Difference, differences

if TYPE_CHECKING:
    from sandbox_worker.replay import Replayed
    from stockade.cli.replay_plan import Fetched

_DIGEST_CHARACTERS = 19
"""Enough to see that two differ; --json has them whole."""


def tell(fetched: "Fetched", engine: str, replayed: "Replayed", *, as_json: bool) -> None:
    """Both endings and the verdict; the exit code says whether they are equal.

    Raises:
        typer.Exit: they are not, and nobody asked what if.
    """
    found = _differences(fetched, replayed)
    if as_json:
        print_json(_facts(fetched, engine, replayed, found))
    else:
        _show(fetched, engine, replayed, found)
    if found and not fetched.what_if:
        raise typer.Exit(EXIT_BROKEN)


def _differences(fetched: "Fetched", replayed: "Replayed") -> tuple[Difference, ...]:
    """The host call first: what comes behind it follows from it."""
    call = () if replayed.difference is None else (replayed.difference,)
    return call + differences(fetched.expected, replayed.ending)


def _facts(
    fetched: "Fetched", engine: str, replayed: "Replayed", found: tuple[Difference, ...]
) -> dict[str, object]:
    attempt = fetched.attempt
    return {
        "id": attempt.id,
        "function": attempt.function,
        "version": attempt.version,
        "attempt": attempt.attempt,
        "equal": not found,
        "what_if": dict(fetched.what_if),
        "engine": {"recorded": attempt.engine, "here": engine, "same": attempt.engine == engine},
        "recorded": asdict(fetched.expected),
        "replayed": asdict(replayed.ending),
        "differences": [asdict(one) for one in found],
        "secrets_stood_in": list(replayed.stood_in),
    }


def _show(
    fetched: "Fetched", engine: str, replayed: "Replayed", found: tuple[Difference, ...]
) -> None:
    before, after = asdict(fetched.expected), asdict(replayed.ending)
    rows = ((name, _short(before[name]), _short(after[name])) for name in before)
    print_table(("", "RECORDED", "REPLAYED"), rows)
    attempt = fetched.attempt
    name = f"Attempt {attempt.attempt} of {attempt.function} (version {attempt.version})"
    if fetched.what_if:
        limits = ", ".join(f"{limit}={value}" for limit, value in fetched.what_if.items())
        say(f"{name} with {limits}: {'nothing would differ' if not found else 'see above'}.")
    elif found:
        say(f"{name} differs, first in {_place(found[0])}:")
        say(f"  recorded {found[0].expected}")
        say(f"  replayed {found[0].got}")
    else:
        say(f"{name} is equal: outcome, output and fuel.")
    for hint in _hints(fetched, engine, replayed, found):
        say(f"Hint: {hint}")


def _hints(
    fetched: "Fetched", engine: str, replayed: "Replayed", found: tuple[Difference, ...]
) -> list[str]:
    hints = []
    recorded = fetched.attempt.engine
    if recorded != engine:
        hints.append(
            f"The run was made by {recorded or 'an engine that was not noted'}; this is {engine}."
            " Another engine may count fuel in another way."
        )
    if replayed.stood_in and found:
        names = ", ".join(replayed.stood_in)
        hints.append(
            f"Text of the same length stood in for {names}. Give the values: --secret NAME=FILE."
        )
    if replayed.ending.limit == WALL:
        hints.append("The replay met its wall limit, which depends on the machine: --wall-ms.")
    return hints


def _place(one: Difference) -> str:
    return one.what if one.call is None else f"host call {one.call}"


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text[:_DIGEST_CHARACTERS] if text.startswith("sha256:") else text
