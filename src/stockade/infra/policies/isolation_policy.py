"""Reads `policies/isolation.toml`."""

from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.isolation import IsolationLevel, IsolationPolicy
from stockade.infra.policies.toml_files import load_toml


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: IsolationLevel
    tenants: dict[str, IsolationLevel]


def load_isolation_policy(path: Path) -> IsolationPolicy:
    """The policy in this file, which must say everything.

    Raises:
        StockadeError: `config.isolation_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = load_toml(path, _File)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.isolation_invalid", f"The isolation policy {path} cannot be used: {error}."
        ) from error
    return IsolationPolicy(file.default, file.tenants)
