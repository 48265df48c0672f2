"""What every store of modules promises: lists, quotas, deletion with a grace, and needed blobs."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from stockade.core.aliases import Stamp
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.module_store import StorageQuota, StorageUsage
from stockade.core.modules import Abi, FunctionContent, ModuleFacts, StoredModule
from stockade.core.ports import Catalog
from stockade.infra.memory.memory_blobs import MemoryBlobStore

if TYPE_CHECKING:
    from collections.abc import Coroutine

FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=100)
PLENTY = StorageQuota(1 << 40, 1 << 20)


def module(number: int, tenant: str = "acme", *, created_ms: int = 1000) -> StoredModule:
    return StoredModule(tenant, digest_of(b"%d" % number), FACTS, (b"signature",), created_ms)


async def deploy(catalog: Catalog, made_of: StoredModule, name: str = "f") -> None:
    content = FunctionContent(made_of.digest, Abi.STOCKADE_V1, deterministic=True)
    await catalog.put_function(made_of.tenant, name, content, 1000)


async def yes(_digest: str) -> bool:
    return True


async def no(_digest: str) -> bool:
    return False


async def test_modules_are_listed_newest_first_page_by_page(catalog: Catalog) -> None:
    assert await catalog.modules("acme", 10) == ()
    made = [module(number, created_ms=1000 + number // 3) for number in range(10)]
    for one in (*made, module(99, "rival")):
        await catalog.add_module(one)
    expected = sorted(((one.created_ms, one.digest) for one in made), reverse=True)
    found: list[tuple[int, str]] = []
    before = None
    while page := await catalog.modules("acme", 3, before):
        assert len(page) <= 3
        found += [(one.created_ms, one.digest) for one in page]
        before = found[-1]
    assert found == expected
    assert {(one.abi, one.size_bytes) for one in await catalog.modules("acme", 1)} == {
        (Abi.STOCKADE_V1, 100)
    }


async def test_usage_is_counted_once_for_each_module_and_tenant(catalog: Catalog) -> None:
    assert await catalog.storage_usage("acme") == StorageUsage()
    for one in (module(1), module(2), module(1), module(1, "rival")):
        await catalog.add_module(replace(one, signatures=(b"%d" % one.created_ms,)))
    assert await catalog.storage_usage("acme") == StorageUsage(200, 2)
    assert await catalog.storage_usage("rival") == StorageUsage(100, 1)


@pytest.mark.parametrize("quota", [StorageQuota(299, 9), StorageQuota(1000, 2)])
async def test_a_module_over_the_quota_is_refused_and_not_there(
    catalog: Catalog, quota: StorageQuota
) -> None:
    for number in range(2):
        assert await catalog.add_module(module(number), quota)
    with pytest.raises(StockadeError) as caught:
        await catalog.add_module(module(2), quota)
    assert caught.value.code == "storage.quota_exceeded"
    assert caught.value.detail == {
        "wanted_bytes": 300,
        "limit_bytes": quota.module_bytes,
        "wanted_modules": 3,
        "limit_modules": quota.modules,
    }
    assert await catalog.module("acme", module(2).digest) is None
    assert not await catalog.add_module(module(1), StorageQuota(0, 0))
    assert await catalog.add_module(module(2, "rival"), quota)


async def test_modules_added_at_once_do_not_pass_the_quota_together(catalog: Catalog) -> None:
    quota = StorageQuota(500, 100)
    adds = (catalog.add_module(module(number), quota) for number in range(12))
    answers = await asyncio.gather(*adds, return_exceptions=True)
    assert sorted(getattr(one, "code", "added") for one in answers) == sorted(
        ["added"] * 5 + ["storage.quota_exceeded"] * 7
    )
    assert await catalog.storage_usage("acme") == StorageUsage(500, 5)


async def test_a_module_that_is_used_is_not_deleted(catalog: Catalog) -> None:
    one = module(1)
    await catalog.add_module(one)
    await catalog.add_module(module(1, "rival"))
    for name in ("b", "a"):
        await deploy(catalog, one, name)
    assert list(await catalog.module_versions("acme", one.digest, 9)) == [("a", 1), ("b", 1)]
    assert len(await catalog.module_versions("acme", one.digest, 1)) == 1
    with pytest.raises(StockadeError) as caught:
        await catalog.delete_module("acme", one.digest, 2000)
    assert caught.value.code == "module.in_use"
    assert caught.value.detail == {
        "versions": [{"function": "a", "version": 1}, {"function": "b", "version": 1}]
    }
    assert await catalog.delete_module("rival", one.digest, 2000)


async def test_a_module_of_a_deleted_function_is_kept_for_its_grace(catalog: Catalog) -> None:
    one = module(1)
    await catalog.add_module(one)
    await deploy(catalog, one)
    await catalog.delete_function("acme", "f", Stamp("me", 2000), 3000)
    with pytest.raises(StockadeError, match=r"^module\.in_use"):
        await catalog.delete_module("acme", one.digest, 2500)
    await catalog.purge_functions(3001, 10)
    assert await catalog.delete_module("acme", one.digest, 3002)


async def test_a_deleted_module_is_kept_for_what_was_submitted_and_no_more_deployed(
    catalog: Catalog,
) -> None:
    one = module(1)
    await catalog.add_module(one)
    assert await catalog.delete_module("acme", one.digest, 2000)
    assert not await catalog.delete_module("acme", one.digest, 3000)
    assert await catalog.module("acme", one.digest) == replace(one, deleted_ms=2000)
    assert len(await catalog.modules("acme", 9)) == 0
    assert await catalog.storage_usage("acme") == StorageUsage(100, 1)
    assert await catalog.needed_blobs([one.digest]) == {one.digest}
    with pytest.raises(StockadeError, match=r"^module\.not_found"):
        await deploy(catalog, one)
    assert await catalog.function_version("acme", "f", None) is None


async def test_an_upload_takes_a_deletion_back(catalog: Catalog) -> None:
    one = module(1)
    await catalog.add_module(one)
    await catalog.delete_module("acme", one.digest, 2000)
    assert not await catalog.add_module(one, PLENTY, yes)
    assert await catalog.module("acme", one.digest) == one
    assert await catalog.purge_modules(1 << 50, 10) == 0
    await deploy(catalog, one)


async def test_what_was_deleted_long_ago_is_purged(catalog: Catalog) -> None:
    for number, tenant in ((1, "acme"), (2, "acme"), (3, "acme"), (1, "rival")):
        await catalog.add_module(module(number, tenant))
        if number != 3:
            await catalog.delete_module(tenant, module(number).digest, 1000 * number)
    assert await catalog.purge_modules(1000, 10) == 0
    assert await catalog.purge_modules(2000, 1) == 1
    assert await catalog.purge_modules(2000, 10) == 1
    assert await catalog.module("acme", module(1).digest) is None
    assert await catalog.module("rival", module(1).digest) is None
    assert await catalog.needed_blobs([module(n).digest for n in (1, 2, 3, 4)]) == {
        module(2).digest,
        module(3).digest,
    }
    kept = sorted(module(number).digest for number in (2, 3))
    assert list(await catalog.every_module(10)) == [("acme", digest) for digest in kept]


async def test_purging_at_once_purges_once(catalog: Catalog) -> None:
    for number in range(6):
        await catalog.add_module(module(number))
        await catalog.delete_module("acme", module(number).digest, 1000)
    assert sum(await asyncio.gather(*(catalog.purge_modules(2000, 9) for _ in range(3)))) == 6


async def test_every_module_is_told_page_by_page(catalog: Catalog) -> None:
    expected = []
    for tenant in ("acme", "rival"):
        expected += sorted((tenant, module(number).digest) for number in range(4))
        for number in range(4):
            await catalog.add_module(module(number, tenant))
    found: list[tuple[str, str]] = []
    while page := await catalog.every_module(3, found[-1] if found else ("", "")):
        found += page
    assert found == expected


async def test_only_a_blob_that_no_module_needs_is_released(catalog: Catalog) -> None:
    blobs = MemoryBlobStore()
    digests = [await blobs.put(b"%d" % number) for number in range(3)]
    await catalog.add_module(module(1))
    await catalog.add_module(module(2, "rival"))
    assert [await catalog.release_blob(digest, blobs.delete) for digest in digests] == [
        True,
        False,
        False,
    ]
    assert not await catalog.release_blob(digests[0], blobs.delete)
    assert [await blobs.get(digest) for digest in digests] == [None, b"1", b"2"]


async def test_a_module_whose_blob_is_gone_is_not_added(catalog: Catalog) -> None:
    with pytest.raises(StockadeError, match=r"^blobs\.missing"):
        await catalog.add_module(module(1), PLENTY, no)
    assert await catalog.module("acme", module(1).digest) is None
    assert await catalog.add_module(module(1), PLENTY, yes)
    with pytest.raises(StockadeError, match=r"^blobs\.missing"):
        await catalog.add_module(module(1), PLENTY, no)


async def test_a_blob_is_released_or_its_module_added_and_never_both(catalog: Catalog) -> None:
    """Both at once, each holding on where the other could slip in between."""
    blobs = MemoryBlobStore()
    digests = [await blobs.put(b"%d" % number) for number in range(20)]

    async def slow_delete(digest: str) -> bool:
        await asyncio.sleep(0)
        return await blobs.delete(digest)

    async def slow_look(digest: str) -> bool:
        there = await blobs.size_bytes(digest) is not None
        await asyncio.sleep(0)
        return there

    steps: list[Coroutine[None, None, bool]] = []
    for number, digest in enumerate(digests):
        pair = [
            catalog.release_blob(digest, slow_delete),
            catalog.add_module(module(number), None, slow_look),
        ]
        steps += pair if number % 2 else reversed(pair)
    await asyncio.gather(*steps, return_exceptions=True)
    for number, digest in enumerate(digests):
        known = await catalog.module("acme", module(number).digest) is not None
        assert known == (await blobs.size_bytes(digest) is not None)


async def test_a_deletion_that_fails_leaves_all_as_it_was(catalog: Catalog) -> None:
    async def away(_digest: str) -> bool:
        raise StockadeError("blobs.unavailable", "Away.", retryable=True)

    with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
        await catalog.release_blob(module(1).digest, away)
    assert await catalog.release_blob(module(1).digest, yes)


async def test_a_deploy_and_a_deletion_at_once_leave_no_version_without_its_module(
    catalog: Catalog,
) -> None:
    made = [module(number) for number in range(10)]
    for one in made:
        await catalog.add_module(one)
    deploys = [deploy(catalog, one, f"f{number}") for number, one in enumerate(made)]
    deletions = [catalog.delete_module("acme", one.digest, 2000) for one in made]
    both = [step for pair in zip(deploys, deletions, strict=True) for step in pair]
    await asyncio.gather(*both, return_exceptions=True)
    for number, one in enumerate(made):
        stored = await catalog.module("acme", one.digest)
        assert stored is not None
        deployed = await catalog.function_version("acme", f"f{number}", None) is not None
        assert deployed == (stored.deleted_ms is None)


async def test_of_many_that_want_a_turn_one_has_it(catalog: Catalog) -> None:
    turns = [catalog.take_turn("collect", 1000, 500) for _ in range(5)]
    assert sorted(await asyncio.gather(*turns)) == [False] * 4 + [True]
    assert await catalog.take_turn("other", 1000, 500)
    assert not await catalog.take_turn("collect", 1499, 500)
    assert await catalog.take_turn("collect", 1500, 500)


async def test_a_clock_that_was_ahead_does_not_stop_the_turns(catalog: Catalog) -> None:
    assert await catalog.take_turn("collect", 1 << 50, 500)
    assert await catalog.take_turn("collect", 1000, 500)


async def test_what_no_catalog_can_hold_is_absent(catalog: Catalog) -> None:
    for hostile in ("\0", "\ud800"):
        assert len(await catalog.modules(hostile, 9)) == 0
        assert len(await catalog.modules("acme", 9, (1, hostile))) == 0
        assert len(await catalog.module_versions(hostile, hostile, 9)) == 0
        assert await catalog.storage_usage(hostile) == StorageUsage()
        assert not await catalog.delete_module("acme", hostile, 1)
        with pytest.raises(StockadeError, match=r"^catalog\.value_invalid"):
            await catalog.release_blob(hostile, yes)
