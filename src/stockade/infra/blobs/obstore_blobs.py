"""Blobs as objects of a bucket, `sha256/ab/cdef…`: each complete once it has its key.

Every put writes, also where the key is taken: the object is replaced as a whole, which mends a
damaged copy and makes it count as stored now. A put of many parts that ends half-way is aborted;
what a killed process left of one is invisible, and for the bucket's lifecycle rule to remove.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import IO, TYPE_CHECKING

import obstore
from obstore.store import ObjectStore

from stockade.core.digests import check_digest, digest_of, is_digest
from stockade.core.single_flight import SingleFlight
from stockade.infra.blobs.blob_failures import blob_corrupt, blob_failure, blob_missing
from stockade.infra.blobs.blob_streams import (
    PIECE_BYTES,
    bounded,
    check_range,
    check_whole,
    checked,
)
from stockade.infra.blobs.object_store import object_failures

if TYPE_CHECKING:
    from obstore import GetOptions

_PART_BYTES = 8 * PIECE_BYTES
"""What is put in one request, and held in memory at most for each stream."""
_PARTS_AT_ONCE = 4


class ObstoreBlobStore:
    """The `BlobStore` port on an object store.

    Args:
        store: A bucket or a part of one that is Stockade's own.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._putting: SingleFlight[str, None] = SingleFlight()

    async def put(self, content: bytes) -> str:
        """Stores the bytes and returns their digest; replaces what is there."""
        digest = await asyncio.to_thread(digest_of, content)
        await self._putting.run(digest, lambda: self._put(digest, content))
        return digest

    async def put_stream(self, chunks: AsyncIterator[bytes], max_bytes: int) -> tuple[str, int]:
        """Stores the bytes as they come; their digest and how many they are.

        They wait in a nameless local file: their key is known when the last has come.
        """
        hashing, size_bytes = sha256(), 0
        with tempfile.SpooledTemporaryFile(max_size=_PART_BYTES) as spool:
            async for piece in bounded(chunks, max_bytes):
                await asyncio.to_thread(hashing.update, piece)
                await _spool(spool, piece)
                size_bytes += len(piece)
            digest = "sha256:" + hashing.hexdigest()
            await asyncio.to_thread(spool.seek, 0)
            if size_bytes <= _PART_BYTES:
                return await self.put(spool.read()), size_bytes
            await self._put(digest, _pieces(spool))
        return digest, size_bytes

    async def get(self, digest: str) -> bytes | None:
        """The bytes, their digest checked anew, or None."""
        try:
            with object_failures():
                answer = await obstore.get_async(self._store, _key(check_digest(digest)))
                content = bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        if await asyncio.to_thread(digest_of, content) != digest:
            raise blob_corrupt(digest)
        return content

    async def size_bytes(self, digest: str) -> int | None:
        """How many bytes are stored under the digest, or None."""
        try:
            with object_failures():
                found = await obstore.head_async(self._store, _key(check_digest(digest)))
        except FileNotFoundError:
            return None
        return found["size"]

    async def read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a range in chunks, the digest of the whole checked."""
        check_range(start, end)
        check_digest(digest)
        with _reading(digest):
            whole = await obstore.get_async(self._store, _key(digest))
            size_bytes = whole.meta["size"]
            stream = whole.stream(PIECE_BYTES)
            if start == 0 and (end is None or end >= size_bytes):
                async for chunk in checked(digest, stream):
                    yield chunk
                return
            await check_whole(digest, stream)
            end = size_bytes if end is None else min(end, size_bytes)
            if start >= end:
                return
            # Of the very object whose bytes were right.
            same: GetOptions = {"range": (start, end), "if_match": whole.meta["e_tag"]}
            part = await obstore.get_async(self._store, _key(digest), options=same)
            async for chunk in part.stream(PIECE_BYTES):
                yield chunk

    async def delete(self, digest: str) -> bool:
        """Deletes the blob, damaged or not; False when there was none."""
        key = _key(check_digest(digest))
        try:
            with object_failures():
                await obstore.head_async(self._store, key)
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return False
        return True

    async def digests(self) -> AsyncIterator[tuple[str, int]]:
        """Each digest with when it was last stored."""
        with object_failures():
            async for page in obstore.list(self._store, prefix="sha256"):
                for found in page:
                    digest = found["path"].replace("/", "").replace("sha256", "sha256:", 1)
                    if is_digest(digest) and _key(digest) == found["path"]:
                        yield digest, round(found["last_modified"].timestamp() * 1000)

    async def clear_abandoned(self) -> int:
        """The bucket's lifecycle rule does this."""
        return 0

    async def _put(self, digest: str, content: bytes | AsyncIterator[bytes]) -> None:
        with object_failures():
            await obstore.put_async(
                self._store,
                _key(digest),
                content,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )


def _key(digest: str) -> str:
    algorithm, hexadecimal = digest.split(":")
    return f"{algorithm}/{hexadecimal[:2]}/{hexadecimal[2:]}"


@contextmanager
def _reading(digest: str) -> Iterator[None]:
    try:
        with object_failures():
            yield
    except FileNotFoundError as error:
        raise blob_missing(digest) from error


async def _spool(spool: IO[bytes], piece: bytes) -> None:
    try:
        await asyncio.to_thread(spool.write, piece)
    except OSError as error:
        raise blob_failure(error) from error


async def _pieces(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(spool.read, PIECE_BYTES):
        yield piece
