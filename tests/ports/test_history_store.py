"""The `HistoryStore` port: what ended is there once, adds up, and belongs to one tenant."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from stockade.core.errors import StockadeError
from stockade.core.history import (
    Amounts,
    HistoryStore,
    InvocationHistory,
    Recorded,
    RunPlace,
    RunQuery,
    UsageQuery,
)
from stockade.core.limits import Limits
from stockade.core.outcomes import Attempt, Outcome, Usage
from stockade.infra.history_values import place_of
from stockade.infra.memory.memory_history import MemoryHistoryStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.ports.conftest import SQL, emptied_url
from tests.ports.histories import DAY_MS, NOON_MS, Life, deliveries, past, reckoned, usage

SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
FIRST_DAY = NOON_MS // DAY_MS


@pytest.fixture(params=["memory", *SQL])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HistoryStore]:
    if request.param == "memory":
        yield MemoryHistoryStore()
        return
    catalog = await SqlCatalog.open(await emptied_url(request, request.param, tmp_path))
    yield catalog.history_store()
    await catalog.aclose()


async def ids_of(store: HistoryStore, tenant: str = "acme", **asked: object) -> list[int]:
    found = await store.runs(tenant, RunQuery(**asked))  # type: ignore[arg-type]
    return [int(run.invocation[-12:], 16) for run in found]


async def test_a_run_and_its_attempts_come_back_as_the_record_said(store: HistoryStore) -> None:
    failed = Attempt(
        1,
        Outcome.LIMIT_EXCEEDED,
        "a retry helps",
        usage(2),
        "fuel",
        "out of fuel",
        "learned",
        0.5,
        Limits(fuel=9),
        NOON_MS - DAY_MS,
    )
    good = Attempt(3, Outcome.COMPLETED, "done", usage(3), ended_ms=NOON_MS + 1)
    history = past(1, attempts=(failed, good))
    assert await store.record([history]) == Recorded(1, 2)
    (run,) = await store.runs("acme", RunQuery())
    assert (run.invocation, run.redrive, run.function, run.version) == (history.id, 0, "resize", 3)
    assert (run.outcome, run.attempts, run.limit) == (Outcome.COMPLETED, 2, None)
    assert (run.submitted_ms, run.started_ms) == (NOON_MS - 5, NOON_MS - 1)
    assert run.amounts.fuel == 2007 + 3007
    assert run.peak_memory_bytes == 4 * 65536
    assert list(await store.runs_of("acme", history.id)) == [run]
    attempts = (await store.attempts_of("acme", [history.id]))[history.id]
    assert [(one.position, one.number, one.outcome) for one in attempts] == [
        (1, 1, Outcome.LIMIT_EXCEEDED),
        (2, 3, Outcome.COMPLETED),
    ]
    first = attempts[0]
    assert (first.reason, first.limit, first.detail) == ("a retry helps", "fuel", "out of fuel")
    assert (first.policy, first.success, first.limits) == ("learned", 0.5, Limits(fuel=9))
    assert sum((one.amounts for one in attempts), Amounts()) == run.amounts


async def test_what_is_recorded_again_counts_once(store: HistoryStore) -> None:
    batch = [past(number) for number in range(5)]
    assert await store.record(batch) == Recorded(5, 5)
    assert await store.record([*batch, *batch, past(5)]) == Recorded(1, 1)
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.COMPLETED: 6}, 6)
    assert await store.record([]) == Recorded()


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(deliveries())
async def test_usage_adds_up_to_the_records_whatever_came_how_often_in_what_order(
    store: HistoryStore, given_: tuple[list[Life], list[list[InvocationHistory]]]
) -> None:
    lives, batches = given_
    await forget_all(store)
    for batch in batches:
        await store.record(batch)
    for tenant in ("acme", "rival"):
        found = await store.usage(tenant, UsageQuery(most=1000))
        assert {(one.function, one.day): one for one in found} == reckoned(lives, tenant)
        runs = await store.runs(tenant, RunQuery(most=1000))
        own = [life.said[-1] for life in lives if life.said[-1].tenant == tenant]
        assert len(runs) == sum(len(one.earlier) + (one.outcome is not None) for one in own)
        attempts = await store.attempts_of(tenant, [one.id for one in own])
        counts = {one.id: len(one.attempts) for one in own if one.attempts}
        assert {id_: len(them) for id_, them in attempts.items()} == counts


async def forget_all(store: HistoryStore) -> None:
    """Hypothesis runs many examples on one store."""
    if isinstance(store, MemoryHistoryStore):
        store.__init__()  # type: ignore[misc]
        return
    while await store.prune_usage(10**6, 1000):
        pass
    writer = store._writer  # type: ignore[attr-defined]
    async with writer.writing() as connection:
        for table in ("history_runs", "history_attempts"):
            await connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - our own names


async def test_several_recorders_at_once_count_once(store: HistoryStore) -> None:
    batch = [past(number) for number in range(30)]
    told = await asyncio.gather(*(store.record(batch[at:]) for at in (0, 10, 0, 20, 5)))
    assert sum(one.runs for one in told) == sum(one.attempts for one in told) == 30
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs[Outcome.COMPLETED], day.attempts) == (30, 30)


async def test_queries_narrow_what_is_found(store: HistoryStore) -> None:
    await store.record(
        [
            past(1),
            past(2, function="scan", version=4),
            past(3, outcome=Outcome.LIMIT_EXCEEDED, limit="fuel"),
            past(4, outcome=Outcome.TRAPPED),
        ]
    )
    assert await ids_of(store) == [4, 3, 2, 1]
    assert await ids_of(store, oldest_first=True) == [1, 2, 3, 4]
    assert await ids_of(store, most=2) == [4, 3]
    assert await ids_of(store, function="scan") == [2]
    assert await ids_of(store, version=3) == [4, 3, 1]
    assert await ids_of(store, outcome=Outcome.TRAPPED) == [4]
    assert await ids_of(store, limit="fuel") == [3]
    assert await ids_of(store, since_ms=NOON_MS + 2, until_ms=NOON_MS + 4) == [3, 2]
    assert await ids_of(store, function="resize", outcome=Outcome.COMPLETED) == [1]
    assert await ids_of(store, function="' OR 1=1 --") == []
    for nothing in ("\0", "\ud800"):
        assert await ids_of(store, function=nothing) == []
        assert await store.runs_of("acme", nothing) in ((), [])
        assert await store.attempts_of("acme", [nothing]) == {}
        assert list(await store.usage("acme", UsageQuery(function=nothing))) == []


async def test_nothing_crosses_tenants(store: HistoryStore) -> None:
    await store.record([past(1), past(1, "rival"), past(2, "rival")])
    assert await ids_of(store) == [1]
    assert await ids_of(store, "rival") == [2, 1]
    assert await ids_of(store, "nobody") == []
    assert list(await store.runs_of("acme", past(2).id)) == []
    assert await store.attempts_of("acme", [past(2).id]) == {}
    assert [one.attempts for one in await store.usage("acme", UsageQuery())] == [1]
    assert [one.attempts for one in await store.usage("rival", UsageQuery())] == [2]


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_pages_are_whole_while_more_comes(store: HistoryStore, *, oldest_first: bool) -> None:
    # Many end in the same millisecond: the place tells them apart.
    batch = [past(number, finished_ms=NOON_MS + number // 40) for number in range(200)]
    await store.record(batch[:100])
    await store.record(batch[100:])
    seen: list[RunPlace] = []
    after: RunPlace | None = None
    while page := await store.runs(
        "acme", RunQuery(most=30, after=after, oldest_first=oldest_first)
    ):
        seen += map(place_of, page)
        after = seen[-1]
        if len(seen) < 200:
            await store.record([past(1000 + len(seen), finished_ms=NOON_MS + DAY_MS * 1000)])
    known = [place for place in seen if int(place[1][-12:], 16) < 1000]
    assert len(set(known)) == len(known) == 200
    assert known == sorted(known, reverse=not oldest_first)


async def test_usage_is_paged_by_day_and_function(store: HistoryStore) -> None:
    await store.record(
        [
            past(
                10 * day + at,
                function=name,
                finished_ms=NOON_MS + day * DAY_MS,
                attempts=(),
            )
            for day in range(3)
            for at, name in enumerate(["b", "B", "a_", "a"])
        ]
    )
    whole = await store.usage("acme", UsageQuery())
    places = [(one.day, one.function) for one in whole]
    assert places == [
        (FIRST_DAY + day, name) for day in (2, 1, 0) for name in ("B", "a", "a_", "b")
    ]
    seen: list[tuple[int, str]] = []
    while page := await store.usage("acme", UsageQuery(most=5, after=seen[-1] if seen else None)):
        seen += [(one.day, one.function) for one in page]
    assert seen == places
    asked = UsageQuery(function="a", first_day=FIRST_DAY + 1, last_day=FIRST_DAY + 1)
    assert [(one.day, one.function) for one in await store.usage("acme", asked)] == [
        (FIRST_DAY + 1, "a")
    ]


async def test_pruning_is_bounded_and_what_went_never_counts_again(store: HistoryStore) -> None:
    batch = [past(number) for number in range(10)]
    await store.record(batch)
    before = await store.usage("acme", UsageQuery())
    horizon = NOON_MS + 6
    counts = []
    while count := await store.prune(horizon, 2):
        counts.append(count)
    assert counts == [4, 4, 4]
    assert await ids_of(store) == [9, 8, 7, 6]
    # An old record comes again, as it does when the records are walked; and the clock goes back.
    assert await store.prune(NOON_MS, 100) == 0
    assert await store.record(batch) == Recorded()
    assert list(await store.usage("acme", UsageQuery())) == list(before)
    assert await store.prune(NOON_MS + 8, 100) == 4
    assert await store.record(batch) == Recorded()
    assert await ids_of(store) == [9, 8]
    assert await store.prune_usage(FIRST_DAY, 100) == 0
    assert await store.prune_usage(FIRST_DAY + 1, 100) == 1
    assert list(await store.usage("acme", UsageQuery())) == []


@pytest.mark.parametrize(
    "wrong",
    [
        past(7, tenant="\0"),
        past(7, function="\ud800"),
        past(7, finished_ms=2**63),
        past(7, attempts=(Attempt(1, Outcome.LOST, "r", Usage(fuel=2**63), ended_ms=1),)),
        past(7, attempts=(Attempt(1, Outcome.LOST, "r", Usage(wall_ms=float("inf"))),)),
        past(7, attempts=(Attempt(1, Outcome.LOST, "r", Usage(wall_ms=float("nan"))),)),
    ],
)
async def test_what_no_store_can_keep_is_refused_whole(
    store: HistoryStore, wrong: InvocationHistory
) -> None:
    with pytest.raises((StockadeError, OverflowError, ValueError)):
        await store.record([past(1), wrong])
    assert await ids_of(store) == []
    assert list(await store.usage("acme", UsageQuery())) == []


async def test_hostile_words_are_kept_harmless_and_bounded(store: HistoryStore) -> None:
    detail = "a\0b\ud800" + "x" * 10_000
    attempt = Attempt(1, Outcome.REJECTED, detail, Usage(), None, detail, ended_ms=NOON_MS)
    await store.record([past(1, attempts=(attempt,), detail=detail, outcome=Outcome.REJECTED)])
    (run,) = await store.runs("acme", RunQuery())
    assert run.detail is not None
    assert run.detail.startswith("a\ufffdb?xx")
    assert len(run.detail) == 4096


async def test_a_clock_that_jumped_makes_a_day_that_a_calendar_has(store: HistoryStore) -> None:
    batch = [past(1, finished_ms=2**62), past(2, finished_ms=-(2**62))]
    await store.record([replace(one, attempts=()) for one in batch])
    assert [one.day for one in await store.usage("acme", UsageQuery())] == [2_932_896, 0]


async def test_ten_thousand_runs_come_in_one_walk(tmp_path: Path) -> None:
    catalog = await SqlCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    store, count, batch = catalog.history_store(), 10_000, 500
    for start in range(0, count, batch):
        some = range(start, start + batch)
        await store.record([past(number, finished_ms=NOON_MS + number // 7) for number in some])
    seen: list[int] = []
    query = RunQuery(most=1000)
    while page := await store.runs("acme", query):
        seen += [int(run.invocation[-12:], 16) for run in page]
        query = replace(query, after=place_of(page[-1]))
    assert seen == list(reversed(range(count)))
    (day,) = await store.usage("acme", UsageQuery())
    assert (day.runs, day.attempts) == ({Outcome.COMPLETED: count}, count)
    await catalog.aclose()
