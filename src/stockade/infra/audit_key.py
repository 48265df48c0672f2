"""`HeadSigner` by Ed25519. Its file is as the secret box's: the first key signs, all verify."""

from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stockade.infra.secret_box import read_keys


class Ed25519HeadSigner:
    """See `HeadSigner`.

    Args:
        seeds: 32 bytes each, the one that signs first.
    """

    def __init__(self, seeds: tuple[bytes, ...]) -> None:
        keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
        self._signing = keys[0]
        self._public = {key.public_key().public_bytes_raw(): key.public_key() for key in keys}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """A signer with the keys in this file, which is made with a new key when there is none.

        Raises:
            StockadeError: `config.secret_…`.
        """
        return cls(read_keys(path))

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of the key that signs."""
        return self._signing.public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """The signature."""
        return self._signing.sign(statement)

    def verifies(self, public_key: bytes, statement: bytes, signature: bytes) -> bool:
        """Whether one of the operator's keys, this one, made the signature."""
        key = self._public.get(public_key)
        if key is None:
            return False
        try:
            key.verify(signature, statement)
        except InvalidSignature:
            return False
        return True
