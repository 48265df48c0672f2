"""Blobs as files: `root/sha256/ab/cdef…`, each complete and durable once it has its name.

A blob is written under `root/tmp`, fsynced, renamed, and its directory fsynced. A process killed
half-way leaves a file in `tmp` only; a later process removes such files when they are old.
"""

import asyncio
from pathlib import Path

from stockade.core.digests import check_digest, digest_of
from stockade.infra.blob_failures import blob_failure
from stockade.infra.durable_files import (
    make_directory,
    read_checked,
    remove_abandoned,
    sync_directory,
    write_aside,
)


class DirectoryBlobStore:
    """The `BlobStore` port on a file system; makes `root` when it stores the first blob.

    Args:
        root: Owned by Stockade; several processes may share it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._ready: set[Path] = set()

    async def put(self, content: bytes) -> str:
        """Stores the bytes durably and returns their digest; replaces a damaged copy."""
        digest = digest_of(content)
        try:
            await asyncio.to_thread(self._write, self._path(digest), content)
        except OSError as error:
            self._ready = set()
            raise blob_failure(error) from error
        return digest

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        path = self._path(check_digest(digest))
        try:
            return await asyncio.to_thread(read_checked, path, digest)
        except OSError as error:
            raise blob_failure(error) from error

    def _path(self, digest: str) -> Path:
        algorithm, hexadecimal = digest.split(":")
        return self._root / algorithm / hexadecimal[:2] / hexadecimal[2:]

    def _write(self, path: Path, content: bytes) -> None:
        self._make_ready(path.parent)
        if not _holds(path, content):
            write_aside(self._root / "tmp", path, content)
        sync_directory(path.parent)  # another process may have renamed, not synced

    def _make_ready(self, directory: Path) -> None:
        """Makes the directories, durably; once per process clears what dead ones left."""
        if not self._ready:
            make_directory(self._root / "tmp")
            remove_abandoned(self._root / "tmp")
        if directory not in self._ready:
            make_directory(directory)
            for parent in (directory.parent, self._root):
                sync_directory(parent)  # another process may have made them and not synced yet
            self._ready.add(directory)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False
