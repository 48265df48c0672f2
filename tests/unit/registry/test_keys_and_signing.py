"""Keys in every form; signatures that verify; points and scalars that must not."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.unit.registry import signed_modules as m

from registry.ed25519 import is_sound_point, verifies
from registry.keys import (
    generate_secret_key,
    load_public_key,
    load_secret_key,
    public_bytes,
    public_key_pem,
    secret_key_pem,
)
from registry.signature_format import parse_payload, split_envelope
from registry.signing import sign, sign_detached
from registry.verification import verify_module
from stockade.core.errors import StockadeError
from stockade.core.modules import Signer

RAW = public_bytes(m.KEY)
PUBLIC = m.KEY.public_key()
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(
    "form",
    [
        public_key_pem(RAW),
        PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b" user@host",
        base64.b64encode(RAW),
        base64.b64encode(RAW) + b"\n",
        b"\x01" + RAW,
        base64.b64encode(b"\x01" + RAW),
    ],
)
def test_a_public_key_is_read_in_every_form(form: bytes) -> None:
    assert load_public_key(form) == RAW


def private(encoding: Encoding, form: PrivateFormat) -> bytes:
    return m.KEY.private_bytes(encoding, form, NoEncryption())


@pytest.mark.parametrize(
    "form",
    [
        secret_key_pem(m.KEY),
        private(Encoding.DER, PrivateFormat.PKCS8),
        private(Encoding.PEM, PrivateFormat.OpenSSH),
        b"\x81" + b"k" * 32 + RAW,
    ],
)
def test_a_secret_key_is_read_in_every_form(form: bytes) -> None:
    assert public_bytes(load_secret_key(form)) == RAW


P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"no key",
        RAW,
        b"\x02" + RAW,
        base64.b64encode(RAW[:-1]),
        b"A" * 20_000,
        P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        base64.b64encode(bytes(32)),
        base64.b64encode((FIELD + 3).to_bytes(32, "little")),
    ],
    ids=["empty", "text", "raw", "tag", "short", "long", "P-256", "small order", "non-canonical"],
)
def test_what_is_no_sound_public_key_is_refused(form: bytes) -> None:
    with pytest.raises(StockadeError, match="key_invalid"):
        load_public_key(form)


@pytest.mark.parametrize(
    "form",
    [
        b"",
        public_key_pem(RAW),
        b"\x81" + b"k" * 32 + b"x" * 32,
        P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        m.KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")),
    ],
    ids=["empty", "public", "pair that is none", "P-256", "encrypted"],
)
def test_what_is_no_secret_key_is_refused(form: bytes) -> None:
    with pytest.raises(StockadeError, match="key_invalid"):
        load_secret_key(form)


SMALL = [
    bytes(32),
    b"\x01" + bytes(31),
    b"\x01" + bytes(30) + b"\x80",
    (FIELD - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
]


@pytest.mark.parametrize("point", [*SMALL, FIELD.to_bytes(32, "little"), b"\xff" * 32])
def test_unsound_points_verify_nothing(point: bytes) -> None:
    assert not is_sound_point(point)
    assert not verifies(point, point + bytes(32), b"any message")
    assert not verifies(RAW, point + bytes(32), b"any message")


def test_a_second_form_of_a_signature_is_refused() -> None:
    signature = m.KEY.sign(b"message")
    assert verifies(RAW, signature, b"message")
    shifted = int.from_bytes(signature[32:], "little") + ORDER
    assert not verifies(RAW, signature[:32] + shifted.to_bytes(32, "little"), b"message")
    assert not verifies(RAW, signature, b"another")


def test_signing_keeps_other_signatures_and_replaces_its_own() -> None:
    once = sign(m.BODY, m.KEY)
    twice = sign(once, m.OTHER_KEY)
    again = sign(twice, m.KEY)
    signers = [m.SIGNER, Signer("other", public_bytes(m.OTHER_KEY))]
    assert verify_module(twice, None, signers, 0).signers == ("ci", "other")
    assert verify_module(again, None, signers, 0).signers == ("ci", "other")
    (entry,) = parse_payload(split_envelope(again).signature or b"")
    assert len(entry.signatures) == 2


def test_a_detached_signature_leaves_the_module_as_it_was() -> None:
    payload = sign_detached(m.BODY, m.KEY)
    assert verify_module(m.BODY, payload, [m.SIGNER], 0).body == m.BODY


def test_a_module_whose_signature_cannot_be_read_is_not_signed_over() -> None:
    broken = m.HEADER + m.custom("signature", b"\xff") + m.BODY[8:]
    with pytest.raises(StockadeError, match="malformed"):
        sign(broken, m.KEY)


def test_every_generated_key_is_another() -> None:
    keys = {public_bytes(generate_secret_key()) for _ in range(10)}
    assert len(keys) == 10
    assert isinstance(generate_secret_key(), Ed25519PrivateKey)
