"""Ed25519 keys as PEM, DER, OpenSSH, the reference tool's files, and raw in base64."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from registry.ed25519 import PUBLIC_KEY_BYTES, is_on_curve, is_sound_point
from stockade.core.errors import StockadeError

_TOOL_PUBLIC, _TOOL_PAIR = b"\x01", b"\x81"
_KEY_ID_BYTES = 12
_MAX_KEY_BYTES = 16 * 1024
_T = TypeVar("_T")


def load_public_key(data: bytes) -> bytes:
    """The 32 raw bytes of a public key in any of the accepted forms.

    Raises:
        StockadeError: `signer.key_invalid`.
    """
    raw = _first_that_reads(data, _PUBLIC_FORMS)
    if raw is None or not (is_sound_point(raw) and is_on_curve(raw)):
        raise StockadeError(
            "signer.key_invalid",
            "This is no sound Ed25519 public key. Give PEM, DER, an OpenSSH line, the reference"
            " tool's file, or base64 of its 32 raw bytes.",
        )
    return raw


def load_secret_key(data: bytes) -> Ed25519PrivateKey:
    """A secret key from unencrypted PEM, DER, OpenSSH, or the reference tool's pair.

    Raises:
        StockadeError: `signer.key_invalid`.
    """
    key = _first_that_reads(data, _SECRET_FORMS)
    if not isinstance(key, Ed25519PrivateKey):
        raise StockadeError(
            "signer.key_invalid",
            "This is no unencrypted Ed25519 secret key. Make one: 'stockade keys generate', or give"
            " PEM, DER, OpenSSH, or the reference tool's key pair.",
        )
    return key


def generate_secret_key() -> Ed25519PrivateKey:
    """A new secret key."""
    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 raw bytes of the secret key's public half."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def secret_key_pem(key: Ed25519PrivateKey) -> bytes:
    """The secret key as PEM (PKCS #8, unencrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_key_pem(raw: bytes) -> bytes:
    """A public key as PEM."""
    key = Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def tool_public_key(raw: bytes) -> bytes:
    """A public key as the reference tool's file."""
    return _TOOL_PUBLIC + raw


def tool_key_pair(key: Ed25519PrivateKey) -> bytes:
    """The secret key and its public half as the reference tool's file."""
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return _TOOL_PAIR + seed + public_bytes(key)


def default_key_id(raw: bytes) -> bytes:
    """The key id that the reference tool gives a public key when it is told none."""
    return hmac.new(raw, b"key_id", hashlib.sha256).digest()[:_KEY_ID_BYTES]


def _first_that_reads(data: bytes, forms: Sequence[Callable[[bytes], _T | None]]) -> _T | None:
    if len(data) > _MAX_KEY_BYTES:
        return None
    for read in forms:
        try:
            found = read(data)
        except (ValueError, TypeError, UnsupportedAlgorithm, binascii.Error):
            continue
        if found is not None:
            return found
    return None


def _raw(key: object) -> bytes | None:
    if not isinstance(key, Ed25519PublicKey):
        return None
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _tool_public(data: bytes) -> bytes | None:
    return data[1:] if len(data) == 1 + PUBLIC_KEY_BYTES and data[:1] == _TOOL_PUBLIC else None


def _base64_public(data: bytes) -> bytes | None:
    raw = base64.b64decode(data.strip(), validate=True)
    return raw if len(raw) == PUBLIC_KEY_BYTES else _tool_public(raw)


def _tool_pair(data: bytes) -> Ed25519PrivateKey | None:
    if len(data) != 1 + 2 * PUBLIC_KEY_BYTES or data[:1] != _TOOL_PAIR:
        return None
    key = Ed25519PrivateKey.from_private_bytes(data[1 : 1 + PUBLIC_KEY_BYTES])
    return key if public_bytes(key) == data[1 + PUBLIC_KEY_BYTES :] else None


_PUBLIC_FORMS: tuple[Callable[[bytes], bytes | None], ...] = (
    _tool_public,
    lambda data: _raw(load_pem_public_key(data)),
    lambda data: _raw(load_ssh_public_key(data)),
    lambda data: _raw(load_der_public_key(data)),
    _base64_public,
)
_SECRET_FORMS: tuple[Callable[[bytes], object], ...] = (
    _tool_pair,
    lambda data: load_pem_private_key(data, password=None),
    lambda data: load_ssh_private_key(data, password=None),
    lambda data: load_der_private_key(data, password=None),
)
