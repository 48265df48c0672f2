"""What the SQL catalog promises of functions: between gateways, with many versions, upgraded."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

from alembic import command
from sqlalchemy import Connection, Table, insert, text
from sqlalchemy.sql import ClauseElement

from stockade.core.aliases import Promotion, Stamp, pointed, promoted, rolled_back
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, Alias, FunctionContent
from stockade.infra.catalog_values import to_json
from stockade.infra.sql import sql_function_queries as queries
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_migration import migration_config
from stockade.infra.sql.sql_schema import function_versions, functions

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
STAMP = Stamp("key-1", 5_000)
MANY = 10_000


@asynccontextmanager
async def gateways(url: str) -> AsyncIterator[tuple[SqlCatalog, SqlCatalog]]:
    """Two that share a database, with the tenant `acme`."""
    first, second = await SqlCatalog.open(url), await SqlCatalog.open(url)
    try:
        await first.ensure_tenant("acme")
        yield first, second
    finally:
        await first.aclose()
        await second.aclose()


async def deploy(catalog: SqlCatalog, number: int) -> int:
    content = replace(CONTENT, concurrency=number)
    made, _ = await catalog.put_function("acme", "hello", content, 1_000)
    return made.version


async def test_no_deploy_through_two_gateways_is_lost(catalog_url: str) -> None:
    async with gateways(catalog_url) as both:
        deploys = [deploy(both[number % 2], number) for number in range(1, 41)]
        versions = await asyncio.gather(*deploys)
        kept = await both[0].function_versions("acme", "hello", 100)
    assert sorted(versions) == list(range(1, 41))
    assert [one.version for one in kept] == list(range(40, 0, -1))
    contents = {one.version: one.content.concurrency for one in kept}
    assert contents == dict(zip(versions, range(1, 41), strict=True))


async def test_of_promotions_through_two_gateways_that_saw_the_same_one_wins(
    catalog_url: str,
) -> None:
    async with gateways(catalog_url) as both:
        for number in range(1, 11):
            await deploy(both[0], number)
        await both[0].change_alias("acme", "hello", "prod", pointed(((1, 1),)), STAMP)
        rules = [promoted(Promotion(version=v), expected=1) for v in range(2, 11)]
        results = await asyncio.gather(
            *(
                both[at % 2].change_alias("acme", "hello", "prod", rule, STAMP)
                for at, rule in enumerate(rules)
            ),
            return_exceptions=True,
        )
        refused = [one for one in results if isinstance(one, StockadeError)]
        assert {one.code for one in refused} == {"alias.changed"}
        assert len(refused) == 8
        assert len(await both[1].alias_changes("acme", "hello", "prod")) == 2


async def test_changes_through_two_gateways_make_one_chain(catalog_url: str) -> None:
    async with gateways(catalog_url) as both:
        for number in range(1, 6):
            await deploy(both[0], number)
        rules = [pointed(((version, weight),)) for weight in (1, 2, 3) for version in range(1, 6)]
        rules += [rolled_back()] * 5
        await asyncio.gather(
            *(
                both[at % 2].change_alias("acme", "hello", "prod", rule, STAMP)
                for at, rule in enumerate(rules)
            ),
            return_exceptions=True,  # a rollback may come before anything to go back to
        )
        changes = await both[0].alias_changes("acme", "hello", "prod")
        alias = await both[1].alias("acme", "hello", "prod")
    assert [one.revision for one in changes] == list(range(len(changes), 0, -1))
    assert len(changes) >= 15
    assert all(newer.before == older.after for newer, older in pairwise(changes))
    assert alias is not None
    assert (alias.weights, alias.revision) == (changes[0].after, changes[0].revision)


async def test_deletes_through_one_gateway_and_aliases_through_the_other_leave_none_dangling(
    catalog_url: str,
) -> None:
    async with gateways(catalog_url) as both:
        for number in range(1, 12):
            await deploy(both[0], number)
        calls = []
        for version in range(1, 11):
            rule = pointed(((version, 1),))
            calls.append(both[0].change_alias("acme", "hello", f"a{version}", rule, STAMP))
            calls.append(both[1].delete_version("acme", "hello", version))
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in results if isinstance(one, StockadeError)]
        assert {one.code for one in refused} <= {"version.in_use", "version.not_found"}
        assert len(refused) == 10  # of each pair, one
        for alias in await both[0].aliases("acme", "hello"):
            version = alias.weights[0][0]
            assert await both[0].function_version("acme", "hello", version) is not None


async def test_a_deletion_and_a_deploy_at_once_are_one_after_the_other(catalog_url: str) -> None:
    async with gateways(catalog_url) as both:
        await deploy(both[0], 1)
        results = await asyncio.gather(
            *(deploy(both[at % 2], at) for at in range(2, 12)),
            both[1].delete_function("acme", "hello", STAMP, 9_000),
            return_exceptions=True,
        )
        refused = [one for one in results if isinstance(one, StockadeError)]
        assert {one.code for one in refused} <= {"function.deleted"}
        assert await both[0].restore_function("acme", "hello", 8_999)
        kept = await both[0].function_versions("acme", "hello", 100)
        assert [one.version for one in kept] == list(range(11 - len(refused), 0, -1))


async def test_ten_thousand_versions_are_paged_by_an_index_and_never_loaded_whole(
    catalog_url: str,
) -> None:
    async with gateways(catalog_url) as (catalog, _):
        await deploy(catalog, 1)
        await _add(catalog, function_versions, map(_version, range(2, MANY + 1)))
        await _run(catalog, f"UPDATE functions SET latest_version = {MANY}")  # noqa: S608
        newest = await catalog.function_version("acme", "hello", None)
        assert newest is not None
        assert newest.version == MANY
        page = await catalog.function_versions("acme", "hello", 50, before=5_000)
        assert [one.version for one in page] == list(range(4_999, 4_949, -1))
        assert await deploy(catalog, 7) == MANY + 1
        await _analyze(catalog)
        for before in (None, 5_000):
            plan = await _plan(catalog, queries.versions_page("acme", "hello", 50, before))
            _assert_goes_by_an_index(plan, "function_versions")


async def test_thousands_of_functions_are_paged_by_an_index(catalog_url: str) -> None:
    async with gateways(catalog_url) as (catalog, _):
        names = [f"f{number:04}" for number in range(5_000)]
        rows = [{"tenant": "acme", "name": name, "latest_version": 1} for name in names]
        await _add(catalog, functions, rows)
        await _add(catalog, function_versions, (_version(1, name) for name in names))
        page = await catalog.functions("acme", 50, "f2499")
        assert [one.name for one in page] == names[2_500:2_550]
        await _analyze(catalog)
        plan = await _plan(catalog, queries.functions_page("acme", 50, "f2499"))
        _assert_goes_by_an_index(plan, "functions")


async def test_content_of_before_limits_could_be_automatic_is_equal_to_the_same_deploy_now(
    catalog_url: str,
) -> None:
    async with gateways(catalog_url) as (catalog, _):
        stored = json.loads(to_json(CONTENT))
        del stored["auto_limits"]
        await _add(catalog, functions, [{"tenant": "acme", "name": "old", "latest_version": 1}])
        await _add(
            catalog, function_versions, [_version(1, "old") | {"content": json.dumps(stored)}]
        )
        again = await catalog.put_function("acme", "old", CONTENT, 2)
        assert (again[0].version, again[1]) == (1, False)
        other = replace(CONTENT, auto_limits=("fuel",))
        assert (await catalog.put_function("acme", "old", other, 3))[1]


def _version(number: int, name: str = "hello") -> dict[str, object]:
    return {
        "tenant": "acme",
        "name": name,
        "version": number,
        "content": to_json(CONTENT),
        "digest": CONTENT.digest,
        "content_hash": b"",
        "created_ms": number,
    }


async def _add(catalog: SqlCatalog, table: Table, rows: Iterable[dict[str, object]]) -> None:
    async with catalog._engine.begin() as connection:
        await connection.execute(insert(table), list(rows))


async def _run(catalog: SqlCatalog, statement: str) -> None:
    async with catalog._engine.begin() as connection:
        await connection.execute(text(statement))


async def _analyze(catalog: SqlCatalog) -> None:
    if catalog._engine.dialect.name == "postgresql":
        await _run(catalog, "ANALYZE")


def _assert_goes_by_an_index(plan: str, table: str) -> None:
    for bad in ("sort", "temp b-tree", f"seq scan on {table}", f"scan {table} "):
        assert bad not in plan.lower(), plan


async def _plan(catalog: SqlCatalog, query: ClauseElement) -> str:
    dialect = catalog._engine.dialect
    compiled = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if dialect.name == "sqlite" else "EXPLAIN"
    async with catalog._engine.connect() as connection:
        return "\n".join(map(str, await connection.execute(text(f"{explain} {compiled}"))))


async def test_what_was_there_before_functions_had_a_life_is_there_behind_it(
    catalog_url: str,
) -> None:
    def to(revision: str, connection: Connection) -> None:
        config = migration_config(connection)
        if revision == "head":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)

    async with gateways(catalog_url) as (catalog, _):
        await deploy(catalog, 1)
        await deploy(catalog, 2)
        await catalog.change_alias("acme", "hello", "prod", pointed(((1, 90), (2, 10))), STAMP)
        await catalog.delete_function("acme", "hello", STAMP, 9_000)
        async with catalog._engine.begin() as connection:
            await connection.run_sync(lambda sync: to("0005", sync))
    async with gateways(catalog_url) as (catalog, _):
        listed = await catalog.function_versions("acme", "hello", 10)
        assert [one.version for one in listed] == [2, 1]
        assert listed[0].note.by == ""
        alias = await catalog.alias("acme", "hello", "prod")
        assert alias == Alias("prod", ((1, 90), (2, 10)))
        rule = pointed(((2, 1),), expected=1)
        change = await catalog.change_alias("acme", "hello", "prod", rule, STAMP)
        assert change is not None
        assert (change.revision, change.before) == (2, alias.weights)
