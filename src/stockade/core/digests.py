"""Digests name immutable bytes: `sha256:` and 64 lower-case hex digits, nothing else."""

import hashlib
import re

from stockade.core.errors import StockadeError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    """The digest of these bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a well-formed digest."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """Returns `text` when it is a well-formed digest.

    Raises:
        StockadeError: `module.digest_invalid`.
    """
    if not is_digest(text):
        raise StockadeError(
            "module.digest_invalid",
            "A module is named by 'sha256:' and 64 lower-case hex digits, as the upload says.",
        )
    return text
