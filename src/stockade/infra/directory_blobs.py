"""Blobs as files: `root/sha256/ab/cdef…`, each complete and durable once it has its name.

A blob is written under `root/tmp`, fsynced, renamed, and its directory fsynced. A process killed
half-way leaves a file in `tmp` only; a later process removes such files when they are old.
"""

import asyncio
import os
import tempfile
from pathlib import Path

from stockade.core.digests import check_digest, digest_of
from stockade.infra.blob_failures import blob_corrupt, blob_failure

_ABANDONED_SECONDS = 3600
_DIRECTORY_MODE = 0o700


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
            return await asyncio.to_thread(_read, path, digest)
        except OSError as error:
            raise blob_failure(error) from error

    def _path(self, digest: str) -> Path:
        algorithm, hexadecimal = digest.split(":")
        return self._root / algorithm / hexadecimal[:2] / hexadecimal[2:]

    def _write(self, path: Path, content: bytes) -> None:
        self._make_ready(path.parent)
        if not _holds(path, content):
            _write_aside(self._root / "tmp", path, content)
        _sync_directory(path.parent)  # another process may have renamed, not synced

    def _make_ready(self, directory: Path) -> None:
        """Makes the directories, durably; once per process clears what dead ones left."""
        if not self._ready:
            _make_directory(self._root / "tmp")
            _remove_abandoned(self._root / "tmp")
        if directory not in self._ready:
            _make_directory(directory)
            for parent in (directory.parent, self._root):
                _sync_directory(parent)  # another process may have made them and not synced yet
            self._ready.add(directory)


def _read(path: Path, digest: str) -> bytes | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if digest_of(content) != digest:
        raise blob_corrupt(digest)
    return content


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _write_aside(directory: Path, path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=directory)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _remove_abandoned(directory: Path) -> None:
    """Removes files much older than one just made (so that the file system's own clock decides)."""
    with tempfile.NamedTemporaryFile(dir=directory) as fresh:
        now = os.fstat(fresh.fileno()).st_mtime
        for path in directory.iterdir():
            try:
                if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process renamed or removed it


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        _make_directory(directory.parent)
        directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
