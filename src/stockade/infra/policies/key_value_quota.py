"""Reads `policies/key_values.toml`."""

from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.key_values import KeyValueQuota
from stockade.infra.policies.toml_files import load_toml

_LARGEST_VALUE_BYTES = 512 * 1024


class _File(msgspec.Struct, forbid_unknown_fields=True):
    max_keys_per_tenant: int
    max_bytes_per_tenant: int
    max_value_bytes: int


def load_key_value_quota(path: Path) -> KeyValueQuota:
    """The quota in this file, which must say everything.

    Raises:
        StockadeError: `config.key_values_invalid`: nothing starts with a quota it cannot read.
    """
    try:
        file = load_toml(path, _File)
        _check(file)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.key_values_invalid", f"The quota in {path} cannot be used: {error}."
        ) from error
    return KeyValueQuota(file.max_keys_per_tenant, file.max_bytes_per_tenant, file.max_value_bytes)


def _check(file: _File) -> None:
    if not 0 < file.max_value_bytes <= _LARGEST_VALUE_BYTES:
        raise ValueError(f"max_value_bytes is not between 1 and {_LARGEST_VALUE_BYTES}")
    if file.max_keys_per_tenant < 0 or file.max_bytes_per_tenant < 0:
        raise ValueError("a bound is less than 0")
