"""Collection: what nobody needs goes, what an upload is about to need stays, whoever interferes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from gateway.blob_steps import within
from gateway.collect_blobs import BlobCollector, Checked, Collected, collecting
from stockade.core.aliases import Stamp
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.module_store import BlobStep
from stockade.core.modules import Abi, FunctionContent, ModuleFacts, StoredModule
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog import MemoryCatalog
from tests.unit.gateway.installation import Installation
from tests.unit.registry.signed_modules import BODY, custom, signed

FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=1)
GRACE_SECONDS, LATER_MS = 1000.0, 1_000_001


@dataclass
class HandClock:
    """The `Clock` port, set by hand."""

    now: int = 10_000_000

    def now_ms(self) -> int:
        return self.now

    def new_id(self) -> str:
        raise NotImplementedError


@dataclass
class Store:
    """A catalog, its blobs, and a clock for both."""

    clock: HandClock = field(default_factory=HandClock)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)

    def __post_init__(self) -> None:
        self.blobs = MemoryBlobStore(self.clock)
        self.collector = BlobCollector(self.catalog, self.blobs, self.clock, GRACE_SECONDS)

    async def uploaded(self, content: bytes, tenant: str = "acme") -> str:
        digest = await self.blobs.put(content)
        module = StoredModule(tenant, digest, FACTS, (b"s",), self.clock.now)
        await self.catalog.add_module(module)
        return digest


@pytest.fixture
async def store() -> Store:
    made = Store()
    for tenant in ("acme", "rival"):
        await made.catalog.ensure_tenant(tenant)
    return made


async def test_blobs_that_no_module_needs_go_when_they_are_old(store: Store) -> None:
    kept, orphan = await store.uploaded(b"kept"), await store.blobs.put(b"orphan")
    store.clock.now += LATER_MS
    young = await store.blobs.put(b"young")
    assert await store.collector.collect(dry_run=True) == Collected(0, (orphan,), 0)
    assert await store.blobs.get(orphan) == b"orphan"
    assert await store.collector.collect() == Collected(0, (orphan,), 0)
    assert [digest async for digest, _ in store.blobs.digests()] == [kept, young]
    assert await store.collector.collect() == Collected(0, (), 0)


async def test_a_blob_goes_with_its_last_module_behind_the_grace(store: Store) -> None:
    digest = await store.uploaded(b"shared")
    await store.uploaded(b"shared", "rival")
    store.clock.now += LATER_MS
    await store.catalog.delete_module("acme", digest, store.clock.now)
    assert await store.collector.collect() == Collected(0, (), 0)
    store.clock.now += LATER_MS
    assert await store.collector.collect() == Collected(1, (), 0)
    assert await store.catalog.module("acme", digest) is None
    await store.catalog.delete_module("rival", digest, store.clock.now)
    store.clock.now += LATER_MS
    assert await store.collector.collect() == Collected(1, (digest,), 0)


async def test_a_module_of_a_deleted_function_stays_for_as_long_as_that_can_be_restored(
    store: Store,
) -> None:
    digest = await store.uploaded(b"code")
    content = FunctionContent(digest, Abi.STOCKADE_V1, deterministic=True)
    await store.catalog.put_function("acme", "f", content, 1)
    now_ms = store.clock.now
    await store.catalog.delete_function("acme", "f", Stamp("me", now_ms), now_ms + 9 * LATER_MS)
    store.clock.now += 8 * LATER_MS
    with pytest.raises(StockadeError, match=r"^module\.in_use"):
        await store.catalog.delete_module("acme", digest, store.clock.now)
    await store.collector.collect()
    assert await store.blobs.get(digest) == b"code"


async def test_a_collection_between_an_uploads_two_steps_is_mended_by_it(
    gateway: Installation,
) -> None:
    """The blob is old, so that the grace does not save it: the worst that can happen."""
    collector = BlobCollector(gateway.catalog, gateway.blobs, gateway.services.clock, 600.0)
    assert (await gateway.upload(signed(BODY + custom("another")))).status_code == 201
    put, collected = gateway.blobs.put, []

    async def put_and_be_collected(content: bytes) -> str:
        digest = await put(content)
        gateway.blobs._stored_ms = dict.fromkeys(gateway.blobs._stored_ms, 1000)
        if not collected:
            collected.extend((await collector.collect()).blobs)
        return digest

    gateway.blobs.put = put_and_be_collected  # type: ignore[method-assign]
    assert (await gateway.upload()).status_code == 201
    assert digest_of(BODY) in collected
    assert await gateway.blobs.get(digest_of(BODY)) == BODY
    assert await collector.collect() == Collected(0, (), 0)


async def test_an_upload_whose_blob_keeps_going_is_refused_and_not_half_there(
    gateway: Installation,
) -> None:
    put = gateway.blobs.put

    async def put_and_lose(content: bytes) -> str:
        digest = await put(content)
        await gateway.blobs.delete(digest)
        return digest

    gateway.blobs.put = put_and_lose  # type: ignore[method-assign]
    answer = await gateway.upload()
    assert (answer.status_code, answer.json()["code"]) == (500, "blobs.missing")
    assert await gateway.catalog.module("alice", digest_of(BODY)) is None


async def test_a_module_uploaded_again_while_it_goes_is_whole_afterwards(store: Store) -> None:
    """The upload comes when the collector has listed and marked, and is about to release."""
    digest = await store.blobs.put(b"code")
    store.clock.now += LATER_MS
    release = store.catalog.release_blob

    async def release_behind_an_upload(digest: str, delete: BlobStep) -> bool:
        await store.uploaded(b"code")
        return await release(digest, delete)

    await store.uploaded(b"another")
    store.catalog.release_blob = release_behind_an_upload  # type: ignore[method-assign]
    assert await store.collector.collect() == Collected(0, (), 0)
    assert await store.blobs.get(digest) == b"code"


async def test_two_collectors_at_once_collect_each_blob_once(store: Store) -> None:
    orphans = sorted([await store.blobs.put(b"%d" % number) for number in range(50)])
    kept = await store.uploaded(b"kept")
    store.clock.now += LATER_MS
    other = BlobCollector(store.catalog, store.blobs, store.clock, GRACE_SECONDS)
    both = await asyncio.gather(store.collector.collect(), other.collect())
    assert sorted(both[0].blobs + both[1].blobs) == orphans
    assert [digest async for digest, _ in store.blobs.digests()] == [kept]


async def test_a_collection_that_ends_half_way_is_finished_by_the_next(store: Store) -> None:
    orphans = [await store.blobs.put(b"%d" % number) for number in range(6)]
    kept = await store.uploaded(b"kept")
    store.clock.now += LATER_MS
    delete, deleted = store.blobs.delete, []

    async def delete_three(digest: str) -> bool:
        if len(deleted) == 3:
            raise StockadeError("blobs.unavailable", "Away.", retryable=True)
        deleted.append(digest)
        return await delete(digest)

    store.blobs.delete = delete_three  # type: ignore[method-assign]
    with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
        await store.collector.collect()
    store.blobs.delete = delete  # type: ignore[method-assign]
    rest = (await store.collector.collect()).blobs
    assert sorted([*deleted, *rest]) == sorted(orphans)
    assert await store.blobs.get(kept) == b"kept"


async def test_a_check_tells_what_is_missing_and_what_is_damaged(store: Store) -> None:
    sound, lost = await store.uploaded(b"sound"), await store.uploaded(b"lost")
    spoilt = await store.uploaded(b"spoilt")
    await store.uploaded(b"spoilt", "rival")
    orphan = await store.blobs.put(b"orphan")
    assert (await store.collector.check()).sound
    await store.blobs.delete(lost)
    for digest in (spoilt, orphan):
        store.blobs._blobs[digest] = b"other"
    found = await store.collector.check()
    assert found == Checked(
        modules=4,
        blobs=3,
        blob_bytes=len(b"sound"),
        missing=(("acme", lost),),
        corrupt=(("acme", spoilt), ("rival", spoilt)),
        corrupt_blobs=found.corrupt_blobs,
        unneeded=1,
    )
    assert sorted(found.corrupt_blobs) == sorted([spoilt, orphan])
    assert not found.sound
    assert await store.blobs.get(sound) == b"sound"


async def test_a_check_minds_nothing_that_comes_or_goes_meanwhile(store: Store) -> None:
    gone = await store.blobs.put(b"gone")
    read = store.blobs.read

    async def read_when_it_is_gone(digest: str, start: int = 0) -> AsyncIterator[bytes]:
        await store.blobs.delete(gone)
        await store.uploaded(b"come")
        async for chunk in read(digest, start):
            yield chunk

    store.blobs.read = read_when_it_is_gone  # type: ignore[method-assign,assignment]
    assert await store.collector.check() == Checked(1, 0, 0, (), (), (), 1)


async def test_a_check_that_cannot_read_says_so(store: Store) -> None:
    await store.blobs.put(b"hello")

    async def away(_digest: str) -> AsyncIterator[bytes]:
        raise StockadeError("blobs.unavailable", "Away.", retryable=True)
        yield b""

    store.blobs.read = away  # type: ignore[method-assign,assignment]
    with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
        await store.collector.check()


async def test_a_catalog_that_knows_nothing_is_believed_nothing(store: Store) -> None:
    """As after a gateway's start with the right blobs and the wrong database."""
    digest = await store.blobs.put(b"somebody's")
    store.clock.now += LATER_MS
    assert await store.collector.collect() == Collected(0, (), 0)
    assert await store.blobs.get(digest) == b"somebody's"


async def test_of_several_gateways_one_collects(store: Store) -> None:
    await store.uploaded(b"kept")
    store.clock.now += LATER_MS
    turns = [await store.collector.take_turn() for _ in range(3)]
    assert [turn is not None for turn in turns] == [True, False, False]
    store.clock.now += 600_000
    assert await store.collector.take_turn() == Collected(0, (), 0)


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (StockadeError("catalog.unavailable", "Away.", retryable=True), "blobs_wait"),
        (RuntimeError("a mistake"), "collection_failed"),
    ],
)
async def test_a_gateway_collects_on_and_on(store: Store, failure: Exception, event: str) -> None:
    turns = 0

    async def fail(*_asked: object) -> bool:
        nonlocal turns
        turns += 1
        raise failure

    store.catalog.take_turn = fail  # type: ignore[method-assign]
    with capture_logs() as logs:
        async with collecting(store.collector):
            while not logs:
                await asyncio.sleep(0)
    assert ([entry["event"] for entry in logs], turns) == ([event], 1)


async def test_what_a_gateway_collected_is_logged(store: Store) -> None:
    await store.uploaded(b"kept")
    await store.blobs.put(b"orphan")
    store.clock.now += LATER_MS
    with capture_logs() as logs:
        async with collecting(store.collector):
            while not logs:
                await asyncio.sleep(0)
    assert (logs[0]["event"], logs[0]["blobs"]) == ("blobs_collected", 1)


async def test_a_blob_store_that_hangs_does_not_hold_the_catalog() -> None:
    async def hang() -> bool:
        return await asyncio.Event().wait()

    with pytest.raises(StockadeError) as caught:
        await within(hang(), 0.01)
    assert (caught.value.code, caught.value.retryable) == ("blobs.unavailable", True)


async def test_what_was_submitted_before_a_deletion_still_finds_its_module(store: Store) -> None:
    """As a worker does: it asks the catalog by tenant and digest, and the store by digest."""
    digest = await store.uploaded(b"code")
    await store.uploaded(b"another")
    store.clock.now += LATER_MS
    await store.catalog.delete_module("acme", digest, store.clock.now)
    store.clock.now += round(GRACE_SECONDS * 1000)
    await store.collector.collect()
    assert await store.catalog.module("acme", digest) is not None
    assert await store.blobs.get(digest) == b"code"
    store.clock.now += 1
    assert await store.collector.collect() == Collected(1, (digest,), 0)
