"""The evaluation of retry policies: repeatable, and drawn as sound SVG."""

import random
from xml.etree import ElementTree as ET

import pytest

from bench.retry import svg
from bench.retry.regimes import Adversary, BrownOut, Steady
from bench.retry.simulate import simulate
from bench.retry.world import World
from stockade.retry.learned import LearnedRetryPolicy
from stockade.retry.types import RetryPolicy


class FewJobs(Adversary):
    jobs = 400


def learned(rng: random.Random) -> RetryPolicy:
    return LearnedRetryPolicy(rng.random)


@pytest.mark.parametrize("regime", [Steady, FewJobs])
def test_a_seed_gives_the_same_run_again(regime: type[World]) -> None:
    assert simulate(regime, learned, 3) == simulate(regime, learned, 3)
    assert simulate(regime, learned, 3) != simulate(regime, learned, 4)


def test_the_oracle_outlasts_a_brown_out() -> None:
    assert simulate(BrownOut, None, 1).goodput > 0.99


def test_a_tenant_that_always_fails_takes_nothing_from_another() -> None:
    jobs, completed = simulate(FewJobs, learned, 0).by_tenant["acme"]
    assert completed / jobs > 0.95


def test_plots_are_sound_svg() -> None:
    bars = svg.bars("<waste>", ["a", "b"], [("x & y", [0.5, 9.0])], 3.0)
    line = svg.calibration("c", [("one", [(0.1, 0.2), (0.9, 0.8)])])
    for drawn in (bars, line):
        assert ET.fromstring(drawn).tag.endswith("svg")  # noqa: S314 (our own)
