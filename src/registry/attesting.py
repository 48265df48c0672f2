"""Makes attestations: an in-toto statement with SLSA provenance v1, signed into a DSSE envelope."""

import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.dsse import sign_payload
from registry.provenance import (
    PAYLOAD_TYPE,
    PROVENANCE_V1,
    STATEMENT_V1,
    is_builder,
    is_commit,
    is_repository,
)
from registry.signature_format import split_envelope

BUILD_TYPE = "urn:stockade:build:v1"


@dataclass(frozen=True, slots=True)
class Build:
    """How a module was built.

    Attributes:
        builder: Who built it, as a URL or another stable id.
        repository: Where its source is, such as `https://example.org/team/app`.
        commit: The source's commit, 40 or 64 hexadecimal digits.
        invocation: The one run of the builder, as a URL; empty when there is none.
    """

    builder: str
    repository: str
    commit: str
    invocation: str = ""


def build_fault(build: Build) -> str | None:
    """What registries would not read of a build; None when it is sound."""
    read = (
        (is_builder(build.builder), "The builder is not 1 to 256 visible ASCII characters."),
        (
            is_repository(build.repository),
            "The repository is not a URL as https://example.org/team/app.",
        ),
        (is_commit(build.commit), "The commit is not 40 or 64 hexadecimal digits."),
    )
    return next((fault for sound, fault in read if not sound), None)


def attest(content: bytes, name: str, build: Build, key: Ed25519PrivateKey) -> bytes:
    """The signed attestation of a module's file, which may be signed itself.

    Raises:
        StockadeError: The file is no module (`module.…`).
    """
    digest = split_envelope(content).digest
    statement = {
        "_type": STATEMENT_V1,
        "subject": [{"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": PROVENANCE_V1,
        "predicate": _predicate(build),
    }
    payload = json.dumps(statement, separators=(",", ":")).encode()
    return sign_payload(PAYLOAD_TYPE, payload, key)


def _predicate(build: Build) -> dict[str, object]:
    source = {"uri": f"git+{build.repository}", "digest": {"gitCommit": build.commit}}
    metadata = {"metadata": {"invocationId": build.invocation}} if build.invocation else {}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"source": source},
            "resolvedDependencies": [source],
        },
        "runDetails": {"builder": {"id": build.builder}, **metadata},
    }
