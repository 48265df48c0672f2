"""Limits that follow what runs needed, at the gateway: deployed, judged, bounded, compared."""

from dataclasses import replace

import pytest

from stockade.core.actions import Action
from stockade.core.limits import CEILINGS, DEFAULT_LIMITS
from stockade.core.plans import FixedPlans, Plan, Plans
from tests.unit.gateway.installation import Installation, installed, refused
from tests.unit.gateway.test_authorization import DenyAll

SMALL = Plan("small", ceilings=replace(CEILINGS, fuel=2_000_000_000, memory_bytes=128 * 2**20))
NO_WAIT = {"stockade_wait_seconds": "0"}


async def test_all_that_can_be_learned_or_some_of_it(gateway: Installation) -> None:
    every = (await gateway.deploy(limits="auto")).json()
    assert every["auto_limits"] == ["fuel", "memory_bytes", "wall_ms"]
    assert every["limits"]["fuel"] == DEFAULT_LIMITS.fuel
    some = (await gateway.deploy(limits={"fuel": "auto", "wall_ms": 7})).json()
    assert (some["auto_limits"], some["limits"]["wall_ms"]) == (["fuel"], 7)
    assert (some["version"], (await gateway.deploy()).json()["auto_limits"]) == (2, [])


async def test_the_same_again_makes_no_new_version_and_a_diff_names_what_differs(
    gateway: Installation,
) -> None:
    await gateway.deploy(limits={"wall_ms": "auto", "fuel": "auto"})
    assert (await gateway.deploy(limits={"fuel": "auto", "wall_ms": "auto"})).status_code == 200
    await gateway.deploy(limits={"fuel": "auto"})
    shown = (await gateway.http.get("/v1/functions/f/diff?from=1&to=2")).json()
    assert shown["changes"] == {"auto_limits": {"removed": ["wall_ms"]}}


async def test_an_invocation_brings_the_ceilings_along_where_limits_rise_or_would() -> None:
    async with installed(plans=FixedPlans(Plans(SMALL))) as gateway:
        settings: tuple[dict[str, object], ...] = (
            {"limits": "auto"},
            {"retry": {"policy": "learned"}},
            {"retry": {"policy": "never"}, "limits": {"fuel": "auto"}},
            {"retry": {"policy": "fixed"}},
            {"retry": {"policy": "never"}},
        )
        for asked in settings:
            await gateway.deploy(**asked)
            await gateway.worked(gateway.invoke())
        found = [claim.invocation.ceilings for claim in gateway.claims]
        assert found == [*(SMALL.ceilings,) * 4, None]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, (DEFAULT_LIMITS.fuel, DEFAULT_LIMITS.wall_ms)),
        ({"limits": {"fuel": "auto"}}, (SMALL.ceilings.fuel, DEFAULT_LIMITS.wall_ms)),
        ({"limits": "auto"}, (SMALL.ceilings.fuel, SMALL.ceilings.wall_ms)),
        ({"retry": {"policy": "learned"}}, (SMALL.ceilings.fuel, SMALL.ceilings.wall_ms)),
    ],
)
async def test_policies_are_asked_about_the_most_that_an_attempt_may_get(
    asked: dict[str, object], told: tuple[int, int]
) -> None:
    engine = DenyAll(frozenset(Action) - {Action.DEPLOY})
    async with installed(policies=engine, plans=FixedPlans(Plans(SMALL))) as gateway:
        refused(await gateway.deploy(**asked), 403, "auth.denied")
        context = engine.asked[-1].context
        assert (context["fuel"], context["wall_ms"]) == told


async def test_inputs_are_bounded_as_ever(gateway: Installation) -> None:
    await gateway.deploy(limits={"fuel": "auto", "input_bytes": 10})
    refused(await gateway.invoke(b"x" * 11, **NO_WAIT), 413, "request.too_large")


async def test_a_rehearsal_gathers_what_is_wrong_with_it(gateway: Installation) -> None:
    digest = (await gateway.upload()).json()["digest"]
    asked = {"module": digest, "limits": {"host_calls": "auto"}, "concurrency": 0}
    answer = await gateway.http.put("/v1/functions/f?dry_run=true", json=asked)
    codes = [one["code"] for one in answer.json()["refusals"]]
    assert codes == ["limits.not_learned", "function.concurrency_invalid"]
