"""Writes the envelopes beside it, by in-toto's own libraries, and has those read one of ours.

Run once, elsewhere, with the versions that wrote what is here:

    python -m venv /tmp/in-toto
    /tmp/in-toto/bin/pip install securesystemslib==1.6.0 in-toto-attestation==0.9.3 cryptography
    PYTHONPATH=src:. /tmp/in-toto/bin/python tests/assets/provenance/make.py
"""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.json_format import MessageToDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from registry.attesting import Build, attest

HERE = Path(__file__).parent
SEED = b"provenance interoperability seed"
BODY = b"\0asm\1\0\0\0"
"""The smallest module; its SHA-256 is the subject of every statement here."""
DIGEST = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


def provenance_v1() -> dict[str, object]:
    predicate = Provenance()
    definition = predicate.build_definition
    definition.build_type = "https://example.org/build/v1"
    definition.external_parameters.update({"ref": "refs/heads/main"})
    source = definition.resolved_dependencies.add()
    source.uri = "git+https://example.org/team/app@refs/heads/main"
    source.digest["gitCommit"] = COMMIT
    predicate.run_details.builder.id = "https://example.org/builder/v1"
    subject = ResourceDescriptor(name="app.wasm", digest={"sha256": DIGEST})
    statement = Statement([subject.pb], "https://slsa.dev/provenance/v1", {})
    statement.pb.predicate.update(MessageToDict(predicate))
    statement.validate()
    told: dict[str, object] = MessageToDict(statement.pb)
    return told


def provenance_v0_2() -> dict[str, object]:
    """As builders of that time wrote it; the libraries of today have no type for it."""
    source = {"uri": "git+https://example.org/team/app@refs/heads/main", "digest": {"sha1": COMMIT}}
    return {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": "app.wasm", "digest": {"sha256": DIGEST}}],
        "predicateType": "https://slsa.dev/provenance/v0.2",
        "predicate": {
            "builder": {"id": "https://example.org/builder/v0.2"},
            "buildType": "https://example.org/build/v0.2",
            "invocation": {"configSource": source, "parameters": {}, "environment": {}},
            "materials": [source, {"uri": "pkg:pypi/wheel@1", "digest": {"sha256": DIGEST}}],
        },
    }


def main() -> None:
    signer = CryptoSigner(Ed25519PrivateKey.from_private_bytes(SEED))
    other = CryptoSigner.generate_ed25519()
    for name, statement in (("v1", provenance_v1()), ("v0.2", provenance_v0_2())):
        envelope = Envelope(json.dumps(statement).encode(), PAYLOAD_TYPE, {})
        envelope.sign(other)
        envelope.sign(signer)
        (HERE / f"{name}.json").write_text(json.dumps(envelope.to_dict(), indent=1) + "\n")
    build = Build("https://example.org/builder", "https://example.org/team/app", COMMIT)
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    ours = json.loads(attest(BODY, "app.wasm", build, key))
    for signature in ours["signatures"]:
        signature["keyid"] = signer.public_key.keyid  # theirs looks keys up by it
    read = Envelope.from_dict(ours)
    assert read.verify([signer.public_key], 1)
    Statement.copy_from_pb(_statement(read.payload)).validate()


def _statement(payload: bytes) -> object:
    from google.protobuf.json_format import Parse  # noqa: PLC0415
    from in_toto_attestation.v1.statement_pb2 import Statement as Message  # noqa: PLC0415

    return Parse(payload, Message())


if __name__ == "__main__":
    main()
