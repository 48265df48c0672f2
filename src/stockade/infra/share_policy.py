"""Reads `policies/shares.toml`."""

import tomllib
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.shares import SharePolicy, TenantShare

_MAX_WEIGHT, _MAX_CONCURRENCY = 1000, 100_000


class _Share(msgspec.Struct, forbid_unknown_fields=True):
    weight: int = 1
    concurrency: int | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: _Share
    tenants: dict[str, _Share]


def load_share_policy(path: Path) -> SharePolicy:
    """The policy in this file.

    Raises:
        StockadeError: `config.shares_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        tenants = {name: _checked(share) for name, share in file.tenants.items()}
        return SharePolicy(_checked(file.default), tenants)
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.shares_invalid", f"The shares in {path} cannot be used: {error}."
        ) from error


def _checked(share: _Share) -> TenantShare:
    if not 1 <= share.weight <= _MAX_WEIGHT:
        raise ValueError(f"a weight is not between 1 and {_MAX_WEIGHT}")
    if share.concurrency is not None and not 1 <= share.concurrency <= _MAX_CONCURRENCY:
        raise ValueError(f"a concurrency is not between 1 and {_MAX_CONCURRENCY}")
    return TenantShare(share.weight, share.concurrency)
