"""Modules and signatures made by hand, so that one thing at a time can be wrong."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.keys import default_key_id, public_bytes
from registry.signature_format import (
    DELIMITER_SECTION,
    HEADER,
    SignatureRecord,
    SignedHashes,
    attach,
    encode_payload,
    encode_u32,
    module_hashes,
)
from stockade.core.modules import Signer
from tests.guest import guests

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
SIGNER = Signer("ci", public_bytes(KEY))
BODY = guests.ECHO
NOW_MS = 1_000_000


def custom(name: str, data: bytes = b"") -> bytes:
    """A custom section."""
    payload = encode_u32(len(name)) + name.encode() + data
    return b"\0" + encode_u32(len(payload)) + payload


def delimiter(fill: bytes = b"d") -> bytes:
    """A section that ends a part."""
    return custom(DELIMITER_SECTION, fill * 16)


def with_parts() -> bytes:
    """A module of two parts, which ends without a delimiter."""
    return HEADER + custom("first", b"1") + delimiter() + BODY[len(HEADER) :]


def record(
    hashes: Sequence[bytes], key: Ed25519PrivateKey = KEY, key_id: bytes | None = None
) -> SignatureRecord:
    """A good signature over these hashes."""
    chosen = default_key_id(public_bytes(key)) if key_id is None else key_id
    return SignatureRecord(chosen, key.sign(SignedHashes(tuple(hashes), ()).message))


def payload(body: bytes, key: Ed25519PrivateKey = KEY) -> bytes:
    """A good signature payload over all of this body."""
    hashes = module_hashes(body)
    return encode_payload((SignedHashes(hashes, (record(hashes, key),)),))


def signed(body: bytes, key: Ed25519PrivateKey = KEY) -> bytes:
    """The body with a good signature embedded."""
    return attach(body, payload(body, key))
