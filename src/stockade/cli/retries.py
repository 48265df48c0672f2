"""`stockade retries`: what retries came to."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from stockade.cli.connection import connected
from stockade.cli.function_options import FunctionName, OfAlias, OfVersion
from stockade.cli.options import JsonFlag
from stockade.cli.words import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from stockade_client import CalibrationBin, Client, RetryReport

app = typer.Typer(no_args_is_help=True, help="What retries came to, and what was learned.")


@app.command()
@connected
def report(
    client: "Client",
    name: FunctionName,
    *,
    alias: OfAlias = None,
    version: OfVersion = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare a function's retry policy with the one in its shadow, over what happened.

    What is saved and lost is counted; what is added and won is reckoned from the estimates.
    """
    found = client.retry_report(name, alias=alias, version=version)
    if as_json:
        print_json(asdict(found))
        return
    print_facts(_facts(found))
    _print_reasons(found)
    _print_calibration(found)
    if not found.decisions:
        say("No failure was decided by both policies yet.")


def _facts(found: "RetryReport") -> dict[str, object]:
    effect = found.effect
    facts: dict[str, object] = {
        "name": found.name,
        "version": found.version,
        "policy": found.policy,
        "shadow": found.shadow or "none: it is never tried again",
        "attempts": f"{found.attempts} ({found.completed} completed)",
        "failures decided": found.decisions,
    }
    if not found.decisions:
        return facts
    return facts | {
        "both retry": f"{found.both_retry} ({found.other_limits} under other limits)",
        "both stop": found.both_stop,
        "shadow stops": found.shadow_stops,
        "shadow retries": found.shadow_retries,
        "mean delay": _delays(found),
        "shadow saves": f"{effect.saved_attempts} attempts, {effect.saved_fuel} fuel",
        "shadow loses": f"{effect.lost_successes} successes",
        "shadow adds": f"{effect.added_attempts:.1f} attempts, {effect.added_fuel} fuel (reckoned)",
        "shadow wins": f"{effect.won_successes:.1f} successes (reckoned)",
        "not estimated": effect.unestimated or None,
    }


def _delays(found: "RetryReport") -> str | None:
    if found.mean_delay_ms is None or found.shadow_mean_delay_ms is None:
        return None
    return f"{found.mean_delay_ms:.0f} ms, shadow {found.shadow_mean_delay_ms:.0f} ms"


def _print_reasons(found: "RetryReport") -> None:
    codes = sorted({*found.reasons, *found.shadow_reasons})
    if codes:
        typer.echo()
        ruled, would = found.reasons, found.shadow_reasons
        rows = ((code, ruled.get(code, 0), would.get(code, 0)) for code in codes)
        print_table(("REASON", found.policy.upper(), "SHADOW"), rows)


def _print_calibration(found: "RetryReport") -> None:
    calibration = found.calibration
    if not calibration.bins:
        return
    typer.echo()
    rows = (_bin_row(one) for one in calibration.bins)
    print_table(("CHANCE", "RETRIES", "PREDICTED", "OBSERVED"), rows)
    say(f"Estimates are off by {calibration.error or 0:.3f} on average.")


def _bin_row(one: "CalibrationBin") -> tuple[object, ...]:
    between = f"{one.least:.0%} to {one.most:.0%}"
    return between, one.trials, f"{one.predicted:.0%}", f"{one.observed:.0%}"
