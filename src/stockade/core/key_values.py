"""How guests name what they keep: `NAMESPACE/KEY`, in the key-value store of their tenant."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class KeyValueQuota:
    """What one tenant may keep. `max_bytes` counts names, values and a few bytes for each."""

    max_keys: int = 100_000
    max_bytes: int = 64 * 1024 * 1024
    max_value_bytes: int = 64 * 1024

    def check_value(self, value: bytes) -> None:
        """Refuses a value that is too large.

        Raises:
            StockadeError: `kv.value_too_large`.
        """
        if len(value) > self.max_value_bytes:
            raise StockadeError(
                "kv.value_too_large",
                f"A value has at most {self.max_value_bytes} bytes. Keep large things elsewhere.",
            )


def full(quota: KeyValueQuota) -> StockadeError:
    """The refusal of a write that the quota has no room for."""
    return StockadeError(
        "kv.quota_exceeded",
        f"This tenant keeps at most {quota.max_keys} keys and {quota.max_bytes} bytes. Delete some,"
        " or let them end by themselves (ttl_seconds).",
    )


def not_a_number() -> StockadeError:
    """The refusal to add to what is no number."""
    return StockadeError(
        "kv.not_a_number", "The value is no whole number of 64 bits. Use another key for counting."
    )


def overflow() -> StockadeError:
    """The refusal of a sum beyond 64 bits."""
    return StockadeError("kv.overflow", "The sum is beyond 64 bits; the value is unchanged.")
