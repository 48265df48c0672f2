"""Names, ranges, manifests, lists and mounts by hostile hands."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from stockade.core.digests import digest_of
from stockade.core.oci import OciRepository
from stockade.infra.blobs.blob_failures import blob_missing
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.gateway.oci.registry import (
    EMPTY,
    IMAGE,
    INDEX,
    REPOSITORY,
    OciGateway,
    descriptor,
    encoded,
    image,
    oci_gateway,
    refused,
)

CONTENT = b"0123456789"
DIGEST = digest_of(CONTENT)
PLACE = f"{REPOSITORY}/blobs/{DIGEST}"
NONE = digest_of(b"none")
HELLO = OciRepository("alice", "tools/hello")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=3-5", 3, 6),
        ("bytes=3-", 3, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-500", 0, 10),
        ("bytes=0-999999999999999999", 0, 10),
    ],
)
async def test_a_part_of_a_blob(oci: OciGateway, asked: str, start: int, end: int) -> None:
    await oci.push_blob(CONTENT)
    answer = await oci.http.get(PLACE, headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10"
    assert answer.headers["content-length"] == str(end - start)
    same = {"range": asked, "if-range": f'"{DIGEST}"'}
    assert (await oci.http.get(PLACE, headers=same)).status_code == 206
    other = {"range": asked, "if-range": '"other"'}
    assert (await oci.http.get(PLACE, headers=other)).content == CONTENT
    assert (await oci.http.head(PLACE, headers={"range": asked})).status_code == 200


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=5-4", "bytes=-0"])
async def test_a_range_without_bytes_in_it(oci: OciGateway, asked: str) -> None:
    await oci.push_blob(CONTENT)
    answer = await oci.http.get(PLACE, headers={"range": asked})
    refused(answer, 416, "UNSUPPORTED", "oci.range_unsatisfiable")
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize(
    "asked",
    ["bytes=-", "bytes=0-1,3-4", "bytes=--1", "items=0-1", "bytes=a-b", "bytes=" + "9" * 99 + "-"],
)
async def test_what_is_no_single_range_is_passed_over(oci: OciGateway, asked: str) -> None:
    await oci.push_blob(CONTENT)
    answer = await oci.http.get(PLACE, headers={"range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def raw_request(oci: OciGateway, method: str, path: str) -> tuple[int, dict[str, Any]]:
    """Sends the path as it is: clients that are well-behaved mend it first."""
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {oci.it.key}".encode())],
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        sent.append(message)

    await oci.it.app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent))


@pytest.mark.parametrize(
    "name",
    [
        "alice",
        "alice/",
        "alice//hello",
        "/alice/hello",
        "alice/../mallory/hello",
        "alice/./hello",
        "alice/Hello",
        "alice/he%20llo",
        "alice/..%2fmallory",
        "alice/%2e%2e/mallory",
        "alice/he%00llo",
        "alice/h%C3%A9llo",
        "alice/_hello",
        "alice/hello-",
        "alice/a___b",
        "alice/a..b",
        "alice/" + "a" * 250,
        "alice/" + "a/" * 200 + "a",
    ],
)
async def test_names_that_are_none(oci: OciGateway, name: str) -> None:
    for method, path in (
        ("GET", "manifests/latest"),
        ("GET", f"blobs/{DIGEST}"),
        ("POST", "blobs/uploads/"),
        ("PUT", "manifests/latest"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{DIGEST}"),
    ):
        status, body = await raw_request(oci, method, f"/v2/{name}/{path}")
        assert status in {400, 404}, (method, name, body)
        assert body["errors"][0]["code"] in {"NAME_INVALID", "NAME_UNKNOWN"}
    assert await oci.store.repositories("alice") == ()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/alice/x/blobs", 404),
        ("GET", "/v2/alice/x/tags", 404),
        ("GET", "/v2/alice/x/nothing/here", 404),
        ("GET", "/v2/x", 404),
        ("DELETE", "/v2/alice/x/tags/list", 405),
        ("POST", "/v2/", 405),
        ("GET", "/v2/alice/x/blobs/uploads/", 405),
    ],
)
async def test_paths_that_are_none(oci: OciGateway, method: str, path: str, status: int) -> None:
    answer = await oci.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["errors"]


@pytest.mark.parametrize("tag", ["-a", ".a", "a" * 129, "a b", "sha256:abc", "é", "a/b"])
async def test_tags_that_are_none(oci: OciGateway, tag: str) -> None:
    answer = await oci.push(image(), tag)
    assert answer.status_code in {400, 404}, answer.text
    await oci.push_blob(EMPTY)
    answer = await oci.http.put(
        f"{REPOSITORY}/manifests/ok",
        params={"tag": tag},
        content=encoded(image()),
        headers={"content-type": IMAGE},
    )
    refused(answer, 400, "MANIFEST_INVALID", "oci.tag_invalid")
    assert await oci.store.tags(HELLO) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe{}",
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        b'{"schemaVersion": 2, "config": {"size": 1, "size": 2}}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"schemaVersion": NaN}',
        b'{"schemaVersion": 1' + b"0" * 5000 + b"}",
    ],
)
async def test_manifests_that_are_none(oci: OciGateway, content: bytes) -> None:
    refused(await oci.push(content), 400, "MANIFEST_INVALID", "oci.manifest_invalid")
    assert oci.blobs._blobs == {}


async def test_a_manifest_may_have_four_mebibytes(database: SqlCatalog) -> None:
    async with oci_gateway(database, tenant_bytes=2**24, blob_bytes=100) as oci:
        await oci.push_blob(EMPTY)
        bare = len(encoded(image(annotations={"a": ""})))
        most = image(annotations={"a": "x" * (4 * 2**20 - bare)})
        assert (await oci.push(most)).status_code == 201
        more = image(annotations={"a": "x" * (4 * 2**20 - bare + 1)})
        refused(await oci.push(more), 413, "SIZE_INVALID", "request.too_large")


async def test_a_manifest_of_another_digest_or_type(oci: OciGateway) -> None:
    await oci.push_blob(EMPTY)
    answer = await oci.push(image(), NONE)
    refused(answer, 400, "DIGEST_INVALID", "oci.digest_mismatch")
    answer = await oci.push(image(), "sha256:" + "A" * 64)
    refused(answer, 400, "DIGEST_INVALID", "oci.digest_invalid")
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    untyped = {key: value for key, value in image().items() if key != "mediaType"}
    assert (await oci.push(untyped, "a")).status_code == 201
    assert (await oci.push(untyped, "b")).status_code == 201
    answer = await oci.push(untyped, "a", docker)
    refused(answer, 409, "MANIFEST_INVALID", "oci.manifest_type_differs")
    for media_type in ("text/html", "application/json", ""):
        answer = await oci.push(untyped, "a", media_type)
        refused(answer, 400, "MANIFEST_INVALID", "oci.manifest_invalid")


async def test_what_a_manifest_needs_must_be_in_its_own_repository(oci: OciGateway) -> None:
    for blob in (EMPTY, CONTENT):
        await oci.push_blob(blob, "/v2/alice/other")
    answer = await oci.push(image(CONTENT))
    refused(answer, 404, "MANIFEST_BLOB_UNKNOWN", "oci.manifest_blob_unknown")
    assert await oci.store.tags(HELLO) is None
    elsewhere = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    await oci.push_blob(EMPTY)
    foreign = image() | {"layers": [descriptor(b"not here", elsewhere)]}
    assert (await oci.push(foreign)).status_code == 201


async def test_a_blob_is_mounted_within_the_tenant_only(oci: OciGateway) -> None:
    await oci.push_blob(CONTENT)
    uploads = "/v2/alice/other/blobs/uploads/"
    for query in ({"mount": DIGEST, "from": "alice/tools/hello"}, {"mount": DIGEST}):
        mounted = await oci.http.post(uploads, params=query)
        assert mounted.status_code == 201, mounted.text
        assert (await oci.http.get(mounted.headers["location"])).content == CONTENT
    theirs = "/v2/mallory/x/blobs/uploads/"
    async with oci.mallory(await oci.it.new_key("mallory")) as mallory:
        answers = [
            await mallory.post(theirs, params=query)
            for query in (
                {"mount": DIGEST, "from": "alice/tools/hello"},
                {"mount": DIGEST},
                {"mount": NONE, "from": "alice/tools/hello"},
                {"mount": NONE, "from": "alice/absent"},
                {"mount": DIGEST, "from": "../alice"},
            )
        ]
        # Another tenant's blob, one that nobody has: there is nothing to tell them apart by.
        for answer in answers:
            assert (answer.status_code, answer.content) == (202, b"")
            assert set(answer.headers) == set(answers[0].headers)
        gone = await mallory.get(f"/v2/mallory/x/blobs/{DIGEST}")
        refused(gone, 404, "BLOB_UNKNOWN", "oci.blob_unknown")


async def test_another_tenants_repository_reads_as_absent(oci: OciGateway) -> None:
    pushed = await oci.push_image(CONTENT)
    digest = pushed.headers["docker-content-digest"]
    async with oci.mallory(await oci.it.new_key("mallory")) as mallory:
        for method, path in (
            ("GET", f"blobs/{DIGEST}"),
            ("DELETE", f"blobs/{DIGEST}"),
            ("GET", "manifests/latest"),
            ("GET", f"manifests/{digest}"),
            ("PUT", "manifests/latest"),
            ("DELETE", "manifests/latest"),
            ("GET", "tags/list"),
            ("GET", f"referrers/{digest}"),
            ("POST", "blobs/uploads/"),
        ):
            theirs = await mallory.request(method, f"{REPOSITORY}/{path}")
            absent = await mallory.request(method, f"/v2/alice/absent/name/{path}")
            refused(theirs, 404, "NAME_UNKNOWN", "oci.repository_unknown")
            assert theirs.text.replace("tools/hello", "absent/name") == absent.text
        assert (await mallory.get("/v2/_catalog")).json() == {"repositories": []}
    assert (await oci.http.get(f"{REPOSITORY}/manifests/latest")).status_code == 200


async def test_a_flood_of_tags_and_manifests_is_bounded(database: SqlCatalog) -> None:
    async with oci_gateway(database, tags=3, manifests=2) as oci:
        await oci.push_blob(EMPTY)
        for tag in ("a", "b", "c"):
            assert (await oci.push(image(), tag)).status_code == 201
        refused(await oci.push(image(), "d"), 429, "TOOMANYREQUESTS", "oci.too_many")
        assert (await oci.push(image(), "c")).status_code == 201
        more = f"{digest_of(encoded(image()))}?tag=a&tag=b&tag=a"
        assert (await oci.push(image(), more)).headers["oci-tag"] == "a, b"
        assert (await oci.push(image(annotations={"n": "2"}), "c")).status_code == 201
        answer = await oci.push(image(annotations={"n": "3"}), "c")
        refused(answer, 429, "TOOMANYREQUESTS", "oci.too_many")
        query = [("tag", f"t{number}") for number in range(17)]
        answer = await oci.http.put(
            f"{REPOSITORY}/manifests/a?{httpx.QueryParams(query)}",
            content=encoded(image()),
            headers={"content-type": IMAGE},
        )
        refused(answer, 400, "MANIFEST_INVALID", "oci.tag_invalid")


async def test_lists_come_in_pages(oci: OciGateway) -> None:
    await oci.push_blob(EMPTY)
    for tag in ("b", "A", "c", "a"):
        assert (await oci.push(image(), tag)).status_code == 201
    seen: list[str] = []
    url = f"{REPOSITORY}/tags/list?n=3"
    while url:
        answer = await oci.http.get(url)
        seen += answer.json()["tags"]
        url = answer.links.get("next", {}).get("url", "")
    assert seen == ["A", "a", "b", "c"]
    after = await oci.http.get(f"{REPOSITORY}/tags/list", params={"last": "aa"})
    assert after.json()["tags"] == ["b", "c"]
    assert (await oci.http.get(f"{REPOSITORY}/tags/list?n=0")).json()["tags"] == []
    assert (await oci.http.get(f"{REPOSITORY}/tags/list?n=" + "9" * 99)).status_code == 200
    for number in ("-1", "x", "", "1.5", "٣"):
        answer = await oci.http.get(f"{REPOSITORY}/tags/list", params={"n": number})
        refused(answer, 400, "UNSUPPORTED", "request.query_invalid")


async def test_a_flood_of_referrers_comes_in_pages(oci: OciGateway) -> None:
    await oci.push_blob(EMPTY)
    subject = descriptor(encoded(image()), IMAGE)
    for number in range(102):
        kind = "application/x.even" if number % 2 == 0 else "application/x.odd"
        referrer = image(subject=subject, artifactType=kind, annotations={"number": str(number)})
        answer = await oci.push(referrer, digest_of(encoded(referrer)))
        assert answer.status_code == 201, answer.text
        assert answer.headers["oci-subject"] == subject["digest"]
    seen: list[dict[str, object]] = []
    url = f"{REPOSITORY}/referrers/{subject['digest']}"
    pages = 0
    while url:
        answer = await oci.http.get(url)
        assert answer.headers["content-type"] == INDEX
        assert "oci-filters-applied" not in answer.headers
        seen += answer.json()["manifests"]
        pages += 1
        url = answer.links.get("next", {}).get("url", "")
    assert (pages, len({str(one["digest"]) for one in seen})) == (2, 102)
    query = {"artifactType": "application/x.odd"}
    odd = await oci.http.get(f"{REPOSITORY}/referrers/{subject['digest']}", params=query)
    assert odd.headers["oci-filters-applied"] == "artifactType"
    assert len(odd.json()["manifests"]) == 51
    assert {one["artifactType"] for one in odd.json()["manifests"]} == {"application/x.odd"}


async def test_referrers_fill_a_page_by_their_size(database: SqlCatalog) -> None:
    async with oci_gateway(database, tenant_bytes=2**25) as oci:
        await oci.push_blob(EMPTY)
        subject = descriptor(b"absent", IMAGE)
        for number in range(3):
            referrer = image(subject=subject, annotations={"a": "x" * 1_500_000, "b": str(number)})
            assert (await oci.push(referrer, f"t{number}")).status_code == 201
        kind, sizes = "application/vnd.oci.empty.v1%2Bjson", []
        url = f"{REPOSITORY}/referrers/{subject['digest']}?artifactType={kind}"
        while url:
            answer = await oci.http.get(url)
            sizes.append(len(answer.json()["manifests"]))
            assert len(answer.content) <= 4 * 2**20
            url = answer.links.get("next", {}).get("url", "")
        assert sizes == [2, 1]


async def test_referrers_of_what_is_not_there(oci: OciGateway) -> None:
    answer = await oci.http.get(f"{REPOSITORY}/referrers/{NONE}")
    assert answer.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    for path in ("referrers/latest", f"referrers/{NONE}?last=latest"):
        answer = await oci.http.get(f"{REPOSITORY}/{path}")
        refused(answer, 400, "DIGEST_INVALID", "oci.digest_invalid")


async def test_lost_and_damaged_content_is_refused_by_name(oci: OciGateway) -> None:
    pushed = await oci.push_image(CONTENT)
    digest = pushed.headers["docker-content-digest"]
    oci.blobs._blobs[digest] = b"spoilt"
    answer = await oci.http.get(f"{REPOSITORY}/manifests/latest")
    refused(answer, 500, "UNSUPPORTED", "blobs.corrupt")
    oci.blobs._blobs.clear()
    for path in ("manifests/latest", f"blobs/{DIGEST}"):
        answer = await oci.http.get(f"{REPOSITORY}/{path}")
        refused(answer, 500, "UNSUPPORTED", "oci.content_lost")
        assert "push it again" in answer.json()["errors"][0]["message"]
    assert (await oci.push_image(CONTENT)).status_code == 201
    assert (await oci.http.get(f"{REPOSITORY}/blobs/{DIGEST}")).content == CONTENT


class InPieces(MemoryBlobStore):
    """Remembers the size of the largest blob that was read as one."""

    largest = 0

    async def get(self, digest: str) -> bytes | None:
        content = await super().get(digest)
        self.largest = max(self.largest, len(content or b""))
        return content

    async def read(
        self, digest: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        content = await super().get(digest)
        if content is None:
            raise blob_missing(digest)
        yield content[start:end]


async def test_a_large_manifest_is_never_in_memory_whole_for_a_slow_reader(
    database: SqlCatalog,
) -> None:
    blobs = InPieces()
    async with oci_gateway(database, blobs) as oci:
        pushed = await oci.push_image(CONTENT, annotations={"a": "x" * 100_000})
        digest = pushed.headers["docker-content-digest"]
        blobs.largest = 0
        answer = await oci.http.get(f"{REPOSITORY}/manifests/latest")
        assert digest_of(answer.content) == digest
        assert (answer.status_code, answer.headers["content-type"]) == (200, IMAGE)
        assert answer.headers["content-length"] == str(len(answer.content))
        assert blobs.largest == 0
        blobs._blobs[digest] = b"spoilt"
        answer = await oci.http.get(f"{REPOSITORY}/manifests/latest")
        refused(answer, 500, "UNSUPPORTED", "blobs.corrupt")
        blobs._blobs.clear()
        answer = await oci.http.get(f"{REPOSITORY}/manifests/latest")
        refused(answer, 500, "UNSUPPORTED", "oci.content_lost")


async def test_a_flood_of_one_tenants_manifests_waits_behind_its_own(oci: OciGateway) -> None:
    content = oci.it.services.oci
    await oci.push_image(CONTENT)
    manifest = await content.manifest(HELLO, "latest")
    ended: list[str] = []

    async def read(tenant: str) -> None:
        await content.read_manifest(tenant, manifest)
        ended.append(tenant)

    async with asyncio.TaskGroup() as tasks:
        for tenant in ("alice",) * 20 + ("mallory",):
            tasks.create_task(read(tenant))
    assert ended.index("mallory") <= 2
