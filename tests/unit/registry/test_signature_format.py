import hashlib

import pytest

from registry.reader import Malformed
from registry.signature_format import (
    Envelope,
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    encode_u32,
    module_hashes,
    parse_payload,
    split_envelope,
)
from stockade.core.digests import digest_of
from stockade.core.errors import StockadeError
from tests.unit.registry.modules import HEADER, custom, guest, text, vector

BODY = guest()
HASH = b"\x11" * 32
SIGNATURE = b"\x22" * 64
RECORD = SignatureRecord(b"hint", SIGNATURE)
ENTRY = SignedHashes((HASH,), (RECORD,))
PREFIX = b"\1\1\1"


def record(
    key_id: bytes = b"hint",
    algorithm: bytes = b"\1",
    signature: bytes = SIGNATURE,
    rest: bytes = b"",
) -> bytes:
    return text(text(key_id) + algorithm + text(signature) + rest)


def entry(hashes: list[bytes], records: list[bytes], rest: bytes = b"") -> bytes:
    return text(vector(hashes) + vector(records) + rest)


def test_a_payload_reads_back_as_it_was_written() -> None:
    entries = (ENTRY, SignedHashes((HASH, HASH), (RECORD, SignatureRecord(b"", b"x", 9))))
    assert parse_payload(encode_payload(entries)) == entries


def test_a_payload_is_the_reference_tools_bytes() -> None:
    assert encode_payload((ENTRY,)) == PREFIX + vector([entry([HASH], [record()])])


def test_what_is_signed_begins_with_the_domain() -> None:
    assert SignedHashes((HASH, SIGNATURE[:32]), ()).message == (
        b"wasmsig\1\1\1" + HASH + SIGNATURE[:32]
    )


def test_integers_need_not_be_minimal() -> None:
    long = b"\x81\x80\x80\x80\0" + text(b"\x81\0" + HASH + b"\x81\0" + record())
    assert parse_payload(PREFIX + long) == (ENTRY,)


def test_a_record_of_another_algorithm_may_be_of_any_length() -> None:
    payload = PREFIX + vector([entry([HASH], [record(algorithm=b"\2", signature=b"short")])])
    assert parse_payload(payload) == (
        SignedHashes((HASH,), (SignatureRecord(b"hint", b"short", 2),)),
    )


@pytest.mark.parametrize(
    "payload",
    [
        PREFIX + vector([entry([], [record()] * 256)]),
        PREFIX + vector([entry([HASH] * 64, [])] * 64),
        PREFIX + vector([entry([HASH], [record(key_id=b"k" * 255)])]),
        PREFIX + vector([]),
    ],
    ids=["256 signatures", "64 entries of 64 hashes", "255 bytes of key id", "no entry"],
)
def test_payloads_at_their_bounds_are_read(payload: bytes) -> None:
    parse_payload(payload)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "ends early"),
        (b"\1\1", "ends early"),
        (b"\2\1\1\0", "not supported"),
        (b"\1\2\1\0", "not supported"),
        (b"\1\1\2\0", "not supported"),
        (b"\x81\0\1\1\0", "not supported"),
        (PREFIX, "ends early"),
        (PREFIX + b"\0\0", "bytes follow"),
        (PREFIX + vector([entry([HASH], [record()])]) + b"\0", "bytes follow"),
        (PREFIX + vector([entry([HASH], [record()], b"\0")]), "bytes follow"),
        (PREFIX + vector([entry([HASH], [record(rest=b"\0")])]), "bytes follow"),
        (PREFIX + vector([entry([], [])] * 65), "more than 64 entries"),
        (PREFIX + vector([entry([HASH] * 65, [])]), "more than 64 hashes"),
        (PREFIX + vector([entry([], [record()] * 257)]), "more than 256 signatures"),
        (PREFIX + vector([entry([], [record()] * 129)] * 2), "too many signatures"),
        (PREFIX + vector([entry([], [record(algorithm=b"\2")] * 129)] * 2), "too many signatures"),
        (PREFIX + vector([entry([], [record(key_id=b"k" * 256)])]), "key id is too long"),
        (PREFIX + vector([entry([], [record(signature=SIGNATURE[:63])])]), "not 64 bytes"),
        (PREFIX + vector([entry([], [record(signature=SIGNATURE + b"\0")])]), "not 64 bytes"),
        (PREFIX + b"\xff\xff\xff\xff\x0f", "more than 64 entries"),
        (PREFIX + b"\1\xff\xff\xff\xff\x0f", "beyond its end"),
        (PREFIX + b"\1" + text(b"\xff\xff\xff\xff\x0f"), "more than 64 hashes"),
        (PREFIX + b"\1" + text(b"\1" + HASH[:31]), "beyond its end"),
        (PREFIX + b"\1" + text(b"\0\xff\xff\xff\xff\x0f"), "more than 256 signatures"),
        (PREFIX + b"\1" + text(b"\0\1\xff\xff\xff\xff\x0f"), "beyond its end"),
        (PREFIX + b"\1" + text(b"\0\1" + text(b"\0\1\xff\xff\xff\xff\x0f")), "beyond its end"),
        (PREFIX + b"\x80\x80\x80\x80\x80\0", "too long"),
        (PREFIX + b"\xff\xff\xff\xff\x1f", "too long"),
    ],
)
def test_other_payloads_are_malformed(payload: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse_payload(payload)


def test_an_unsigned_module_is_its_own_body() -> None:
    envelope = split_envelope(BODY)
    assert envelope == Envelope(BODY, None)
    assert envelope.digest == digest_of(BODY)


def test_the_signature_is_no_part_of_the_digest() -> None:
    signed = attach(BODY, b"payload")
    assert split_envelope(signed) == Envelope(BODY, b"payload")
    assert split_envelope(signed).digest == digest_of(BODY)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (HEADER + custom("note") + custom("signature") + BODY[8:], "module.signature_misplaced"),
        (BODY + custom("signature"), "module.signature_misplaced"),
        (attach(attach(BODY, b"1"), b"2"), "module.signature_duplicate"),
        (attach(BODY, b"1") + custom("signature"), "module.signature_duplicate"),
        (BODY + custom("signature") + custom("signature"), "module.signature_duplicate"),
        (b"(module)", "module.not_wasm"),
        (BODY + b"\0", "module.malformed"),
    ],
)
def test_a_signature_stands_first_and_alone(content: bytes, code: str) -> None:
    with pytest.raises(StockadeError) as refused:
        split_envelope(content)
    assert refused.value.code == code


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_a_module_without_delimiters_has_one_hash() -> None:
    assert module_hashes(BODY) == (sha256(BODY[8:]),)
    assert module_hashes(HEADER) == (sha256(b""),)


def test_hashes_roll_on_at_delimiters() -> None:
    first = BODY + custom("signature_delimiter", b"1" * 16)
    second = first + custom("note")
    assert module_hashes(first) == (sha256(first[8:]),)
    assert module_hashes(second) == (sha256(first[8:]), sha256(second[8:]))


def test_there_are_at_most_64_parts() -> None:
    delimited = BODY + custom("signature_delimiter") * 64
    assert len(module_hashes(delimited)) == 64
    for more in (custom("note"), custom("signature_delimiter")):
        with pytest.raises(Malformed, match="more signature delimiters"):
            module_hashes(delimited + more)


def test_integers_are_written_in_their_minimal_form() -> None:
    assert [encode_u32(value) for value in (0, 127, 128, 2**32 - 1)] == [
        b"\0",
        b"\x7f",
        b"\x80\1",
        b"\xff\xff\xff\xff\x0f",
    ]
