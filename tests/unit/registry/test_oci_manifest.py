"""Manifests: each rule has a test that breaks it alone."""

import base64
import json
from collections.abc import Callable

import pytest

from registry.oci_manifest import INDEX_TYPE, MAX_DESCRIPTORS, Manifest, read_manifest
from registry.oci_module import (
    annotated_signature,
    module_artifact,
    module_layer,
    signature_layer,
)
from registry.signature_format import parse_payload, split_envelope
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from tests.unit.registry.signed_modules import BODY, OTHER_KEY, payload

IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
DIGEST = "sha256:" + "a" * 64
Document = dict[str, object]
BLOB: Document = {"mediaType": "application/octet-stream", "digest": DIGEST, "size": 3}
IMAGE: Document = {"schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": BLOB, "layers": [BLOB]}
INDEX: Document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [BLOB]}
WASM_CONFIG = BLOB | {"mediaType": "application/vnd.wasm.config.v0+json"}
WASM_LAYER = BLOB | {"mediaType": "application/wasm"}
MODULE = IMAGE | {"config": WASM_CONFIG, "layers": [WASM_LAYER]}


def read(document: object, media_type: str = IMAGE_TYPE) -> Manifest:
    return read_manifest(json.dumps(document).encode(), media_type)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(StockadeError) as refused:
        call()
    return refused.value.code, refused.value.message


def test_an_image() -> None:
    more = {
        "artifactType": "application/x.kind",
        "subject": BLOB | {"digest": "sha512:" + "b" * 128},
        "annotations": {"key": "value"},
        "unknown": {"nobody": ["cares"]},
    }
    manifest = read(IMAGE | more)
    assert [one.digest for one in manifest.blobs] == [DIGEST, DIGEST]
    assert manifest.artifact_type == "application/x.kind"
    assert manifest.subject is not None
    assert manifest.subject.digest.startswith("sha512:")
    assert manifest.annotations == {"key": "value"}
    assert manifest.manifests == ()


def test_an_index() -> None:
    manifest = read(INDEX, INDEX_TYPE)
    assert [one.digest for one in manifest.manifests] == [DIGEST]
    assert (manifest.config, manifest.layers, manifest.artifact_type) == (None, (), None)
    assert manifest.blobs == ()
    assert manifest.subject is None


@pytest.mark.parametrize("given", [None, ""])
def test_an_image_without_artifact_type_has_its_configs(given: str | None) -> None:
    assert read(IMAGE | {"artifactType": given}).artifact_type == BLOB["mediaType"]


@pytest.mark.parametrize("field", ["mediaType", "layers", "subject", "annotations"])
def test_what_may_be_left_out(field: str) -> None:
    assert read({key: value for key, value in IMAGE.items() if key != field})


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_layers_that_may_not_be_distributed_need_not_be_there(kind: str) -> None:
    manifest = read(IMAGE | {"layers": [BLOB, BLOB | {"mediaType": kind}]})
    assert len(manifest.layers) == 2
    assert len(manifest.blobs) == 2  # the config and the first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"schemaVersion": "2"}, "schemaVersion"),
        ({"mediaType": INDEX_TYPE}, "differ"),
        ({"mediaType": None}, "differ"),
        ({"manifests": [BLOB]}, "has no manifests"),
        ({"config": None}, "config must be a descriptor"),
        ({"config": []}, "config must be a descriptor"),
        ({"layers": {}}, "layers must be a list"),
        ({"layers": [BLOB] * (MAX_DESCRIPTORS + 1)}, "more than"),
        ({"layers": ["x"]}, "layers[0] must be a descriptor"),
        ({"layers": [BLOB | {"digest": DIGEST.upper()}]}, "layers[0].digest"),
        ({"layers": [BLOB | {"digest": "sha256:" + "a" * 63}]}, "layers[0].digest"),
        ({"layers": [BLOB | {"digest": 7}]}, "layers[0].digest"),
        ({"layers": [BLOB | {"size": -1}]}, "layers[0].size"),
        ({"layers": [BLOB | {"size": 1.5}]}, "layers[0].size"),
        ({"layers": [BLOB | {"size": True}]}, "layers[0].size"),
        ({"layers": [BLOB | {"size": 2**63}]}, "layers[0].size"),
        ({"layers": [BLOB | {"mediaType": "wasm"}]}, "layers[0].mediaType"),
        ({"layers": [BLOB | {"mediaType": None}]}, "layers[0].mediaType"),
        ({"layers": [BLOB | {"annotations": {"a": 1}}]}, "layers[0].annotations"),
        ({"subject": "x"}, "subject must be a descriptor"),
        ({"artifactType": "text"}, "artifactType"),
        ({"artifactType": 1}, "artifactType"),
        ({"annotations": []}, "annotations"),
        ({"annotations": {"a": None}}, "annotations"),
    ],
)
def test_a_rule_broken_alone(change: Document, words: str) -> None:
    code, message = refusal(lambda: read(IMAGE | change))
    assert code == "oci.manifest_invalid"
    assert words in message


@pytest.mark.parametrize("change", [{"config": BLOB}, {"layers": []}])
def test_an_index_that_could_be_read_as_an_image(change: Document) -> None:
    assert "no config and no layers" in refusal(lambda: read(INDEX | change, INDEX_TYPE))[1]


@pytest.mark.parametrize("media_type", ["", "text/html", "application/json", INDEX_TYPE.upper()])
def test_other_media_types(media_type: str) -> None:
    assert "Content-Type" in refusal(lambda: read(IMAGE, media_type))[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"{} {}", "no JSON"),
        (b"7", "no JSON object"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "twice"),
        (b'{"a": Infinity}', "no number"),
    ],
)
def test_what_is_no_document(content: bytes, words: str) -> None:
    code, message = refusal(lambda: read_manifest(content, IMAGE_TYPE))
    assert code == "oci.manifest_invalid"
    assert words in message


def test_a_module() -> None:
    assert module_layer(read(MODULE)).digest == DIGEST
    assert annotated_signature(read(MODULE)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"config": BLOB},
        {"layers": []},
        {"layers": [WASM_LAYER] * 2},
        {"layers": [BLOB]},
    ],
)
def test_what_is_no_module(change: Document) -> None:
    assert refusal(lambda: module_layer(read(MODULE | change)))[0] == "module.artifact_invalid"


def test_dockers_media_type_makes_no_module() -> None:
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = read(MODULE | {"mediaType": docker}, docker)
    assert refusal(lambda: module_layer(manifest))[0] == "module.artifact_invalid"
    index = read(INDEX, INDEX_TYPE)
    assert refusal(lambda: module_layer(index))[0] == "module.artifact_invalid"


def test_a_signature_in_an_annotation_of_the_layer_counts_before_the_manifests() -> None:
    def signed(text: str) -> Document:
        return {"annotations": {"dev.stockade.signature": text}}

    one, two = (base64.b64encode(text).decode() for text in (b"one", b"two"))
    layer = WASM_LAYER | signed(one)
    assert annotated_signature(read(MODULE | signed(two))) == b"two"
    assert annotated_signature(read(MODULE | {"layers": [layer]} | signed(two))) == b"one"
    broken = read(MODULE | signed("!"))
    assert refusal(lambda: annotated_signature(broken))[0] == "module.artifact_invalid"


def test_an_artifact_that_is_a_signature() -> None:
    kind = "application/vnd.stockade.signature.v1"
    assert signature_layer(read(IMAGE)) is None
    assert signature_layer(read(IMAGE | {"artifactType": kind, "layers": []})) is None
    layer = signature_layer(read(IMAGE | {"artifactType": kind}))
    assert layer is not None
    assert layer.digest == DIGEST


def test_a_module_becomes_an_artifact_that_is_one() -> None:
    payloads = (payload(BODY), payload(BODY, OTHER_KEY), payload(BODY))
    made = module_artifact(BODY, payloads, 1_800_000_000_123)
    assert made == module_artifact(BODY, payloads, 1_800_000_000_123)
    manifest = read_manifest(made.manifest, IMAGE_TYPE)
    assert module_layer(manifest).digest == digest_of(made.layer)
    assert [one.digest for one in manifest.blobs] == [digest_of(made.config), digest_of(made.layer)]
    envelope = split_envelope(made.layer)
    assert envelope.body == BODY
    assert envelope.signature is not None
    assert len(parse_payload(envelope.signature)) == 2
    assert json.loads(made.config)["created"] == "2027-01-15T08:00:00+00:00"
