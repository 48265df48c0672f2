"""Reads `policies/isolation.toml`."""

import tomllib
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.isolation import IsolationLevel, IsolationPolicy


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: IsolationLevel
    tenants: dict[str, IsolationLevel]


def load_isolation_policy(path: Path) -> IsolationPolicy:
    """The policy in this file, which must say everything.

    Raises:
        StockadeError: `config.isolation_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.isolation_invalid", f"The isolation policy {path} cannot be used: {error}."
        ) from error
    return IsolationPolicy(file.default, file.tenants)
