"""Payloads in this process's memory: for tests and throw-away runs; nothing survives it."""

from stockade.core.digests import check_digest, digest_of
from stockade.core.ports import Clock, RecordLookup
from stockade.infra.blobs.blob_failures import blob_corrupt


class MemoryPayloadStore:
    """The `PayloadStore` port in a dictionary."""

    def __init__(self, clock: Clock, retention_seconds: float) -> None:
        self._clock = clock
        self._retention_ms = retention_seconds * 1000
        self._payloads: dict[tuple[str, str, str], tuple[int, bytes]] = {}

    async def put(self, tenant: str, invocation_id: str, content: bytes) -> str:
        """Stores the bytes and returns their digest."""
        return self.hold(tenant, invocation_id, content)

    def hold(self, tenant: str, invocation_id: str, content: bytes) -> str:
        """Likewise, without waiting."""
        digest = digest_of(content)
        self._payloads[tenant, invocation_id, digest] = (self._clock.now_ms(), content)
        return digest

    def held_ids(self) -> list[str]:
        """The invocations that payloads are held of."""
        return sorted(invocation_id for _, invocation_id, _ in self._payloads)

    def clear(self) -> None:
        """Loses everything."""
        self._payloads.clear()

    async def get(self, tenant: str, invocation_id: str, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        _, content = self._payloads.get((tenant, invocation_id, check_digest(digest)), (0, None))
        if content is not None and digest_of(content) != digest:
            raise blob_corrupt(digest)
        return content

    async def discard(self, tenant: str, invocation_id: str, digest: str) -> None:
        """Deletes a payload whose invocation was not taken."""
        self._payloads.pop((tenant, invocation_id, check_digest(digest)), None)

    async def sweep(self, has_record: RecordLookup) -> int:
        """Deletes what is old and whose record is gone; how many there were."""
        before = self._clock.now_ms() - self._retention_ms
        old = [key for key, (put_ms, _) in self._payloads.items() if put_ms < before]
        gone = [key for key in old if not await has_record(key[0], key[1])]
        for key in gone:
            self._payloads.pop(key, None)
        return len(gone)
