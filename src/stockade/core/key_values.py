"""How guests name what they keep: `NAMESPACE/KEY`, in the key-value store of their tenant."""

from stockade.core.errors import StockadeError
from stockade.core.names import check_name

MAX_KEY_BYTES = 512


def check_key(text: str) -> tuple[str, str]:
    """Splits a guest's key into namespace and key.

    Raises:
        StockadeError: `kv.key_invalid`.
    """
    namespace, slash, key = text.partition("/")
    try:
        check_name("namespace", namespace)
    except StockadeError:
        slash = ""
    if not slash or not 0 < len(key.encode()) <= MAX_KEY_BYTES or "\0" in key:
        raise StockadeError(
            "kv.key_invalid",
            "A key is NAMESPACE/KEY: a namespace of a-z, 0-9 and inner hyphens, and a key of 1 to"
            f" {MAX_KEY_BYTES} bytes without NUL.",
        )
    return namespace, key
