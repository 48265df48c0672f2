import pytest

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    module_hashes,
    parse_payload,
    split_envelope,
)
from registry.signing import sign, sign_detached
from registry.verification import verify_module
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer
from tests.unit.registry import signed_modules as m

OTHER = Signer("other", public_bytes(m.OTHER_KEY))
SIGNERS = [m.SIGNER, OTHER]


def records_of(content: bytes) -> list[SignatureRecord]:
    entries = parse_payload(split_envelope(content).signature or b"")
    return [record for entry in entries for record in entry.signatures]


def test_signing_keeps_other_signatures_and_replaces_its_own() -> None:
    once = sign(m.BODY, m.KEY)
    twice = sign(once, m.OTHER_KEY)
    again = sign(twice, m.KEY)
    assert verify_module(twice, None, SIGNERS, 0).signers == ("ci", "other")
    assert verify_module(again, None, SIGNERS, 0).signers == ("ci", "other")
    assert len(records_of(again)) == 2


def test_a_detached_signature_leaves_the_module_as_it_was() -> None:
    payload = sign_detached(m.BODY, m.KEY)
    assert verify_module(m.BODY, payload, [m.SIGNER], 0).body == m.BODY


def test_a_detached_signature_of_a_signed_module_is_over_the_same_bytes() -> None:
    assert sign_detached(sign(m.BODY, m.OTHER_KEY), m.KEY) == sign_detached(m.BODY, m.KEY)


def test_the_key_id_is_the_reference_tools_or_the_callers() -> None:
    assert [one.key_id for one in records_of(sign(m.BODY, m.KEY))] == [
        default_key_id(public_bytes(m.KEY))
    ]
    for key_id in (b"", b"release key"):
        assert records_of(sign(m.BODY, m.KEY, key_id=key_id))[0].key_id == key_id
        detached = sign_detached(m.BODY, m.KEY, key_id=key_id)
        assert verify_module(m.BODY, detached, [m.SIGNER], 0).signers == ("ci",)


def test_a_new_key_id_takes_the_place_of_the_old_one() -> None:
    renamed = sign(sign(m.BODY, m.KEY, key_id=b"old"), m.KEY, key_id=b"new")
    assert [one.key_id for one in records_of(renamed)] == [b"new"]


def test_two_keys_may_share_a_key_id() -> None:
    both = sign(sign(m.BODY, m.KEY, key_id=b"ci"), m.OTHER_KEY, key_id=b"ci")
    assert verify_module(both, None, SIGNERS, 0).signers == ("ci", "other")


def test_signatures_of_unknown_algorithms_and_of_parts_are_kept() -> None:
    body = m.with_parts()
    hashes = module_hashes(body)
    strange = SignatureRecord(b"", b"post-quantum", 7)
    of_a_part = SignedHashes(hashes[:1], (m.record(hashes[:1], m.OTHER_KEY),))
    present = encode_payload((SignedHashes(hashes, (strange,)), of_a_part))
    signed = sign(attach(body, present), m.KEY)
    assert parse_payload(split_envelope(signed).signature or b"") == (
        of_a_part,
        SignedHashes(hashes, (strange, m.record(hashes))),
    )
    assert verify_module(signed, None, SIGNERS, 0).signers == ("ci",)


def refusal(content: bytes, key_id: bytes | None = None) -> str:
    with pytest.raises(StockadeError) as refused:
        sign(content, m.KEY, key_id=key_id)
    return refused.value.code


def test_a_signature_that_cannot_be_read_is_not_signed_over() -> None:
    assert refusal(attach(m.BODY, b"\xff")) == "module.signature_malformed"


def test_nothing_is_signed_beyond_the_formats_bounds() -> None:
    hashes = module_hashes(m.BODY)
    many = tuple(SignatureRecord(b"", bytes([n]) * 64) for n in range(256))
    full = attach(m.BODY, encode_payload((SignedHashes(hashes, many),)))
    assert refusal(full) == "module.signature_malformed"
    assert refusal(m.BODY, key_id=b"k" * 256) == "module.signature_malformed"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"(module)", "module.not_wasm"),
        (m.BODY[:-1], "module.malformed"),
        (m.BODY + m.delimiter() * 65, "module.malformed"),
        (m.BODY + m.custom("signature"), "module.signature_misplaced"),
    ],
)
def test_only_modules_that_can_be_read_are_signed(content: bytes, code: str) -> None:
    assert refusal(content) == code
