"""Uploads by hostile or unlucky hands: cut, lied about, out of order, of somebody else."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import ClientDisconnect

from gateway.oci import streams
from gateway.oci.streams import StreamTurns
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.oci import OciBounds
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.gateway.oci.registry import (
    REPOSITORY,
    OciGateway,
    oci_gateway,
    refused,
    sha512_of,
)

CONTENT = b"0123456789"
DIGEST = digest_of(CONTENT)


async def patch(oci: OciGateway, place: str, chunk: bytes, said: str | None) -> httpx.Response:
    headers = {} if said is None else {"content-range": said}
    return await oci.http.patch(place, content=chunk, headers=headers)


@pytest.mark.parametrize(
    "said", ["0-4", "4-8", "6-10", "500-504", "999999999999999990-999999999999999994"]
)
async def test_chunks_out_of_order_are_refused_and_told_where_to_go_on(
    oci: OciGateway, said: str
) -> None:
    place = await oci.begin()
    assert (await patch(oci, place, CONTENT[:5], "0-4")).status_code == 202
    answer = await patch(oci, place, CONTENT[5:], said)
    refused(answer, 416, "BLOB_UPLOAD_INVALID", "oci.chunk_misplaced")
    assert (answer.headers["location"], answer.headers["range"]) == (place, "0-4")
    answer = await oci.http.put(
        place, params={"digest": DIGEST}, content=b"x", headers={"content-range": said}
    )
    refused(answer, 416, "BLOB_UPLOAD_INVALID", "oci.chunk_misplaced")
    assert (await patch(oci, place, CONTENT[5:], "5-9")).status_code == 202
    assert (await oci.http.put(place, params={"digest": DIGEST})).status_code == 201


@pytest.mark.parametrize(
    "said",
    ["", "5", "-5", "4-0", "a-b", "0--1", "bytes=0-4", "0-4-9", "\u0660-\u0664", "1" * 19 + "-1"],
)
async def test_content_ranges_that_are_none(oci: OciGateway, said: str) -> None:
    place = await oci.begin()
    sent = {"content-range": said.encode()}
    answer = await oci.http.patch(place, content=b"12345", headers=sent)  # type: ignore[arg-type]
    refused(answer, 400, "BLOB_UPLOAD_INVALID", "oci.range_invalid")
    assert (await oci.http.get(place)).headers["range"] == "0-0"


async def test_content_range_and_length_must_agree_with_the_body(oci: OciGateway) -> None:
    place = await oci.begin()
    answer = await patch(oci, place, b"12345", "0-9")
    refused(answer, 400, "SIZE_INVALID", "oci.size_invalid")

    async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    for parts in ((b"123",), (b"123", b"456")):  # without a length: counted as it comes
        headers = {"content-range": "0-4"}
        answer = await oci.http.patch(place, content=pieces(*parts), headers=headers)
        refused(answer, 400, "SIZE_INVALID", "oci.size_invalid")
    for length in ("3", "9"):
        answer = await oci.http.patch(
            place, content=pieces(b"12345"), headers={"content-length": length}
        )
        refused(answer, 400, "SIZE_INVALID", "oci.size_invalid")
    assert oci.staging._blobs == {}
    assert (await oci.http.get(place)).headers["range"] == "0-0"


async def test_a_body_that_was_cut_counts_for_nothing(oci: OciGateway) -> None:
    place = await oci.begin()
    assert (await patch(oci, place, CONTENT[:5], "0-4")).status_code == 202

    async def cut() -> AsyncIterator[bytes]:
        yield CONTENT[5:8]
        raise ClientDisconnect

    answer = await oci.http.patch(place, content=cut())
    refused(answer, 400, "BLOB_UPLOAD_INVALID", "request.incomplete")
    answer = await oci.http.put(place, params={"digest": DIGEST}, content=cut())
    refused(answer, 400, "BLOB_UPLOAD_INVALID", "request.incomplete")
    state = await oci.http.get(place)
    assert state.headers["range"] == "0-4"
    assert len(oci.staging._blobs) == 1
    assert oci.blobs._blobs == {}
    done = await oci.http.put(place, params={"digest": DIGEST}, content=CONTENT[5:])
    assert done.status_code == 201


async def test_a_body_that_comes_too_slowly_is_left(
    oci: OciGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "IDLE_SECONDS", 0.01)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"1"
        await asyncio.Event().wait()

    answer = await oci.http.patch(await oci.begin(), content=stuck())
    refused(answer, 408, "BLOB_UPLOAD_INVALID", "request.timeout")
    assert oci.staging._blobs == {}


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "a" * 64,
        "sha1:" + "a" * 40,
        "md5:" + "a" * 32,
        "a" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:../../../../etc/passwd",
    ],
)
async def test_digests_of_another_case_length_or_algorithm(oci: OciGateway, digest: str) -> None:
    place = await oci.begin()
    for answer in (
        await oci.http.put(place, params={"digest": digest}, content=CONTENT),
        await oci.http.post(
            f"{REPOSITORY}/blobs/uploads/", params={"digest": digest}, content=CONTENT
        ),
        await oci.http.post(f"{REPOSITORY}/blobs/uploads/", params={"mount": digest}),
    ):
        refused(answer, 400, "DIGEST_INVALID", "oci.digest_invalid")
    assert (await oci.http.put(place, content=CONTENT)).status_code == 400


@pytest.mark.parametrize("digest", [digest_of(b"else"), sha512_of(b"else")])
async def test_content_of_another_digest_is_not_kept(oci: OciGateway, digest: str) -> None:
    place = await oci.begin()
    await patch(oci, place, CONTENT, None)
    for answer in (
        await oci.http.put(place, params={"digest": digest}),
        await oci.http.post(
            f"{REPOSITORY}/blobs/uploads/", params={"digest": digest}, content=CONTENT
        ),
    ):
        refused(answer, 400, "DIGEST_INVALID", "oci.digest_mismatch")
    assert oci.blobs._blobs == oci.staging._blobs == {}
    refused(await oci.http.get(place), 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")


async def test_an_upload_is_its_repositorys_alone(oci: OciGateway) -> None:
    place = await oci.begin()
    upload = place.rpartition("/")[2]
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        query = {"digest": DIGEST}
        answer = await oci.http.request(
            method, f"/v2/alice/other/blobs/uploads/{upload}", params=query
        )
        refused(answer, 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")
    async with oci.mallory(await oci.it.new_key("mallory")) as mallory:
        for name, code, ours in (
            ("alice/tools/hello", "NAME_UNKNOWN", "oci.repository_unknown"),
            ("mallory/tools/hello", "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown"),
        ):
            for method in ("GET", "PATCH", "PUT", "DELETE"):
                answer = await mallory.request(
                    method, f"/v2/{name}/blobs/uploads/{upload}", params={"digest": DIGEST}
                )
                refused(answer, 404, code, ours)
    assert (await oci.http.delete(place)).status_code == 204
    refused(await oci.http.delete(place), 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")


async def test_two_chunks_at_once_for_one_place(oci: OciGateway) -> None:
    place = await oci.begin()
    answers = await asyncio.gather(
        *(patch(oci, place, bytes([65 + at]) * 5, "0-4") for at in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 416, 416, 416]
    assert len(oci.staging._blobs) == 1
    assert (await oci.http.get(place)).headers["range"] == "0-4"


async def test_two_ends_of_one_upload(oci: OciGateway) -> None:
    place = await oci.begin()
    await patch(oci, place, CONTENT, None)
    answers = await asyncio.gather(
        *(oci.http.put(place, params={"digest": DIGEST}) for _ in range(3))
    )
    assert {answer.status_code for answer in answers} <= {201, 404}
    assert 201 in {answer.status_code for answer in answers}
    assert oci.staging._blobs == {}
    assert (await oci.http.get(f"{REPOSITORY}/blobs/{DIGEST}")).content == CONTENT


async def test_an_upload_that_ended_while_it_was_read(oci: OciGateway) -> None:
    place = await oci.begin()
    await patch(oci, place, CONTENT, None)
    oci.staging._blobs.clear()
    answer = await oci.http.put(place, params={"digest": DIGEST})
    refused(answer, 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")


async def test_an_upload_goes_on_at_another_gateway(database: SqlCatalog) -> None:
    async with oci_gateway(database) as one:
        place = await one.begin()
        await patch(one, place, CONTENT[:5], "0-4")
        async with one.it.client(one.it.key) as http:  # the same stores, another process's client
            assert (await http.get(place)).headers["range"] == "0-4"
        async with oci_gateway(database, blob_store=one.blobs) as two:
            object.__setattr__(two.it.services.oci, "staging", one.staging)
            assert (await patch(two, place, CONTENT[5:], "5-9")).status_code == 202
            done = await two.http.put(place, params={"digest": DIGEST})
            assert done.status_code == 201
        assert (await one.http.get(f"{REPOSITORY}/blobs/{DIGEST}")).content == CONTENT


async def test_an_empty_chunk_changes_nothing(oci: OciGateway) -> None:
    place = await oci.begin()
    assert (await patch(oci, place, b"", None)).status_code == 202
    assert (await patch(oci, place, CONTENT, "0-9")).status_code == 202
    assert (await patch(oci, place, b"", None)).headers["range"] == "0-9"
    assert (await oci.http.put(place, params={"digest": DIGEST})).status_code == 201


async def test_compressed_bodies_are_not_taken(oci: OciGateway) -> None:
    headers = {"content-encoding": "gzip"}
    answer = await oci.http.patch(await oci.begin(), content=CONTENT, headers=headers)
    refused(answer, 415, "UNSUPPORTED", "request.encoding_unsupported")


async def test_a_blob_may_have_so_many_bytes(database: SqlCatalog) -> None:
    async with oci_gateway(database, blob_bytes=10) as oci:
        assert (await oci.push_blob(CONTENT)).status_code == 201
        for answer in (
            await oci.push_blob(CONTENT + b"!"),
            await patch(oci, await oci.begin(), CONTENT + b"!", None),
        ):
            refused(answer, 413, "SIZE_INVALID", "blobs.too_large")
        place = await oci.begin()
        await patch(oci, place, CONTENT, None)
        refused(await patch(oci, place, b"!", None), 413, "SIZE_INVALID", "blobs.too_large")
        query = {"digest": digest_of(CONTENT + b"!")}
        answer = await oci.http.put(place, params=query, content=b"!")
        refused(answer, 413, "SIZE_INVALID", "blobs.too_large")


async def test_a_tenant_may_have_so_many_bytes(database: SqlCatalog) -> None:
    async with oci_gateway(database, tenant_bytes=15) as oci:
        place = await oci.begin()
        assert (await patch(oci, place, CONTENT, None)).status_code == 202
        # What is under way counts, and counts once when it is done.
        answer = await oci.push_blob(b"123456")
        refused(answer, 403, "DENIED", "oci.quota_exceeded")
        detail = answer.json()["errors"][0]["detail"]
        assert (detail["quota_bytes"], detail["wanted_bytes"]) == (15, 16)
        other = await oci.begin()
        refused(await patch(oci, other, b"123456", None), 403, "DENIED", "oci.quota_exceeded")
        assert len(oci.staging._blobs) == 1
        assert (await oci.http.put(place, params={"digest": DIGEST})).status_code == 201
        assert (await oci.push_blob(CONTENT, "/v2/alice/other")).status_code == 201
        assert await oci.store.used_bytes("alice") == 10


async def test_a_tenant_may_have_so_many_uploads_chunks_and_blobs(database: SqlCatalog) -> None:
    async with oci_gateway(database, uploads=2, chunks=2, blobs=2) as oci:
        place, _ = await oci.begin(), await oci.begin()
        answer = await oci.http.post(f"{REPOSITORY}/blobs/uploads/")
        refused(answer, 429, "TOOMANYREQUESTS", "oci.too_many")
        for chunk in (b"1", b"2"):
            assert (await patch(oci, place, chunk, None)).status_code == 202
        refused(await patch(oci, place, b"3", None), 429, "TOOMANYREQUESTS", "oci.too_many")
        for content in (b"1", b"2"):
            assert (await oci.push_blob(content)).status_code == 201
        refused(await oci.push_blob(b"3"), 429, "TOOMANYREQUESTS", "oci.too_many")
        assert (await oci.push_blob(b"2")).status_code == 201


def test_bodies_of_a_tenant_at_once_are_bounded() -> None:
    turns = StreamTurns(2)
    with turns.turn("alice"), turns.turn("alice"), turns.turn("mallory"):
        with pytest.raises(StockadeError) as busy, turns.turn("alice"):
            raise AssertionError
        assert (busy.value.code, busy.value.retryable) == ("oci.busy", True)
    assert turns._under_way == {}


def test_bounds_have_defaults() -> None:
    bounds = OciBounds(1, 1)
    assert min(bounds.uploads, bounds.chunks, bounds.blobs, bounds.manifests, bounds.tags) > 0
