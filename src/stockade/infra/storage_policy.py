"""Reads `policies/storage.toml`."""

import tomllib
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.module_store import StoragePolicy, StorageQuota

_MAX_BYTES, _MAX_MODULES = 2**50, 10_000_000


class _Quota(msgspec.Struct, forbid_unknown_fields=True):
    module_bytes: int
    modules: int


class _TenantQuota(msgspec.Struct, forbid_unknown_fields=True):
    module_bytes: int | None = None
    modules: int | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: _Quota
    tenants: dict[str, _TenantQuota]


def load_storage_policy(path: Path) -> StoragePolicy:
    """The policy in this file.

    Raises:
        StockadeError: `config.storage_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        default = _checked(file.default.module_bytes, file.default.modules)
        tenants = {name: _own(quota, default) for name, quota in file.tenants.items()}
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.storage_invalid", f"The quotas in {path} cannot be used: {error}."
        ) from error
    return StoragePolicy(default, tenants)


def _own(quota: _TenantQuota, default: StorageQuota) -> StorageQuota:
    module_bytes, modules = quota.module_bytes, quota.modules
    return _checked(
        default.module_bytes if module_bytes is None else module_bytes,
        default.modules if modules is None else modules,
    )


def _checked(module_bytes: int, modules: int) -> StorageQuota:
    if not 0 <= module_bytes <= _MAX_BYTES:
        raise ValueError(f"module_bytes is not between 0 and {_MAX_BYTES}")
    if not 0 <= modules <= _MAX_MODULES:
        raise ValueError(f"modules is not between 0 and {_MAX_MODULES}")
    return StorageQuota(module_bytes, modules)
