"""The breaker's pure rules; `tests/ports` runs them over Redis too."""

import pytest

from stockade.core.upstreams import BreakerPolicy, CallFailure, UpstreamState, Verdict
from stockade.retry.breakers import Breaker, needed, weight_of
from stockade.retry.rates import Rate

POLICY = BreakerPolicy(failures=5, window_ms=1000, probe_ms=100, max_probe_ms=300)
FAILED = CallFailure("5xx", 4, 8)


def opened() -> Breaker:
    it = Breaker()
    assert not it.fail(FAILED, POLICY, 0, 1.0)
    assert it.fail(FAILED, POLICY, 10, 1.0)
    return it


@pytest.mark.parametrize(
    ("successes", "trials", "failures"),
    [(0.0, 0.0, 5), (2.0, 2.0, 5), (50.0, 50.0, 3), (199.0, 200.0, 3), (100.0, 200.0, 11),
     (3.0, 200.0, 20)],
)  # fmt: skip
def test_how_many_failures_tell_an_outage_depends_on_the_usual_rate(
    successes: float, trials: float, failures: int
) -> None:
    assert needed(Rate(successes, trials), POLICY) == 4 * failures


def test_a_request_to_slow_down_weighs_a_quarter() -> None:
    assert (weight_of("5xx"), weight_of("timeout"), weight_of("429")) == (4, 4, 1)


def test_it_opens_and_gives_one_probe_at_a_time() -> None:
    it = opened()
    assert it.ask(50, 1000) == Verdict(60)
    assert it.ask(110, 1000) == Verdict(1000, 1)
    assert it.view("u", 200).state is UpstreamState.HALF_OPEN
    assert it.ask(200, 1000) == Verdict(910)
    assert it.ask(1110, 1000) == Verdict(1000, 2)
    assert it.close()
    assert it.ask(1111, 1000) == Verdict()
    assert not it.close()


def test_failed_probes_back_off_to_a_bound() -> None:
    it = opened()
    for now_ms, wait_ms in ((200, 200), (1000, 300), (2000, 300)):
        probe = it.ask(now_ms, 50).probe
        assert not it.fail(CallFailure("timeout", 4, 8, probe=probe), POLICY, now_ms, 1.0)
        assert it.until_ms == now_ms + wait_ms
    assert (it.failed_probes, it.view("u", 2001).cause) == (3, "timeout")


def test_only_the_probe_that_is_under_way_backs_off() -> None:
    it = opened()
    assert not it.fail(FAILED, POLICY, 20, 1.0)
    assert it.until_ms == 110
    it.ask(110, 50)
    it.ask(160, 50)
    it.fail(CallFailure("5xx", 4, 8, probe=1), POLICY, 170, 1.0)
    assert (it.failed_probes, it.until_ms) == (0, 210)


@pytest.mark.parametrize("now_ms", [1001, -1])
def test_a_run_ends_with_time_and_when_the_clock_goes_back(now_ms: int) -> None:
    it = Breaker()
    it.fail(FAILED, POLICY, 0, 1.0)
    assert not it.fail(FAILED, POLICY, now_ms, 1.0)
    assert it.since_ms == now_ms


def test_what_is_shared_goes_before_what_was_counted() -> None:
    it = Breaker()
    it.adopt(Verdict(), 5)
    assert it.view("u", 5).state is UpstreamState.CLOSED
    it.adopt(Verdict(100), 5)
    assert it.until_ms == 105
    assert it.view("u", 6).next_probe_ms == 105
    it.adopt(Verdict(), 6)
    assert it.view("u", 6).next_probe_ms is None
