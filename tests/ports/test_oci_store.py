"""What is known of pushed OCI content, over every database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.oci import OciBlob, OciBounds, OciChunk, OciManifest, OciRepository, OciUpload
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_oci import SqlOciStore
from tests.ports.conftest import SQL, emptied_url

BOUNDS = OciBounds(tenant_bytes=1000, blob_bytes=1000, grace_ms=1000, chunks=3, uploads=3)
HELLO, OTHER = OciRepository("acme", "hello"), OciRepository("acme", "other")
RIVALS = OciRepository("rival", "hello")
IMAGE = "application/vnd.oci.image.manifest.v1+json"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def blob(letter: str, size_bytes: int = 10, created_ms: int = 1_000) -> OciBlob:
    return OciBlob(digest(letter), digest(letter), size_bytes, created_ms)


def manifest(letter: str, *blobs: str, **facts: object) -> OciManifest:
    plain = OciManifest(digest(letter), digest(letter), IMAGE, 5, 1_000)
    return replace(plain, blobs=tuple(map(digest, blobs)), **facts)  # type: ignore[arg-type]


async def stored(_name: str) -> bool:
    return True


async def gone(_name: str) -> bool:
    return False


@pytest.fixture(params=SQL)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlOciStore]:
    catalog = await SqlCatalog.open(await emptied_url(request, request.param, tmp_path))
    for tenant in ("acme", "rival"):
        await catalog.ensure_tenant(tenant)
    yield catalog.oci_store()
    await catalog.aclose()


async def add(store: SqlOciStore, repository: OciRepository, *letters: str) -> None:
    for letter in letters:
        await store.add_blob(repository, blob(letter), BOUNDS, stored)


async def put(
    store: SqlOciStore, made: OciManifest, *tags: str, repository: OciRepository = HELLO
) -> None:
    await store.put_manifest(repository, made, tags, BOUNDS, stored)


async def test_blobs_are_their_repositorys(store: SqlOciStore) -> None:
    await add(store, HELLO, "a")
    assert await store.blob(HELLO, digest("a")) == blob("a")
    assert await store.blob(OTHER, digest("a")) is None
    assert await store.blob(RIVALS, digest("a")) is None
    assert await store.tenants_blob("acme", digest("a")) == blob("a")
    assert await store.tenants_blob("rival", digest("a")) is None
    await store.add_blob(HELLO, blob("a", created_ms=2_000), BOUNDS, stored)
    assert await store.blob(HELLO, digest("a")) == blob("a", created_ms=2_000)
    assert await store.delete_blob(OTHER, digest("a")) is False
    assert await store.delete_blob(HELLO, digest("a")) is True
    assert await store.blob(HELLO, digest("a")) is None


async def test_manifests_and_tags(store: SqlOciStore) -> None:
    assert await store.tags(HELLO) is None
    await add(store, HELLO, "a", "b")
    assert await store.tags(HELLO) == []
    await put(store, manifest("1", "a", "b", "a"), "Two", "one", "two")
    assert await store.tags(HELLO) == ["one", "Two", "two"]
    for reference in ("one", digest("1")):
        assert await store.manifest(HELLO, reference) == manifest("1")
        assert await store.manifest(OTHER, reference) is None
    await put(store, manifest("2", "a"), "one")
    assert await store.manifest(HELLO, "one") == manifest("2")
    assert await store.delete_tag(HELLO, "one") is True
    assert await store.delete_tag(HELLO, "one") is False
    assert await store.manifest(HELLO, digest("2")) == manifest("2")
    assert await store.delete_manifest(HELLO, digest("1")) is True
    assert await store.delete_manifest(HELLO, digest("1")) is False
    assert await store.tags(HELLO) == []
    assert await store.repositories("acme") == ("acme/hello",)
    assert await store.repositories("rival") == ()


async def test_what_a_manifest_needs_must_be_there(store: SqlOciStore) -> None:
    await add(store, OTHER, "a")
    for made in (manifest("1", "a"), manifest("1", manifests=(digest("9"),))):
        with pytest.raises(StockadeError) as refused:
            await put(store, made, "one")
        assert refused.value.code == "oci.manifest_blob_unknown"
    assert await store.manifest(HELLO, digest("1")) is None
    await put(store, manifest("9"))
    await put(store, manifest("1", manifests=(digest("9"),)), "one")


async def test_a_manifest_keeps_its_media_type(store: SqlOciStore) -> None:
    await put(store, manifest("1"), "one")
    await put(store, manifest("1"), "two")
    with pytest.raises(StockadeError) as refused:
        await put(store, manifest("1", media_type="application/other"), "two")
    assert refused.value.code == "oci.manifest_type_differs"


async def test_referrers(store: SqlOciStore) -> None:
    subject = digest("0")
    for letter, kind in (("3", "x"), ("1", "y"), ("2", "x")):
        await put(store, manifest(letter, subject=subject, artifact_type=kind))
    await put(store, manifest("4"))

    async def found(kind: str | None, after: str = "", most: int = 9) -> list[str]:
        referrers = await store.referrers(HELLO, subject, kind, after, most)
        return [one.digest[-1] for one in referrers]

    assert await found(None) == ["1", "2", "3"]
    assert await found("x") == ["2", "3"]
    assert await found(None, digest("1"), 1) == ["2"]
    assert await store.referrers(OTHER, subject, None, "", 9) == ()
    assert await found("x\0") == []


async def test_an_upload_in_chunks(store: SqlOciStore) -> None:
    await store.begin_upload(HELLO, "id", 1_000, BOUNDS)
    assert await store.upload(OTHER, "id") is None
    begun = await store.upload(HELLO, "id")
    assert begun == OciUpload("id", HELLO, 0, ())
    first, second = OciChunk(digest("1"), 0, 5), OciChunk(digest("2"), 5, 7)
    assert await store.add_chunk(begun, first, 2_000, BOUNDS) is True
    assert await store.add_chunk(begun, first, 2_000, BOUNDS) is False
    assert await store.add_chunk(begun, second, 3_000, BOUNDS) is True
    whole = OciUpload("id", HELLO, 12, (first, second))
    assert await store.upload(HELLO, "id") == whole
    assert await store.used_bytes("acme") == 12
    assert await store.stale_uploads(3_000, 9) == []
    assert await store.stale_uploads(3_001, 9) == [whole]
    await store.add_blob(HELLO, blob("a", 12), BOUNDS, stored, whole)
    assert await store.upload(HELLO, "id") is None
    assert await store.used_bytes("acme") == 12
    assert await store.end_upload(whole) is False
    assert await store.add_chunk(whole, OciChunk(digest("3"), 12, 1), 4_000, BOUNDS) is False


async def test_chunks_at_once_for_one_place(store: SqlOciStore) -> None:
    await store.begin_upload(HELLO, "id", 1_000, BOUNDS)
    begun = await store.upload(HELLO, "id")
    assert begun is not None
    chunks = [OciChunk(digest(letter), 0, 5) for letter in "123456"]
    added = await asyncio.gather(
        *(store.add_chunk(begun, chunk, 2_000, BOUNDS) for chunk in chunks)
    )
    assert sorted(added) == [False] * 5 + [True]
    now = await store.upload(HELLO, "id")
    assert now is not None
    assert (now.received_bytes, len(now.chunks)) == (5, 1)


async def test_bounds_hold_also_at_once(store: SqlOciStore) -> None:
    begun = await asyncio.gather(
        *(store.begin_upload(HELLO, f"id{number}", 1_000, BOUNDS) for number in range(6)),
        return_exceptions=True,
    )
    refused = [one for one in begun if one is not None]
    assert [getattr(one, "code", one) for one in refused] == ["oci.too_many"] * 3
    added = await asyncio.gather(
        *(store.add_blob(HELLO, blob(letter, 300), BOUNDS, stored) for letter in "abcde"),
        return_exceptions=True,
    )
    refused = [one for one in added if one is not None]
    assert [getattr(one, "code", one) for one in refused] == ["oci.quota_exceeded"] * 2
    assert await store.used_bytes("acme") == 900
    await store.add_blob(RIVALS, blob("a", 1000), BOUNDS, stored)


async def test_content_of_many_repositories_counts_once(store: SqlOciStore) -> None:
    for repository in (HELLO, OTHER, RIVALS):
        await add(store, repository, "a")
        await put(store, manifest("1", "a"), repository=repository)
    assert await store.used_bytes("acme") == 15
    assert await store.used_bytes("nobody") == 0


async def test_blobs_that_no_manifest_needs_are_dropped_when_they_are_old(
    store: SqlOciStore,
) -> None:
    for repository in (HELLO, OTHER, RIVALS):
        await add(store, repository, "a", "b")
    await put(store, manifest("1", "a"))
    assert await store.drop_unneeded(1_000) == 0
    assert await store.drop_unneeded(1_001) == 5
    assert await store.blob(HELLO, digest("a")) == blob("a")
    await store.delete_manifest(HELLO, digest("1"))
    assert await store.drop_unneeded(1_001) == 1


async def test_bytes_are_released_when_nothing_stands_in_them(store: SqlOciStore) -> None:
    deleted: list[str] = []

    async def delete(name: str) -> bool:
        deleted.append(name)
        return True

    await add(store, HELLO, "a")
    await put(store, manifest("1"))
    await store.begin_upload(RIVALS, "id", 1_000, BOUNDS)
    begun = await store.upload(RIVALS, "id")
    assert begun is not None
    await store.add_chunk(begun, OciChunk(digest("c"), 0, 5), 1_000, BOUNDS)
    for letter in "a1c":
        assert await store.release(digest(letter), delete) is False
    assert deleted == []
    assert await store.release(digest("d"), delete) is True
    assert await store.release(digest("d"), gone) is False
    assert deleted == [digest("d")]


async def test_bytes_that_went_are_told_to_whoever_needs_them(store: SqlOciStore) -> None:
    with pytest.raises(StockadeError) as refused:
        await store.add_blob(HELLO, blob("a"), BOUNDS, gone)
    assert refused.value.code == "oci.content_gone"
    with pytest.raises(StockadeError) as refused:
        await store.put_manifest(HELLO, manifest("1"), ["one"], BOUNDS, gone)
    assert refused.value.code == "oci.content_gone"
    assert await store.tags(HELLO) is None


async def test_release_and_need_take_turns(store: SqlOciStore) -> None:
    """Whichever is first: never is there a row whose bytes were deleted."""
    for letter in "abcdef":
        there = {digest(letter)}

        async def is_there(name: str, there: set[str] = there) -> bool:
            await asyncio.sleep(0)
            return name in there

        async def delete(name: str, there: set[str] = there) -> bool:
            await asyncio.sleep(0)
            there.discard(name)
            return True

        await asyncio.gather(
            store.add_blob(HELLO, blob(letter), BOUNDS, is_there),
            store.release(digest(letter), delete),
            return_exceptions=True,
        )
        has_row = await store.blob(HELLO, digest(letter)) is not None
        assert has_row == (digest(letter) in there)


async def test_without_a_tenant_nothing_is_pushed(store: SqlOciStore) -> None:
    nobody = OciRepository("nobody", "hello")
    for step in (
        store.begin_upload(nobody, "id", 1_000, BOUNDS),
        store.add_blob(nobody, blob("a"), BOUNDS, stored),
        store.put_manifest(nobody, manifest("1"), (), BOUNDS, stored),
    ):
        with pytest.raises(StockadeError) as refused:
            await step
        assert refused.value.code == "tenant.not_found"
