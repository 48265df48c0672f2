"""A version's retry policy beside its shadow, as the gateway tells it."""

from collections.abc import Mapping

from stockade.core.errors import StockadeError
from stockade.core.retry_tallies import Tally, VersionKey
from stockade.infra.memory.memory_retry_tallies import MemoryRetryTallies
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
    assert (first["policy"], first["shadow"], first["runs"]) == ("fixed", "learned", 9)
    assert (first["mean_delay_ms"], first["reasons"]) == (150.0, {"backoff": 2})
    second = (await gateway.http.get(f"{PATH}?version=2")).json()
    assert (second["policy"], second["shadow"], second["runs"]) == ("learned", "fixed", 0)
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
