"""From a digest to a compiled module that may run: trust and artifacts are checked again."""

import time
from collections import OrderedDict
from collections.abc import Callable

from sandbox_worker.metrics import WorkerMetrics
from sandbox_worker.module_trust import ModuleTrust, read_module
from stockade.core.blobs import BlobStore
from stockade.core.ports import ArtifactCache, ModuleCompiler
from stockade.core.single_flight import SingleFlight

_KEPT_BYTES = 256 * 1024 * 1024


class ModuleLoader:
    """Loads modules for runs; those that want the same one at once load it once.

    Args:
        trust: Says whether a module may run now.
        blobs: Has the modules.
        cache: Has the artifacts of this host.
        compiler: Makes what the cache has not.
        kept_bytes: How much of artifacts stays in memory; what was used longest ago makes room.
        metrics: Counts where modules were found.
    """

    def __init__(
        self,
        trust: ModuleTrust,
        blobs: BlobStore,
        cache: ArtifactCache,
        compiler: ModuleCompiler,
        kept_bytes: int = _KEPT_BYTES,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self.trust = trust
        self._blobs = blobs
        self._cache = cache
        self._compiler = compiler
        self._room_bytes = kept_bytes
        self._metrics = metrics or WorkerMetrics()
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._loading: SingleFlight[tuple[str, str], bytes] = SingleFlight()

    async def load(
        self,
        tenant: str,
        digest: str,
        function: str | None = None,
        note: Callable[[str], None] = lambda _step: None,
    ) -> bytes:
        """The compiled artifact of a module that may run for the tenant, as the function, now.

        `note` is told of each step as it ends: `verify`, then `cache` and `compile`, or `shared`
        when another run's load was waited for.

        Raises:
            StockadeError: what `ModuleTrust.check` refuses with, `module.too_costly`, or that a
                store cannot be reached.
        """
        await self.trust.check(tenant, digest, function)
        note("verify")
        place = tenant, digest
        kept = self._kept.get(place)
        if kept is None:
            return await self._load_together(place, note)
        self._kept.move_to_end(place)
        self._metrics.loaded("memory")
        return kept

    async def _load_together(self, place: tuple[str, str], note: Callable[[str], None]) -> bytes:
        leads = False

        async def load() -> bytes:
            nonlocal leads
            leads = True
            return await self._load(*place, note)

        artifact = await self._loading.run(place, load)
        if not leads:
            note("shared")
        return artifact

    async def _load(self, tenant: str, digest: str, note: Callable[[str], None]) -> bytes:
        artifact = await self._artifact(tenant, digest, note)
        self._kept[tenant, digest] = artifact
        self._room_bytes -= len(artifact)
        while self._room_bytes < 0:
            _place, oldest = self._kept.popitem(last=False)
            self._room_bytes += len(oldest)
        return artifact

    async def _artifact(self, tenant: str, digest: str, note: Callable[[str], None]) -> bytes:
        artifact = await self._cache.get(digest)
        note("cache")
        if artifact is not None:
            self._metrics.loaded("cache")
            return artifact
        async with self._cache.making(digest):
            # Another worker of this host may have made it meanwhile.
            artifact = await self._cache.get(digest)
            if artifact is None:
                body = await read_module(self._blobs, digest)
                artifact = await self._compile(body, tenant)
                await self._cache.put(digest, artifact)
                note("compile")
            else:
                self._metrics.loaded("cache")
        return artifact

    async def _compile(self, body: bytes, tenant: str) -> bytes:
        began = time.monotonic()
        artifact = await self._compiler.compile(body, tenant)
        self._metrics.loaded("compiled")
        self._metrics.compiled(time.monotonic() - began)
        return artifact
