"""What nobody needs is deleted once its grace is over; what somebody may need stays."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.oci import sweep as sweep_module
from gateway.oci.sweep import sweep
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.oci import OciBlob, OciRepository, OciUpload
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.sql.sql_oci import SqlOciStore
from stockade.infra.system_clock import SystemClock
from tests.unit.gateway.installation import OCI_BOUNDS
from tests.unit.gateway.oci.registry import (
    EMPTY,
    REPOSITORY,
    OciGateway,
    descriptor,
    image,
    oci_gateway,
    refused,
)

CONTENT = b"a layer"
GRACE_MS = OCI_BOUNDS.grace_ms


async def swept(oci: OciGateway, after_ms: int) -> int:
    """What is deleted so much later."""
    services = oci.it.services
    return await sweep(services.oci, services.clock.now_ms() + after_ms)


async def test_a_blob_waits_for_its_manifest_for_the_grace(oci: OciGateway) -> None:
    await oci.push_blob(CONTENT)
    assert await swept(oci, GRACE_MS - 60_000) == 0
    assert (await oci.push_image(CONTENT)).status_code == 201
    assert await swept(oci, 10 * GRACE_MS) == 0
    assert (await oci.http.get(f"{REPOSITORY}/blobs/{digest_of(CONTENT)}")).content == CONTENT


async def test_a_blob_without_a_manifest_goes(oci: OciGateway) -> None:
    await oci.push_blob(CONTENT)
    await oci.push_image(b"needed")
    assert await swept(oci, GRACE_MS + 1) == 2  # the row, and the bytes
    answer = await oci.http.get(f"{REPOSITORY}/blobs/{digest_of(CONTENT)}")
    refused(answer, 404, "BLOB_UNKNOWN", "oci.blob_unknown")
    assert await oci.blobs.get(digest_of(CONTENT)) is None
    assert await oci.blobs.get(digest_of(b"needed")) == b"needed"


async def test_what_a_deleted_manifest_needed_goes(oci: OciGateway) -> None:
    pushed = await oci.push_image(CONTENT)
    assert (await oci.http.delete(pushed.headers["location"])).status_code == 202
    assert await swept(oci, GRACE_MS + 1) == 5  # two blobs and their bytes, the manifest's bytes
    assert oci.blobs._blobs == {}


async def test_bytes_that_another_repository_needs_stay(oci: OciGateway) -> None:
    await oci.push_image(CONTENT)
    await oci.push_blob(CONTENT, "/v2/alice/other")
    assert await swept(oci, GRACE_MS + 1) == 1
    assert await oci.blobs.get(digest_of(CONTENT)) == CONTENT


async def test_uploads_that_rest_go_with_their_chunks(oci: OciGateway) -> None:
    place = await oci.begin()
    await oci.http.patch(place, content=CONTENT)
    assert await swept(oci, GRACE_MS - 60_000) == 0
    assert len(oci.staging._blobs) == 1
    assert await swept(oci, GRACE_MS + 1) == 1
    assert oci.staging._blobs == {}
    refused(await oci.http.get(place), 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")


async def test_chunks_that_a_killed_gateway_left_go(oci: OciGateway) -> None:
    await oci.staging.put(b"no row tells of me")
    assert await swept(oci, GRACE_MS + 1) == 1
    assert oci.staging._blobs == {}


async def test_who_saw_an_old_blob_may_count_on_it(oci: OciGateway) -> None:
    await oci.push_blob(CONTENT)
    repository, digest = OciRepository("alice", "tools/hello"), digest_of(CONTENT)
    now_ms = oci.it.services.clock.now_ms()
    old = OciBlob(digest, digest, len(CONTENT), now_ms - GRACE_MS * 3 // 4)
    await oci.it.services.oci.add_blob(repository, old)
    assert (await oci.http.head(f"{REPOSITORY}/blobs/{digest}")).status_code == 200
    seen = await oci.store.blob(repository, digest)
    assert seen is not None
    assert seen.created_ms >= now_ms


async def test_a_blob_whose_bytes_were_just_deleted_is_to_be_pushed_again(
    database: SqlCatalog,
) -> None:
    class Swept(MemoryBlobStore):
        """The sweep comes between the bytes and their row."""

        async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
            stored, size_bytes = await super().put_stream(chunks, max_bytes)
            assert await database.oci_store().release(stored, self.delete)
            return stored, size_bytes

    async with oci_gateway(database, blob_store=Swept()) as oci:
        answer = await oci.push_blob(CONTENT)
        refused(answer, 503, "BLOB_UPLOAD_INVALID", "oci.content_gone")
        assert answer.headers["retry-after"]
        assert answer.json()["errors"][0]["detail"]["retryable"] is True


async def test_a_manifest_after_the_grace_is_told_what_is_missing(oci: OciGateway) -> None:
    await oci.push_blob(EMPTY)
    await oci.push_blob(CONTENT)
    await swept(oci, GRACE_MS + 1)
    refused(
        await oci.push(image(CONTENT)), 404, "MANIFEST_BLOB_UNKNOWN", "oci.manifest_blob_unknown"
    )


async def test_gateways_sweep_again_and_again(
    oci: OciGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + GRACE_MS + 1

    class Away(SqlOciStore):
        """Cannot be reached the first time."""

        calls = 0

        async def stale_uploads(self, before_ms: int, most: int) -> Sequence[OciUpload]:
            self.calls += 1
            if self.calls == 1:
                raise StockadeError("catalog.unavailable", "Try again.", retryable=True)
            return await super().stale_uploads(before_ms, most)

    monkeypatch.setattr(sweep_module, "SWEEP_SECONDS", 0)
    await oci.push_blob(CONTENT)
    content = replace(oci.it.services.oci, store=Away(oci.store._engine, oci.store._writer))
    with capture_logs() as logged:
        async with sweep_module.sweeping(content, Later()):
            while oci.blobs._blobs:
                await asyncio.sleep(0)
    events = [line["event"] for line in logged]
    assert events[0] == "oci_sweep_waits"
    assert set(events[1:]) <= {"oci_swept"}


async def test_a_layer_that_need_not_be_there_is_kept_when_it_is(oci: OciGateway) -> None:
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    for blob in (EMPTY, CONTENT):
        await oci.push_blob(blob)
    made = image() | {"layers": [descriptor(CONTENT, kind)]}
    assert (await oci.push(made)).status_code == 201
    assert await swept(oci, GRACE_MS + 1) == 0
    assert await oci.blobs.get(digest_of(CONTENT)) == CONTENT
