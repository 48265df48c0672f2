"""Verifies attestations of modules: envelope in, what it says or one named refusal out. No I/O.

The rules, in order:

1. The envelope is DSSE in strict JSON, within its bounds (`attestation.malformed`), of in-toto's
   payload type (`attestation.payload_type`), and carries a signature (`attestation.unsigned`).
2. A signer that the tenant trusts signed it (`attestation.signer_unknown`), who is not revoked and
   within its window (`attestation.signer_revoked`, `attestation.signer_not_yet_valid`,
   `attestation.signer_expired`). Nothing of the payload is read before.
3. The payload is an in-toto statement in strict JSON (`attestation.malformed`), v1, or v0.1 as
   older builders write it, with SLSA provenance v1 or v0.2 (`attestation.predicate_unsupported`).
4. One of its subjects is the module (`attestation.subject_mismatch`): the SHA-256 that names it,
   which is that of the file as it was built, before a signature was put into it.

Whether the policies let a signer's word count is asked by whoever uses the answer.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from registry import dsse, strict_json
from registry.verification import standing
from stockade.core.attestations import Provenance
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_V1 = "https://in-toto.io/Statement/v1"
PROVENANCE_V1 = "https://slsa.dev/provenance/v1"
PROVENANCE_V0_2 = "https://slsa.dev/provenance/v0.2"
MAX_SOURCES = 32
_STATEMENTS = (STATEMENT_V1, "https://in-toto.io/Statement/v0.1")
_BUILDER = re.compile(r"[\x21-\x7e]{1,256}")
_REPOSITORY = re.compile(
    r"git\+(?P<at>(?:https|http|ssh|git)://[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?"
    r"/[A-Za-z0-9._~/\-]{1,512})(?:@[\x21-\x7e]{1,512})?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STANDINGS = {
    "revoked": "The key that signed the attestation was revoked. Sign it with another trusted key.",
    "not_yet_valid": "The key that signed the attestation is not valid yet. Wait, or use another.",
    "expired": "The key that signed the attestation has expired. Sign it with a current key.",
}


@dataclass(frozen=True, slots=True)
class VerifiedAttestation:
    """What signers that stand say of a module.

    `envelope` is written anew, with the signatures of trusted keys alone.
    """

    predicate_type: str
    provenance: Provenance
    signers: tuple[str, ...]
    envelope: bytes


def verify_attestation(
    content: bytes, digest: str, signers: Sequence[Signer], now_ms: int
) -> VerifiedAttestation:
    """Verifies an attestation of the module of this digest.

    Raises:
        StockadeError: the first rule of this module's docstring that does not hold.
    """
    envelope = _envelope(content)
    try:
        found = dsse.signed_by(envelope, signers)
    except ValueError as error:
        _malformed(str(error))
    names = _names_that_stand(found, now_ms)
    try:
        statement = strict_json.as_object(strict_json.loads(envelope.payload))
        predicate_type, provenance = _provenance(statement)
        subjects = set(_subjects(statement))
    except ValueError as error:
        _malformed(f"its statement cannot be read: {error}")
    if digest not in subjects:
        raise StockadeError(
            "attestation.subject_mismatch",
            f"The attestation is not of this module: no subject has the SHA-256 of {digest}, the"
            " file before it was signed.",
        )
    kept = [(signer.public_key, signature) for signer, signature in found]
    written = dsse.write_envelope(envelope.payload_type, envelope.payload, kept)
    return VerifiedAttestation(predicate_type, provenance, names, written)


def merged(provenances: Iterable[Provenance]) -> Provenance:
    """What several attestations say together."""
    told = tuple(provenances)
    builders = {builder for one in told for builder in one.builders}
    sources = {source for one in told for source in one.sources}
    return Provenance(tuple(sorted(builders)), tuple(sorted(sources)))


def is_builder(text: str) -> bool:
    """Whether this can be a builder's id."""
    return _BUILDER.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether this can be a source's repository."""
    found = _REPOSITORY.fullmatch(f"git+{text}")
    return found is not None and found["at"] == text


def is_commit(text: str) -> bool:
    """Whether this can be a source's commit."""
    return _COMMIT.fullmatch(text) is not None


def _envelope(content: bytes) -> dsse.Envelope:
    try:
        envelope = dsse.parse_envelope(content)
    except ValueError as error:
        _malformed(f"the envelope cannot be read: {error}")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise StockadeError(
            "attestation.payload_type",
            f"The envelope holds {envelope.payload_type[:80]!a}; it must be {PAYLOAD_TYPE!r}.",
        )
    if not envelope.signatures:
        raise StockadeError(
            "attestation.unsigned", "The attestation is not signed. Make it by 'stockade attest'."
        )
    return envelope


def _names_that_stand(found: Sequence[tuple[Signer, bytes]], now_ms: int) -> tuple[str, ...]:
    if not found:
        raise StockadeError(
            "attestation.signer_unknown",
            "No signer that this tenant trusts signed the attestation. Sign it with a trusted key,"
            " or add the key with 'stockade signers add'.",
        )
    standings = {signer.name: standing(signer, now_ms) for signer, _ in found}
    names = tuple(name for name, fault in standings.items() if fault is None)
    if not names:
        worst = next(fault for fault in _STANDINGS if fault in standings.values())
        raise StockadeError(f"attestation.signer_{worst}", _STANDINGS[worst])
    return names


def _provenance(statement: dict[str, Any]) -> tuple[str, Provenance]:
    kind = strict_json.text_of(statement, "_type")
    predicate_type = strict_json.text_of(statement, "predicateType")
    read = _READERS.get(predicate_type)
    if kind not in _STATEMENTS or read is None:
        raise StockadeError(
            "attestation.predicate_unsupported",
            f"A {kind[:80]!a} with {predicate_type[:80]!a} is not read; give an in-toto statement"
            f" with {PROVENANCE_V1!r} or {PROVENANCE_V0_2!r}.",
        )
    return predicate_type, read(_inner(statement, "predicate"))


def _subjects(statement: dict[str, Any]) -> Iterable[str]:
    for subject in strict_json.list_of(statement, "subject"):
        digests = _inner(strict_json.as_object(subject), "digest")
        if isinstance(digests.get("sha256"), str):
            yield f"sha256:{digests['sha256']}"


def _v1(predicate: dict[str, Any]) -> Provenance:
    definition = _inner(predicate, "buildDefinition")
    builder = _builder(_inner(_inner(predicate, "runDetails"), "builder"))
    found = strict_json.list_of(definition, "resolvedDependencies")
    return Provenance((builder,), _sources(found))


def _v0_2(predicate: dict[str, Any]) -> Provenance:
    builder = _builder(_inner(predicate, "builder"))
    invocation = strict_json.as_object(predicate.get("invocation", {}))
    config = strict_json.as_object(invocation.get("configSource", {}))
    return Provenance((builder,), _sources([config, *strict_json.list_of(predicate, "materials")]))


_READERS = {PROVENANCE_V1: _v1, PROVENANCE_V0_2: _v0_2}


def _builder(fields: dict[str, Any]) -> str:
    builder = strict_json.text_of(fields, "id")
    if not is_builder(builder):
        raise ValueError("the builder's id is not visible ASCII of a bounded length")
    return builder


def _sources(materials: Sequence[object]) -> tuple[str, ...]:
    """The git repositories among them, at their commits; other material is passed over."""
    found: set[str] = set()
    for material in materials:
        fields = strict_json.as_object(material)
        place = _REPOSITORY.fullmatch(str(fields.get("uri", "")))
        digests = strict_json.as_object(fields.get("digest", {}))
        commit = digests.get("gitCommit") or digests.get("sha1") or ""
        if place is not None and isinstance(commit, str) and is_commit(commit):
            found |= {place["at"], f"{place['at']}@{commit}"}
    if len(found) > 2 * MAX_SOURCES:
        raise ValueError(f"it names more than {MAX_SOURCES} sources")
    return tuple(sorted(found))


def _inner(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return strict_json.as_object(fields.get(name))


def _malformed(why: str) -> NoReturn:
    raise StockadeError("attestation.malformed", f"This is no attestation: {why[:200]}.")
