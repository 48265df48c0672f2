"""Byte ranges of pulls (`Range`) and of chunks (`Content-Range`), read strictly."""

import re

from stockade.core.errors import StockadeError

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_CHUNK = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?", re.ASCII)


def wanted_range(text: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The part that is asked for, from a byte up to another (not included); None for the whole.

    What is no single range is passed over, as HTTP has it.

    Raises:
        StockadeError: `oci.range_unsatisfiable` when no byte of the content is in it.
    """
    parsed = _RANGE.fullmatch((text or "").replace(" ", ""))
    if parsed is None or not (parsed[1] or parsed[2]):
        return None
    if parsed[1]:
        start, last = int(parsed[1]), int(parsed[2] or size_bytes)
    else:
        start, last = max(0, size_bytes - int(parsed[2])), size_bytes
    if start >= size_bytes or last < start:
        raise StockadeError(
            "oci.range_unsatisfiable",
            f"The content has {size_bytes} bytes, and none of them is in this range.",
            detail={"size_bytes": size_bytes},
        )
    return start, min(last + 1, size_bytes)


def chunk_range(text: str | None) -> tuple[int, int] | None:
    """The first and the last byte that a chunk says it is; None when it says nothing.

    Raises:
        StockadeError: `oci.range_invalid`.
    """
    if text is None:
        return None
    parsed = _CHUNK.fullmatch(text)
    if parsed is None or int(parsed[2]) < int(parsed[1]):
        raise StockadeError(
            "oci.range_invalid", "Content-Range must be the first and the last byte, as in 0-1023."
        )
    return int(parsed[1]), int(parsed[2])
