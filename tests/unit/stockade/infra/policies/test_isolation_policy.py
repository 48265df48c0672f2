from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.isolation import IsolationLevel, IsolationPolicy
from stockade.infra.policies.isolation_policy import load_isolation_policy

SHIPPED = Path(__file__).parents[5] / "policies" / "isolation.toml"


def test_the_shipped_policy_shares_processes_within_a_tenant() -> None:
    assert load_isolation_policy(SHIPPED) == IsolationPolicy()


def test_a_tenant_may_have_a_level_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "isolation.toml"
    path.write_text('default = "invocation"\n[tenants]\nacme = "tenant"\n', encoding="utf-8")
    policy = load_isolation_policy(path)
    assert policy.level("acme") is IsolationLevel.TENANT
    assert policy.level("other") is IsolationLevel.INVOCATION


@pytest.mark.parametrize(
    "text",
    [
        "",
        'default = "tenant"',
        'default = "process"\n[tenants]\n',
        'default = "tenant"\n[tenants]\na = "none"\n',
        'default = "tenant"\nmore = 1\n[tenants]\n',
        "default = ",
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "isolation.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StockadeError) as refused:
        load_isolation_policy(path)
    assert refused.value.code == "config.isolation_invalid"
