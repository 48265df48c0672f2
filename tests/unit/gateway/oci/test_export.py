"""Modules that were uploaded by `/v1/modules` can be pulled, and pushed again."""

import httpx
import pytest

from registry.keys import public_bytes
from stockade.core.digests import digest_of
from stockade.core.modules import Signer
from tests.unit.gateway.installation import refused as v1_refused
from tests.unit.gateway.oci.registry import OciGateway
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, signed

DIGEST = digest_of(BODY)


async def to_oci(oci: OciGateway, digest: str, reference: str) -> httpx.Response:
    asked = {"module": digest, "reference": reference}
    return await oci.http.post("/v1/modules:to-oci", json=asked)


async def test_an_uploaded_module_is_pulled_with_all_its_signatures(oci: OciGateway) -> None:
    await oci.it.catalog.add_signer("alice", Signer("other", public_bytes(OTHER_KEY)))
    for content in (signed(BODY), signed(BODY, OTHER_KEY)):
        assert (await oci.it.upload(content)).status_code in {200, 201}
    made = [await to_oci(oci, DIGEST, "tools/hello:1") for _ in range(2)]
    assert [one.status_code for one in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert made[0].json()["tag"] == "1"
    pulled = await oci.http.get("/v2/alice/tools/hello/manifests/1")
    assert made[0].json()["manifest"].endswith(digest_of(pulled.content))
    (layer,) = pulled.json()["layers"]
    file = await oci.http.get(f"/v2/alice/tools/hello/blobs/{layer['digest']}")
    config = pulled.json()["config"]
    described = await oci.http.get(f"/v2/alice/tools/hello/blobs/{config['digest']}")
    assert described.json()["layerDigests"] == [layer["digest"]]
    again = await oci.it.upload(file.content)
    assert (again.status_code, again.json()["digest"]) == (200, DIGEST)
    assert again.json()["signers"] == ["ci", "other"]
    asked = {"reference": "tools/hello:1"}
    back = await oci.http.post("/v1/modules:from-oci", json=asked)
    assert (back.status_code, back.json()["digest"]) == (200, DIGEST)


@pytest.mark.parametrize(
    ("digest", "reference", "status", "code"),
    [
        ("sha256:" + "0" * 64, "hello:1", 404, "module.not_found"),
        ("sha256:x", "hello:1", 400, "module.digest_invalid"),
        (DIGEST, "Hello:1", 400, "oci.name_invalid"),
        (DIGEST, "hello:.", 400, "oci.tag_invalid"),
        (DIGEST, f"hello@{DIGEST}", 400, "oci.tag_invalid"),
    ],
)
async def test_what_leads_nowhere(
    oci: OciGateway, digest: str, reference: str, status: int, code: str
) -> None:
    v1_refused(await to_oci(oci, digest, reference), status, code)


async def test_a_module_whose_bytes_are_lost(oci: OciGateway) -> None:
    await oci.it.upload()
    oci.it.blobs._blobs.clear()
    v1_refused(await to_oci(oci, DIGEST, "hello:1"), 500, "blobs.missing")
