from dataclasses import asdict, replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.limits import (
    CEILINGS,
    DEFAULT_LIMITS,
    LIMIT_NAMES,
    Limits,
    limits_from_request,
)


def test_nothing_asked_is_the_defaults() -> None:
    assert limits_from_request({}) == DEFAULT_LIMITS


def test_what_is_asked_replaces_its_default_alone() -> None:
    assert limits_from_request({"fuel": 7}) == replace(DEFAULT_LIMITS, fuel=7)


def test_the_tenants_own_defaults_and_ceilings_count() -> None:
    defaults, ceilings = Limits(wall_ms=3), Limits(fuel=9)
    assert limits_from_request({"fuel": 9}, defaults, ceilings) == replace(defaults, fuel=9)
    with pytest.raises(StockadeError, match=r"^limits\.above_ceiling"):
        limits_from_request({"fuel": 10}, defaults, ceilings)


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_one_and_the_ceiling_itself_are_allowed(name: str) -> None:
    ceiling = asdict(CEILINGS)[name]
    assert asdict(limits_from_request({name: 1}))[name] == 1
    assert asdict(limits_from_request({name: ceiling}))[name] == ceiling


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_above_the_ceiling_is_refused_with_the_figures(name: str) -> None:
    ceiling = asdict(CEILINGS)[name]
    with pytest.raises(StockadeError) as caught:
        limits_from_request({name: ceiling + 1})
    assert caught.value.code == "limits.above_ceiling"
    assert caught.value.detail == {
        "limit": name,
        "asked": ceiling + 1,
        "ceiling": ceiling,
        "plan": "default",
    }


@pytest.mark.parametrize("name", LIMIT_NAMES)
@pytest.mark.parametrize("value", [0, -1, -(10**30)])
def test_less_than_one_is_refused(name: str, value: int) -> None:
    with pytest.raises(StockadeError, match=r"^limits\.not_positive"):
        limits_from_request({name: value})


@pytest.mark.parametrize("name", ["", "Fuel", "memory", "__class__", "fuel "])
def test_an_unknown_limit_is_refused_and_the_known_are_named(name: str) -> None:
    with pytest.raises(StockadeError) as caught:
        limits_from_request({"fuel": 1, name: 1})
    assert caught.value.code == "limits.unknown"
    assert all(known in caught.value.message for known in LIMIT_NAMES)


def test_no_default_is_above_its_ceiling() -> None:
    assert limits_from_request(asdict(DEFAULT_LIMITS)) == DEFAULT_LIMITS
