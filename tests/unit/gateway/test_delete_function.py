"""Deletion stops what is new at once, lets what was taken end, and can be taken back for a time."""

from dataclasses import replace

from gateway.purge_loop import purge_once
from gateway.schedule_loop import ScheduleLoop
from stockade.core.errors import StockadeError
from stockade.core.outcomes import Outcome
from stockade.infra.memory.memory_catalog import MemoryCatalog
from tests.unit.gateway.installation import SETTINGS, Installation, ending, installed, refused

F = "/v1/functions/f"
DAY_MS = 24 * 3600 * 1000


async def test_a_deletion_stops_what_is_new_at_once_and_says_until_when(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    await gateway.http.put(f"{F}/aliases/prod", json={"version": 1})
    assert (await gateway.http.get(F)).status_code == 200  # and remembered
    gone = (await gateway.http.delete(F)).json()
    assert (gone["name"], gone["version"]) == ("f", 1)
    assert gone["restorable_until_ms"] - gone["deleted_ms"] == 7 * DAY_MS
    assert gone["deleted_by"] == gateway.key.split("_")[2]
    for call in (
        gateway.invoke(),
        gateway.invoke(query="?alias=prod"),
        gateway.invoke(query="?version=1"),
        gateway.http.post(f"{F}/invocations"),
        gateway.http.get(F),
        gateway.http.get(f"{F}/versions"),
        gateway.http.get(f"{F}/aliases"),
        gateway.http.get(f"{F}/aliases/prod"),
        gateway.http.get(f"{F}/aliases/prod/history"),
        gateway.http.get(f"{F}/diff?from=1"),
        gateway.http.put(f"{F}/aliases/prod", json={"version": 1}),
        gateway.http.post(f"{F}/aliases/prod/rollback"),
        gateway.http.delete(f"{F}/versions/1"),
        gateway.deploy(),
    ):
        facts = refused(await call, 410, "function.deleted")["facts"]
        assert facts == {"restorable_until_ms": gone["restorable_until_ms"]}
    lines = await gateway.http.post(
        f"{F}/invocations:batch", content=b"1\n2", headers={"content-type": "application/x-ndjson"}
    )
    assert lines.text.count("function.deleted") == 2
    assert (await gateway.http.get("/v1/functions")).json()["functions"] == []
    assert (await gateway.http.get("/v1/functions?deleted=true")).json()["deleted"] == [gone]


async def test_a_deletion_again_does_not_lengthen_the_grace(gateway: Installation) -> None:
    await gateway.deploy()
    first, again = await gateway.http.delete(F), await gateway.http.delete(F)
    assert (first.status_code, again.json()) == (200, first.json())
    refused(await gateway.http.delete("/v1/functions/g"), 404, "function.not_found")


async def test_what_was_acknowledged_runs_to_its_end(gateway: Installation) -> None:
    await gateway.deploy()
    queued = (await gateway.http.post(f"{F}/invocations", content=b"hi")).json()["id"]
    await gateway.http.delete(F)
    await gateway.work()
    record = (await gateway.http.get(f"/v1/invocations/{queued}")).json()
    assert (record["outcome"], record["function"], record["version"]) == ("completed", "f", 1)
    assert (await gateway.http.get(f"/v1/invocations/{queued}/result")).content == b"hi"


async def test_a_dead_letter_of_a_deleted_function_is_not_redriven(gateway: Installation) -> None:
    await gateway.deploy()
    failed = (await gateway.http.post(f"{F}/invocations")).json()["id"]
    await gateway.work(lambda _claim, _data: ending(Outcome.TRAPPED))
    await gateway.http.delete(F)
    path = f"/v1/invocations/{failed}/redrive"
    refused(await gateway.http.post(path), 410, "function.deleted")
    every = await gateway.http.post("/v1/dead-letters/redrive", json={"all": True})
    assert every.json()["redriven"] == []
    await gateway.http.post(f"{F}/restore")
    assert (await gateway.http.post(path)).status_code == 202


async def test_a_schedule_of_a_deleted_function_is_told_and_fires_again_when_it_is_restored(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    schedule = {"function": "f", "every_seconds": 1, "anchor": "2020-01-01T00:00:00Z"}
    assert (await gateway.http.put("/v1/schedules/s", json=schedule)).status_code == 201
    await gateway.http.delete(F)
    refused(await gateway.http.put("/v1/schedules/t", json=schedule), 410, "function.deleted")
    stored = await gateway.services.schedules.schedule("alice", "s")
    assert stored is not None
    assert stored.next_ms is not None
    clock = _FixedClock(stored.next_ms)
    services = replace(gateway.services, clock=clock, queue=_ClockedQueue(gateway, clock))
    loop = ScheduleLoop(services, gateway.app.state.context.resolver)
    await loop.round()
    shown = (await gateway.http.get("/v1/schedules/s")).json()
    assert shown["refusal"]["code"] == "function.deleted"
    await gateway.http.post(f"{F}/restore")
    clock.pass_ms(60_000)
    await loop.round()
    shown = (await gateway.http.get("/v1/schedules/s")).json()
    assert shown["refusal"] is None
    record = (await gateway.http.get(f"/v1/invocations/{shown['last_invocation']}")).json()
    assert record["function"] == "f"


class _FixedClock:
    """The `Clock` port, moved by hand."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def pass_ms(self, time_ms: int) -> None:
        self._now_ms += time_ms

    def new_id(self) -> str:
        raise NotImplementedError


class _ClockedQueue:
    """The queue, whose clock says the same moment."""

    def __init__(self, gateway: Installation, clock: _FixedClock) -> None:
        self._queue, self._clock = gateway.services.queue, clock

    async def time_ms(self) -> int:
        return self._clock.now_ms()

    def __getattr__(self, name: str) -> object:
        return getattr(self._queue, name)


async def test_a_restored_function_is_as_it_was(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.deploy(limits={"fuel": 7})
    await gateway.http.put(f"{F}/aliases/prod", json={"version": 1})
    await gateway.http.delete(F)
    restored = await gateway.http.post(f"{F}/restore")
    assert (restored.status_code, restored.json()["version"]) == (200, 2)
    assert (await gateway.http.post(f"{F}/restore")).status_code == 200
    answer = await gateway.worked(gateway.invoke(query="?alias=prod"))
    assert answer.status_code == 200
    assert (await gateway.http.get(f"{F}/aliases/prod/history")).json()["changes"] != []
    refused(await gateway.http.post("/v1/functions/g/restore"), 404, "function.not_found")


async def test_behind_the_grace_the_name_is_free_and_numbers_go_on() -> None:
    settings = SETTINGS.model_copy(update={"function_grace_seconds": 0})
    async with installed(settings=settings) as gateway:
        await gateway.deploy()
        queued = (await gateway.http.post(f"{F}/invocations")).json()["id"]
        await gateway.http.delete(F)
        refused(await gateway.http.post(f"{F}/restore"), 404, "function.not_found")
        await purge_once(gateway.services)
        refused(await gateway.invoke(), 404, "function.not_found")
        refused(await gateway.http.post(f"{F}/restore"), 404, "function.not_found")
        assert (await gateway.deploy()).json()["version"] == 2
        record = (await gateway.http.get(f"/v1/invocations/{queued}")).json()
        assert (record["function"], record["version"]) == ("f", 1)


async def test_a_purge_that_cannot_be_done_now_waits_for_the_next(gateway: Installation) -> None:
    class Failing(MemoryCatalog):
        error: Exception = StockadeError("catalog.unavailable", "Away.", retryable=True)

        async def purge_functions(self, now_ms: int, most: int) -> int:
            del now_ms, most
            raise self.error

    failing = Failing()
    await purge_once(replace(gateway.services, catalog=failing))
    failing.error = RuntimeError("a mistake of ours")
    await purge_once(replace(gateway.services, catalog=failing))


async def test_another_tenants_function_is_neither_deleted_nor_restored(
    gateway: Installation,
) -> None:
    await gateway.deploy()
    async with gateway.client(await gateway.new_key("bob")) as other:
        refused(await other.delete(F), 404, "function.not_found")
        await gateway.http.delete(F)
        refused(await other.post(f"{F}/restore"), 404, "function.not_found")
        refused(await other.get(F), 404, "function.not_found")
        assert (await other.get("/v1/functions?deleted=true")).json() == {"deleted": []}


async def test_a_number_that_is_too_long_deletes_no_other_version(gateway: Installation) -> None:
    await gateway.deploy()
    await gateway.deploy(env={"A": "1"})
    for number in ("00000000019", "000000000100"):
        answer = await gateway.http.delete(f"{F}/versions/{number}")
        refused(answer, 400, "request.invalid")
    assert [one["version"] for one in await listed(gateway)] == [2, 1]


async def listed(gateway: Installation) -> list[dict[str, int]]:
    found: list[dict[str, int]] = (await gateway.http.get(f"{F}/versions")).json()["versions"]
    return found
