"""What every catalog promises of functions, versions and aliases."""

import asyncio
from dataclasses import replace

import pytest

from stockade.core.aliases import Stamp, pointed
from stockade.core.errors import StockadeError
from stockade.core.functions import FunctionQuota
from stockade.core.limits import Limits
from stockade.core.modules import Abi, FunctionContent, FunctionVersion, RetrySettings
from stockade.core.ports import Catalog

DIGEST = "sha256:" + "ab" * 32
CONTENT = FunctionContent(
    DIGEST,
    Abi.STOCKADE_V1,
    deterministic=True,
    limits=Limits(fuel=5, host_calls=2**40),
    grants=("log", "kv"),
    retry=RetrySettings("never", 1),
    concurrency=3,
    env=(("NAME", "a\0b"), ("", "é\U0001f600")),
)


async def test_the_first_deploy_is_version_one(catalog: Catalog) -> None:
    expected = FunctionVersion("acme", "hello", 1, CONTENT, 1_000)
    assert await catalog.put_function("acme", "hello", CONTENT, 1_000) == (expected, True)
    assert await catalog.function_version("acme", "hello", 1) == expected
    assert await catalog.function_version("acme", "hello", None) == expected


async def test_equal_content_is_the_latest_version_again(catalog: Catalog) -> None:
    first, _ = await catalog.put_function("acme", "hello", CONTENT, 1_000)
    assert await catalog.put_function("acme", "hello", replace(CONTENT), 2_000) == (first, False)


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTENT, digest="sha256:" + "cd" * 32),
        replace(CONTENT, limits=replace(CONTENT.limits, fuel=6)),
        replace(CONTENT, grants=("kv", "log")),
        replace(CONTENT, retry=RetrySettings()),
        replace(CONTENT, concurrency=None),
        replace(CONTENT, env=()),
    ],
)
async def test_other_content_is_the_next_version(catalog: Catalog, other: FunctionContent) -> None:
    first, _ = await catalog.put_function("acme", "hello", CONTENT, 1_000)
    second, created = await catalog.put_function("acme", "hello", other, 2_000)
    assert (created, second) == (True, FunctionVersion("acme", "hello", 2, other, 2_000))
    assert await catalog.function_version("acme", "hello", None) == second
    assert await catalog.function_version("acme", "hello", 1) == first


async def test_going_back_to_old_content_is_a_new_version(catalog: Catalog) -> None:
    for content in (CONTENT, replace(CONTENT, env=()), CONTENT):
        latest, created = await catalog.put_function("acme", "hello", content, 1_000)
        assert created
    assert latest.version == 3


async def test_different_deploys_at_once_get_distinct_versions(catalog: Catalog) -> None:
    contents = [replace(CONTENT, concurrency=number) for number in range(1, 41)]
    results = await asyncio.gather(
        *(catalog.put_function("acme", "hello", content, 1_000) for content in contents)
    )
    assert sorted(made.version for made, _ in results) == list(range(1, 41))
    assert all(created for _, created in results)
    for made, _ in results:
        assert await catalog.function_version("acme", "hello", made.version) == made


async def test_equal_deploys_at_once_are_one_version(catalog: Catalog) -> None:
    results = await asyncio.gather(
        *(catalog.put_function("acme", "hello", CONTENT, moment) for moment in range(40))
    )
    assert {made.version for made, _ in results} == {1}
    assert [created for _, created in results].count(True) == 1
    assert len({made.created_ms for made, _ in results}) == 1


@pytest.mark.parametrize("version", [None, 0, -1, 2, 2**31, 2**63, 10**30, -(10**30)])
async def test_an_unknown_version_is_none(catalog: Catalog, version: int | None) -> None:
    name = "other" if version is None else "hello"
    await catalog.put_function("acme", "hello", CONTENT, 1_000)
    assert await catalog.function_version("acme", name, version) is None


async def test_functions_lists_the_latest_of_each_by_name(catalog: Catalog) -> None:
    newer = replace(CONTENT, env=())
    for name in ("b", "a-b", "ab", "a"):
        await catalog.put_function("acme", name, CONTENT, 1_000)
    await catalog.put_function("acme", "ab", newer, 2_000)
    listed = await catalog.functions("acme")
    assert [one.name for one in listed] == ["a", "a-b", "ab", "b"]
    assert listed[2] == FunctionVersion("acme", "ab", 2, newer, 2_000)


async def test_a_refused_deploy_leaves_no_function_behind(catalog: Catalog) -> None:
    with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
        await catalog.put_function("acme", "hello", replace(CONTENT, env=(("A", "\ud800"),)), 1_000)
    with pytest.raises(StockadeError, match=r"^function\.not_found"):
        await catalog.change_alias("acme", "hello", "prod", pointed(((1, 1),)), Stamp("", 0))


async def test_a_tenant_has_no_more_functions_than_its_quota(catalog: Catalog) -> None:
    two = FunctionQuota(functions=2)
    for name in ("a", "b"):
        await catalog.put_function("acme", name, CONTENT, 1_000, quota=two)
    with pytest.raises(StockadeError) as refusal:
        await catalog.put_function("acme", "c", CONTENT, 1_000, quota=two)
    assert refusal.value.code == "function.too_many"
    assert await catalog.function_version("acme", "c", None) is None
    # Versions of those that are there, and other tenants' functions, do not count.
    _, created = await catalog.put_function("acme", "b", replace(CONTENT, env=()), 1_000, quota=two)
    assert created
    await catalog.ensure_tenant("rival")
    await catalog.put_function("rival", "c", CONTENT, 1_000, quota=two)


async def test_a_deleted_function_counts_until_its_grace_is_over(catalog: Catalog) -> None:
    one = FunctionQuota(functions=1)
    await catalog.put_function("acme", "a", CONTENT, 1_000, quota=one)
    await catalog.delete_function("acme", "a", Stamp("key", 2_000), 3_000)
    with pytest.raises(StockadeError, match="as many as it may"):
        await catalog.put_function("acme", "b", CONTENT, 2_500, quota=one)
    assert await catalog.purge_functions(3_000, 10) == 1
    made, _ = await catalog.put_function("acme", "b", CONTENT, 3_000, quota=one)
    assert made.version == 1
    with pytest.raises(StockadeError, match="as many as it may"):
        await catalog.put_function("acme", "a", CONTENT, 3_000, quota=one)


async def test_a_function_has_no_more_versions_than_its_quota(catalog: Catalog) -> None:
    two = FunctionQuota(versions=2)
    contents = [replace(CONTENT, limits=Limits(fuel=fuel)) for fuel in (1, 2, 3)]
    for content in contents[:2]:
        await catalog.put_function("acme", "a", content, 1_000, quota=two)
    with pytest.raises(StockadeError) as refusal:
        await catalog.put_function("acme", "a", contents[2], 1_000, quota=two)
    assert refusal.value.code == "version.too_many"
    assert await catalog.put_function("acme", "a", contents[1], 1_000, quota=two)
    await catalog.delete_version("acme", "a", 1)
    made, _ = await catalog.put_function("acme", "a", contents[2], 1_000, quota=two)
    assert made.version == 3
