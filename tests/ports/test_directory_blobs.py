"""What the directory of blobs promises beyond the port: durability, full disks, killed writers."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.infra.blobs.blob_failures import blob_failure
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore

HELLO = digest_of(b"hello")


async def _streamed(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _files(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]


async def test_a_blob_stands_under_its_digest_and_nothing_else_is_left(tmp_path: Path) -> None:
    await DirectoryBlobStore(tmp_path).put(b"hello")
    plain = HELLO.removeprefix("sha256:")
    assert _files(tmp_path) == [f"sha256/{plain[:2]}/{plain[2:]}"]


async def test_blobs_are_there_after_a_restart(tmp_path: Path) -> None:
    await DirectoryBlobStore(tmp_path / "deep" / "root").put(b"hello")
    assert await DirectoryBlobStore(tmp_path / "deep" / "root").get(HELLO) == b"hello"


async def test_blobs_are_for_their_owner_only(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path / "root")
    await store.put(b"hello")
    found = [tmp_path / "root", *(tmp_path / "root").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in found} == {0}


async def test_the_same_bytes_again_write_nothing(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)
    await store.put(b"hello")
    before = store._path(HELLO).stat()
    await store.put(b"hello")
    assert store._path(HELLO).stat().st_ino == before.st_ino


async def test_bytes_are_synced_before_they_have_their_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test can pull the plug, so this one looks at the order of the calls."""
    store, steps = DirectoryBlobStore(tmp_path), []
    await store.put(b"other")
    sync, target = os.fsync, store._path(HELLO)

    def recorded(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(("aside" if path.parent.name == "tmp" else path, target.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    await store.put(b"hello")
    assert ("aside", False) in steps
    assert (target.parent.parent, False) in steps
    assert steps[-1] == (target.parent, True)


async def test_a_stream_is_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, steps = DirectoryBlobStore(tmp_path), []
    sync, target = os.fsync, store._path(HELLO)

    def recorded(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(("aside" if path.parent.name == "tmp" else path, target.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    await store.put_stream(_streamed(b"hel", b"lo"), 5)
    assert ("aside", False) in steps
    assert (target.parent.parent, False) in steps
    assert steps[-1] == (target.parent, True)


async def test_a_stream_onto_a_full_disk_is_told_and_leaves_nothing_behind(
    tiny_disk: Path,
) -> None:
    store = DirectoryBlobStore(tiny_disk / "blobs")
    with pytest.raises(StockadeError) as caught:
        await store.put_stream(_streamed(*[b"b" * 100_000] * 60), 1 << 30)
    assert (caught.value.code, caught.value.retryable) == ("blobs.full", True)
    assert _files(tiny_disk / "blobs") == []
    assert await store.put(b"c" * 100_000)


async def test_a_full_disk_is_told_and_leaves_nothing_behind(tiny_disk: Path) -> None:
    store = DirectoryBlobStore(tiny_disk / "blobs")
    digest = await store.put(b"a" * 100_000)
    with pytest.raises(StockadeError) as caught:
        await store.put(b"b" * 600_000)
    assert (caught.value.code, caught.value.retryable) == ("blobs.full", True)
    assert _files(tiny_disk / "blobs" / "tmp") == []
    assert await store.get(digest_of(b"b" * 600_000)) is None
    assert await store.get(digest) == b"a" * 100_000
    assert await store.put(b"c" * 100_000)


PUT_UNDER_A_FILE_SIZE_LIMIT = """
import asyncio, pathlib, resource, sys
from stockade.core.errors import StockadeError
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    asyncio.run(DirectoryBlobStore(pathlib.Path(sys.argv[1])).put(b"x" * 10_000))
except StockadeError as error:
    print(error.code, error.retryable)
"""


def test_a_write_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUT_UNDER_A_FILE_SIZE_LIMIT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["blobs.unavailable", "True"]
    assert _files(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "blobs.full"),
        (errno.EDQUOT, "blobs.full"),
        (errno.EIO, "blobs.unavailable"),
        (errno.EROFS, "blobs.unavailable"),
    ],
)
def test_the_systems_refusals_have_names(number: int, code: str) -> None:
    failure = blob_failure(OSError(number, os.strerror(number)))
    assert (failure.code, failure.retryable) == (code, True)


async def test_a_root_that_is_no_directory_is_unavailable_until_it_is_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.write_bytes(b"")
    store = DirectoryBlobStore(root)
    for attempt in (store.put(b"hello"), store.get(HELLO)):
        with pytest.raises(StockadeError) as caught:
            await attempt
        assert (caught.value.code, caught.value.retryable) == ("blobs.unavailable", True)
    root.unlink()
    assert await store.put(b"hello") == HELLO


async def test_a_store_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path / "root")
    await store.put(b"hello")
    (tmp_path / "root").rename(tmp_path / "moved")
    with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
        await store.put(b"hello")
    assert await store.put(b"hello") == HELLO
    assert await store.get(HELLO) == b"hello"


PUT_AND_STOP_BEFORE_THE_NAME = """
import asyncio, os, pathlib, stat, sys
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
sync = os.fsync
def stop(descriptor):
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        print("written", flush=True)
        sys.stdin.read()
    sync(descriptor)
os.fsync = stop
asyncio.run(DirectoryBlobStore(pathlib.Path(sys.argv[1])).put(b"hello"))
"""


STREAM_AND_STOP_HALF_WAY = """
import asyncio, os, pathlib, sys
from stockade.infra.blobs.directory_blobs import DirectoryBlobStore
async def chunks():
    yield bytes(2_000_000)
    print("written", flush=True)
    sys.stdin.read()
asyncio.run(DirectoryBlobStore(pathlib.Path(sys.argv[1])).put_stream(chunks(), 1 << 30))
"""


def _kill_half_way(root: Path, script: str = PUT_AND_STOP_BEFORE_THE_NAME) -> Path:
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    (left,) = (root / "tmp").iterdir()
    return left


async def test_a_killed_stream_leaves_nothing_under_a_digest(tmp_path: Path) -> None:
    left = _kill_half_way(tmp_path, STREAM_AND_STOP_HALF_WAY)
    store = DirectoryBlobStore(tmp_path)
    assert left.stat().st_size > 0
    assert [digest async for digest, _ in store.digests()] == []
    assert await store.clear_abandoned() == 0
    os.utime(left, (0, 0))
    assert await store.clear_abandoned() == 1
    assert _files(tmp_path) == []


async def test_only_what_is_named_by_a_digest_is_listed(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)
    await store.put(b"hello")
    (store._path(HELLO).parent / "README").write_bytes(b"")
    (tmp_path / "sha256" / "file").write_bytes(b"")
    assert [digest async for digest, _ in store.digests()] == [HELLO]


async def test_a_blob_deleted_under_a_reader_is_read_to_its_end(tmp_path: Path) -> None:
    store, content = DirectoryBlobStore(tmp_path), bytes(5_000_000)
    digest = await store.put(content)
    chunks = store.read(digest)
    first = await anext(chunks)
    assert await store.delete(digest)
    assert first + b"".join([chunk async for chunk in chunks]) == content


async def test_a_blob_cut_short_on_the_disk_is_corrupt(tmp_path: Path) -> None:
    store = DirectoryBlobStore(tmp_path)
    digest = await store.put(bytes(5_000_000))
    os.truncate(store._path(digest), 2_000_000)
    for attempt in (store.get(digest), _whole(store.read(digest)), _whole(store.read(digest, 5))):
        with pytest.raises(StockadeError, match=r"^blobs\.corrupt"):
            await attempt


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_a_killed_writer_leaves_no_blob(tmp_path: Path) -> None:
    left = _kill_half_way(tmp_path)
    store = DirectoryBlobStore(tmp_path)
    assert left.read_bytes() == b"hello"
    assert await store.get(HELLO) is None
    await store.put(b"hello")
    assert await store.get(HELLO) == b"hello"


async def test_old_leftovers_are_removed_and_fresh_ones_may_have_a_writer(tmp_path: Path) -> None:
    old = _kill_half_way(tmp_path)
    fresh = tmp_path / "tmp" / "fresh"
    fresh.write_bytes(b"")
    os.utime(old, (0, 0))
    await DirectoryBlobStore(tmp_path).put(b"other")
    assert _files(tmp_path / "tmp") == ["fresh"]
