from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.limits import CEILINGS, DEFAULT_LIMITS, HARD_CEILINGS, LIMIT_NAMES, Limits
from stockade.core.plans import FixedPlans, Plan, Plans

SMALL = Plan("small", Limits(fuel=10), replace(CEILINGS, fuel=100, wall_ms=20_000))


def test_a_tenant_has_its_plan_or_the_default() -> None:
    plans = Plans(Plan(), {"acme": SMALL})
    assert plans.of("acme") is SMALL
    assert plans.of("other") == Plan("default", DEFAULT_LIMITS, CEILINGS)
    assert FixedPlans().current.of("acme").name == "default"
    assert FixedPlans().alarm is None


def test_a_deploy_is_completed_and_refused_by_the_plan() -> None:
    assert SMALL.limits({"wall_ms": 20_000}) == Limits(fuel=10, wall_ms=20_000)
    with pytest.raises(StockadeError, match="this tenant's ceiling is 100, by the plan 'small'"):
        SMALL.limits({"fuel": 101})
    with pytest.raises(StockadeError) as caught:
        SMALL.limits({"fuel": 101})
    assert caught.value.detail == {"limit": "fuel", "asked": 101, "ceiling": 100, "plan": "small"}


def test_what_is_above_a_ceiling_is_cut_down_and_the_rest_left() -> None:
    assert SMALL.clamp(DEFAULT_LIMITS) == replace(DEFAULT_LIMITS, fuel=100)
    assert SMALL.clamp(HARD_CEILINGS) == SMALL.ceilings
    within = Limits(fuel=100)
    assert SMALL.clamp(within) is within


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_a_plan_that_cannot_be_kept_is_none(name: str) -> None:
    most = getattr(HARD_CEILINGS, name)
    with pytest.raises(ValueError, match=f"the ceiling of {name} is above {most}"):
        Plan("p", DEFAULT_LIMITS, replace(HARD_CEILINGS, **{name: most + 1}))
    with pytest.raises(ValueError, match=f"the default of {name} is not between 1"):
        Plan("p", replace(DEFAULT_LIMITS, **{name: most + 1}), HARD_CEILINGS)
    with pytest.raises(ValueError, match=f"the default of {name} is not between 1"):
        Plan("p", replace(DEFAULT_LIMITS, **{name: 0}))
