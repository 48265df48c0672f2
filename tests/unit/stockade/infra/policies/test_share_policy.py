from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare
from stockade.core.shedding import Shedding
from stockade.infra.policies.share_policy import load_share_policy

SHIPPED = Path(__file__).parents[5] / "policies" / "shares.toml"


def test_the_shipped_policy_treats_all_alike() -> None:
    assert load_share_policy(SHIPPED) == SharePolicy()


def test_a_tenant_may_have_a_share_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "shares.toml"
    path.write_text(
        "[default]\nweight = 2\nconcurrency = 3\n[tenants]\nacme = { weight = 4 }\n",
        encoding="utf-8",
    )
    policy = load_share_policy(path)
    assert policy.share("acme") == TenantShare(4, None)
    assert policy.share("other") == TenantShare(2, 3)


def test_a_tenant_may_have_a_rate_and_a_backlog_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "shares.toml"
    path.write_text(
        "[default]\nrate_per_second = 2.5\n[tenants]\n"
        "acme = { rate_per_second = 50, burst = 200, backlog = 10 }\n",
        encoding="utf-8",
    )
    policy = load_share_policy(path)
    assert policy.share("acme") == TenantShare(rate_limit=RateLimit(50, 200), backlog=10)
    assert policy.share("other") == TenantShare(rate_limit=RateLimit(2.5, 3))


def test_what_is_shed_may_be_set(tmp_path: Path) -> None:
    path = tmp_path / "shares.toml"
    path.write_text(
        "[default]\n[tenants]\n[shedding]\nwaiting_limit = 50\nlow = 0.1\nfew = 0\n",
        encoding="utf-8",
    )
    assert load_share_policy(path).shedding == Shedding(50, 0.1, 0.75, 0.9, 0)


@pytest.mark.parametrize(
    "text",
    [
        "[default]\n[tenants]\n[shedding]\nwaiting_limit = 0\n",
        "[default]\n[tenants]\n[shedding]\nlow = 0\n",
        "[default]\n[tenants]\n[shedding]\nlow = 0.8\n",
        "[default]\n[tenants]\n[shedding]\nhigh = 1.1\n",
        "[default]\n[tenants]\n[shedding]\nhigh = nan\n",
        "[default]\n[tenants]\n[shedding]\nfew = -1\n",
        "[default]\n[tenants]\n[shedding]\nmedium = 0.5\n",
        "[default]\nrate_per_second = 0\n[tenants]\n",
        "[default]\nrate_per_second = nan\n[tenants]\n",
        "[default]\nrate_per_second = 10001\n[tenants]\n",
        "[default]\nrate_per_second = 1\nburst = 0\n[tenants]\n",
        "[default]\nburst = 5\n[tenants]\n",
        "[default]\n[tenants]\na = { backlog = 0 }\n",
        "",
        "[default]\nweight = 0\n[tenants]\n",
        "[default]\nweight = 1001\n[tenants]\n",
        "[default]\nconcurrency = 0\n[tenants]\n",
        "[default]\n[tenants]\na = { concurrency = -1 }\n",
        "[default]\n[tenants]\na = { wait = 1 }\n",
        "[default]\n[tenants\n",
    ],
)
def test_a_policy_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "shares.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StockadeError) as refused:
        load_share_policy(path)
    assert refused.value.code == "config.shares_invalid"
