"""Ed25519 encodings that a careless verifier takes, and forgeries made with them."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from registry.keys import public_bytes

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
SIGN = 1 << 255
EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def encoded(y: int) -> bytes:
    return y.to_bytes(32, "little")


IDENTITY = encoded(1)
SMALL_ORDER = [
    encoded(y | sign)
    for y in (0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH)
    for sign in (0, SIGN)
]  # fmt: skip
NON_CANONICAL = [encoded((FIELD + small) | sign) for small in range(19) for sign in (0, SIGN)]
OFF_CURVE = encoded(2)


def scalar(key: Ed25519PrivateKey) -> int:
    """The secret scalar behind a key (RFC 8032, 5.1.5)."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    half = bytearray(hashlib.sha512(seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    return int.from_bytes(half, "little")


def challenge(commitment: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little")


def forged_for_the_identity(key: Ed25519PrivateKey) -> bytes:
    """Under the public key IDENTITY this verifies over any message: R = S·B, and k·A is nothing."""
    return public_bytes(key) + encoded(scalar(key) % ORDER)


def with_small_commitment(key: Ed25519PrivateKey, message: bytes) -> bytes:
    """A signature of the key's owner whose R is the identity: it has no randomness at all."""
    k = challenge(IDENTITY, public_bytes(key), message)
    return IDENTITY + encoded(k * scalar(key) % ORDER)


def with_commitment(key: Ed25519PrivateKey, number: int, message: bytes) -> bytes:
    """Another valid signature of the key's owner: R is the public half of another key."""
    random = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "little"))
    commitment = public_bytes(random)
    k = challenge(commitment, public_bytes(key), message)
    return commitment + encoded((scalar(random) + k * scalar(key)) % ORDER)


def with_large_s(signature: bytes) -> bytes:
    """The same signature with S + the group's order: a second form of it."""
    return signature[:32] + encoded(int.from_bytes(signature[32:], "little") + ORDER)
