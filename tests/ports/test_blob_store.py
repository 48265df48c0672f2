"""What every blob store promises, sentence by sentence of the port."""

import asyncio
from collections.abc import Callable

import pytest

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.ports import BlobStore

CONTENTS = [b"", b"\0", b"hello", bytes(range(256)) * 4096]
HOSTILE = [
    "",
    "sha256:",
    "sha256:../../../../etc/passwd",
    "sha256:" + "AB" * 32,
    "sha256:" + "ab" * 32 + "\n",
    "sha256:" + "ab" * 31 + "/.",
    "sha256:" + "ab" * 31 + "\0\0",
    "sha512:" + "ab" * 32,
    "ab" * 32,
    "/etc/passwd",
    "sha256:" + "\u0660" * 64,
    "\ud800",
]


@pytest.mark.parametrize("content", CONTENTS, ids=len)
async def test_bytes_come_back_under_their_digest(blobs: BlobStore, content: bytes) -> None:
    digest = await blobs.put(content)
    assert digest == digest_of(content)
    assert await blobs.get(digest) == content


async def test_unknown_bytes_are_none(blobs: BlobStore) -> None:
    assert await blobs.get(digest_of(b"absent")) is None
    await blobs.put(b"present")
    assert await blobs.get(digest_of(b"absent")) is None


async def test_the_same_bytes_twice_are_one_blob(blobs: BlobStore) -> None:
    assert await blobs.put(b"hello") == await blobs.put(b"hello")
    assert await blobs.get(digest_of(b"hello")) == b"hello"


async def test_many_puts_at_once_are_all_there(blobs: BlobStore) -> None:
    contents = [b"%d" % (number % 25) * 1000 for number in range(100)]
    digests = await asyncio.gather(*map(blobs.put, contents))
    assert await asyncio.gather(*map(blobs.get, digests)) == contents


async def test_damaged_bytes_are_corrupt_until_they_are_stored_again(
    blobs: BlobStore, damage: Callable[[str], None]
) -> None:
    digest = await blobs.put(b"hello")
    damage(digest)
    with pytest.raises(StockadeError) as caught:
        await blobs.get(digest)
    assert (caught.value.code, caught.value.retryable) == ("blobs.corrupt", False)
    await blobs.put(b"hello")
    assert await blobs.get(digest) == b"hello"


@pytest.mark.parametrize("digest", HOSTILE, ids=ascii)
async def test_what_is_no_digest_is_refused(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(StockadeError, match=r"^module\.digest_invalid"):
        await blobs.get(digest)
