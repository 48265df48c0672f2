"""Collects blobs that no module needs, and checks those that are there.

A gateway marks by the catalog and sweeps by the store's list. Two at once, or one killed half-way,
do no harm: each blob is released in one step of the catalog (`ModuleStore.release_blob`), and an
upload whose blob went meanwhile is told so and stores it again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

import structlog

from gateway.blob_steps import within
from stockade.core.blobs import BlobStore
from stockade.core.errors import StockadeError
from stockade.core.module_store import ModuleStore
from stockade.core.ports import Clock

COLLECT_SECONDS = 600.0
_LOOK_SECONDS = 60.0
_AT_ONCE = 500
_WORK = "collect_blobs"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Collected:
    """What was collected, or would be: modules whose grace is over, blobs, killed writers' files.

    The blobs of modules that a trial run would purge are not counted among its blobs.
    """

    modules: int
    blobs: tuple[str, ...]
    abandoned: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of all stored content found.

    `missing` and `corrupt` modules are named by tenant and digest; `corrupt_blobs` are all damaged
    blobs, those that no module needs too; `unneeded` counts what a collection would look at.
    """

    modules: int
    blobs: int
    blob_bytes: int
    missing: tuple[tuple[str, str], ...]
    corrupt: tuple[tuple[str, str], ...]
    corrupt_blobs: tuple[str, ...]
    unneeded: int

    @property
    def sound(self) -> bool:
        """Whether every module's content is there, and all that is there is whole."""
        return not self.missing and not self.corrupt_blobs


class BlobCollector:
    """Collects and checks.

    Args:
        modules: Says what is needed.
        blobs: The modules' content.
        clock: By which things are old; that of the store must not be off by much of the grace.
        grace_seconds: Nothing younger goes: an upload may be about to need it.
    """

    def __init__(
        self, modules: ModuleStore, blobs: BlobStore, clock: Clock, grace_seconds: float
    ) -> None:
        self._modules = modules
        self._blobs = blobs
        self._clock = clock
        self._grace_ms = round(grace_seconds * 1000)

    async def take_turn(self, pause_seconds: float = COLLECT_SECONDS) -> Collected | None:
        """Collects, when no other gateway did lately; None when one did.

        Raises:
            StockadeError: a store cannot be reached.
        """
        now_ms = self._clock.now_ms()
        if await self._modules.take_turn(_WORK, now_ms, round(pause_seconds * 1000)):
            return await self.collect()
        return None

    async def collect(self, *, dry_run: bool = False) -> Collected:
        """Deletes what is old and not needed; `dry_run` only tells what that is.

        A catalog that knows no module at all is believed nothing: nothing goes.

        Raises:
            StockadeError: a store cannot be reached; what is left over goes the next time.
        """
        if not await self._modules.every_module(1):
            # Rather a new or a wrong database than one whose every blob is unneeded.
            return Collected(0, (), 0)
        before_ms = self._clock.now_ms() - self._grace_ms
        purged, released = 0, list[str]()
        while not dry_run and (count := await self._modules.purge_modules(before_ms, _AT_ONCE)):
            purged += count
        async for some in self._in_bunches(before_ms):
            needed = await self._modules.needed_blobs(some)
            unneeded = [one for one in some if one not in needed]
            released += [one for one in unneeded if dry_run or await self._release(one)]
        abandoned = 0 if dry_run else await self._blobs.clear_abandoned()
        return Collected(purged, tuple(released), abandoned)

    async def check(self) -> Checked:
        """Reads all that is stored, and looks for what each module needs.

        Raises:
            StockadeError: a store cannot be reached.
        """
        sizes, corrupt, unneeded = dict[str, int](), list[str](), 0
        async for some in self._in_bunches():
            unneeded += len(some) - len(await self._modules.needed_blobs(some))
            for digest in some:
                try:
                    if (size_bytes := await self._read(digest)) is not None:
                        sizes[digest] = size_bytes
                except StockadeError as error:
                    if error.code != "blobs.corrupt":
                        raise
                    corrupt.append(digest)
        places = [place async for place in self._every_module()]
        return Checked(
            modules=len(places),
            blobs=len(sizes) + len(corrupt),
            blob_bytes=sum(sizes.values()),
            missing=tuple([one for one in places if await self._lacks(one[1], sizes, corrupt)]),
            corrupt=tuple(one for one in places if one[1] in corrupt),
            corrupt_blobs=tuple(corrupt),
            unneeded=unneeded,
        )

    async def _release(self, digest: str) -> bool:
        return await self._modules.release_blob(digest, lambda one: within(self._blobs.delete(one)))

    async def _lacks(self, digest: str, sizes: dict[str, int], corrupt: list[str]) -> bool:
        if digest in sizes or digest in corrupt:
            return False
        # It may have come while others were read.
        return await self._blobs.size_bytes(digest) is None

    async def _read(self, digest: str) -> int | None:
        """How many bytes it has, all right; None when it went meanwhile."""
        try:
            return sum([len(chunk) async for chunk in self._blobs.read(digest)])
        except StockadeError as error:
            if error.code == "blobs.missing":
                return None
            raise

    async def _in_bunches(self, before_ms: int | None = None) -> AsyncIterator[list[str]]:
        bunch = []
        async for digest, stored_ms in self._blobs.digests():
            if before_ms is None or stored_ms < before_ms:
                bunch.append(digest)
            if len(bunch) == _AT_ONCE:
                yield bunch
                bunch = []
        if bunch:
            yield bunch

    async def _every_module(self) -> AsyncIterator[tuple[str, str]]:
        after = ("", "")
        while page := await self._modules.every_module(_AT_ONCE, after):
            for place in page:
                yield place
            after = page[-1]


@asynccontextmanager
async def collecting(collector: BlobCollector) -> AsyncIterator[None]:
    """Collects inside, again and again, one gateway for all."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_collect_again_and_again(collector))
        try:
            yield
        finally:
            task.cancel()


async def _collect_again_and_again(collector: BlobCollector) -> NoReturn:
    while True:
        try:
            collected = await collector.take_turn()
            if collected is not None:
                _log.info(
                    "blobs_collected",
                    modules=collected.modules,
                    blobs=len(collected.blobs),
                    abandoned=collected.abandoned,
                )
        except StockadeError as error:
            _log.warning("blobs_wait", code=error.code)
        except Exception as error:  # noqa: BLE001 - one mistake must not end it for good
            _log.error("collection_failed", exc_info=error)
        await asyncio.sleep(_LOOK_SECONDS)
