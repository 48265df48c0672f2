"""Attacks on module signatures. Each forges one thing, and is refused with the code of that thing.

The attacker can take signatures apart and together, sign with keys of their own, and read what the
tenant signed; they cannot sign with a key that the tenant trusts.
"""

import time
import tracemalloc
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
    split_envelope,
)
from registry.signing import sign, sign_detached
from registry.verification import verify_module, verify_stored
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from tests.unit.registry import modules as m
from tests.unit.registry import points

KEY, OTHER = m.secret(1), m.secret(2)
SIGNER = m.signer(1)
DELIMITER = m.custom("signature_delimiter", b"d" * 16)
BODY = m.guest()
PARTS = m.HEADER + m.custom("first") + DELIMITER + BODY[8:]
HASHES = module_hashes(BODY)
SECTION = m.custom("signature", sign_detached(BODY, KEY))


def code_of(
    content: bytes, detached: bytes | None = None, signers: tuple[Signer, ...] = (SIGNER,)
) -> str:
    with pytest.raises(StockadeError) as refused:
        verify_module(content, detached, signers, m.NOW)
    return refused.value.code


def record(
    hashes: tuple[bytes, ...], key: Ed25519PrivateKey = KEY, key_id: bytes | None = None
) -> SignatureRecord:
    chosen = default_key_id(public_bytes(key)) if key_id is None else key_id
    return SignatureRecord(chosen, key.sign(SignedHashes(hashes, ()).message))


def payload(hashes: tuple[bytes, ...], *records: SignatureRecord) -> bytes:
    return encode_payload((SignedHashes(hashes, records),))


def test_what_the_attacks_start_from_is_accepted() -> None:
    for body in (BODY, PARTS):
        assert verify_module(sign(body, KEY), None, [SIGNER], m.NOW).signers == ("signer-1",)


def test_the_signature_is_stripped() -> None:
    assert code_of(BODY) == "module.unsigned"
    assert code_of(attach(BODY, encode_payload(()))) == "module.unsigned"
    assert code_of(attach(BODY, payload(HASHES))) == "module.unsigned"


def test_the_signature_is_not_first() -> None:
    for content in (BODY + SECTION, m.HEADER + m.custom("x") + SECTION + BODY[8:]):
        assert code_of(content) == "module.signature_misplaced"


def test_there_are_two_signatures_sections() -> None:
    attackers = m.custom("signature", sign_detached(BODY, OTHER))
    for rest in (SECTION + BODY[8:], attackers + BODY[8:], BODY[8:] + SECTION):
        assert code_of(m.HEADER + SECTION + rest) == "module.signature_duplicate"


def test_the_name_of_a_second_signature_section_is_written_long() -> None:
    hidden = m.section(0, b"\x89\x80\0signature")
    assert code_of(sign(BODY, KEY) + hidden) == "module.signature_duplicate"


def test_an_embedded_signature_hides_behind_a_detached_one() -> None:
    assert code_of(sign(BODY, OTHER), sign_detached(BODY, KEY)) == "module.signature_ambiguous"


def test_a_valid_signature_covers_a_beginning_only() -> None:
    first = module_hashes(PARTS)[:1]
    assert code_of(PARTS, payload(first, record(first))) == "module.signature_partial"


def test_the_list_ends_as_the_modules_does_but_is_another() -> None:
    first, last = module_hashes(PARTS)
    for hashes in ((last,), (last, last), (HASHES[0], last), (last, first), (first, last, last)):
        assert code_of(PARTS, payload(hashes, record(hashes))) == "module.signature_mismatch"


def test_sections_are_appended_after_the_last_signed_hash() -> None:
    ended = BODY + DELIMITER
    evil = ended + m.custom("evil")
    assert code_of(evil, sign_detached(ended, KEY)) == "module.signature_partial"
    assert code_of(BODY + m.custom("evil"), sign_detached(BODY, KEY)) == "module.signature_mismatch"


@pytest.mark.parametrize(
    "changed",
    [
        m.HEADER + DELIMITER + m.custom("first") + BODY[8:],
        m.HEADER + m.custom("first") + BODY[8:],
        m.HEADER + m.custom("first") + BODY[8:] + DELIMITER,
        PARTS.replace(b"d" * 16, b"e" * 16),
        PARTS + DELIMITER,
    ],
    ids=["earlier", "removed", "later", "changed", "added"],
)
def test_a_delimiter_is_moved(changed: bytes) -> None:
    code = code_of(changed, sign_detached(PARTS, KEY))
    assert code in {"module.signature_mismatch", "module.signature_partial"}


def test_a_module_is_cut_at_a_delimiter() -> None:
    """The reference tool takes this one: the hash that remains was signed."""
    cut = PARTS[: PARTS.index(DELIMITER) + len(DELIMITER)]
    assert code_of(cut, sign_detached(PARTS, KEY)) == "module.signature_mismatch"


def test_a_tampered_module_without_delimiters_brings_a_signature_for_parts() -> None:
    tampered = BODY[:-2] + b"\1\x0b"
    for signature in (sign_detached(BODY, KEY), sign_detached(PARTS, KEY)):
        assert code_of(tampered, signature) == "module.signature_mismatch"


def test_the_header_is_swapped_for_a_components() -> None:
    swapped = b"\0asm\x0d\0\1\0" + sign(BODY, KEY)[8:]
    assert code_of(swapped) == "module.is_component"


@pytest.mark.parametrize(
    ("at_the_bound", "beyond"),
    [
        (
            encode_payload(
                (*(SignedHashes((), ()),) * 63, SignedHashes(HASHES, (record(HASHES),)))
            ),
            encode_payload((SignedHashes(HASHES, (record(HASHES),)),) * 65),
        ),
        (
            payload(HASHES, *(record(HASHES, OTHER),) * 255, record(HASHES)),
            payload(HASHES, *(record(HASHES, OTHER),) * 256, record(HASHES)),
        ),
        (
            payload(HASHES, record(HASHES, key_id=b"k" * 255)),
            payload(HASHES, record(HASHES, key_id=b"k" * 256)),
        ),
    ],
    ids=["entries", "signatures", "key id"],
)
def test_counts_stand_at_their_bounds_and_beyond(at_the_bound: bytes, beyond: bytes) -> None:
    assert verify_module(BODY, at_the_bound, [SIGNER], m.NOW).signers == ("signer-1",)
    assert code_of(BODY, beyond) == "module.signature_malformed"


def test_parts_stand_at_their_bound_and_beyond() -> None:
    bound = BODY + DELIMITER * 64
    assert verify_module(sign(bound, KEY), None, [SIGNER], m.NOW).body == bound
    hashes = (*module_hashes(bound), HASHES[0])
    for beyond in (bound + DELIMITER, bound + m.custom("more")):
        assert code_of(beyond, sign_detached(bound, KEY)) == "module.malformed"
    assert code_of(BODY, payload(hashes, record(hashes))) == "module.signature_malformed"


def test_integers_are_padded_or_overlong() -> None:
    good = sign_detached(BODY, KEY)
    padded = good[:3] + b"\x81\x80\x80\x80\0" + good[4:]
    assert verify_module(BODY, padded, [SIGNER], m.NOW).signers == ("signer-1",)
    for overlong in (b"\x81\x80\x80\x80\x80\0", b"\x81\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f"):
        assert code_of(BODY, good[:3] + overlong + good[4:]) == "module.signature_malformed"


def test_bytes_follow_the_signature() -> None:
    good = sign_detached(BODY, KEY)
    assert code_of(BODY, good + b"\0") == "module.signature_malformed"
    assert code_of(attach(BODY, good + b"\0")) == "module.signature_malformed"


def test_the_key_id_names_one_key_while_another_signed() -> None:
    trusted_id = default_key_id(SIGNER.public_key)
    forged = payload(HASHES, record(HASHES, OTHER, trusted_id))
    assert code_of(BODY, forged) == "module.signature_invalid"
    both = (SIGNER, m.signer(2))
    assert verify_module(BODY, forged, both, m.NOW).signers == ("signer-2",)


def test_a_revoked_key_signs_under_the_id_of_a_good_one() -> None:
    revoked = m.signer(2, revoked_ms=1)
    forged = payload(HASHES, record(HASHES, OTHER, default_key_id(SIGNER.public_key)))
    assert code_of(BODY, forged, (SIGNER, revoked)) == "module.signer_revoked"


@pytest.mark.parametrize(
    ("signer", "code"),
    [
        (replace(SIGNER, revoked_ms=0), "module.signer_revoked"),
        (replace(SIGNER, revoked_ms=m.NOW + 1), "module.signer_revoked"),
        (replace(SIGNER, not_after_ms=m.NOW), "module.signer_expired"),
        (replace(SIGNER, not_before_ms=m.NOW + 1), "module.signer_not_yet_valid"),
        (replace(SIGNER, not_after_ms=1, revoked_ms=1), "module.signer_revoked"),
        (m.signer(2), "module.signer_unknown"),
    ],
    ids=["revoked", "revoked later", "expired", "not yet valid", "expired and revoked", "foreign"],
)
def test_the_key_does_not_count(signer: Signer, code: str) -> None:
    assert code_of(sign(BODY, KEY), signers=(signer,)) == code
    with pytest.raises(StockadeError, match=code):
        verify_stored(BODY, digest_of(BODY), [sign_detached(BODY, KEY)], [signer], m.NOW)


def test_a_good_signer_beside_a_revoked_one_suffices() -> None:
    both = sign(sign(BODY, KEY), OTHER)
    signers = [replace(SIGNER, revoked_ms=1), m.signer(2)]
    assert verify_module(both, None, signers, m.NOW).signers == ("signer-2",)


SMALL_POINTS = [*points.SMALL_ORDER, *points.NON_CANONICAL]


@pytest.mark.parametrize("point", SMALL_POINTS)
def test_a_trusted_key_is_an_unsound_point(point: bytes) -> None:
    """Keys are refused when they are loaded; one that got into the store still verifies nothing."""
    forged = payload(HASHES, SignatureRecord(b"", points.forged_for_the_identity(OTHER)))
    assert code_of(BODY, forged, (Signer("bad", point),)) == "module.signer_unknown"


def test_the_signature_has_a_second_form() -> None:
    message = SignedHashes(HASHES, ()).message
    signature = KEY.sign(message)
    forms = [points.with_large_s(signature), points.with_small_commitment(KEY, message)]
    forms += [point + signature[32:] for point in SMALL_POINTS]
    for form in forms:
        forged = payload(HASHES, SignatureRecord(default_key_id(SIGNER.public_key), form))
        assert code_of(BODY, forged) == "module.signature_invalid"


def test_the_signature_was_made_for_another_content_type() -> None:
    message = SignedHashes(HASHES, ()).message
    for other in (b"wasmsig\1\2\1", b"wasmsig\2\1\1", b"wasmsig\1\1\2", b""):
        signature = KEY.sign(message.replace(b"wasmsig\1\1\1", other))
        forged = payload(HASHES, SignatureRecord(default_key_id(SIGNER.public_key), signature))
        assert code_of(BODY, forged) == "module.signature_invalid"


def test_the_payload_says_another_content_type() -> None:
    good = sign_detached(BODY, KEY)
    assert code_of(BODY, good[:1] + b"\2" + good[2:]) == "module.signature_malformed"


def test_one_tenants_upload_is_signed_by_another_tenants_key() -> None:
    theirs = verify_module(sign(BODY, OTHER), None, [m.signer(2)], m.NOW)
    ours = verify_module(sign(BODY, KEY), None, [SIGNER], m.NOW)
    assert theirs.digest == ours.digest
    with pytest.raises(StockadeError, match=r"module\.signer_unknown"):
        verify_stored(ours.body, ours.digest, [theirs.signature], [SIGNER], m.NOW)


def test_stored_bytes_are_swapped_for_others_that_are_signed_too() -> None:
    with pytest.raises(StockadeError, match=r"module\.digest_mismatch"):
        verify_stored(PARTS, digest_of(BODY), [sign_detached(PARTS, KEY)], [SIGNER], m.NOW)


def test_many_uploads_of_one_signature_do_not_wear_out_the_verifier() -> None:
    renamed = [sign_detached(BODY, KEY, key_id=bytes([n])) for n in range(200)]
    signers = [*(m.signer(n) for n in range(2, 40)), SIGNER]
    assert verify_stored(BODY, digest_of(BODY), renamed, signers, m.NOW) == ("signer-1",)


SIGNED = sign(PARTS, KEY)


def accepted(content: bytes) -> bytes | None:
    """The body that is accepted; None when refused, and nothing but a `StockadeError` refuses."""
    try:
        return verify_module(content, None, [SIGNER], m.NOW).body
    except StockadeError:
        return None


HINT = default_key_id(SIGNER.public_key)
HINT_AT = range(SIGNED.index(HINT), SIGNED.index(HINT) + len(HINT))
"""Where a byte may change: the key id is a hint that nobody believes."""


def test_every_flipped_bit_of_a_signed_module_is_refused() -> None:
    for at in range(len(SIGNED)):
        for bit in range(8):
            flipped = SIGNED[:at] + bytes([SIGNED[at] ^ 1 << bit]) + SIGNED[at + 1 :]
            assert accepted(flipped) == (PARTS if at in HINT_AT else None), at


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_any_changed_byte_of_a_signed_module_is_refused(at: int, change: int) -> None:
    changed = SIGNED[:at] + bytes([SIGNED[at] ^ change]) + SIGNED[at + 1 :]
    assert accepted(changed) == (PARTS if at in HINT_AT else None)


def test_every_beginning_of_a_signed_module_is_refused() -> None:
    for end in range(len(SIGNED)):
        assert accepted(SIGNED[:end]) is None


@given(st.integers(0, len(SIGNED)), st.integers(0, 20), st.binary(max_size=20))
def test_no_splice_is_accepted_with_another_body(at: int, dropped: int, spliced: bytes) -> None:
    assert accepted(SIGNED[:at] + spliced + SIGNED[at + dropped :]) in {None, PARTS}


@given(st.binary(max_size=300))
def test_no_payload_is_accepted(random: bytes) -> None:
    assert accepted(attach(BODY, random)) is None
    assert accepted(attach(BODY, b"\1\1\1" + random)) is None
    assert split_envelope(attach(BODY, random)).body == BODY


@given(st.lists(st.binary(max_size=80), max_size=4), st.binary(max_size=60))
def test_nothing_stored_is_refused_but_with_a_code(payloads: list[bytes], tail: bytes) -> None:
    payloads = [b"\1\1\1" + one for one in payloads] + [sign_detached(BODY, KEY)[:-1] + tail]
    with pytest.raises(StockadeError):
        verify_stored(BODY, digest_of(BODY), payloads, [SIGNER], m.NOW)


Edit = tuple[int, int, bytes]
EDITS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9), st.binary(max_size=9)))


@given(EDITS)
def test_no_edited_payload_raises_but_a_refusal(edits: list[Edit]) -> None:
    payload_ = sign_detached(PARTS, KEY)
    for at, dropped, put in edits:
        payload_ = payload_[:at] + put + payload_[at + dropped :]
    try:
        verified = verify_module(PARTS, payload_, [SIGNER], m.NOW)
    except StockadeError:
        return
    assert (verified.body, verified.signers) == (PARTS, ("signer-1",))


LYING = b"\xff\xff\xff\xff\x0f"
FULL = encode_payload((SignedHashes(HASHES, (SignatureRecord(b"", b"\1" * 64),) * 256),))


@pytest.mark.parametrize(
    "hostile",
    [
        b"\1\1\1" + LYING * 4,
        b"\1\1\1\1" + LYING * 4,
        b"\1\1\1\1" + m.text(LYING * 4),
        b"\1\1\1\1" + m.text(b"\0" + LYING * 4),
        b"\1\1\1\1" + m.text(b"\0\1" + LYING * 4),
        b"\1\1\1\1" + m.text(b"\0\1" + m.text(LYING * 4)),
        b"\1\1\1" + b"\x80" * 1_000_000,
        FULL,
    ],
    ids=["entries", "entry", "hashes", "signatures", "record", "key id", "padding", "full"],
)
def test_hostile_counts_cost_neither_memory_nor_time(hostile: bytes) -> None:
    signers = [m.signer(number) for number in range(2, 17)]
    for tried in (signers, [m.signer(number % 250 + 2) for number in range(5_000)]):
        started = time.perf_counter()
        tracemalloc.start()
        with pytest.raises(StockadeError):
            verify_module(BODY, hostile, tried, m.NOW)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 3_000_000
        assert time.perf_counter() - started < 5
