"""What was pushed is pulled again, byte for byte, and nothing else is there."""

import pytest

from stockade.core.digests import digest_of
from tests.unit.gateway.oci.registry import (
    EMPTY,
    IMAGE,
    INDEX,
    REPOSITORY,
    OciGateway,
    basic,
    descriptor,
    encoded,
    image,
    refused,
    sha512_of,
)

CONTENT = b"some content"


async def test_a_blob_in_one_request(oci: OciGateway) -> None:
    pushed = await oci.push_blob(CONTENT)
    assert pushed.status_code == 201
    assert pushed.headers["docker-content-digest"] == digest_of(CONTENT)
    pulled = await oci.http.get(pushed.headers["location"])
    assert (pulled.status_code, pulled.content) == (200, CONTENT)
    assert pulled.headers["content-type"] == "application/octet-stream"
    assert pulled.headers["x-content-type-options"] == "nosniff"
    seen = await oci.http.head(pushed.headers["location"])
    assert (seen.status_code, seen.content) == (200, b"")
    assert seen.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize("content", [b"", CONTENT])
async def test_a_blob_in_two_requests(oci: OciGateway, content: bytes) -> None:
    place = await oci.begin()
    pushed = await oci.http.put(place, params={"digest": digest_of(content)}, content=content)
    assert pushed.status_code == 201, pushed.text
    assert (await oci.http.get(pushed.headers["location"])).content == content
    gone = await oci.http.get(place)
    refused(gone, 404, "BLOB_UPLOAD_UNKNOWN", "oci.upload_unknown")


async def test_a_blob_in_chunks(oci: OciGateway) -> None:
    place = await oci.begin()
    for start, chunk in ((0, b"some "), (5, b"cont")):
        headers = {"content-range": f"{start}-{start + len(chunk) - 1}"}
        answer = await oci.http.patch(place, content=chunk, headers=headers)
        assert answer.status_code == 202, answer.text
        place = answer.headers["location"]
        assert answer.headers["range"] == f"0-{start + len(chunk) - 1}"
    state = await oci.http.get(place)
    assert (state.status_code, state.headers["range"]) == (204, "0-8")
    pushed = await oci.http.put(
        place,
        params={"digest": digest_of(CONTENT)},
        content=b"ent",
        headers={"content-range": "9-11"},
    )
    assert pushed.status_code == 201, pushed.text
    assert (await oci.http.get(pushed.headers["location"])).content == CONTENT
    assert oci.staging._blobs == {}


async def test_content_named_by_sha512(oci: OciGateway) -> None:
    digest = sha512_of(CONTENT)
    place = await oci.begin()
    await oci.http.patch(place, content=CONTENT)
    pushed = await oci.http.put(place, params={"digest": digest})
    assert (pushed.status_code, pushed.headers["docker-content-digest"]) == (201, digest)
    assert (await oci.http.get(f"{REPOSITORY}/blobs/{digest}")).content == CONTENT
    unknown = await oci.http.get(f"{REPOSITORY}/blobs/{digest_of(CONTENT)}")
    refused(unknown, 404, "BLOB_UNKNOWN", "oci.blob_unknown")


async def test_an_image_by_tag_and_by_digest(oci: OciGateway) -> None:
    pushed = await oci.push_image(CONTENT)
    body = encoded(image(CONTENT))
    assert pushed.status_code == 201, pushed.text
    assert pushed.headers["location"] == f"{REPOSITORY}/manifests/{digest_of(body)}"
    for reference in ("latest", digest_of(body)):
        pulled = await oci.http.get(f"{REPOSITORY}/manifests/{reference}")
        assert (pulled.status_code, pulled.content) == (200, body)
        assert pulled.headers["content-type"] == IMAGE
        assert pulled.headers["docker-content-digest"] == digest_of(body)
        seen = await oci.http.head(f"{REPOSITORY}/manifests/{reference}")
        assert (seen.content, seen.headers["content-length"]) == (b"", str(len(body)))
    tags = await oci.http.get(f"{REPOSITORY}/tags/list")
    assert tags.json() == {"name": "alice/tools/hello", "tags": ["latest"]}
    catalog = await oci.http.get("/v2/_catalog")
    assert catalog.json() == {"repositories": ["alice/tools/hello"]}


async def test_an_index_over_an_image(oci: OciGateway) -> None:
    await oci.push_image(CONTENT, reference="one")
    child = descriptor(encoded(image(CONTENT)), IMAGE)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    pushed = await oci.push(index, digest_of(encoded(index)), INDEX)
    assert pushed.status_code == 201, pushed.text
    assert (await oci.http.get(pushed.headers["location"])).json() == index
    missing = index | {"manifests": [descriptor(b"{ }", IMAGE)]}
    refused(
        await oci.push(missing, "two", INDEX),
        404,
        "MANIFEST_BLOB_UNKNOWN",
        "oci.manifest_blob_unknown",
    )


async def test_what_is_deleted_is_gone(oci: OciGateway) -> None:
    digest = digest_of(encoded(image(CONTENT)))
    for tag in ("one", "two"):
        await oci.push_image(CONTENT, reference=tag)
    assert (await oci.http.delete(f"{REPOSITORY}/manifests/one")).status_code == 202
    gone = await oci.http.get(f"{REPOSITORY}/manifests/one")
    refused(gone, 404, "MANIFEST_UNKNOWN", "oci.manifest_unknown")
    assert (await oci.http.get(f"{REPOSITORY}/manifests/two")).status_code == 200
    assert (await oci.http.delete(f"{REPOSITORY}/manifests/{digest}")).status_code == 202
    for reference in ("two", digest):
        answer = await oci.http.delete(f"{REPOSITORY}/manifests/{reference}")
        refused(answer, 404, "MANIFEST_UNKNOWN", "oci.manifest_unknown")
    for blob in (CONTENT, EMPTY):
        place = f"{REPOSITORY}/blobs/{digest_of(blob)}"
        assert (await oci.http.delete(place)).status_code == 202
        refused(await oci.http.delete(place), 404, "BLOB_UNKNOWN", "oci.blob_unknown")
    tags = await oci.http.get(f"{REPOSITORY}/tags/list")
    refused(tags, 404, "NAME_UNKNOWN", "oci.repository_unknown")


async def test_clients_log_in_with_the_key_as_password(oci: OciGateway) -> None:
    async with oci.it.client(None) as http:
        answer = await http.get("/v2/")
        refused(answer, 401, "UNAUTHORIZED", "auth.key_missing")
        assert answer.headers["www-authenticate"] == 'Basic realm="Stockade"'
        assert (await http.get("/v2/", headers=basic(oci.it.key))).json() == {}
        wrong = await http.get("/v2/", headers=basic(oci.it.key[:-1]))
        refused(wrong, 401, "UNAUTHORIZED", "auth.key_malformed")
        for text in ("Basic", "Basic %%%", "Basic YQ==", "Basic YTo=", "Basic " + "a" * 9000):
            answer = await http.get("/v2/", headers={"authorization": text})
            refused(answer, 401, "UNAUTHORIZED", "auth.key_missing")
    assert (await oci.http.get("/v2")).status_code == 200
