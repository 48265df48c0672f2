"""Collectors that are killed with -9, and uploads that come at once with them, on real stores."""

import asyncio
import os
import sys
from pathlib import Path

from gateway.collect_blobs import BlobCollector
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Abi, ModuleFacts, StoredModule
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

CLOCK = SystemClock()
FACTS = ModuleFacts(Abi.STOCKADE_V1, (), (), deterministic=True, size_bytes=1)
ORPHANS = [digest_of(b"orphan %d" % number) for number in range(6)]
COLLECT_AND_STOP = """
import asyncio, pathlib, sys
from gateway.collect_blobs import BlobCollector
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from stockade.infra.system_clock import SystemClock

class Stopping(DirectoryBlobStore):
    deleted = 0
    async def delete(self, digest):
        done = await super().delete(digest)
        self.deleted += 1
        if self.deleted == 3:
            print("deleting", flush=True)
            sys.stdin.read()
        return done

async def main(folder):
    catalog = await SqlCatalog.open(f"sqlite:///{folder / 'catalog.db'}")
    await BlobCollector(catalog, Stopping(folder / "blobs"), SystemClock(), 600.0).collect()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def _module(digest: str) -> StoredModule:
    return StoredModule("acme", digest, FACTS, (b"s",), CLOCK.now_ms())


def _grow_old(folder: Path) -> None:
    for path in folder.glob("blobs/sha256/*/*"):
        os.utime(path, (1, 1))


async def _opened(folder: Path) -> tuple[SqlCatalog, DirectoryBlobStore]:
    return (
        await SqlCatalog.open(f"sqlite:///{folder / 'catalog.db'}"),
        DirectoryBlobStore(folder / "blobs"),
    )


async def test_a_collector_killed_half_way_leaves_what_the_next_one_finishes(
    tmp_path: Path,
) -> None:
    """It dies within the transaction that lets a blob go, when the blob is gone already."""
    catalog, blobs = await _opened(tmp_path)
    await catalog.ensure_tenant("acme")
    kept = await blobs.put(b"kept")
    await catalog.add_module(_module(kept))
    for number in range(len(ORPHANS)):
        await blobs.put(b"orphan %d" % number)
    _grow_old(tmp_path)
    pipe = asyncio.subprocess.PIPE
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COLLECT_AND_STOP, str(tmp_path), stdin=pipe, stdout=pipe
    )
    assert killed.stdout is not None
    assert await killed.stdout.readline() == b"deleting\n"
    killed.kill()
    await killed.communicate()
    left = [digest async for digest, _ in blobs.digests() if digest in ORPHANS]
    assert len(left) == len(ORPHANS) - 3
    collected = await BlobCollector(catalog, blobs, CLOCK, 600.0).collect()
    assert sorted(collected.blobs) == sorted(left)
    assert [digest async for digest, _ in blobs.digests()] == [kept]
    assert (await BlobCollector(catalog, blobs, CLOCK, 600.0).check()).sound
    await catalog.aclose()


async def _upload(
    catalog: SqlCatalog, blobs: DirectoryBlobStore, content: bytes, folder: Path
) -> None:
    async def is_stored(digest: str) -> bool:
        return await blobs.size_bytes(digest) is not None

    while True:
        digest = await blobs.put(content)
        _grow_old(folder)
        try:
            await catalog.add_module(_module(digest), None, is_stored)
        except StockadeError as error:
            if error.code != "blobs.missing":
                raise
        else:
            return


async def test_uploads_and_collectors_at_once_lose_no_module(tmp_path: Path) -> None:
    """Old blobs, which no grace saves, uploaded again while two gateways collect them."""
    catalog, blobs = await _opened(tmp_path)
    other = await SqlCatalog.open(f"sqlite:///{tmp_path / 'catalog.db'}")
    await catalog.ensure_tenant("acme")
    await catalog.add_module(_module(await blobs.put(b"kept")))
    contents = [b"again %d" % number for number in range(40)]
    for content in contents:
        await blobs.put(content)
    _grow_old(tmp_path)

    collectors = [BlobCollector(one, blobs, CLOCK, 600.0) for one in (catalog, other)]
    uploads = (_upload(catalog, blobs, content, tmp_path) for content in contents)
    await asyncio.gather(*uploads, *(one.collect() for one in collectors))
    found = await collectors[0].check()
    assert (found.modules, found.sound) == (len(contents) + 1, True)
    for one in (catalog, other):
        await one.aclose()
