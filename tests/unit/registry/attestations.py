"""Attestations made by hand, so that one thing at a time can be wrong."""

import base64
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.dsse import pae, sign_payload
from registry.provenance import PAYLOAD_TYPE, PROVENANCE_V1, STATEMENT_V1
from tests.unit.registry.signed_modules import KEY

BUILDER = "https://example.org/builder"
REPOSITORY = "https://example.org/team/app"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def statement(digest: str, **changes: object) -> dict[str, object]:
    source = {"uri": f"git+{REPOSITORY}@refs/heads/main", "digest": {"gitCommit": COMMIT}}
    predicate = {
        "buildDefinition": {"buildType": "x", "resolvedDependencies": [source]},
        "runDetails": {"builder": {"id": BUILDER}},
    }
    return {
        "_type": STATEMENT_V1,
        "subject": [{"name": "app.wasm", "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": PROVENANCE_V1,
        "predicate": predicate,
    } | changes


def attestation(digest: str, key: Ed25519PrivateKey = KEY, **changes: object) -> bytes:
    return sealed(json.dumps(statement(digest, **changes)).encode(), key)


def sealed(payload: bytes, key: Ed25519PrivateKey = KEY, payload_type: str = PAYLOAD_TYPE) -> bytes:
    return sign_payload(payload_type, payload, key)


def loose(payload: bytes, *keys: Ed25519PrivateKey, **changes: object) -> bytes:
    """An envelope as others write it."""
    message = pae(PAYLOAD_TYPE, payload)
    signatures = [{"sig": base64.urlsafe_b64encode(key.sign(message)).decode()} for key in keys]
    envelope = {
        "payload": base64.urlsafe_b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": signatures,
        "unknown": 1,
    }
    return json.dumps(envelope | changes, indent=2).encode()
