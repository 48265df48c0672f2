"""Payloads as files: `root/<tenant>/<invocation id>.<digest>`, so that each names its record."""

import asyncio
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stockade.core.digests import check_digest, digest_of
from stockade.core.ports import RecordLookup
from stockade.infra.blobs.blob_failures import blob_failure
from stockade.infra.blobs.durable_files import (
    file_system_now,
    make_directory,
    read_checked,
    remove_abandoned,
    sync_directory,
    write_aside,
)

_LOOKED_AT_ONCE = 1000
_ASIDE = ".tmp"
"""No tenant's name begins with a dot."""


class DirectoryPayloadStore:
    """The `PayloadStore` port on a file system; makes `root` when it stores the first payload.

    Args:
        root: Owned by Stockade; several processes may share it.
        retention_seconds: Nothing younger is ever swept.
    """

    def __init__(self, root: Path, retention_seconds: float) -> None:
        self._root = root
        self._retention_seconds = retention_seconds
        self._ready: set[Path] = set()

    async def put(self, tenant: str, invocation_id: str, content: bytes) -> str:
        """Stores the bytes durably and returns their digest."""
        digest = digest_of(content)
        try:
            await asyncio.to_thread(self._write, self._path(tenant, invocation_id, digest), content)
        except OSError as error:
            self._ready = set()
            raise blob_failure(error) from error
        return digest

    async def get(self, tenant: str, invocation_id: str, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        path = self._path(tenant, invocation_id, check_digest(digest))
        try:
            return await asyncio.to_thread(read_checked, path, digest)
        except OSError as error:
            raise blob_failure(error) from error

    async def discard(self, tenant: str, invocation_id: str, digest: str) -> None:
        """Deletes a payload whose invocation was not taken."""
        path = self._path(tenant, invocation_id, check_digest(digest))
        try:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        except OSError as error:
            raise blob_failure(error) from error

    async def sweep(self, has_record: RecordLookup) -> int:
        """Deletes what is old and whose record is gone; how many there were."""
        swept = 0
        try:
            old = await asyncio.to_thread(lambda: iter(self._old()))
            while group := await asyncio.to_thread(lambda: list(islice(old, _LOOKED_AT_ONCE))):
                for path in group:
                    if not await has_record(path.parent.name, path.name.partition(".")[0]):
                        await asyncio.to_thread(path.unlink, missing_ok=True)
                        swept += 1
        except OSError as error:
            raise blob_failure(error) from error
        return swept

    def _path(self, tenant: str, invocation_id: str, digest: str) -> Path:
        return self._root / tenant / f"{invocation_id}.{digest.partition(':')[2]}"

    def _write(self, path: Path, content: bytes) -> None:
        aside = self._root / _ASIDE
        if not self._ready:
            make_directory(aside)
            remove_abandoned(aside)
        if path.parent not in self._ready:
            make_directory(path.parent)
            sync_directory(self._root)  # another process may have made it and not synced yet
            self._ready.add(path.parent)
        write_aside(aside, path, content)
        sync_directory(path.parent)

    def _old(self) -> Iterator[Path]:
        if not (aside := self._root / _ASIDE).is_dir():
            return
        before = file_system_now(aside) - self._retention_seconds
        for tenant in self._root.iterdir():
            if tenant.name == _ASIDE:
                continue
            with os.scandir(tenant) as entries:
                yield from (Path(entry.path) for entry in entries if _changed(entry) < before)


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another process swept it
        return float("inf")
