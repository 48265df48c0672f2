"""From a digest to a compiled module that may run: signatures and artifacts are checked again."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from registry.verification import verify_stored
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.ports import ArtifactCache, Catalog, Clock, ModuleCompiler
from stockade.core.single_flight import SingleFlight

_KEPT_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    artifact: bytes
    checked_at: float


class ModuleLoader:
    """Loads modules for runs; those that want the same one at once load it once.

    Args:
        catalog: Says whose the module is and whom its tenant trusts.
        blobs: Has the modules.
        cache: Has the artifacts of this host.
        compiler: Makes what the cache has not.
        clock: For the validity of signers.
        trust_seconds: How long an answer is trusted: a revocation acts after that.
        kept_bytes: How much of artifacts stays in memory; what was used longest ago makes room.
    """

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        cache: ArtifactCache,
        compiler: ModuleCompiler,
        clock: Clock,
        trust_seconds: float,
        kept_bytes: int = _KEPT_BYTES,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._cache = cache
        self._compiler = compiler
        self._clock = clock
        self._trust_seconds = trust_seconds
        self._room_bytes = kept_bytes
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._loading: SingleFlight[tuple[str, str], bytes] = SingleFlight()

    async def load(self, tenant: str, digest: str) -> bytes:
        """The compiled artifact of a module that the tenant's signers vouch for now.

        Raises:
            StockadeError: `module.not_found`, a refusal of the signatures, `module.too_costly`, or
                that a store cannot be reached.
        """
        place = tenant, digest
        kept = self._kept.get(place)
        if kept is not None and time.monotonic() - kept.checked_at < self._trust_seconds:
            return kept.artifact
        return await self._loading.run(place, lambda: self._load(tenant, digest))

    async def _load(self, tenant: str, digest: str) -> bytes:
        kept = self._kept.get((tenant, digest))
        started = time.monotonic()
        body = await self._trusted_body(tenant, digest)
        artifact = kept.artifact if kept else await self._artifact(tenant, digest, body)
        # Trust begins where it was looked at, not where a long compilation ended.
        self._keep((tenant, digest), _Kept(artifact, started))
        return artifact

    def _keep(self, place: tuple[str, str], kept: _Kept) -> None:
        if old := self._kept.pop(place, None):
            self._room_bytes += len(old.artifact)
        self._kept[place] = kept
        self._room_bytes -= len(kept.artifact)
        while self._room_bytes < 0:
            _place, oldest = self._kept.popitem(last=False)
            self._room_bytes += len(oldest.artifact)

    async def _trusted_body(self, tenant: str, digest: str) -> bytes:
        module = await self._catalog.module(tenant, digest)
        body = await self._blobs.get(digest)
        if module is None or body is None:
            raise StockadeError(
                "module.not_found",
                f"There is no module {digest!r} in this tenant; upload it again.",
            )
        signers = await self._catalog.signers(tenant)
        # Hashing megabytes would hold up every other run.
        await asyncio.to_thread(
            verify_stored, body, digest, module.signatures, signers, self._clock.now_ms()
        )
        return body

    async def _artifact(self, tenant: str, digest: str, body: bytes) -> bytes:
        artifact = await self._cache.get(digest)
        if artifact is not None:
            return artifact
        async with self._cache.making(digest):
            # Another worker of this host may have made it meanwhile.
            artifact = await self._cache.get(digest)
            if artifact is None:
                artifact = await self._compiler.compile(body, tenant)
                await self._cache.put(digest, artifact)
        return artifact
