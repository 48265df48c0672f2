"""A tenant's plan: what its functions get and may ask for, also when it is lowered later."""

from dataclasses import dataclass, field, replace

import pytest

from stockade.core.limits import CEILINGS, DEFAULT_LIMITS, Limits
from stockade.core.plans import FixedPlans, Plan, Plans
from tests.unit.gateway.installation import Installation, installed, refused

SMALL = Plan("small", Limits(fuel=50, input_bytes=100), replace(CEILINGS, fuel=60, input_bytes=100))
INVOCATIONS = "/v1/functions/f/invocations"


@dataclass
class ChangingPlans:
    """The `PlanBook` port; a test changes what is in force."""

    current: Plans = field(default_factory=Plans)
    alarm: str | None = None


async def test_a_tenants_own_plan_completes_and_bounds_its_deploys() -> None:
    async with installed(plans=FixedPlans(Plans(tenants={"alice": SMALL}))) as gateway:
        assert (await gateway.deploy()).json()["limits"]["fuel"] == 50
        problem = refused(await gateway.deploy(limits={"fuel": 61}), 400, "limits.above_ceiling")
        assert problem["facts"] == {"limit": "fuel", "asked": 61, "ceiling": 60, "plan": "small"}


async def test_another_tenants_plan_changes_nothing() -> None:
    async with installed(plans=FixedPlans(Plans(tenants={"bob": SMALL}))) as gateway:
        assert (await gateway.deploy()).json()["limits"]["fuel"] == DEFAULT_LIMITS.fuel


@pytest.fixture
async def lowered() -> object:
    plans = ChangingPlans()
    async with installed(plans=plans) as gateway:
        assert (await gateway.deploy(limits={"wall_ms": 7})).status_code == 201
        plans.current = Plans(SMALL)
        yield gateway


async def test_a_lowered_ceiling_counts_for_what_was_deployed_before(
    lowered: Installation,
) -> None:
    answer = await lowered.worked(lowered.invoke(b"x"))
    assert answer.status_code == 200
    (claim,) = lowered.claims
    asked = replace(DEFAULT_LIMITS, wall_ms=7)
    assert claim.invocation.content.limits == SMALL.clamp(asked)
    assert claim.invocation.content.limits == replace(asked, fuel=60, input_bytes=100)
    assert (await lowered.http.get("/v1/functions/f")).json()["limits"]["fuel"] == asked.fuel


async def test_inputs_are_bounded_by_the_lowered_ceiling_on_every_way(
    lowered: Installation,
) -> None:
    refused(await lowered.invoke(b"x" * 101), 413, "request.too_large")
    refused(await lowered.http.post(INVOCATIONS, content=b"x" * 101), 413, "request.too_large")
    lines = b'"' + b"x" * 100 + b'"\n"ok"\n'
    headers = {"content-type": "application/x-ndjson"}
    answer = await lowered.http.post(f"{INVOCATIONS}:batch", content=lines, headers=headers)
    assert '"code": "request.too_large"' in answer.text.splitlines()[0]
    assert '"id"' in answer.text.splitlines()[1]
    schedule = {"function": "f", "every_seconds": 3600, "input": "x" * 101}
    answer = await lowered.http.put("/v1/schedules/s", json=schedule)
    refused(answer, 413, "schedule.input_too_large")


async def test_lines_and_submissions_run_under_the_lowered_ceiling(lowered: Installation) -> None:
    headers = {"content-type": "application/x-ndjson"}
    await lowered.http.post(f"{INVOCATIONS}:batch", content=b"1\n2\n", headers=headers)
    await lowered.http.post(INVOCATIONS, content=b"3")
    for _ in range(3):
        await lowered.work()
    assert [claim.invocation.content.limits.fuel for claim in lowered.claims] == [60] * 3


async def test_a_raised_ceiling_lets_the_deployed_limits_count_again() -> None:
    plans = ChangingPlans(Plans(SMALL))
    async with installed(plans=plans) as gateway:
        assert (await gateway.deploy(limits={"fuel": 60})).status_code == 201
        plans.current = Plans(replace(SMALL, ceilings=CEILINGS))
        await gateway.worked(gateway.invoke())
        assert gateway.claims[0].invocation.content.limits.fuel == 60
