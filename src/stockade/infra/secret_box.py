"""`SecretBox` by AES-256-GCM. Sealed bytes: version, key id (8 bytes), nonce (12), then ciphertext.

Tenant and name are authenticated with it, so that a sealed secret opens at its own place alone. A
key file holds one key or several, one a line in hexadecimal: the first seals, all open, so keys can
be changed without a pause. Source: NIST SP 800-38D (random nonces: at most 2^32 for a key).
"""

import hashlib
import os
import re
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stockade.core.errors import StockadeError
from stockade.infra.secrets_file import read_or_create_secret, read_private

_VERSION = b"\1"
_KEY_BYTES, _ID_BYTES, _NONCE_BYTES = 32, 8, 12
_MAX_FILE_BYTES = 4096
_LINE = re.compile(rb"[0-9a-fA-F]{64}")


class AesGcmSecretBox:
    """See `SecretBox`.

    Args:
        keys: 32 bytes each, the one that seals first.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing = _key_id(keys[0])

    @classmethod
    def from_file(cls, path: Path) -> "AesGcmSecretBox":
        """A box with the keys in this file, which is made with a new key when there is none.

        Raises:
            StockadeError: `config.secret_…`.
        """
        return cls(read_keys(path))

    def seal(self, tenant: str, name: str, value: bytes) -> bytes:
        """The value, sealed for this tenant and name."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self._sealing]
        sealed = cipher.encrypt(nonce, value, _place(tenant, name))
        return _VERSION + self._sealing + nonce + sealed

    def open(self, tenant: str, name: str, sealed: bytes) -> bytes:
        """The value again."""
        head, body = sealed[: 1 + _ID_BYTES + _NONCE_BYTES], sealed[1 + _ID_BYTES + _NONCE_BYTES :]
        cipher = self._ciphers.get(head[1 : 1 + _ID_BYTES])
        if head[:1] != _VERSION or cipher is None:
            raise _unreadable(name)
        try:
            return cipher.decrypt(head[1 + _ID_BYTES :], body, _place(tenant, name))
        except (InvalidTag, ValueError) as error:
            raise _unreadable(name) from error


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, the one in use first; a file with a new key is made when there is none.

    Raises:
        StockadeError: `config.secret_…`.
    """
    content = read_private(path, _MAX_FILE_BYTES)
    if content is None:
        return (read_or_create_secret(path, _KEY_BYTES),)
    if len(content) == _KEY_BYTES:
        return (content,)
    lines = content.split()
    if not lines or not all(map(_LINE.fullmatch, lines)):
        raise StockadeError(
            "config.secret_invalid",
            f"The key file {path} must hold 32 bytes, or lines of 64 hexadecimal digits.",
        )
    return tuple(bytes.fromhex(line.decode()) for line in lines)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"stockade key id\0" + key).digest()[:_ID_BYTES]


def _place(tenant: str, name: str) -> bytes:
    return f"{len(tenant)}:{tenant}:{name}".encode()


def _unreadable(name: str) -> StockadeError:
    return StockadeError(
        "secret.unreadable",
        f"The secret {name!r} cannot be opened with this installation's key. Set it again.",
    )
