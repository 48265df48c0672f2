"""What blobs in a bucket promise beyond the port: servers away, slow, cut short, unwilling."""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore
from structlog.testing import capture_logs

from stockade.core.blob_place import BlobPlace, Bucket
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.infra.blobs.blob_stores import open_area, open_blob_stores
from stockade.infra.blobs.object_store import Patience, check_object_store, open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.blobs.obstore_payloads import ObstorePayloadStore
from stockade.infra.system_clock import SystemClock
from tests.s3_server import SECRET, S3Server, faulty_server, s3_server

CLOCK = SystemClock()
HELLO = digest_of(b"hello")
LARGE = bytes(range(250)) * 80_000
HURRIED = Patience(0.5, 0.2, 2.0, 1, 0.5)


def _store(place: BlobPlace) -> ObstoreBlobStore:
    return ObstoreBlobStore(open_object_store(place, CLOCK))


def _hurried(place: BlobPlace) -> ObstoreBlobStore:
    return ObstoreBlobStore(open_object_store(place, CLOCK, HURRIED))


async def _streamed(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 300_000):
        yield content[at : at + 300_000]


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _refused(store: ObstoreBlobStore) -> None:
    """Every call says the same, and says that trying again may help."""
    for attempt in (
        store.put(b"hello"),
        store.put_stream(_streamed(b"hello"), 5),
        store.get(HELLO),
        store.size_bytes(HELLO),
        _whole(store.read(HELLO)),
        store.delete(HELLO),
        anext(aiter(store.digests())),
    ):
        with pytest.raises(StockadeError) as caught:
            await attempt
        assert (caught.value.code, caught.value.retryable) == ("blobs.unavailable", True)
        assert SECRET not in repr(caught.value.__cause__)


async def test_a_large_blob_goes_in_parts_and_comes_back(s3: S3Server, bucket: BlobPlace) -> None:
    store = _store(bucket)
    digest, size_bytes = await store.put_stream(_streamed(LARGE), len(LARGE))
    assert (digest, size_bytes) == (digest_of(LARGE), len(LARGE))
    assert s3.keys(bucket) == [f"sha256/{digest[7:9]}/{digest[9:]}"]
    assert await _whole(store.read(digest)) == LARGE
    assert await _whole(store.read(digest, 9_000_000, 9_000_003)) == LARGE[:3]
    assert await store.put(LARGE) == digest
    assert s3.open_uploads(bucket) == 0


async def test_a_large_blob_cut_on_the_way_is_not_there(s3: S3Server, bucket: BlobPlace) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise StockadeError("request.incomplete", "The body ends too early.")

    with pytest.raises(StockadeError, match=r"^request\.incomplete"):
        await _store(bucket).put_stream(broken(), 1 << 30)
    assert (s3.keys(bucket), s3.open_uploads(bucket)) == ([], 0)


PUT_FOR_EVER = """
import asyncio, pathlib, sys
from stockade.core.blob_place import BlobPlace, Bucket
from stockade.infra.blobs.object_store import open_object_store
from stockade.infra.blobs.obstore_blobs import ObstoreBlobStore
from stockade.infra.system_clock import SystemClock
bucket, endpoint, credentials = sys.argv[1:]
place = BlobPlace(None, Bucket(bucket, "deep/down"), endpoint, "us-east-1",
                  pathlib.Path(credentials))
async def chunks():
    yield bytes(20_000_000)
    print("written", flush=True)
    sys.stdin.read()
store = ObstoreBlobStore(open_object_store(place, SystemClock()))
asyncio.run(store.put_stream(chunks(), 1 << 30))
"""


async def test_a_killed_stream_leaves_nothing_under_a_digest(
    s3: S3Server, bucket: BlobPlace
) -> None:
    assert bucket.bucket is not None
    arguments = [bucket.bucket.name, bucket.endpoint, str(bucket.credentials_file)]
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUT_FOR_EVER, *arguments, stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"written\n"
    process.kill()
    await process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert s3.keys(bucket) == []


async def test_a_server_that_is_away_is_unavailable_and_found_again(tmp_path: Path) -> None:
    with s3_server() as server:
        place = server.new_bucket(tmp_path / "credentials.toml")
        store = _hurried(place)
        await store.put(b"hello")
    await _refused(store)
    port = int(place.endpoint.rpartition(":")[2])
    with s3_server(port):
        assert await store.get(HELLO) == b"hello"


async def test_a_server_that_never_answers_is_given_up(bucket: BlobPlace) -> None:
    async with faulty_server(b"", close=False) as endpoint, asyncio.timeout(30):
        await _refused(_hurried(replace(bucket, endpoint=endpoint)))


@pytest.mark.parametrize("close", [True, False])
async def test_an_answer_cut_short_is_no_blob(bucket: BlobPlace, *, close: bool) -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n'
    head += b"Last-Modified: Fri, 27 Nov 2026 18:00:00 GMT\r\n\r\n"
    async with faulty_server(head + b"hel", close=close) as endpoint, asyncio.timeout(30):
        store = _hurried(replace(bucket, endpoint=endpoint))
        for attempt in (store.get(HELLO), _whole(store.read(HELLO))):
            with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
                await attempt


async def test_a_server_in_trouble_is_unavailable(bucket: BlobPlace) -> None:
    answer = b"HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n"
    async with faulty_server(answer, close=True) as endpoint:
        await _refused(_hurried(replace(bucket, endpoint=endpoint)))


async def test_refused_credentials_are_told_and_never_shown(bucket: BlobPlace) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with faulty_server(answer, close=True) as endpoint:
        place = replace(bucket, endpoint=endpoint)
        with capture_logs() as logs:
            await _refused(_hurried(place))
        assert {entry["event"] for entry in logs} == {"blob_store_failed"}
        assert "PermissionDeniedError" in {entry["reason"] for entry in logs}
        assert SECRET not in repr(logs) + repr(_store(place)._store)
        with pytest.raises(StockadeError) as caught:
            await open_blob_stores(place, CLOCK)
    assert caught.value.code == "config.blobs_refused"
    assert SECRET not in str(caught.value)


async def test_a_bucket_that_is_not_there_is_no_empty_one(bucket: BlobPlace) -> None:
    place = replace(bucket, bucket=Bucket("another-bucket", ""))
    store = _store(place)
    for attempt in (store.put(b"hello"), store.get(HELLO), anext(aiter(store.digests()))):
        with pytest.raises(StockadeError, match=r"^blobs\.unavailable"):
            await attempt
    with pytest.raises(StockadeError, match=r"^config\.blobs_refused"):
        await open_blob_stores(place, CLOCK)


async def test_a_server_that_is_away_at_the_start_keeps_nobody_from_starting(
    bucket: BlobPlace,
) -> None:
    place = replace(bucket, endpoint="http://127.0.0.1:9")
    with capture_logs() as logs:
        await check_object_store(open_object_store(place, CLOCK, HURRIED))
    assert [entry["event"] for entry in logs] == ["blob_store_away"]


async def test_the_stores_of_a_place_keep_apart_what_is_not_the_same(
    s3: S3Server, bucket: BlobPlace, tmp_path: Path
) -> None:
    for place in (bucket, BlobPlace(tmp_path / "blobs")):
        stores, area = await open_blob_stores(place, CLOCK), open_area(place, "oci", CLOCK)
        digest, other = await stores.modules.put(b"hello"), await area.put(b"other")
        await stores.payloads.put("acme", "id", b"large")
        assert [one async for one, _ in stores.modules.digests()] == [digest]
        assert [one async for one, _ in area.digests()] == [other]
        assert await stores.payloads.get("acme", "id", digest_of(b"large")) == b"large"
    assert len(s3.keys(bucket)) == 3
    assert f"oci/sha256/{other[7:9]}/{other[9:]}" in s3.keys(bucket)


async def test_what_is_no_blob_of_ours_is_not_listed(s3: S3Server, bucket: BlobPlace) -> None:
    store = _store(bucket)
    await store.put(b"hello")
    for name in ("README", "a/b/c", HELLO[7:]):
        path = f"/{bucket.bucket.name}/deep/down/sha256/{name}" if bucket.bucket else ""
        assert s3.request("PUT", path, b"x") == 200
    assert [digest async for digest, _ in store.digests()] == [HELLO]


@pytest.mark.parametrize(
    "text", ["", "access_key_id = 1", "secret", 'access_key_id = "a"\nsecret = "b"\n']
)
def test_credentials_that_cannot_be_read_are_refused_unseen(bucket: BlobPlace, text: str) -> None:
    assert bucket.credentials_file is not None
    bucket.credentials_file.write_text(text)
    with pytest.raises(StockadeError) as caught:
        open_object_store(bucket, CLOCK)
    assert caught.value.code == "config.blobs_invalid"
    assert str(bucket.credentials_file) in caught.value.message


@pytest.mark.parametrize("kind", ["memory", "local"])
async def test_other_stores_of_the_library_do_as_well(kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else LocalStore(tmp_path)
    blobs, payloads = ObstoreBlobStore(store), ObstorePayloadStore(store, CLOCK, 60.0)
    digest = await blobs.put(b"hello")
    assert await blobs.get(digest) == b"hello"
    assert await _whole(blobs.read(digest, 1, 3)) == b"el"
    assert [one async for one, _ in blobs.digests()] == [digest]
    assert await blobs.delete(digest)
    assert await blobs.get(digest) is None
    await payloads.put("acme", "id", b"large")
    for _ in range(2):
        await payloads.discard("acme", "id", digest_of(b"large"))
    assert await payloads.get("acme", "id", digest_of(b"large")) is None


async def test_a_local_disk_that_is_full_is_told(
    bucket: BlobPlace, s3: S3Server, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams wait there until their key is known."""
    monkeypatch.setattr(tempfile, "tempdir", str(tiny_disk))
    with pytest.raises(StockadeError) as caught:
        await _store(bucket).put_stream(_streamed(LARGE), len(LARGE))
    assert (caught.value.code, caught.value.retryable) == ("blobs.full", True)
    assert (s3.keys(bucket), list(tiny_disk.iterdir())) == ([], [])
