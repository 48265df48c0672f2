"""A version's retry policy beside its shadow, and what its limits should be, over HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stockade.core.errors import StockadeError
from stockade.core.learned_states import LearnedState, Scope, StateWrite
from stockade.core.limits import CEILINGS
from stockade.core.plans import FixedPlans, Plan, Plans
from stockade.core.retry_tallies import Tally, VersionKey
from stockade.infra.memory.memory_learned_states import MemoryLearnedStates
from stockade.infra.memory.memory_retry_tallies import MemoryRetryTallies
from stockade.infra.system_clock import SystemClock
from stockade.retry.parts import Lesson, Part
from stockade.retry.state import plain
from tests.unit.gateway.installation import Installation, installed, refused

PATH = "/v1/functions/f/retry-report"
TALLY = {"runs": 9, "decisions": 2, "both.retry": 2, "delay.ruled_ms": 300, "ruled.backoff": 2}


async def test_the_report_of_a_version(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.deploy(retry={"policy": "learned"})
    await gateway.deploy(retry={"policy": "never"})
    tallies = gateway.services.tallies
    await tallies.add({("alice", "f", 1): TALLY, ("bob", "f", 2): {"runs": 77}})
    first = (await gateway.http.get(f"{PATH}?version=1")).json()
    assert (first["name"], first["version"]) == ("f", 1)
    assert (first["policy"], first["shadow"], first["attempts"]) == ("fixed", "learned", 9)
    assert (first["mean_delay_ms"], first["reasons"]) == (150.0, {"backoff": 2})
    second = (await gateway.http.get(f"{PATH}?version=2")).json()
    assert (second["policy"], second["shadow"], second["attempts"]) == ("learned", "fixed", 0)
    assert second["calibration"] == {"trials": 0, "error": None, "bins": []}
    latest = (await gateway.http.get(PATH)).json()
    assert (latest["version"], latest["policy"], latest["shadow"]) == (3, "never", None)


async def test_there_is_none_of_what_is_not_there_or_anothers(gateway: Installation) -> None:
    refused(await gateway.http.get(PATH), 404, "function.not_found")
    await gateway.deploy()
    refused(await gateway.http.get(f"{PATH}?version=2"), 404, "version.not_found")
    refused(await gateway.http.get(f"{PATH}?version=x"), 400, "request.query_invalid")
    async with gateway.client(await gateway.new_key("bob")) as bob:
        refused(await bob.get(PATH), 404, "function.not_found")


class Away(MemoryRetryTallies):
    async def add(self, tallies: Mapping[VersionKey, Tally]) -> None:
        del tallies

    async def tally(self, tenant: str, function: str, version: int) -> dict[str, int]:
        raise StockadeError("queue.unavailable", f"{tenant}{function}{version}", retryable=True)


async def test_tallies_that_are_away_are_told_as_such() -> None:
    async with installed(tallies=Away()) as gateway:
        await gateway.deploy()
        refused(await gateway.http.get(PATH), 503, "queue.unavailable")


ADVICE = "/v1/functions/f/advice"


async def learned(gateway: Installation, part: object, tenant: str = "alice") -> None:
    write = StateWrite((tenant, "f", "1"), 0, part, "token")
    assert await gateway.services.learned.swap([write]) == [True]


async def test_limits_are_suggested_by_what_runs_needed() -> None:
    small = Plan("small", ceilings=replace(CEILINGS, fuel=2_000_000_000))
    async with installed(plans=FixedPlans(Plans(small))) as gateway:
        await gateway.deploy(limits={"fuel": "auto", "wall_ms": 2000})
        part = Part()
        for _ in range(50):
            part.learn(Lesson(1, success=True, needs=(("fuel", 5e9), ("wall", 300.0))))
        await learned(gateway, plain(part))
        await gateway.services.tallies.add({("alice", "f", 1): {"limit.fuel": 3}})
        shown = (await gateway.http.get(f"{ADVICE}?version=1")).json()
        assert (shown["name"], shown["version"]) == ("f", 1)
        fuel, memory, wall = shown["limits"]
        assert (fuel["automatic"], fuel["suggested"], fuel["failures"]) == (True, 2_000_000_000, 3)
        assert (memory["suggested"], memory["runs"]) == (None, 0)
        assert (wall["present"], wall["suggested"], wall["runs"]) == (2000, 1000, 50)
        assert wall["sentence"].startswith("It fits")


async def test_nothing_is_suggested_by_what_is_not_known_or_cannot_be_read(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    await learned(gateway, plain(Part()), "bob")
    assert {one["suggested"] for one in (await gateway.http.get(ADVICE)).json()["limits"]} == {None}
    await learned(gateway, (99, "of a newer release"))
    assert {one["suggested"] for one in (await gateway.http.get(ADVICE)).json()["limits"]} == {None}


async def test_there_is_no_advice_on_what_is_anothers(gateway: Installation) -> None:
    await gateway.deploy()
    async with gateway.client(await gateway.new_key("bob")) as bob:
        refused(await bob.get(ADVICE), 404, "function.not_found")


class NothingKnown(MemoryLearnedStates):
    async def load(self, scopes: Sequence[Scope]) -> list[LearnedState | None]:
        return [None] * len(scopes)


async def test_what_was_learned_and_is_away_is_told_as_such() -> None:
    async with installed(learned=NothingKnown(SystemClock())) as gateway:
        await gateway.deploy()
        refused(await gateway.http.get(ADVICE), 503, "queue.unavailable")
