from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.module_store import StoragePolicy, StorageQuota, StorageUsage
from stockade.infra.policies.storage_policy import load_storage_policy

SHIPPED = Path(__file__).parents[5] / "policies" / "storage.toml"
DEFAULT = "[default]\nmodule_bytes = 100\nmodules = 10\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "storage.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_policy_can_be_used() -> None:
    assert load_storage_policy(SHIPPED) == StoragePolicy(StorageQuota(1 << 30, 10_000))


def test_a_tenant_has_the_default_for_what_its_entry_leaves_out(tmp_path: Path) -> None:
    own = "a = { modules = 2 }\nb = { module_bytes = 0, oci_bytes = 7 }\n"
    text = f"{DEFAULT}[tenants]\n{own}"
    policy = load_storage_policy(_file(tmp_path, text))
    assert [policy.quota(name) for name in "abc"] == [
        StorageQuota(100, 2),
        StorageQuota(0, 10, 7),
        StorageQuota(100, 10),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[default]\n[tenants]\n",
        DEFAULT,
        f"{DEFAULT}[tenants]\na = {{ other = 1 }}\n",
        f"{DEFAULT}[tenants]\na = {{ modules = -1 }}\n",
        f"{DEFAULT}[tenants]\na = {{ modules = 1.5 }}\n",
        "[default]\nmodule_bytes = -1\nmodules = 10\n[tenants]\n",
        "[default]\nmodule_bytes = 1e3\nmodules = 10\n[tenants]\n",
        "[default]\nmodule_bytes = 9_999_999_999_999_999\nmodules = 10\n[tenants]\n",
        "no toml",
    ],
)
def test_a_policy_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(StockadeError, match=r"^config\.storage_invalid"):
        load_storage_policy(path)


def test_a_policy_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StockadeError, match=r"^config\.storage_invalid"):
        load_storage_policy(tmp_path / "none.toml")


def test_a_quota_is_met_to_the_last_byte() -> None:
    quota = StorageQuota(100, 2)
    quota.check(StorageUsage(100, 2))
    for usage in (StorageUsage(101, 2), StorageUsage(100, 3)):
        with pytest.raises(StockadeError, match=r"^storage\.quota_exceeded"):
            quota.check(usage)
