"""Only what verifies becomes a module, whatever is pushed; and what does not says why."""

import base64

import httpx
import pytest

from gateway.oci import promotion
from registry.keys import public_bytes
from stockade.core.catalog_changes import CatalogChange, ChangeKind
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from stockade.infra.memory.memory_blobs import MemoryBlobStore
from stockade.infra.memory.memory_catalog_changes import MemoryCatalogChanges
from stockade.infra.sql.sql_catalog import SqlCatalog
from tests.unit.gateway.installation import GOOD, SETTINGS
from tests.unit.gateway.installation import refused as v1_refused
from tests.unit.gateway.oci.registry import (
    EMPTY,
    IMAGE,
    REPOSITORY,
    OciGateway,
    descriptor,
    encoded,
    image,
    oci_gateway,
)
from tests.unit.gateway.oci.registry import (
    refused as oci_refused,
)
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, payload, signed

CONFIG = "application/vnd.wasm.config.v0+json"
WASM = "application/wasm"
SIGNATURE = "application/vnd.stockade.signature.v1"


def wasm_image(*layers: bytes, layer_type: str = WASM, **more: object) -> dict[str, object]:
    return image(config=descriptor(EMPTY, CONFIG)) | {
        "layers": [descriptor(layer, layer_type) for layer in layers],
        **more,
    }


async def pushed(
    oci: OciGateway, manifest: dict[str, object], *blobs: bytes, reference: str = "1"
) -> httpx.Response:
    for blob in (EMPTY, *blobs):
        assert (await oci.push_blob(blob)).status_code == 201
    answer = await oci.push(manifest, reference)
    assert answer.status_code == 201, answer.text
    return answer


async def from_oci(oci: OciGateway, reference: str) -> httpx.Response:
    return await oci.http.post("/v1/modules:from-oci", json={"reference": reference})


def why_not(answer: httpx.Response) -> str:
    assert "stockade-module-digest" not in answer.headers
    assert answer.headers["warning"].startswith('299 - "Kept, but')
    code: str = answer.headers["stockade-not-promoted"]
    return code


@pytest.mark.parametrize("layer_type", [WASM, "application/vnd.wasm.content.layer.v1+wasm"])
async def test_a_signed_module_is_promoted_as_it_is_pushed(
    oci: OciGateway, layer_type: str
) -> None:
    answer = await pushed(oci, wasm_image(GOOD, layer_type=layer_type), GOOD)
    assert answer.headers["stockade-module-digest"] == digest_of(BODY)
    assert "warning" not in answer.headers
    shown = await oci.http.get(f"/v1/modules/{digest_of(BODY)}")
    assert shown.status_code == 200
    assert oci.it.compiler.compiled == [BODY]
    assert await oci.it.blobs.get(digest_of(BODY)) == BODY
    deployed = await oci.http.put("/v1/functions/f", json={"module": digest_of(BODY)})
    assert deployed.status_code == 201
    assert (await oci.http.get(f"{REPOSITORY}/blobs/{digest_of(GOOD)}")).content == GOOD


async def test_workers_hear_of_a_promoted_modules_signatures(oci: OciGateway) -> None:
    changes = oci.it.services.changes
    assert isinstance(changes, MemoryCatalogChanges)
    told = len(changes.told)
    await pushed(oci, wasm_image(GOOD), GOOD)
    assert changes.told[told:] == [CatalogChange(ChangeKind.TRUST, "alice")]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (BODY, "module.unsigned"),
        (signed(BODY, OTHER_KEY), "module.signer_unknown"),
        (GOOD[:-1], "module.malformed"),
        (b"no wasm", "module.not_wasm"),
    ],
)
async def test_what_does_not_verify_is_kept_and_never_runs(
    oci: OciGateway, content: bytes, code: str
) -> None:
    answer = await pushed(oci, wasm_image(content), content)
    assert why_not(answer) == code
    pulled = await oci.http.get(f"{REPOSITORY}/blobs/{digest_of(content)}")
    assert pulled.content == content
    refusal = await from_oci(oci, "tools/hello:1")
    assert (refusal.status_code, refusal.json()["code"]) == (422, code)
    absent = await oci.http.get(f"/v1/modules/{digest_of(BODY)}")
    v1_refused(absent, 404, "module.not_found")
    assert oci.it.blobs._blobs == {}


@pytest.mark.parametrize(
    "manifest",
    [
        wasm_image(),
        wasm_image(GOOD, GOOD),
        wasm_image(GOOD, layer_type="application/octet-stream"),
        wasm_image(GOOD, annotations={"dev.stockade.signature": "%%%"}),
    ],
)
async def test_a_module_has_one_layer(oci: OciGateway, manifest: dict[str, object]) -> None:
    assert why_not(await pushed(oci, manifest, GOOD)) == "module.artifact_invalid"
    v1_refused(await from_oci(oci, "tools/hello:1"), 422, "module.artifact_invalid")


async def test_what_claims_to_be_no_module_is_not_looked_at(oci: OciGateway) -> None:
    answer = await pushed(oci, image(GOOD), GOOD)
    assert not {"warning", "stockade-module-digest"} & set(answer.headers)
    v1_refused(await from_oci(oci, "tools/hello:1"), 422, "module.artifact_invalid")


async def test_a_detached_signature_in_an_annotation(oci: OciGateway) -> None:
    text = base64.b64encode(payload(BODY)).decode()
    for place in ("layer", "manifest"):
        manifest = wasm_image(BODY)
        signature = {"annotations": {"dev.stockade.signature": text}}
        if place == "layer":
            manifest["layers"] = [descriptor(BODY, WASM, **signature)]
        else:
            manifest |= signature
        answer = await pushed(oci, manifest, BODY, reference=place)
        assert answer.headers["stockade-module-digest"] == digest_of(BODY)
    # Signed twice, nobody could say which of them counts.
    both = wasm_image(GOOD, annotations={"dev.stockade.signature": text})
    assert why_not(await pushed(oci, both, GOOD)) == "module.signature_ambiguous"


def signature_of(subject: dict[str, object], content: bytes) -> dict[str, object]:
    return image(
        artifactType=SIGNATURE,
        layers=[descriptor(content, SIGNATURE)],
        subject=descriptor(encoded(subject), IMAGE),
    )


async def test_artifacts_that_sign_a_module(oci: OciGateway) -> None:
    await oci.it.catalog.add_signer("alice", Signer("other", public_bytes(OTHER_KEY)))
    module = wasm_image(BODY)
    assert why_not(await pushed(oci, module, BODY)) == "module.unsigned"
    bad = payload(BODY + b"\0\1\0")
    answer = await pushed(oci, signature_of(module, bad), bad, reference="bad")
    assert why_not(answer) == "module.signature_mismatch"
    for key in (None, OTHER_KEY):
        good = payload(BODY) if key is None else payload(BODY, key)
        answer = await pushed(oci, signature_of(module, good), good, reference="sig")
        assert answer.headers["stockade-module-digest"] == digest_of(BODY)
    stored = await oci.it.catalog.module("alice", digest_of(BODY))
    assert stored is not None
    assert len(stored.signatures) == 2
    assert (await from_oci(oci, "tools/hello:1")).status_code == 200


async def test_odd_signature_artifacts_are_passed_over(oci: OciGateway) -> None:
    module, huge = wasm_image(BODY), b"\0" * 65_537
    await pushed(oci, module, BODY)
    two = signature_of(module, payload(BODY))
    two["layers"] = [descriptor(BODY, SIGNATURE)] * 2
    for place, manifest in (("two", two), ("huge", signature_of(module, huge))):
        answer = await pushed(oci, manifest, payload(BODY), huge, reference=place)
        assert why_not(answer) == "module.unsigned"
    absent = signature_of(wasm_image(b"absent"), payload(BODY))
    answer = await pushed(oci, absent, payload(BODY), reference="absent")
    assert "warning" not in answer.headers


async def test_a_tag_is_looked_up_once(oci: OciGateway) -> None:
    await pushed(oci, wasm_image(GOOD), GOOD, reference="latest")
    digest = digest_of(encoded(wasm_image(GOOD)))
    for reference in (
        "tools/hello",
        "tools/hello:latest",
        "alice/tools/hello:latest",
        f"tools/hello@{digest}",
    ):
        answer = await from_oci(oci, reference)
        assert answer.status_code == 200, answer.text
        assert answer.json()["digest"] == digest_of(BODY)
        assert answer.json()["signers"] == ["ci"]
        assert answer.json()["manifest"] == f"alice/tools/hello@{digest}"


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [
        ("tools/hello:2", 404, "oci.manifest_unknown"),
        ("mallory/tools/hello:1", 404, "oci.manifest_unknown"),
        ("../hello:1", 400, "oci.name_invalid"),
        ("tools/hello:", 400, "oci.tag_invalid"),
        ("tools/hello@sha256:AB", 400, "oci.digest_invalid"),
        ("tools/hello@" + "a" * 300, 400, "oci.tag_invalid"),
        ("", 400, "request.invalid"),
    ],
)
async def test_references_that_lead_nowhere(
    oci: OciGateway, reference: str, status: int, code: str
) -> None:
    v1_refused(await from_oci(oci, reference), status, code)


async def test_a_layer_that_went_missing_is_told(oci: OciGateway) -> None:
    await pushed(oci, wasm_image(GOOD), GOOD)
    await oci.http.delete(f"{REPOSITORY}/blobs/{digest_of(GOOD)}")
    v1_refused(await from_oci(oci, "tools/hello:1"), 404, "oci.blob_unknown")


async def test_a_layer_larger_than_a_module_may_be(database: SqlCatalog) -> None:
    settings = SETTINGS.model_copy(update={"max_module_bytes": len(GOOD) - 1})
    async with oci_gateway(database, settings=settings) as oci:
        assert why_not(await pushed(oci, wasm_image(GOOD), GOOD)) == "module.too_large"


def test_a_warning_is_one_header_whatever_the_module_says() -> None:
    error = StockadeError("module.x", 'a "b" \\ c\r\nSet-Cookie: d\0\x1b[2Jé' + "e" * 2000)
    warning = promotion._warning(error)
    text = '299 - "Kept, but no runnable module: a ?b? ? c??Set-Cookie: d??[2J?'
    assert warning.startswith(text)
    assert len(warning) < 1100


async def test_trouble_of_our_own_is_no_verdict_on_the_module(database: SqlCatalog) -> None:
    class Full(MemoryBlobStore):
        async def put(self, content: bytes) -> str:
            del content
            raise StockadeError("blobs.full", "No room.", retryable=True)

    async with oci_gateway(database, modules=Full()) as oci:
        for blob in (EMPTY, GOOD):
            await oci.push_blob(blob)
        answer = await oci.push(wasm_image(GOOD))
        oci_refused(answer, 507, "UNSUPPORTED", "blobs.full")
