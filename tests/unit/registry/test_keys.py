import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from registry import keys
from stockade.core.errors import StockadeError
from tests.unit.registry import points
from tests.unit.registry.modules import secret

SECRET = secret(7)
RAW = keys.public_bytes(SECRET)
PUBLIC = Ed25519PublicKey.from_public_bytes(RAW)
DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SSH = PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
X25519 = X25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = generate_private_key(SECP256R1())


@pytest.mark.parametrize(
    "form",
    [
        keys.public_key_pem(RAW),
        DER,
        SSH,
        SSH + b" someone@example\n",
        base64.b64encode(RAW),
        base64.b64encode(RAW) + b"\n",
        b"\1" + RAW,
        base64.b64encode(b"\1" + RAW),
        keys.tool_public_key(RAW),
    ],
    ids=["PEM", "DER", "SSH", "SSH comment", "base64", "line", "tool", "tool base64", "written"],
)
def test_public_keys_of_every_form(form: bytes) -> None:
    assert keys.load_public_key(form) == RAW


def private(encoding: Encoding, form: PrivateFormat) -> bytes:
    return SECRET.private_bytes(encoding, form, NoEncryption())


@pytest.mark.parametrize(
    "form",
    [
        keys.secret_key_pem(SECRET),
        private(Encoding.DER, PrivateFormat.PKCS8),
        private(Encoding.PEM, PrivateFormat.OpenSSH),
        b"\x81" + bytes([7]) * 32 + RAW,
        keys.tool_key_pair(SECRET),
    ],
    ids=["PEM", "DER", "SSH", "tool", "written"],
)
def test_secret_keys_of_every_form(form: bytes) -> None:
    assert keys.public_bytes(keys.load_secret_key(form)) == RAW


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"a key",
        b"\xff" * 33,
        RAW,
        b"\2" + RAW,
        b"\1" + RAW[:-1],
        base64.b64encode(RAW[:-1]),
        keys.public_key_pem(RAW)[:60],
        keys.secret_key_pem(SECRET),
        X25519.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        P256.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        base64.b64encode(RAW) + b" " * 20_000,
    ],
)
def test_other_bytes_are_no_public_key(form: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        keys.load_public_key(form)
    assert refused.value.code == "signer.key_invalid"
    assert "OpenSSH" in refused.value.message
    assert "base64" in refused.value.message


@pytest.mark.parametrize("point", [*points.SMALL_ORDER, *points.NON_CANONICAL, points.OFF_CURVE])
def test_unsound_points_are_refused_at_load(point: bytes) -> None:
    for form in (base64.b64encode(point), keys.tool_public_key(point), DER[:-32] + point):
        with pytest.raises(StockadeError) as refused:
            keys.load_public_key(form)
        assert refused.value.code == "signer.key_invalid"


@pytest.mark.parametrize(
    "form",
    [
        b"",
        RAW,
        keys.public_key_pem(RAW),
        SECRET.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
        ),
        P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        X25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        b"\x81" + bytes([7]) * 32 + RAW[:-1],
        b"\x81" + bytes([8]) * 32 + RAW,
        b"\x82" + bytes([7]) * 32 + RAW,
    ],
)
def test_other_bytes_are_no_secret_key(form: bytes) -> None:
    with pytest.raises(StockadeError) as refused:
        keys.load_secret_key(form)
    assert refused.value.code == "signer.key_invalid"
    assert "stockade keys generate" in refused.value.message


def test_new_keys_differ() -> None:
    first, second = keys.generate_secret_key(), keys.generate_secret_key()
    assert keys.public_bytes(first) != keys.public_bytes(second)


def test_the_default_key_id_is_the_reference_tools() -> None:
    # What the tool wrote is in tests/assets/wasmsign2; this pins the value by itself.
    assert len(keys.default_key_id(RAW)) == 12
    assert keys.default_key_id(RAW) != keys.default_key_id(RAW[::-1])


PUBLIC_FORMS = [DER, SSH, keys.public_key_pem(RAW), base64.b64encode(RAW)]
SECRET_FORMS = [
    keys.secret_key_pem(SECRET),
    private(Encoding.DER, PrivateFormat.PKCS8),
    private(Encoding.PEM, PrivateFormat.OpenSSH),
]


def code_of(load: Callable[[bytes], object], data: bytes) -> str:
    try:
        load(data)
    except StockadeError as error:
        return error.code
    return "read"


@pytest.mark.parametrize("load", [keys.load_public_key, keys.load_secret_key])
@given(
    data=st.one_of(st.binary(max_size=200), st.sampled_from(PUBLIC_FORMS + SECRET_FORMS)),
    at=st.integers(0, 500),
    splice=st.binary(max_size=3),
)
def test_any_bytes_are_read_or_refused(
    load: Callable[[bytes], object], data: bytes, at: int, splice: bytes
) -> None:
    changed = data[:at] + splice + data[at + len(splice) :]
    assert code_of(load, changed) in {"read", "signer.key_invalid"}
