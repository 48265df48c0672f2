"""Deletes pushed content that nobody needs: resting uploads, blobs without a manifest, lost bytes.

Every gateway sweeps; twice is no harm. What is younger than the grace stays, so a blob may wait for
its manifest; and whatever comes to need bytes does so in a transaction that the deleting one waits
for, or that sees that they are gone (`OciStore.release`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog

from gateway.oci.content import OciContent
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.ports import Clock

SWEEP_SECONDS = 600.0
_MOST_UPLOADS = 1000

_log = structlog.get_logger()


@asynccontextmanager
async def sweeping(content: OciContent, clock: Clock) -> AsyncIterator[None]:
    """Sweeps inside, again and again."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_sweep_again_and_again(content, clock))
        try:
            yield
        finally:
            task.cancel()


async def sweep(content: OciContent, now_ms: int) -> int:
    """Deletes what is over; of how many uploads, blobs and stored contents."""
    before_ms = now_ms - content.bounds.grace_ms
    count = 0
    for upload in await content.store.stale_uploads(before_ms, _MOST_UPLOADS):
        if await content.store.end_upload(upload):
            await content.discard(upload)
            count += 1
    count += await content.store.drop_unneeded(before_ms)
    for blobs in (content.blobs, content.staging):
        count += await _sweep_bytes(content, blobs, before_ms)
        await blobs.clear_abandoned()
    return count


async def _sweep_bytes(content: OciContent, blobs: BlobStore, before_ms: int) -> int:
    count = 0
    async for stored, stored_ms in blobs.digests():
        if stored_ms < before_ms:
            count += await content.store.release(stored, blobs.delete)
    return count


async def _sweep_again_and_again(content: OciContent, clock: Clock) -> NoReturn:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            count = await sweep(content, clock.now_ms())
        except StockadeError as error:
            _log.warning("oci_sweep_waits", code=error.code)
        else:
            _log.info("oci_swept", count=count)
