"""What every blob store promises, sentence by sentence of the port."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from stockade.core.blobs import BlobStore
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError

CONTENTS = [b"", b"\0", b"hello", bytes(range(256)) * 4096]
LARGE = bytes(range(250)) * 12_000
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


async def streamed(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def held(blobs: BlobStore) -> list[str]:
    return sorted([digest async for digest, _ in blobs.digests()])


@pytest.mark.parametrize("content", [*CONTENTS, LARGE], ids=len)
async def test_a_stream_is_stored_under_its_digest(blobs: BlobStore, content: bytes) -> None:
    chunks = [content[at : at + 70_001] for at in range(0, len(content), 70_001)]
    digest, size_bytes = await blobs.put_stream(streamed(b"", *chunks), len(content))
    assert (digest, size_bytes) == (digest_of(content), len(content))
    assert await blobs.get(digest) == content
    assert await blobs.size_bytes(digest) == len(content)
    assert await whole(blobs.read(digest)) == content


async def test_a_stream_over_its_bound_is_refused_and_leaves_nothing(blobs: BlobStore) -> None:
    with pytest.raises(StockadeError) as caught:
        await blobs.put_stream(streamed(b"1234", b"56"), 5)
    assert (caught.value.code, caught.value.retryable) == ("blobs.too_large", False)
    assert caught.value.detail == {"max_bytes": 5}
    assert await held(blobs) == []


async def test_a_stream_over_its_bound_is_not_read_to_its_end(blobs: BlobStore) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1000)

    with pytest.raises(StockadeError, match=r"^blobs\.too_large"):
        await blobs.put_stream(endless(), 2_000_000)
    assert taken == 2001


@pytest.mark.parametrize("sent", [b"half", bytes(3_000_000)], ids=len)
async def test_a_stream_that_breaks_off_leaves_nothing(blobs: BlobStore, sent: bytes) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield sent
        raise StockadeError("request.incomplete", "The body ends too early.")

    with pytest.raises(StockadeError, match=r"^request\.incomplete"):
        await blobs.put_stream(broken(), 1 << 30)
    assert await held(blobs) == []
    assert await blobs.get(digest_of(sent)) is None


async def test_a_stream_whose_writer_is_cancelled_leaves_nothing(blobs: BlobStore) -> None:
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield bytes(3_000_000)
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(blobs.put_stream(stuck(), 1 << 30))
    await waiting.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert await held(blobs) == []


async def test_streams_of_the_same_bytes_at_once_are_one_blob(blobs: BlobStore) -> None:
    puts = [blobs.put_stream(streamed(LARGE[:9], LARGE[9:]), len(LARGE)) for _ in range(8)]
    answers = await asyncio.gather(*puts, blobs.put(LARGE))
    assert set(answers) == {digest_of(LARGE), (digest_of(LARGE), len(LARGE))}
    assert await held(blobs) == [digest_of(LARGE)]
    assert await blobs.get(digest_of(LARGE)) == LARGE


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 1),
        (7, 7),
        (1, None),
        (5, 2_000_000),
        (2_999_999, None),
        (9, 9),
    ],
)
async def test_a_range_is_what_a_slice_is(blobs: BlobStore, start: int, end: int | None) -> None:
    digest = await blobs.put(LARGE)
    assert await whole(blobs.read(digest, start, end)) == LARGE[start:end]


@pytest.mark.parametrize(("start", "end"), [(-1, None), (0, -1), (9, 8)])
async def test_what_is_no_range_is_our_own_mistake(
    blobs: BlobStore, start: int, end: int | None
) -> None:
    with pytest.raises(RuntimeError, match="no range"):
        await whole(blobs.read(await blobs.put(b"hello"), start, end))


async def test_a_range_that_passes_the_end_stops_there(blobs: BlobStore) -> None:
    digest = await blobs.put(b"hello")
    assert await whole(blobs.read(digest, 3, 99)) == b"lo"
    assert await whole(blobs.read(digest, 5)) == b""
    assert await whole(blobs.read(digest, 99)) == b""
    assert await whole(blobs.read(digest, 0, 99)) == b"hello"


async def test_two_ranges_are_read_at_once(blobs: BlobStore) -> None:
    digest = await blobs.put(LARGE)
    halves = whole(blobs.read(digest, 0, 1_500_000)), whole(blobs.read(digest, 1_500_000))
    assert b"".join(await asyncio.gather(*halves)) == LARGE


async def test_what_is_missing_is_named_when_it_is_read(blobs: BlobStore) -> None:
    absent = digest_of(b"absent")
    assert await blobs.size_bytes(absent) is None
    with pytest.raises(StockadeError) as caught:
        await whole(blobs.read(absent))
    assert (caught.value.code, caught.value.retryable) == ("blobs.missing", False)


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 3), (2, None)])
async def test_no_read_of_damaged_bytes_comes_to_its_end(
    blobs: BlobStore, damage: Callable[[str], None], start: int, end: int | None
) -> None:
    digest = await blobs.put(LARGE)
    damage(digest)
    with pytest.raises(StockadeError, match=r"^blobs\.corrupt"):
        await whole(blobs.read(digest, start, end))
    await blobs.put_stream(streamed(LARGE), len(LARGE))
    assert await whole(blobs.read(digest, start, end)) == LARGE[start:end]


async def test_a_deleted_blob_is_gone_and_only_that(blobs: BlobStore) -> None:
    gone, kept = await blobs.put(b"gone"), await blobs.put(b"kept")
    assert await blobs.delete(gone)
    assert not await blobs.delete(gone)
    assert await held(blobs) == [kept]
    assert await blobs.get(gone) is None
    assert await blobs.put(b"gone") == gone
    assert await blobs.get(gone) == b"gone"


async def test_a_damaged_blob_can_be_deleted(
    blobs: BlobStore, damage: Callable[[str], None]
) -> None:
    digest = await blobs.put(b"hello")
    damage(digest)
    assert await blobs.delete(digest)
    assert await blobs.get(digest) is None


async def test_blobs_are_listed_with_when_they_were_last_stored(
    blobs: BlobStore, grow_old: Callable[[], None]
) -> None:
    assert await held(blobs) == []
    digests = {await blobs.put(b"%d" % number) for number in range(20)}
    grow_old()
    old = {digest: stored_ms async for digest, stored_ms in blobs.digests()}
    assert set(old) == digests
    again, streamed_again = await blobs.put(b"7"), await blobs.put_stream(streamed(b"8"), 1)
    new = {digest: stored_ms async for digest, stored_ms in blobs.digests()}
    renewed = {digest for digest in digests if new[digest] > old[digest] + 1000}
    assert renewed == {again, streamed_again[0]}


async def test_an_empty_store_has_nothing_to_clear(blobs: BlobStore) -> None:
    assert await blobs.clear_abandoned() == 0


@pytest.mark.parametrize("digest", HOSTILE, ids=ascii)
async def test_what_is_no_digest_is_refused(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(StockadeError, match=r"^module\.digest_invalid"):
        await blobs.get(digest)
    for attempt in (blobs.size_bytes(digest), blobs.delete(digest), whole(blobs.read(digest))):
        with pytest.raises(StockadeError, match=r"^module\.digest_invalid"):
            await attempt
