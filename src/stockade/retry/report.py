"""What a version's tally says: how its retry policy and the shadow compare, and what held true."""

from collections.abc import Mapping
from dataclasses import dataclass

from stockade.retry.tallying import BINS, MILLI


@dataclass(frozen=True, slots=True)
class Bin:
    """Retries whose estimate lay between `least` and `most`: the mean of it, and what came."""

    least: float
    most: float
    trials: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Estimates of success against what happened. `error` is the mean distance, by trials."""

    trials: int
    error: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class ShadowEffect:
    """What would have changed had the shadow ruled.

    Saved and lost are counted as they happened; added and won are reckoned by the estimates that
    stood in the records. `unestimated` are additions without one: no success is reckoned of them.
    """

    saved_attempts: int
    saved_fuel: int
    lost_successes: int
    added_attempts: float
    added_fuel: int
    won_successes: float
    unestimated: int


@dataclass(frozen=True, slots=True)
class RetryReport:
    """A function version's failures, as its retry policy and the shadow decided them.

    `both_retry`, `both_stop`, `shadow_stops` and `shadow_retries` part the `decisions`. The mean
    delays are of those that both tried again.
    """

    attempts: int
    completed: int
    decisions: int
    both_retry: int
    both_stop: int
    shadow_stops: int
    shadow_retries: int
    other_limits: int
    mean_delay_ms: float | None
    shadow_mean_delay_ms: float | None
    reasons: Mapping[str, int]
    shadow_reasons: Mapping[str, int]
    effect: ShadowEffect
    calibration: Calibration


def report_of(tally: Mapping[str, int]) -> RetryReport:
    """Reads a tally; what is not in it is zero."""

    def count(name: str) -> int:
        return tally.get(name, 0)

    both = count("both.retry")
    return RetryReport(
        attempts=count("runs"),
        completed=count("completed"),
        decisions=count("decisions"),
        both_retry=both,
        both_stop=count("both.stop"),
        shadow_stops=count("shadow.stops"),
        shadow_retries=count("shadow.retries"),
        other_limits=count("other.limits"),
        mean_delay_ms=count("delay.ruled_ms") / both if both else None,
        shadow_mean_delay_ms=count("delay.would_ms") / both if both else None,
        reasons=_behind("ruled.", tally),
        shadow_reasons=_behind("would.", tally),
        effect=_effect(tally),
        calibration=calibration_of(tally),
    )


def calibration_of(tally: Mapping[str, int]) -> Calibration:
    """The bins that have any trials."""
    bins = tuple(_bin(tally, i) for i in range(BINS) if tally.get(f"bin.{i}.trials", 0) > 0)
    trials = sum(one.trials for one in bins)
    off = sum(one.trials * abs(one.predicted - one.observed) for one in bins)
    return Calibration(trials, off / trials if trials else None, bins)


def _bin(tally: Mapping[str, int], i: int) -> Bin:
    trials = tally[f"bin.{i}.trials"]
    predicted = tally.get(f"bin.{i}.expected", 0) / MILLI / trials
    observed = tally.get(f"bin.{i}.successes", 0) / trials
    return Bin(i / BINS, (i + 1) / BINS, trials, predicted, observed)


def _effect(tally: Mapping[str, int]) -> ShadowEffect:
    return ShadowEffect(
        saved_attempts=tally.get("saved.attempts", 0),
        saved_fuel=tally.get("saved.fuel", 0),
        lost_successes=tally.get("lost.successes", 0),
        added_attempts=tally.get("added.attempts", 0) / MILLI,
        added_fuel=tally.get("added.fuel", 0),
        won_successes=tally.get("won.successes", 0) / MILLI,
        unestimated=tally.get("added.unknown", 0),
    )


def _behind(prefix: str, tally: Mapping[str, int]) -> dict[str, int]:
    found = {name: count for name, count in tally.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): found[name] for name in sorted(found)}
