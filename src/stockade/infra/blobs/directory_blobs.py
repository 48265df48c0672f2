"""Blobs as files: `root/sha256/ab/cdef…`, each complete and durable once it has its name.

A blob is written under `root/tmp`, fsynced, renamed, and its directory fsynced. A process killed
half-way leaves a file in `tmp` only; a later process removes such files when they are old.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from stockade.core.digests import check_digest, digest_of, is_digest
from stockade.infra.blobs.blob_failures import blob_failure, blob_missing
from stockade.infra.blobs.blob_streams import (
    PIECE_BYTES,
    bounded,
    check_range,
    check_whole,
    checked,
)
from stockade.infra.blobs.durable_files import (
    FileAside,
    make_directory,
    read_checked,
    remove_abandoned,
    sync_directory,
    write_aside,
)

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


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
        digest = await asyncio.to_thread(digest_of, content)
        await self._write(self._put, self._path(digest), content)
        return digest

    async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
        """Stores the bytes as they come; their digest and how many they are."""
        hashing, size_bytes = sha256(), 0
        aside = await self._write(self._open_aside)
        try:
            async for piece in bounded(chunks, max_bytes):
                await self._write(_add, aside, hashing.update, piece)
                size_bytes += len(piece)
            digest = "sha256:" + hashing.hexdigest()
            await self._write(self._name, aside, digest)
        finally:
            await asyncio.to_thread(aside.close)
        return digest, size_bytes

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        return await _in_thread(read_checked, self._path(check_digest(digest)), digest)

    async def size_bytes(self, digest: str) -> int | None:
        """How many bytes are stored under the digest, or None."""
        return await _in_thread(_size_bytes, self._path(check_digest(digest)))

    async def read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a range in chunks, the digest of the whole checked."""
        check_range(start, end)
        file = await _in_thread(_open, self._path(check_digest(digest)))
        if file is None:
            raise blob_missing(digest)
        with file:
            size_bytes = os.fstat(file.fileno()).st_size
            wanted = _pieces(file, start, min(size_bytes, size_bytes if end is None else end))
            if start == 0 and (end is None or end >= size_bytes):
                wanted = checked(digest, wanted)
            else:
                await check_whole(digest, _pieces(file, 0, size_bytes))
            async for piece in wanted:
                yield piece

    async def delete(self, digest: str) -> bool:
        """Deletes the blob, damaged or not; False when there was none."""
        return await _in_thread(_delete, self._path(check_digest(digest)))

    async def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Each digest with when it was last stored."""
        for directory in await _in_thread(_children, self._root / "sha256"):
            for one in await _in_thread(_stored, directory):
                yield one

    async def clear_abandoned(self) -> int:
        """Removes what killed writers left aside an hour ago; how many."""
        return await _in_thread(_clear_abandoned, self._root / "tmp")

    def _path(self, digest: str) -> Path:
        algorithm, hexadecimal = digest.split(":")
        return self._root / algorithm / hexadecimal[:2] / hexadecimal[2:]

    async def _write(
        self, step: Callable[_Given, _Made], *args: _Given.args, **kwargs: _Given.kwargs
    ) -> _Made:
        try:
            return await asyncio.to_thread(step, *args, **kwargs)
        except OSError as error:
            self._ready = set()
            raise blob_failure(error) from error

    def _put(self, path: Path, content: bytes) -> None:
        self._make_ready(path.parent)
        if _holds(path, content):
            os.utime(path)
        else:
            write_aside(self._root / "tmp", path, content)
        sync_directory(path.parent)  # another process may have renamed, not synced

    def _open_aside(self) -> FileAside:
        self._make_ready(self._root / "tmp")
        return FileAside(self._root / "tmp")

    def _name(self, aside: FileAside, digest: str) -> None:
        path = self._path(digest)
        self._make_ready(path.parent)
        aside.name(path)
        sync_directory(path.parent)

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


def _add(aside: FileAside, update: Callable[[bytes], None], piece: bytes) -> None:
    update(piece)
    aside.write(piece)


async def _in_thread(
    step: Callable[_Given, _Made], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Made:
    try:
        return await asyncio.to_thread(step, *args, **kwargs)
    except OSError as error:
        raise blob_failure(error) from error


async def _pieces(file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    """Reads at places of its own: two such streams of one file do not disturb each other."""
    while start < end:
        room = min(PIECE_BYTES, end - start)
        if not (piece := await _in_thread(os.pread, file.fileno(), room, start)):
            return
        yield piece
        start += len(piece)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _size_bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True


def _children(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _stored(directory: Path) -> list[tuple[str, int]]:
    """The blobs of one directory; what we did not name is passed over."""
    named = {path: f"sha256:{directory.name}{path.name}" for path in _children(directory)}
    found = []
    for path, digest in named.items():
        with suppress(FileNotFoundError):
            if is_digest(digest):
                found.append((digest, path.stat().st_mtime_ns // 1_000_000))
    return found


def _clear_abandoned(aside: Path) -> int:
    return remove_abandoned(aside) if aside.is_dir() else 0
