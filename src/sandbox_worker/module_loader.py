"""From a digest to a compiled module that may run: signatures and artifacts are checked again."""

import asyncio
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
    """Loads modules for runs; trusts an answer for `trust_seconds`, so a revocation acts then.

    Runs that want the same module at once load it once.
    """

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
        self._under_way: dict[tuple[str, str], asyncio.Task[bytes]] = {}

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
        task = self._under_way.get(place)
        if task is None:
            task = asyncio.ensure_future(self._load(tenant, digest))
            self._under_way[place] = task
            task.add_done_callback(lambda _: self._under_way.pop(place))
        # A run that is cancelled does not take the module away from the others.
        return await asyncio.shield(task)

    async def _load(self, tenant: str, digest: str) -> bytes:
        kept = self._kept.get((tenant, digest))
        started = time.monotonic()
        body = await self._trusted_body(tenant, digest)
        artifact = kept.artifact if kept else await self._artifact(tenant, digest, body)
        # Trust begins where it was looked at, not where a long compilation ended.
        self._kept[tenant, digest] = _Kept(artifact, started)
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
