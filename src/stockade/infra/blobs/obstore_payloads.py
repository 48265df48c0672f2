"""Payloads as objects of a bucket: `payloads/<tenant>/<invocation id>.<digest>`."""

import asyncio

import obstore
from obstore.store import ObjectStore

from stockade.core.digests import check_digest, digest_of
from stockade.core.ports import Clock, RecordLookup
from stockade.infra.blobs.blob_failures import blob_corrupt
from stockade.infra.blobs.object_store import object_failures

_PREFIX = "payloads"


class ObstorePayloadStore:
    """The `PayloadStore` port on an object store.

    Args:
        store: A bucket or a part of one that is Stockade's own.
        clock: Says what is old; the bucket's own clock said when it was stored.
        retention_seconds: Nothing younger is ever swept.
    """

    def __init__(self, store: ObjectStore, clock: Clock, retention_seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._retention_seconds = retention_seconds

    async def put(self, tenant: str, invocation_id: str, content: bytes) -> str:
        """Stores the bytes and returns their digest."""
        digest = await asyncio.to_thread(digest_of, content)
        with object_failures():
            await obstore.put_async(self._store, _key(tenant, invocation_id, digest), content)
        return digest

    async def get(self, tenant: str, invocation_id: str, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        key = _key(tenant, invocation_id, check_digest(digest))
        try:
            with object_failures():
                answer = await obstore.get_async(self._store, key)
                content = bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        if await asyncio.to_thread(digest_of, content) != digest:
            raise blob_corrupt(digest)
        return content

    async def discard(self, tenant: str, invocation_id: str, digest: str) -> None:
        """Deletes a payload whose invocation was not taken."""
        await self._delete(_key(tenant, invocation_id, check_digest(digest)))

    async def sweep(self, has_record: RecordLookup) -> int:
        """Deletes what is old and whose record is gone; how many there were."""
        before = self._clock.now_ms() / 1000 - self._retention_seconds
        swept = 0
        with object_failures():
            async for page in obstore.list(self._store, prefix=_PREFIX):
                for found in page:
                    if found["last_modified"].timestamp() >= before:
                        continue
                    _, tenant, name = found["path"].split("/")
                    if not await has_record(tenant, name.partition(".")[0]):
                        await self._delete(found["path"])
                        swept += 1
        return swept

    async def _delete(self, key: str) -> None:
        try:
            with object_failures():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:  # where a store tells
            return


def _key(tenant: str, invocation_id: str, digest: str) -> str:
    return f"{_PREFIX}/{tenant}/{invocation_id}.{digest.partition(':')[2]}"
