"""Attestations: each rule broken once, by itself, and what others' tools write."""

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.attesting import Build, attest, build_fault
from registry.dsse import MAX_SIGNATURES, pae, parse_envelope
from registry.keys import public_bytes
from registry.provenance import (
    MAX_SOURCES,
    PAYLOAD_TYPE,
    PROVENANCE_V0_2,
    PROVENANCE_V1,
    merged,
    verify_attestation,
)
from registry.signing import sign
from stockade.core.attestations import Provenance
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from tests.unit.registry.attestations import (
    BUILDER,
    COMMIT,
    REPOSITORY,
    attestation,
    loose,
    sealed,
    statement,
)
from tests.unit.registry.signed_modules import BODY, KEY, NOW_MS, OTHER_KEY, SIGNER

ASSETS = Path(__file__).parents[2] / "assets" / "provenance"
DIGEST = digest_of(BODY)
OTHER = Signer("other", public_bytes(OTHER_KEY))
FOUND = Provenance((BUILDER,), (REPOSITORY, f"{REPOSITORY}@{COMMIT}"))


def refused(content: bytes, code: str, *signers: Signer, digest: str = DIGEST) -> str:
    with pytest.raises(StockadeError) as refusal:
        verify_attestation(content, digest, signers or (SIGNER,), NOW_MS)
    assert refusal.value.code == f"attestation.{code}", refusal.value
    return refusal.value.message


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    """A signed statement of which something is changed before it is signed."""
    told = statement(DIGEST)
    change(told)
    return sealed(json.dumps(told).encode())


def test_a_good_attestation_says_who_and_what() -> None:
    found = verify_attestation(attestation(DIGEST), DIGEST, (OTHER, SIGNER), NOW_MS)
    assert found.predicate_type == PROVENANCE_V1
    assert found.provenance == FOUND
    assert found.signers == ("ci",)
    again = verify_attestation(found.envelope, DIGEST, (SIGNER,), NOW_MS)
    assert again == found


def test_what_was_signed_is_type_and_payload_with_their_lengths() -> None:
    """The example of the specification."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@settings(deadline=None)
@given(st.text(), st.binary(), st.text(), st.binary())
def test_no_two_envelopes_are_signed_as_the_same_bytes(
    one_type: str, one: bytes, other_type: str, other: bytes
) -> None:
    try:
        same = pae(one_type, one) == pae(other_type, other)
    except UnicodeEncodeError:
        return
    assert same is ((one_type, one) == (other_type, other))


@pytest.mark.parametrize(("name", "predicate"), [("v1", PROVENANCE_V1), ("v0.2", PROVENANCE_V0_2)])
def test_what_in_totos_own_libraries_write_is_read(name: str, predicate: str) -> None:
    """`tests/assets/provenance/make.py` wrote them; it has those libraries read one of ours too."""
    key = Ed25519PrivateKey.from_private_bytes(b"provenance interoperability seed")
    signer = Signer("theirs", public_bytes(key))
    content = (ASSETS / f"{name}.json").read_bytes()
    digest = digest_of(b"\0asm\1\0\0\0")
    found = verify_attestation(content, digest, (SIGNER, signer), NOW_MS)
    assert found.predicate_type == predicate
    assert found.provenance.builders == (f"https://example.org/builder/{name}",)
    assert found.provenance.sources == FOUND.sources
    assert found.signers == ("theirs",)
    assert len(parse_envelope(content).signatures) == 2
    assert len(parse_envelope(found.envelope).signatures) == 1
    refused(content, "signer_unknown", digest=digest)


def test_our_own_are_read_whether_the_file_was_signed_or_not() -> None:
    build = Build(BUILDER, REPOSITORY, COMMIT, "https://example.org/run/1")
    made = attest(BODY, "app.wasm", build, KEY)
    assert attest(sign(BODY, KEY), "app.wasm", build, KEY) == made
    assert verify_attestation(made, DIGEST, (SIGNER,), NOW_MS).provenance == FOUND
    assert build_fault(build) is None
    plain = attest(BODY, "app.wasm", replace(build, invocation=""), KEY)
    assert b"invocationId" not in base64.b64decode(json.loads(plain)["payload"])


@pytest.mark.parametrize(
    "build",
    [
        Build("", REPOSITORY, COMMIT),
        Build("a b", REPOSITORY, COMMIT),
        Build(BUILDER, "example.org/app", COMMIT),
        Build(BUILDER, f"{REPOSITORY}@main", COMMIT),
        Build(BUILDER, "https://user:secret@example.org/app", COMMIT),
        Build(BUILDER, REPOSITORY, "main"),
    ],
)
def test_builds_that_nobody_would_read_are_told(build: Build) -> None:
    assert build_fault(build)


def test_both_alphabets_and_unknown_fields_are_read() -> None:
    payload = json.dumps(statement(DIGEST) | {"more": "ÿÿÿ>>>???"}).encode()
    found = verify_attestation(loose(payload, OTHER_KEY, KEY), DIGEST, (SIGNER, OTHER), NOW_MS)
    assert found.signers == ("ci", "other")
    assert parse_envelope(found.envelope).payload == payload


def test_signatures_of_strangers_are_not_kept() -> None:
    payload = json.dumps(statement(DIGEST)).encode()
    both = verify_attestation(loose(payload, OTHER_KEY, KEY), DIGEST, (SIGNER,), NOW_MS)
    assert both.envelope == verify_attestation(sealed(payload), DIGEST, (SIGNER,), NOW_MS).envelope


def test_who_must_stand() -> None:
    content = attestation(DIGEST)
    refused(content, "signer_unknown", OTHER)
    refused(content, "signer_revoked", replace(SIGNER, revoked_ms=1))
    refused(content, "signer_expired", replace(SIGNER, not_after_ms=NOW_MS))
    refused(content, "signer_not_yet_valid", replace(SIGNER, not_before_ms=NOW_MS + 1))
    payload = json.dumps(statement(DIGEST)).encode()
    both = loose(payload, KEY, OTHER_KEY)
    found = verify_attestation(both, DIGEST, (replace(SIGNER, revoked_ms=1), OTHER), NOW_MS)
    assert found.signers == ("other",)


def test_a_changed_payload_or_type_is_nobodys() -> None:
    told = json.loads(attestation(DIGEST))
    other = base64.b64encode(json.dumps(statement(DIGEST) | {"x": 1}).encode()).decode()
    refused(json.dumps(told | {"payload": other}).encode(), "signer_unknown")
    refused(json.dumps(told | {"payloadType": "text/plain"}).encode(), "payload_type")


def test_a_signature_over_the_payload_alone_or_under_another_type_does_not_count() -> None:
    payload = json.dumps(statement(DIGEST)).encode()
    for message in (payload, pae("text/plain", payload), pae(PAYLOAD_TYPE, payload)[:-1]):
        signature = {"sig": base64.b64encode(KEY.sign(message)).decode()}
        refused(loose(payload, signatures=[signature]), "signer_unknown")
    short = {"sig": base64.b64encode(KEY.sign(pae(PAYLOAD_TYPE, payload))[:-1]).decode()}
    refused(loose(payload, signatures=[short]), "signer_unknown")


def test_a_statement_moved_into_the_type_does_not_count() -> None:
    """Lengths keep the border between type and payload where the signer drew it."""
    payload = json.dumps(statement(DIGEST)).encode()
    signature = KEY.sign(pae(f"{PAYLOAD_TYPE} 1", payload))
    moved = {"sig": base64.b64encode(signature).decode()}
    refused(loose(payload, signatures=[moved]), "signer_unknown")


def test_a_key_id_is_a_hint_that_can_only_take_away() -> None:
    payload = json.dumps(statement(DIGEST)).encode()
    told = json.loads(loose(payload, KEY))
    others = hashlib.sha256(OTHER.public_key).hexdigest()
    told["signatures"][0]["keyid"] = others
    content = json.dumps(told).encode()
    refused(content, "signer_unknown", SIGNER, OTHER)
    assert verify_attestation(content, DIGEST, (SIGNER,), NOW_MS).signers == ("ci",)
    told["signatures"][0]["keyid"] = 7
    content = json.dumps(told).encode()
    assert verify_attestation(content, DIGEST, (SIGNER, OTHER), NOW_MS).signers == ("ci",)


def test_trials_are_bounded() -> None:
    payload = json.dumps(statement(DIGEST)).encode()
    many = [
        Signer(f"s{number}", SIGNER.public_key[:-2] + number.to_bytes(2)) for number in range(300)
    ]
    refused(loose(payload, *[KEY] * MAX_SIGNATURES), "malformed", *many)
    found = verify_attestation(sealed(payload), DIGEST, (*many, SIGNER), NOW_MS)
    assert found.signers == ("ci",)


def test_unsigned_is_refused() -> None:
    payload = json.dumps(statement(DIGEST)).encode()
    refused(loose(payload), "unsigned")
    refused(loose(payload, *[KEY] * (MAX_SIGNATURES + 1)), "malformed")


def test_another_modules_attestation_is_refused() -> None:
    refused(attestation(digest_of(b"other")), "subject_mismatch")
    refused(attestation(DIGEST, subject=[]), "subject_mismatch")
    refused(attestation(DIGEST, subject=[{"digest": {"sha512": "x"}}]), "subject_mismatch")
    upper = [{"digest": {"sha256": DIGEST.removeprefix("sha256:").upper()}}]
    refused(attestation(DIGEST, subject=upper), "subject_mismatch")
    signed = digest_of(sign(BODY, KEY)).removeprefix("sha256:")
    refused(attestation(DIGEST, subject=[{"digest": {"sha256": signed}}]), "subject_mismatch")
    several = [{"digest": {"sha256": "x"}}, *statement(DIGEST)["subject"]]  # type: ignore[misc]
    assert verify_attestation(attestation(DIGEST, subject=several), DIGEST, (SIGNER,), NOW_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {"predicateType": "https://slsa.dev/provenance/v2"},
        {"predicateType": "https://in-toto.io/attestation/vulns"},
    ],
)
def test_other_statements_are_refused_by_name(changes: dict[str, object]) -> None:
    refused(attestation(DIGEST, **changes), "predicate_unsupported")


ENVELOPES = {
    "nothing": b"",
    "no utf-8": b"\xff",
    "no json": b"{",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "huge number": b'{"payload":' + b"9" * 10_000 + b"}",
    "nan": b'{"payload":NaN}',
    "twice": b'{"payload":"","payload":"","payloadType":"x","signatures":[]}',
    "no type": b'{"payload":"","signatures":[]}',
    "payload a number": b'{"payload":1,"payloadType":"x","signatures":[]}',
    "payload no base64": b'{"payload":"!","payloadType":"x","signatures":[]}',
    "payload of odd length": b'{"payload":"A","payloadType":"x","signatures":[]}',
    "line ends in base64": b'{"payload":"AA\\nAA","payloadType":"x","signatures":[]}',
    "half a surrogate pair": b'{"payload":"","payloadType":"\\ud800","signatures":[]}',
    "signatures no list": b'{"payload":"","payloadType":"x","signatures":{}}',
    "signature no object": b'{"payload":"","payloadType":"x","signatures":[1]}',
    "signature without sig": b'{"payload":"","payloadType":"x","signatures":[{}]}',
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_envelopes_that_are_none_are_refused(name: str) -> None:
    refused(ENVELOPES[name], "malformed")


def _set(*path: str, to: object) -> Callable[[dict[str, object]], object]:
    def change(told: dict[str, object]) -> None:
        place: dict[str, object] = told
        for name in path[:-1]:
            place = place[name]  # type: ignore[assignment]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("_type", to=1),
        _set("subject", to={}),
        _set("subject", to=[1]),
        _set("subject", to=[{}]),
        _set("predicate", to=None),
        _set("predicate", "buildDefinition", to=[]),
        _set("predicate", "buildDefinition", "resolvedDependencies", to={}),
        _set("predicate", "buildDefinition", "resolvedDependencies", to=[1]),
        _set("predicate", "buildDefinition", "resolvedDependencies", to=[{"digest": 1}]),
        _set("predicate", "runDetails", to={}),
        _set("predicate", "runDetails", "builder", to={}),
        _set("predicate", "runDetails", "builder", "id", to=""),
        _set("predicate", "runDetails", "builder", "id", to="a\nb"),
        _set("predicate", "runDetails", "builder", "id", to="x" * 257),
    ],
)
def test_statements_that_are_none_are_refused(
    change: Callable[[dict[str, object]], object],
) -> None:
    refused(changed(change), "malformed")


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"_type":"a","_type":"b"}', b"[" * 50_000])
def test_payloads_that_are_none_are_refused(payload: bytes) -> None:
    refused(sealed(payload), "malformed")


@pytest.mark.parametrize(
    "material",
    [
        {"uri": "https://example.org/team/app", "digest": {"gitCommit": COMMIT}},
        {"uri": "git+https://user:secret@example.org/app", "digest": {"gitCommit": COMMIT}},
        {"uri": "git+file:///etc/passwd", "digest": {"gitCommit": COMMIT}},
        {"uri": "git+https://example.org/a b", "digest": {"gitCommit": COMMIT}},
        {"uri": "git+https://example.org/app", "digest": {"gitCommit": COMMIT.upper()}},
        {"uri": "git+https://example.org/app", "digest": {"gitCommit": COMMIT[:7]}},
        {"uri": "git+https://example.org/app", "digest": {"gitCommit": 1}},
        {"uri": "git+https://example.org/app"},
        {"uri": 1},
        {},
    ],
)
def test_material_that_is_no_repository_at_a_commit_is_passed_over(
    material: dict[str, object],
) -> None:
    content = changed(_set("predicate", "buildDefinition", "resolvedDependencies", to=[material]))
    found = verify_attestation(content, DIGEST, (SIGNER,), NOW_MS)
    assert found.provenance == Provenance((BUILDER,))


def test_sources_are_bounded() -> None:
    def material(number: int) -> dict[str, object]:
        return {"uri": f"git+{REPOSITORY}{number}", "digest": {"gitCommit": COMMIT}}

    most = [material(number) for number in range(MAX_SOURCES)]
    place = ("predicate", "buildDefinition", "resolvedDependencies")
    found = verify_attestation(changed(_set(*place, to=most)), DIGEST, (SIGNER,), NOW_MS)
    assert len(found.provenance.sources) == 2 * MAX_SOURCES
    refused(changed(_set(*place, to=[*most, material(99)])), "malformed")


def test_v0_2_needs_no_config_source() -> None:
    content = attestation(
        DIGEST, predicateType=PROVENANCE_V0_2, predicate={"builder": {"id": BUILDER}}
    )
    assert verify_attestation(content, DIGEST, (SIGNER,), NOW_MS).provenance == Provenance(
        (BUILDER,)
    )


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_changed_byte_of_an_envelope_makes_another_statement(data: st.DataObject) -> None:
    content = bytearray(attestation(DIGEST))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    found = None
    with suppress(StockadeError):
        found = verify_attestation(bytes(content), DIGEST, (SIGNER,), NOW_MS)
    assert found is None or found.provenance == FOUND


def test_what_several_say_is_one_answer() -> None:
    other = Provenance(("a", BUILDER), ("b",))
    assert merged([FOUND, other]) == Provenance(("a", BUILDER), ("b", *FOUND.sources))
    assert merged([]) == Provenance()
