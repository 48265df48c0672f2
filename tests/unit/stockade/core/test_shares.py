import pytest

from stockade.core.rate_limits import RateLimit
from stockade.core.shares import SharePolicy, TenantShare


@pytest.mark.parametrize(
    ("limit", "interval_us", "allowance_us"),
    [
        (RateLimit(1, 1), 1_000_000, 1_000_000),
        (RateLimit(50, 200), 20_000, 4_000_000),
        (RateLimit(0.001, 3), 1_000_000_000, 3_000_000_000),
        (RateLimit(1e9, 2), 1, 2),
    ],
)
def test_a_rate_is_counted_in_whole_microseconds(
    limit: RateLimit, interval_us: int, allowance_us: int
) -> None:
    assert (limit.interval_us, limit.allowance_us) == (interval_us, allowance_us)


def test_a_tenant_without_a_share_of_its_own_has_the_default() -> None:
    policy = SharePolicy(TenantShare(2), {"acme": TenantShare(3)})
    assert (policy.share("acme").weight, policy.share("other").weight) == (3, 2)
