"""What every catalog promises of functions over time: pages, notes, deletion, grace, purge."""

import asyncio
from dataclasses import replace

import pytest

from stockade.core.aliases import Stamp, pointed
from stockade.core.errors import StockadeError
from stockade.core.functions import DeletedFunction
from stockade.core.modules import Abi, FunctionContent, FunctionVersion, VersionNote
from stockade.core.ports import Catalog

CONTENT = FunctionContent("sha256:" + "ab" * 32, Abi.STOCKADE_V1, deterministic=True)
DELETED, UNTIL_MS = Stamp("key-1", 5_000), 9_000
GONE = DeletedFunction("hello", 2, DELETED, UNTIL_MS)


async def deploy(
    catalog: Catalog, number: int, name: str = "hello", now_ms: int = 1_000
) -> FunctionVersion:
    content = replace(CONTENT, concurrency=number)
    return (await catalog.put_function("acme", name, content, now_ms))[0]


async def point(catalog: Catalog, *versions: int) -> None:
    weights = tuple((version, 1) for version in versions)
    await catalog.change_alias("acme", "hello", "prod", pointed(weights), DELETED)


async def two_versions_gone(catalog: Catalog) -> None:
    await deploy(catalog, 1)
    await deploy(catalog, 2)
    await point(catalog, 1)
    assert await catalog.delete_function("acme", "hello", DELETED, UNTIL_MS) == GONE


async def test_a_version_keeps_who_deployed_it_and_what_was_said(catalog: Catalog) -> None:
    note = VersionNote("key-1", "fix é \U0001f600", (("commit", "abc"), ("env", "")))
    made, _ = await catalog.put_function("acme", "hello", CONTENT, 1_000, note)
    assert made == FunctionVersion("acme", "hello", 1, CONTENT, 1_000, note)
    assert await catalog.function_version("acme", "hello", 1) == made
    again = await catalog.put_function("acme", "hello", CONTENT, 2_000, VersionNote("key-2"))
    assert again == (made, False)


@pytest.mark.parametrize(
    "note", [VersionNote("\0"), VersionNote("", "\ud800"), VersionNote("", "", (("a", "\0"),))]
)
async def test_a_note_that_no_database_holds_is_refused(
    catalog: Catalog, note: VersionNote
) -> None:
    with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
        await catalog.put_function("acme", "hello", CONTENT, 1_000, note)


async def test_versions_come_newest_first_page_by_page(catalog: Catalog) -> None:
    made = [await deploy(catalog, number) for number in range(1, 8)]
    pages, before = [], None
    while page := await catalog.function_versions("acme", "hello", 3, before):
        pages.append([one.version for one in page])
        before = page[-1].version
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]
    assert list(await catalog.function_versions("acme", "hello", 1, 4)) == [made[2]]
    assert list(await catalog.function_versions("acme", "hello", 9, 2**70)) == made[::-1]
    for name, before in (("other", None), ("hello", 1), ("hello", -(2**70)), ("\0", None)):
        assert list(await catalog.function_versions("acme", name, 3, before)) == []


async def test_functions_come_by_name_page_by_page(catalog: Catalog) -> None:
    for name in ("b", "a-b", "ab", "a", "a0"):
        await deploy(catalog, 1, name)
    await deploy(catalog, 2, "ab")
    first = await catalog.functions("acme", 3)
    rest = await catalog.functions("acme", 3, first[-1].name)
    assert [one.name for one in (*first, *rest)] == ["a", "a-b", "a0", "ab", "b"]
    assert rest[0].version == 2
    assert list(await catalog.functions("acme", 3, "b")) == []


async def test_a_page_walked_while_others_deploy_misses_and_repeats_nothing(
    catalog: Catalog,
) -> None:
    for number in range(10):
        await deploy(catalog, 1, f"f{number}")
    first = await catalog.functions("acme", 5)
    await deploy(catalog, 1, "a-new-one-in-front")
    await deploy(catalog, 2, "f7")
    rest = await catalog.functions("acme", 100, first[-1].name)
    assert [one.name for one in (*first, *rest)] == [f"f{number}" for number in range(10)]


async def test_a_version_that_nothing_needs_can_be_deleted(catalog: Catalog) -> None:
    for number in (1, 2, 3):
        await deploy(catalog, number)
    await point(catalog, 1)
    with pytest.raises(StockadeError, match=r"^version\.in_use.*latest"):
        await catalog.delete_version("acme", "hello", 3)
    with pytest.raises(StockadeError, match=r"^version\.in_use") as caught:
        await catalog.delete_version("acme", "hello", 1)
    assert caught.value.detail == {"aliases": ["prod"]}
    await catalog.delete_version("acme", "hello", 2)
    assert await catalog.function_version("acme", "hello", 2) is None
    listed = await catalog.function_versions("acme", "hello", 10)
    assert [one.version for one in listed] == [3, 1]
    for version in (0, 2, 9, 2**70):
        with pytest.raises(StockadeError, match=r"^version\.not_found"):
            await catalog.delete_version("acme", "hello", version)
    with pytest.raises(StockadeError, match=r"^version\.not_found"):
        await point(catalog, 2)
    assert (await deploy(catalog, 2)).version == 4


async def test_a_deleted_function_is_absent_at_once(catalog: Catalog) -> None:
    await two_versions_gone(catalog)
    assert await catalog.function_version("acme", "hello", None) is None
    assert await catalog.function_version("acme", "hello", 1) is None
    assert list(await catalog.function_versions("acme", "hello", 10)) == []
    assert list(await catalog.functions("acme")) == []
    assert await catalog.alias("acme", "hello", "prod") is None
    assert list(await catalog.aliases("acme", "hello")) == []
    assert list(await catalog.alias_changes("acme", "hello", "prod")) == []
    assert await catalog.deleted_function("acme", "hello") == GONE
    assert list(await catalog.deleted_functions("acme", 10)) == [GONE]
    assert list(await catalog.deleted_functions("rival", 10)) == []


async def test_to_a_deleted_function_nothing_can_be_done_but_restore_it(catalog: Catalog) -> None:
    await two_versions_gone(catalog)
    with pytest.raises(StockadeError, match=r"^function\.deleted") as caught:
        await deploy(catalog, 3, now_ms=UNTIL_MS - 1)
    assert caught.value.detail == {"restorable_until_ms": UNTIL_MS}
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await point(catalog, 1)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.delete_version("acme", "hello", 1)
    later = Stamp("key-2", 6_000)
    assert await catalog.delete_function("acme", "hello", later, 99_000) == GONE


async def test_a_restored_function_has_everything_again(catalog: Catalog) -> None:
    await two_versions_gone(catalog)
    assert await catalog.restore_function("acme", "hello", UNTIL_MS - 1)
    assert not await catalog.restore_function("acme", "hello", UNTIL_MS - 1)
    latest = await catalog.function_version("acme", "hello", None)
    alias = await catalog.alias("acme", "hello", "prod")
    assert latest is not None
    assert alias is not None
    assert (latest.version, alias.weights) == (2, ((1, 1),))
    assert await catalog.deleted_function("acme", "hello") is None
    assert (await deploy(catalog, 3)).version == 3


async def test_after_the_grace_nothing_comes_back(catalog: Catalog) -> None:
    await two_versions_gone(catalog)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.restore_function("acme", "hello", UNTIL_MS)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.delete_function("acme", "hello", Stamp("", UNTIL_MS), 99_000)


@pytest.mark.parametrize("purged", [True, False])
async def test_a_name_is_free_after_the_grace_and_no_number_comes_again(
    catalog: Catalog, *, purged: bool
) -> None:
    await two_versions_gone(catalog)
    if purged:
        assert await catalog.purge_functions(UNTIL_MS, 10) == 1
        assert await catalog.deleted_function("acme", "hello") is None
    made = await deploy(catalog, 2, now_ms=UNTIL_MS)
    assert made.version == 3
    assert await catalog.function_version("acme", "hello", 1) is None
    assert await catalog.alias("acme", "hello", "prod") is None
    assert await catalog.purge_functions(UNTIL_MS, 10) == 0


async def test_a_purge_takes_what_is_over_and_so_many_at_a_time(catalog: Catalog) -> None:
    for number, name in enumerate(("a", "b", "c", "d")):
        await deploy(catalog, 1, name)
        await catalog.delete_function("acme", name, DELETED, UNTIL_MS + number)
    assert await catalog.purge_functions(UNTIL_MS - 1, 10) == 0
    assert await catalog.purge_functions(UNTIL_MS + 2, 2) == 2
    assert await catalog.purge_functions(UNTIL_MS + 2, 2) == 1
    assert [one.name for one in await catalog.deleted_functions("acme", 10)] == ["d"]
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.delete_function("acme", "a", DELETED, UNTIL_MS)
    assert await catalog.restore_function("acme", "d", UNTIL_MS)


async def test_purges_at_once_take_each_function_once(catalog: Catalog) -> None:
    for number in range(6):
        await deploy(catalog, 1, f"f{number}")
        await catalog.delete_function("acme", f"f{number}", DELETED, UNTIL_MS)
    done = await asyncio.gather(*(catalog.purge_functions(UNTIL_MS, 10) for _ in range(3)))
    assert sum(done) == 6


@pytest.mark.parametrize("name", ["other", "\0", "\ud800"], ids=ascii)
async def test_what_is_not_there_is_not_found(catalog: Catalog, name: str) -> None:
    for call in (
        catalog.delete_function("acme", name, DELETED, UNTIL_MS),
        catalog.restore_function("acme", name, 1),
        catalog.delete_version("acme", name, 1),
        catalog.delete_function("rival", "hello", DELETED, UNTIL_MS),
    ):
        with pytest.raises(StockadeError, match=r"^function\.not_found"):
            await call
    assert await catalog.deleted_function("acme", name) is None
    assert list(await catalog.deleted_functions(name, 10)) == []
    assert list(await catalog.functions("acme", 10, name)) == []


async def test_deletes_and_alias_changes_at_once_leave_no_alias_to_nothing(
    catalog: Catalog,
) -> None:
    for number in range(1, 12):
        await deploy(catalog, number)

    async def both(version: int) -> None:
        await asyncio.gather(
            catalog.delete_version("acme", "hello", version),
            point(catalog, version),
            return_exceptions=True,
        )

    await asyncio.gather(*(both(version) for version in range(1, 11)))
    for alias in await catalog.aliases("acme", "hello"):
        for version, _ in alias.weights:
            assert await catalog.function_version("acme", "hello", version) is not None
