"""From a digest to a compiled module that may run: signatures and artifacts are checked again."""

import time
from collections import OrderedDict
from dataclasses import dataclass

from registry.verification import verify_stored
from stockade.core.errors import StockadeError
from stockade.core.ports import ArtifactCache, BlobStore, Catalog, Clock, ModuleCompiler

_MAX_KEPT = 64


@dataclass(frozen=True, slots=True)
class _Kept:
    artifact: bytes
    checked_at: float


class ModuleLoader:
    """Loads modules for runs; trusts an answer for `trust_seconds`, so a revocation acts then."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        cache: ArtifactCache,
        compiler: ModuleCompiler,
        clock: Clock,
        trust_seconds: float,
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._cache = cache
        self._compiler = compiler
        self._clock = clock
        self._trust_seconds = trust_seconds
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    async def load(self, tenant: str, digest: str) -> bytes:
        """The compiled artifact of a module that the tenant's signers vouch for now.

        Raises:
            StockadeError: `module.not_found`, a refusal of the signatures, `module.too_costly`, or
                that a
                store cannot be reached.
        """
        kept = self._kept.get((tenant, digest))
        if kept is not None and time.monotonic() - kept.checked_at < self._trust_seconds:
            return kept.artifact
        body = await self._trusted_body(tenant, digest)
        artifact = kept.artifact if kept else await self._artifact(digest, body)
        self._kept[tenant, digest] = _Kept(artifact, time.monotonic())
        self._kept.move_to_end((tenant, digest))
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return artifact

    async def _trusted_body(self, tenant: str, digest: str) -> bytes:
        module = await self._catalog.module(tenant, digest)
        body = await self._blobs.get(digest)
        if module is None or body is None:
            raise StockadeError(
                "module.not_found",
                f"There is no module {digest!r} in this tenant; upload it again.",
            )
        signers = await self._catalog.signers(tenant)
        verify_stored(body, digest, module.signatures, signers, self._clock.now_ms())
        return body

    async def _artifact(self, digest: str, body: bytes) -> bytes:
        artifact = await self._cache.get(digest)
        if artifact is None:
            artifact = await self._compiler.compile(body)
            await self._cache.put(digest, artifact)
        return artifact
