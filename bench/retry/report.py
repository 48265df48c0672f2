"""The evaluation's tables in Markdown, from the scores of all runs."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.retry.regimes import REGIMES
from bench.retry.simulate import Score

Scores = Mapping[tuple[str, str], Sequence[Score]]
"""By regime and policy, in the order of the seeds."""

POLICIES = ("never", "fixed-3", "fixed-5", "budget", "breaker", "learned", "oracle")
FIXED = ("never", "fixed-3", "fixed-5")
STATIONARY = ("mixed", "small tenants", "adversary", "steady")
SKIPPED = 500
"""Estimates of each run that calibration passes over."""
_T_95 = 2.09
"""Student's t for 19 degrees of freedom, two-sided."""


def with_interval(values: Sequence[float], digits: int) -> str:
    """The mean and half the width of its 95 % interval."""
    half = _T_95 * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.{digits}f} ± {half:.{digits}f}"


def ratio(
    scores: Scores, regime: str, other: str, measure: Callable[[Score], float]
) -> list[float]:
    """Learned over another, seed by seed."""
    pairs = zip(scores[regime, "learned"], scores[regime, other], strict=True)
    return [measure(ours) / max(measure(theirs), 1e-9) for ours, theirs in pairs]


def best_fixed(scores: Scores, regime: str) -> str:
    """The fixed baseline of the greatest worth."""
    return max(FIXED, key=lambda name: statistics.fmean(s.worth for s in scores[regime, name]))


def calibration_points(runs: Sequence[Score]) -> list[tuple[float, float, int]]:
    """Predicted, observed and how many, by tenths of the prediction, after the first estimates."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for run in runs:
        for chance, good in run.predicted[SKIPPED:]:
            bins.setdefault(min(9, int(chance * 10)), []).append((chance, good))
    return [
        (statistics.fmean(p for p, _ in found), statistics.fmean(o for _, o in found), len(found))
        for _, found in sorted(bins.items())
    ]


def calibration_error(runs: Sequence[Score]) -> float | None:
    """The mean distance of predicted from observed, weighted by how many; None for too few."""
    points = calibration_points(runs)
    count = sum(n for _, _, n in points)
    return sum(abs(p - o) * n for p, o, n in points) / count if count >= SKIPPED else None


def verdicts(scores: Scores) -> str:
    """Learned against fixed-5, the best fixed baseline and the oracle."""
    lines = [
        _row(
            "regime",
            "wasted / fixed-5",
            "goodput / fixed-5",
            "goodput / oracle",
            "worth / best fixed",
            "goodput / best fixed, first 200",
            "calibration error",
        ),
        _row(*["---"] * 7),
    ]
    for regime in (kind.name for kind in REGIMES):
        best = best_fixed(scores, regime)
        wasted = statistics.fmean(s.wasted_attempts for s in scores[regime, "fixed-5"])
        error = calibration_error(scores[regime, "learned"])
        cells = (
            with_interval(ratio(scores, regime, "fixed-5", lambda s: s.wasted_attempts), 2)
            if wasted
            else "fixed-5 wastes none",
            with_interval(ratio(scores, regime, "fixed-5", lambda s: s.goodput), 3),
            with_interval(ratio(scores, regime, "oracle", lambda s: s.goodput), 3),
            f"{_worth_ratio(scores, regime, best):.3f} ({best})",
            with_interval(ratio(scores, regime, best, lambda s: s.early), 3),
            "too few estimates" if error is None else f"{error:.3f}",
        )
        lines.append(f"| {regime} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _worth_ratio(scores: Scores, regime: str, best: str) -> float:
    ours, theirs = (
        statistics.fmean(s.worth for s in scores[regime, name]) for name in ("learned", best)
    )
    return ours / theirs


def details(scores: Scores) -> str:
    """Every policy in every regime."""
    lines = [
        _row(
            "regime",
            "policy",
            "goodput",
            "wasted attempts",
            "wasted fuel (millions)",
            "time to success (ms)",
            "regret against the oracle",
        ),
        _row(*["---"] * 7),
    ]
    for regime in (kind.name for kind in REGIMES):
        oracle = [run.worth for run in scores[regime, "oracle"]]
        for name in POLICIES:
            runs = scores[regime, name]
            regret = [best - run.worth for best, run in zip(oracle, runs, strict=True)]
            lines.append(
                f"| {regime} | {name} | {with_interval([s.goodput for s in runs], 3)}"
                f" | {with_interval([s.wasted_attempts for s in runs], 0)}"
                f" | {with_interval([s.wasted_fuel / 1e6 for s in runs], 0)}"
                f" | {with_interval([statistics.fmean(s.waits_ms) for s in runs], 0)}"
                f" | {with_interval(regret, 2)} |"
            )
    return "\n".join(lines)


def honest_tenant(scores: Scores) -> str:
    """What the adversary's neighbour completes."""
    cells = []
    for name in POLICIES:
        counts = [run.by_tenant["acme"] for run in scores["adversary", name]]
        cells.append(f"{name} {with_interval([good / jobs for jobs, good in counts], 3)}")
    return ", ".join(cells)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
