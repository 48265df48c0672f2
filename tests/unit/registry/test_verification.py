"""Each rule of the verifier, broken alone; everything else stays signed and sound."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    HEADER,
    MAX_HASHES,
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
    split_envelope,
)
from registry.verification import trusted_names, verify_module, verify_stored
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from tests.unit.registry import signed_modules as m


def code_of(
    content: bytes,
    detached: bytes | None = None,
    signers: tuple[Signer, ...] = (m.SIGNER,),
    now_ms: int = m.NOW_MS,
) -> str:
    with pytest.raises(StockadeError) as refused:
        verify_module(content, detached, signers, now_ms)
    assert refused.value.message.endswith(".")
    return refused.value.code


@pytest.mark.parametrize("body", [m.BODY, m.with_parts(), m.BODY + m.delimiter(), m.HEADER])
def test_a_whole_signature_of_a_trusted_key_is_accepted(body: bytes) -> None:
    for content, detached in [(m.signed(body), None), (body, m.payload(body))]:
        verified = verify_module(content, detached, [m.SIGNER], m.NOW_MS)
        assert (verified.body, verified.digest) == (body, digest_of(body))
        assert verified.signers == ("ci",)
        assert verify_stored(
            verified.body, verified.digest, [verified.signature], [m.SIGNER], m.NOW_MS
        ) == ("ci",)


def test_one_module_signed_by_two_keys_is_one_module() -> None:
    other = Signer("other", public_bytes(m.OTHER_KEY))
    hashes = module_hashes(m.BODY)
    both = encode_payload(
        (SignedHashes(hashes, (m.record(hashes), m.record(hashes, m.OTHER_KEY))),)
    )
    verified = verify_module(attach(m.BODY, both), None, [m.SIGNER, other], m.NOW_MS)
    assert verified.signers == ("ci", "other")
    assert verified.digest == digest_of(m.BODY)


def test_the_key_id_is_a_hint_that_nobody_believes() -> None:
    hashes = module_hashes(m.BODY)
    for key_id in (b"", b"anything", default_key_id(public_bytes(m.OTHER_KEY))):
        content = encode_payload((SignedHashes(hashes, (m.record(hashes, key_id=key_id),)),))
        assert verify_module(m.BODY, content, [m.SIGNER], m.NOW_MS).signers == ("ci",)


def test_a_signature_is_needed() -> None:
    assert code_of(m.BODY) == "module.unsigned"
    with pytest.raises(StockadeError, match="unsigned"):
        verify_stored(m.BODY, digest_of(m.BODY), [], [m.SIGNER], m.NOW_MS)


def test_embedded_and_detached_at_once_are_refused() -> None:
    assert code_of(m.signed(m.BODY), m.payload(m.BODY)) == "module.signature_ambiguous"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "module.not_wasm"),
        (b"\0asm", "module.not_wasm"),
        (b"(module)", "module.not_wasm"),
        (b"\0asm\x0d\0\1\0", "module.is_component"),
        (b"\0asm\x02\0\0\0", "module.version_unsupported"),
        (m.signed(m.BODY)[:-1], "module.malformed"),
        (m.signed(m.BODY) + b"\x7f\0", "module.malformed"),
    ],
)
def test_what_is_no_module_is_refused(content: bytes, code: str) -> None:
    assert code_of(content) == code


def test_the_signature_stands_first_and_once() -> None:
    section = m.custom("signature", m.payload(m.BODY))
    assert code_of(m.HEADER + section + section + m.BODY[8:]) == "module.signature_duplicate"
    assert code_of(m.BODY + section) == "module.signature_misplaced"
    assert code_of(m.HEADER + m.custom("x") + section + m.BODY[8:]) == "module.signature_misplaced"


GOOD = m.payload(m.BODY)
HASHES = module_hashes(m.BODY)
RECORD = m.record(HASHES)


def entry(hashes: int, records: bytes, count: int = 1) -> bytes:
    from registry.signature_format import encode_u32  # noqa: PLC0415

    inner = encode_u32(hashes) + b"".join(HASHES) * hashes + encode_u32(count) + records
    return encode_u32(len(inner)) + inner


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        b"\x02" + GOOD[1:],
        GOOD[:1] + b"\x02" + GOOD[2:],
        GOOD[:2] + b"\x02" + GOOD[3:],
        b"\1\1\1\x41",
        b"\1\1\1\xff\xff\xff\xff\x0f",
        b"\1\1\1\x80\x80\x80\x80\x80\x01",
        b"\1\1\1\x01" + entry(MAX_HASHES + 1, b"", 0),
        b"\1\1\1\x01" + entry(1, b"", 257),
        b"\1\1\1\x01" + entry(1, b"\x03\x01k"),
        b"\1\1\1\x01" + entry(1, b"\x44\0\x01\x40" + b"s" * 65),
        b"\1\1\1\x01" + entry(1, b"\x43\0\x01\x3f" + b"s" * 63),
        b"\1\1\1\x01" + entry(1, b"\x05\x80\x02\0\0\0"),
    ],
    ids=[
        "empty",
        "cut",
        "trailing byte",
        "another version",
        "another content type",
        "another hash function",
        "too many entries",
        "2^32 entries",
        "overlong integer",
        "too many hashes",
        "too many signatures",
        "cut record",
        "trailing in a record",
        "short signature",
        "long key id",
    ],
)
def test_a_payload_that_is_not_of_the_format_is_refused(payload: bytes) -> None:
    assert code_of(m.BODY, payload) in {"module.signature_malformed", "module.signature_mismatch"}
    if payload != b"\1\1\1\x01" + entry(1, b"", 257):
        assert code_of(m.BODY, payload) == "module.signature_malformed"


def test_an_unknown_algorithm_is_passed_over() -> None:
    unknown = b"\x05\0\x09\x02zz"
    alone = b"\1\1\1\x01" + entry(1, unknown)
    assert code_of(m.BODY, alone) == "module.signer_unknown"


def test_integers_need_not_be_minimal() -> None:
    padded = GOOD[:3] + b"\x81\x80\0" + GOOD[4:]
    assert verify_module(m.BODY, padded, [m.SIGNER], m.NOW_MS).signers == ("ci",)


def test_a_payload_without_a_signature_signs_nothing() -> None:
    for nothing in (encode_payload(()), encode_payload((SignedHashes(HASHES, ()),))):
        assert code_of(m.BODY, nothing) == "module.unsigned"


def test_what_is_kept_are_signatures_of_trusted_keys_alone() -> None:
    late = Signer("late", public_bytes(m.OTHER_KEY), not_before_ms=m.NOW_MS + 1)
    junk = tuple(SignatureRecord(b"", bytes([n]) * 64) for n in range(100))
    mine, theirs = m.record(HASHES, key_id=b"any"), m.record(HASHES, m.OTHER_KEY, b"")
    content = encode_payload((SignedHashes(HASHES, (*junk, theirs, mine)),))
    assert verify_module(m.BODY, content, [m.SIGNER], m.NOW_MS).signature == GOOD
    both = verify_module(m.BODY, content, [m.SIGNER, late], m.NOW_MS)
    assert both.signers == ("ci",)
    digest = digest_of(m.BODY)
    later = verify_stored(m.BODY, digest, [both.signature], [m.SIGNER, late], m.NOW_MS + 1)
    assert later == ("ci", "late")


def test_a_signature_over_a_part_only_is_refused() -> None:
    body = m.with_parts()
    hashes = module_hashes(body)
    part = encode_payload((SignedHashes(hashes[:1], (m.record(hashes[:1]),)),))
    assert code_of(body, part) == "module.signature_partial"


@pytest.mark.parametrize(
    "changed",
    [
        m.with_parts() + m.custom("appended"),
        m.with_parts() + m.delimiter(),
        m.HEADER + m.delimiter() + m.custom("first", b"1") + m.BODY[8:],
        m.HEADER + m.custom("first", b"1") + m.BODY[8:],
        m.HEADER + m.custom("first", b"1") + m.delimiter(b"e") + m.BODY[8:],
        m.HEADER + m.custom("first", b"1") + m.delimiter(),
    ],
    ids=["appended", "ended", "moved", "without delimiter", "another delimiter", "truncated"],
)
def test_any_change_of_a_module_in_parts_is_refused(changed: bytes) -> None:
    code = code_of(changed, m.payload(m.with_parts()))
    assert code in {"module.signature_mismatch", "module.signature_partial"}


def test_an_empty_list_of_hashes_signs_nothing() -> None:
    empty = encode_payload((SignedHashes((), (m.record(()),)),))
    assert code_of(m.BODY, empty) == "module.signature_mismatch"


def test_more_delimiters_than_a_signature_can_list_are_refused() -> None:
    body = m.BODY + m.delimiter() * (MAX_HASHES + 1)
    assert code_of(body, GOOD) == "module.malformed"


def test_a_foreign_key_is_unknown_and_a_forged_key_id_is_invalid() -> None:
    assert code_of(m.signed(m.BODY, m.OTHER_KEY)) == "module.signer_unknown"
    forged = SignatureRecord(
        default_key_id(m.SIGNER.public_key), m.record(HASHES, m.OTHER_KEY).signature
    )
    content = encode_payload((SignedHashes(HASHES, (forged,)),))
    assert code_of(m.BODY, content) == "module.signature_invalid"
    assert code_of(m.signed(m.BODY), signers=()) == "module.signer_unknown"


@pytest.mark.parametrize(
    ("standing", "code"),
    [
        ({"revoked_ms": 1}, "module.signer_revoked"),
        ({"not_before_ms": m.NOW_MS + 1}, "module.signer_not_yet_valid"),
        ({"not_after_ms": m.NOW_MS}, "module.signer_expired"),
    ],
)
def test_a_signer_must_stand(standing: dict[str, int], code: str) -> None:
    signer = replace(m.SIGNER, **standing)
    assert code_of(m.signed(m.BODY), signers=(signer,)) == code
    good = Signer("good", m.SIGNER.public_key)
    assert verify_module(m.signed(m.BODY), None, [signer, good], m.NOW_MS).signers == ("good",)


@pytest.mark.parametrize("window", [{"not_before_ms": m.NOW_MS}, {"not_after_ms": m.NOW_MS + 1}])
def test_a_window_includes_its_beginning_and_not_its_end(window: dict[str, int]) -> None:
    signer = replace(m.SIGNER, **window)
    assert verify_module(m.signed(m.BODY), None, [signer], m.NOW_MS).signers == ("ci",)


def test_more_checks_than_the_bound_are_refused() -> None:
    records = tuple(SignatureRecord(b"", bytes([n]) * 64) for n in range(256))
    many = encode_payload((SignedHashes(HASHES, records),))
    signers = tuple(Signer(f"s{n}", m.SIGNER.public_key) for n in range(17))
    assert code_of(m.BODY, many, signers) == "module.signature_malformed"


def test_too_many_signatures_over_all_entries_are_refused() -> None:
    record = SignatureRecord(b"", b"\1" * 64)
    many = encode_payload((SignedHashes(HASHES, (record,) * 200),) * 2)
    assert code_of(m.BODY, many) == "module.signature_malformed"


def test_of_many_signers_those_count_whose_signatures_are_there_whatever_the_hints() -> None:
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 9)]
    signers = [Signer(f"s{number}", public_bytes(key)) for number, key in enumerate(keys)]
    hints = [default_key_id(signer.public_key) for signer in signers]
    for shift in (0, 1, None):
        records = tuple(
            m.record(HASHES, keys[n], b"" if shift is None else hints[(n + shift) % 8])
            for n in (6, 1, 3)
        )
        content = encode_payload((SignedHashes(HASHES, records),))
        assert verify_module(m.BODY, content, signers, m.NOW_MS).signers == ("s1", "s3", "s6")


def test_who_signed_is_told_whether_they_stand_or_not() -> None:
    revoked = replace(m.SIGNER, revoked_ms=1)
    assert trusted_names(HASHES, (GOOD,), [revoked]) == {"ci"}
    for payloads in ((), (m.payload(m.BODY, m.OTHER_KEY),), (b"\0",)):
        assert trusted_names(HASHES, payloads, [revoked]) == frozenset()


def test_stored_bytes_must_be_those_of_the_digest() -> None:
    with pytest.raises(StockadeError, match="digest_mismatch"):
        verify_stored(m.BODY, digest_of(b"other"), [GOOD], [m.SIGNER], m.NOW_MS)


@given(st.data())
def test_a_changed_file_is_refused_or_is_the_same_module(data: st.DataObject) -> None:
    content = bytearray(m.signed(m.with_parts()))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    try:
        verified = verify_module(bytes(content), None, [m.SIGNER], m.NOW_MS)
    except StockadeError:
        return
    assert verified.body == m.with_parts()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_code(content: bytes) -> None:
    for tried in (content, HEADER + content):
        with pytest.raises(StockadeError):
            verify_module(tried, None, [m.SIGNER], m.NOW_MS)
    with pytest.raises(StockadeError):
        verify_module(m.BODY, content, [m.SIGNER], m.NOW_MS)


def test_an_envelope_comes_apart_and_together() -> None:
    envelope = split_envelope(m.signed(m.BODY))
    assert envelope.body == m.BODY
    assert attach(envelope.body, envelope.signature or b"") == m.signed(m.BODY)
