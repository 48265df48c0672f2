"""Which address a request counts for, and how those that guess are slowed."""

import pytest
from starlette.requests import Request

from gateway import sources
from gateway.settings import GatewaySettings
from gateway.sources import BURST, PER_SECOND, FailureThrottle, parse_networks, source_of
from stockade.core.errors import StockadeError
from tests.unit.gateway.installation import SETTINGS

PROXIES = parse_networks("10.0.0.0/8, fd00::/8")


def _from(client: str | None, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    scope = {"type": "http", "headers": headers, "client": client and (client, 1)}
    return source_of(Request(scope), PROXIES)


@pytest.mark.parametrize(
    ("client", "forwarded", "source"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", (), "2001:db8:1:2::/64"),
        ("fe80::1%eth0", (), "fe80::/64"),
        ("::ffff:192.0.2.7", (), "192.0.2.7"),
        (None, (), ""),
        ("unix", (), "unix"),
        # What the sender says of itself is nothing.
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1, 10.0.0.1",), "192.0.2.7"),
        # A proxy of ours says where it came from: the last word that is not of ours.
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1, 10.0.0.2",), "198.51.100.1"),
        ("fd00::1", ("2001:db8::9",), "2001:db8::/64"),
        ("::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("::ffff:10.0.0.2, ::ffff:198.51.100.1",), "198.51.100.1"),
        # A proxy that adds a line of its own behind a forged one.
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1"), "198.51.100.1"),
        # A proxy that says nothing stands for itself.
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", (" , ,",), "10.0.0.1"),
        ("10.0.0.1", ("unknown",), "unknown"),
        ("10.0.0.1", ("x" * 100_000,), "x" * 64),
    ],
)
def test_the_source_of_a_request(
    client: str | None, forwarded: tuple[str, ...], source: str
) -> None:
    assert _from(client, *forwarded) == source


def test_networks_that_are_none_stop_the_start() -> None:
    assert parse_networks(" , ") == ()
    for text in ("10.0.0.0/33", "10.0.0.1/8", "localhost", "10.0.0.0/8;fd00::/8"):
        with pytest.raises(ValueError, match=r"trusted_proxies"):
            GatewaySettings.model_validate(SETTINGS.model_dump() | {"trusted_proxies": text})


class Time:
    """Stands still until told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1_000.0
        monkeypatch.setattr(sources.time, "monotonic", lambda: self.seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def _wait_ms(throttle: FailureThrottle, source: str) -> int:
    with pytest.raises(StockadeError) as caught:
        throttle.check(source)
    assert (caught.value.code, caught.value.retryable) == ("auth.too_many_failures", True)
    wait_ms = caught.value.detail["retry_after_ms"]
    assert isinstance(wait_ms, int)
    return wait_ms


def test_a_source_has_a_burst_and_then_regains_slowly(time: Time) -> None:
    throttle = FailureThrottle()
    for _ in range(BURST):
        throttle.check("a")
        throttle.failed("a")
    wait_ms = _wait_ms(throttle, "a")
    assert wait_ms == pytest.approx(1000 / PER_SECOND, abs=2)
    throttle.check("b")
    time.seconds += wait_ms / 1000
    throttle.check("a")
    throttle.failed("a")
    assert _wait_ms(throttle, "a") == pytest.approx(1000 / PER_SECOND, abs=2)
    time.seconds += BURST / PER_SECOND
    for _ in range(BURST):
        throttle.check("a")
        throttle.failed("a")


def test_nobody_is_shut_out_for_long_whatever_came_at_once(time: Time) -> None:
    throttle = FailureThrottle()
    for _ in range(10_000):
        throttle.failed("a")
    wait_ms = _wait_ms(throttle, "a")
    assert wait_ms <= 11 * 60 * 1000
    time.seconds += wait_ms / 1000
    throttle.check("a")


def test_what_is_remembered_of_sources_is_bounded(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_MAX_SOURCES", 3)
    throttle = FailureThrottle()
    for _ in range(BURST):
        throttle.failed("old")
    for number in range(3):
        throttle.failed(f"s{number}")
        throttle.failed("kept" if number else "old")
        time.seconds += 0.001
    assert len(throttle._spent) == 3
    assert "kept" in throttle._spent
    throttle.check("s0")
