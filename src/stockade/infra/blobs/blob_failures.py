"""How blob stores fail, in words: full, unavailable, corrupt, missing, too large."""

import errno

from stockade.core.errors import StockadeError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def blob_corrupt(digest: str) -> StockadeError:
    """The stored bytes do not match their name."""
    return StockadeError(
        "blobs.corrupt", f"The stored content of {digest} is damaged; upload it again."
    )


def blob_missing(digest: str) -> StockadeError:
    """Nothing is stored under the digest."""
    return StockadeError(
        "blobs.missing", f"The content of {digest} is not in the blob store; upload it again."
    )


def blob_too_large(max_bytes: int) -> StockadeError:
    """The content passes the bound that its writer gave."""
    return StockadeError(
        "blobs.too_large",
        f"The content is larger than {max_bytes} bytes. Make it smaller, or ask the operator.",
        detail={"max_bytes": max_bytes},
    )


def blob_failure(error: OSError) -> StockadeError:
    """What the operating system's refusal means: no room, or not to be reached."""
    if error.errno in _FULL:
        return StockadeError(
            "blobs.full", "The blob store has no room left; try again later.", retryable=True
        )
    return StockadeError(
        "blobs.unavailable", "The blob store cannot be reached; try again.", retryable=True
    )
