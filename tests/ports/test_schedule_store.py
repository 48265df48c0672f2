"""Tenants' schedules, over every adapter."""

from dataclasses import replace

import pytest

from stockade.core.errors import StockadeError
from stockade.core.invocations import Priority
from stockade.core.ports import ScheduleStore
from stockade.core.schedules import (
    CatchUp,
    CronTiming,
    FiringRefusal,
    IntervalTiming,
    Schedule,
    ScheduleDefinition,
)
from stockade.infra.memory.memory_catalog import MemoryCatalog
from stockade.infra.sql.sql_catalog import SqlCatalog

EVERY = ScheduleDefinition("report", IntervalTiming(60))
NIGHTLY = ScheduleDefinition(
    "report",
    CronTiming("0 3 * * MON-FRI", "Europe/Berlin"),
    alias="prod",
    input=b"\0\xff",
    priority=Priority.LOW,
    catch_up=CatchUp.ALL,
)
PINNED = ScheduleDefinition("report", IntervalTiming(5, -1), version=7, catch_up=CatchUp.SKIP)


@pytest.fixture
def store(catalog: MemoryCatalog | SqlCatalog) -> ScheduleStore:
    return catalog.schedule_store()


def made(name: str, tenant: str = "acme", due_ms: int | None = None, **facts: object) -> Schedule:
    plain = Schedule(tenant, name, f"id-{name}", EVERY, 1_000, next_ms=due_ms, due_ms=due_ms)
    return replace(plain, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("definition", [EVERY, NIGHTLY, PINNED])
async def test_what_was_added_comes_back(
    store: ScheduleStore, definition: ScheduleDefinition
) -> None:
    whole = made(
        "nightly",
        definition=definition,
        next_ms=2_000,
        due_ms=3_000,
        paused=True,
        last_ms=1_500,
        last_invocation="0190",
        refusal=FiringRefusal("function.not_found", "There is no …", 1_600, 3),
    )
    assert await store.schedule("acme", "nightly") is None
    assert await store.add(whole, 10) is True
    assert await store.schedule("acme", "nightly") == whole
    without_input = replace(whole, definition=replace(definition, input=b""))
    assert list(await store.schedules("acme")) == [without_input]
    assert list(await store.due(3_000, 1, 1)) == [whole]


async def test_a_name_is_taken_once(store: ScheduleStore) -> None:
    assert await store.add(made("a"), 10)
    assert await store.add(made("a", id="other"), 10) is False
    found = await store.schedule("acme", "a")
    assert found is not None
    assert found.id == "id-a"
    assert await store.add(made("a", tenant="rival"), 10)


async def test_a_tenant_has_as_many_as_it_may(store: ScheduleStore) -> None:
    for name in ("a", "b"):
        assert await store.add(made(name), 2)
    with pytest.raises(StockadeError) as refused:
        await store.add(made("c"), 2)
    assert refused.value.code == "schedule.too_many"
    assert [one.name for one in await store.schedules("acme")] == ["a", "b"]
    assert await store.add(made("a"), 2) is False
    assert await store.add(made("c", tenant="rival"), 2)
    assert await store.delete("acme", "a")
    assert await store.add(made("c"), 2)


async def test_a_change_is_made_of_what_is_stored(store: ScheduleStore) -> None:
    await store.add(made("a", due_ms=5), 10)
    changed = await store.change("acme", "a", lambda one: replace(one, definition=NIGHTLY))
    assert changed == made("a", due_ms=5, definition=NIGHTLY)
    assert await store.schedule("acme", "a") == changed
    assert await store.change("acme", "a", lambda one: one) == changed
    assert await store.change("acme", "b", lambda one: one) is None
    assert await store.change("rival", "a", lambda one: replace(one, paused=True)) is None
    assert await store.schedule("acme", "a") == changed


async def test_a_rule_that_fails_changes_nothing(store: ScheduleStore) -> None:
    await store.add(made("a"), 10)

    def fail(_: Schedule) -> Schedule:
        raise StockadeError("schedule.cron_invalid", "No.")

    with pytest.raises(StockadeError):
        await store.change("acme", "a", fail)
    assert await store.schedule("acme", "a") == made("a")


async def test_deleted_it_is_gone_and_its_name_free(store: ScheduleStore) -> None:
    await store.add(made("a", due_ms=5), 10)
    assert await store.delete("rival", "a") is False
    assert await store.delete("acme", "a") is True
    assert await store.delete("acme", "a") is False
    assert list(await store.due(10, 10, 10)) == []
    assert await store.add(made("a", id="new"), 10)


async def test_schedules_are_listed_by_name_and_tenant(store: ScheduleStore) -> None:
    for name in ("c", "a", "b"):
        await store.add(made(name), 10)
    assert [one.name for one in await store.schedules("acme")] == ["a", "b", "c"]
    assert list(await store.schedules("rival")) == []
    assert await store.schedule("rival", "a") is None


async def test_due_is_what_has_come_and_is_not_paused(store: ScheduleStore) -> None:
    assert await store.next_due_ms() is None
    await store.add(made("later", due_ms=11), 10)
    await store.add(made("now", due_ms=10), 10)
    await store.add(made("past", due_ms=3), 10)
    await store.add(made("paused", next_ms=1, due_ms=None, paused=True), 10)
    assert [one.name for one in await store.due(10, 10, 10)] == ["past", "now"]
    assert await store.next_due_ms() == 3
    await store.change("acme", "past", lambda one: replace(one, due_ms=20))
    assert await store.next_due_ms() == 10
    assert list(await store.due(9, 10, 10)) == []


async def test_tenants_are_due_in_turn_and_bounded(store: ScheduleStore) -> None:
    for number in range(20):
        await store.add(made(f"a{number:02}", due_ms=number), 100)
    for number in range(2):
        await store.add(made(f"r{number}", tenant="rival", due_ms=50 + number), 100)
    names = [one.name for one in await store.due(100, 100, 3)]
    assert names == ["a00", "r0", "a01", "r1", "a02"]
    assert [one.name for one in await store.due(100, 2, 3)] == ["a00", "r0"]


async def test_a_tenant_who_is_not_there_has_no_schedules(store: ScheduleStore) -> None:
    with pytest.raises(StockadeError) as refused:
        await store.add(made("a", tenant="nobody"), 10)
    assert refused.value.code == "tenant.not_found"
    assert list(await store.schedules("nobody")) == []


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
async def test_hostile_names_are_absent_or_refused(store: ScheduleStore, name: str) -> None:
    assert await store.schedule("acme", name) is None
    assert list(await store.schedules(name)) == []
    assert await store.delete("acme", name) is False
    assert await store.change("acme", name, lambda one: one) is None
    with pytest.raises(StockadeError) as refused:
        await store.add(made(name), 10)
    assert refused.value.code == "catalog.value_invalid"


@pytest.mark.parametrize(
    "definition",
    [
        replace(EVERY, version=2**31),
        replace(EVERY, timing=IntervalTiming(1, 2**63)),
        replace(EVERY, timing=CronTiming("\ud800")),
        replace(EVERY, function="a\0"),
    ],
)
async def test_what_could_not_be_given_back_is_refused(
    store: ScheduleStore, definition: ScheduleDefinition
) -> None:
    await store.add(made("a"), 10)
    with pytest.raises(StockadeError) as refused:
        await store.add(made("b", definition=definition), 10)
    assert refused.value.code == "catalog.value_invalid"
    with pytest.raises(StockadeError) as refused:
        await store.change("acme", "a", lambda one: replace(one, definition=definition))
    assert refused.value.code == "catalog.value_invalid"
    assert await store.schedule("acme", "a") == made("a")
