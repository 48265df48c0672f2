"""Reads `policies/storage.toml`."""

from dataclasses import replace
from pathlib import Path

import msgspec

from stockade.core.errors import StockadeError
from stockade.core.module_store import StoragePolicy, StorageQuota
from stockade.infra.policies.toml_files import load_toml

_MOST = {
    "module_bytes": 2**50,
    "modules": 10_000_000,
    "oci_bytes": 2**50,
    "functions": 1_000_000,
    "versions": 1_000_000,
}


class _Quota(msgspec.Struct, forbid_unknown_fields=True):
    module_bytes: int
    modules: int
    oci_bytes: int = 10 * 1024**3
    functions: int = 10_000
    versions: int = 20_000


class _TenantQuota(msgspec.Struct, forbid_unknown_fields=True):
    module_bytes: int | None = None
    modules: int | None = None
    oci_bytes: int | None = None
    functions: int | None = None
    versions: int | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    default: _Quota
    tenants: dict[str, _TenantQuota]


def load_storage_policy(path: Path) -> StoragePolicy:
    """The policy in this file.

    Raises:
        StockadeError: `config.storage_invalid`: nothing starts with a policy it cannot read.
    """
    try:
        file = load_toml(path, _File)
        default = _checked(StorageQuota(**msgspec.structs.asdict(file.default)))
        tenants = {name: _own(quota, default) for name, quota in file.tenants.items()}
    except (OSError, ValueError) as error:
        raise StockadeError(
            "config.storage_invalid", f"The quotas in {path} cannot be used: {error}."
        ) from error
    return StoragePolicy(default, tenants)


def _own(quota: _TenantQuota, default: StorageQuota) -> StorageQuota:
    given = {key: one for key, one in msgspec.structs.asdict(quota).items() if one is not None}
    return _checked(replace(default, **given))


def _checked(quota: StorageQuota) -> StorageQuota:
    for name, most in _MOST.items():
        if not 0 <= getattr(quota, name) <= most:
            raise ValueError(f"{name} is not between 0 and {most}")
    return quota
