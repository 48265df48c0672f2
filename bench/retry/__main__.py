"""`python -m bench.retry`: the evaluation of retry policies, written into the docs."""

import argparse
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.retry import baselines, cost, report, svg
from bench.retry.regimes import REGIMES
from bench.retry.simulate import PolicyFactory, Score, simulate
from stockade.retry.learned import LearnedRetryPolicy

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "learned-retries.md"
_FIGURES = re.compile(r"(<!-- figures: begin -->\n).*(<!-- figures: end -->)", re.DOTALL)

MAKERS: dict[str, PolicyFactory | None] = {
    "never": lambda _: baselines.Never(),
    "fixed-3": lambda rng: baselines.Fixed(rng, 3),
    "fixed-5": lambda rng: baselines.Fixed(rng, 5),
    "budget": baselines.Budget,
    "breaker": baselines.Breaker,
    "learned": lambda rng: LearnedRetryPolicy(rng.random),
    "oracle": None,
}


def runs_of(task: tuple[str, str, int]) -> list[Score]:
    """All seeds of a policy in a regime."""
    name, policy, seeds = task
    regime = next(kind for kind in REGIMES if kind.name == name)
    return [simulate(regime, MAKERS[policy], seed) for seed in range(seeds)]


def main() -> None:
    """Runs all, prints the verdicts, and writes the page when asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.retry", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"write the figures into {PAGE.name}")
    asked = parser.parse_args()
    tasks = [(kind.name, policy, asked.seeds) for kind in REGIMES for policy in MAKERS]
    with ProcessPoolExecutor(2) as pool:
        scores = {
            (name, policy): found
            for (name, policy, _), found in zip(tasks, pool.map(runs_of, tasks), strict=True)
        }
    costs = cost.measured()
    print(report.verdicts(scores), costs, report.honest_tenant(scores), sep="\n\n")
    if asked.write:
        write(scores, costs, asked.seeds)


def write(scores: report.Scores, costs: str, seeds: int) -> None:
    """The page's figures and its plots."""
    text = "\n\n".join(
        (
            f"Means of {seeds} seeds with 95 % intervals; 3,000 invocations in each run.",
            report.verdicts(scores),
            costs,
            f"In *adversary* the honest tenant completes: {report.honest_tenant(scores)}.",
            "![Wasted attempts](learned-retries-waste.svg)",
            "![Regret](learned-retries-regret.svg)",
            "![Calibration](learned-retries-calibration.svg)",
            report.details(scores),
        )
    )
    page = _FIGURES.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", PAGE.read_text())
    PAGE.write_text(page)
    waste = _groups(scores, lambda run: run.wasted_attempts / run.jobs)
    regret = _groups(scores, lambda run: -run.worth)
    for row, (_, values) in enumerate(regret):
        regret[row] = regret[row][0], [value - values[-1] for value in values]
    plots = {
        "waste": svg.bars("Wasted attempts for each invocation", report.POLICIES, waste, 3.0),
        "regret": svg.bars("Regret for each invocation", report.POLICIES, regret, 5.0),
        "calibration": svg.calibration("Predicted and observed success", _calibrations(scores)),
    }
    for name, drawn in plots.items():
        (DOCS / f"learned-retries-{name}.svg").write_text(drawn)


def _groups(
    scores: report.Scores, measure: Callable[[Score], float]
) -> list[tuple[str, list[float]]]:
    return [
        (kind.name, [_mean(scores[kind.name, name], measure) for name in report.POLICIES])
        for kind in REGIMES
    ]


def _mean(runs: Sequence[Score], measure: Callable[[Score], float]) -> float:
    return sum(map(measure, runs)) / len(runs)


def _calibrations(scores: report.Scores) -> list[tuple[str, list[tuple[float, float]]]]:
    return [
        (name, [(p, o) for p, o, _ in report.calibration_points(scores[name, "learned"])])
        for name in report.STATIONARY
    ]


if __name__ == "__main__":
    main()
