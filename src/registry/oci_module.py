"""Which OCI artifacts are modules, by the CNCF's layout for Wasm: bytes are not looked at here.

A module is an image manifest whose config says so and that has exactly one layer, the module's
file. Its signature is embedded in the file; or detached, as an annotation of the layer or the
manifest, or in an artifact whose subject the manifest is (`SIGNATURE_TYPE`, one layer).
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from registry.oci_manifest import IMAGE_TYPE, Descriptor, Manifest
from registry.signature_format import MAX_ENTRIES, attach, encode_payload, parse_payload
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError

CONFIG_TYPES = {
    "application/vnd.wasm.config.v0+json",
    "application/vnd.wasm.config.v1+json",
}
LAYER_TYPES = {"application/wasm", "application/vnd.wasm.content.layer.v1+wasm"}
SIGNATURE_TYPE = "application/vnd.stockade.signature.v1"
SIGNATURE_ANNOTATION = "dev.stockade.signature"


def is_module(manifest: Manifest) -> bool:
    """Whether the manifest says that it is a module's."""
    return manifest.config is not None and manifest.config.media_type in CONFIG_TYPES


def module_layer(manifest: Manifest) -> Descriptor:
    """The layer that is the module's file.

    Raises:
        StockadeError: `module.artifact_invalid`.
    """
    if manifest.media_type != IMAGE_TYPE or not is_module(manifest):
        raise _invalid("its config is not of type application/vnd.wasm.config.v0+json")
    if len(manifest.layers) != 1:
        raise _invalid(f"it has {len(manifest.layers)} layers, a module has one")
    layer = manifest.layers[0]
    if layer.media_type not in LAYER_TYPES:
        raise _invalid("its layer is not of type application/wasm")
    return layer


def annotated_signature(manifest: Manifest) -> bytes | None:
    """The detached signature in an annotation of the layer, or else of the manifest.

    Raises:
        StockadeError: `module.artifact_invalid` when it is no base64.
    """
    places = (module_layer(manifest).annotations, manifest.annotations)
    texts = [place[SIGNATURE_ANNOTATION] for place in places if SIGNATURE_ANNOTATION in place]
    if not texts:
        return None
    try:
        return base64.b64decode(texts[0], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"its annotation {SIGNATURE_ANNOTATION} is no base64") from None


def signature_layer(manifest: Manifest) -> Descriptor | None:
    """The layer that is a detached signature; None when the artifact has not one layer."""
    if manifest.artifact_type != SIGNATURE_TYPE or len(manifest.layers) != 1:
        return None
    return manifest.layers[0]


def _invalid(reason: str) -> StockadeError:
    return StockadeError("module.artifact_invalid", f"The artifact is no module: {reason}.")


@dataclass(frozen=True, slots=True)
class ModuleArtifact:
    """A module as an OCI artifact: what its manifest needs, and the manifest."""

    layer: bytes
    config: bytes
    manifest: bytes


def module_artifact(body: bytes, payloads: Sequence[bytes], created_ms: int) -> ModuleArtifact:
    """The artifact of a module and the signatures it was uploaded with, embedded; always the same.

    Raises:
        Malformed: a payload is not of the format.
    """
    entries = dict.fromkeys(entry for payload in payloads for entry in parse_payload(payload))
    layer = attach(body, encode_payload(tuple(entries)[:MAX_ENTRIES]))
    created = datetime.fromtimestamp(created_ms // 1000, UTC).isoformat()
    facts = {
        "created": created,
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [digest_of(layer)],
    }
    config = json.dumps(facts).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPE,
        "config": _described(config, "application/vnd.wasm.config.v0+json"),
        "layers": [
            _described(layer, "application/wasm")
            | {"annotations": {"org.opencontainers.image.title": "module.wasm"}}
        ],
        "annotations": {"org.opencontainers.image.created": created},
    }
    return ModuleArtifact(layer, config, json.dumps(manifest).encode())


def _described(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}
