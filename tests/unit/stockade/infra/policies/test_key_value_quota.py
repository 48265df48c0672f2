from pathlib import Path

import pytest

from stockade.core.errors import StockadeError
from stockade.core.key_values import KeyValueQuota
from stockade.infra.policies.key_value_quota import load_key_value_quota

SHIPPED = Path(__file__).parents[5] / "policies" / "key_values.toml"


def test_the_shipped_quota_is_the_default() -> None:
    assert load_key_value_quota(SHIPPED) == KeyValueQuota()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "max_keys_per_tenant = 1\nmax_bytes_per_tenant = 1",
        "max_keys_per_tenant = -1\nmax_bytes_per_tenant = 1\nmax_value_bytes = 1",
        "max_keys_per_tenant = 1\nmax_bytes_per_tenant = -1\nmax_value_bytes = 1",
        "max_keys_per_tenant = 1\nmax_bytes_per_tenant = 1\nmax_value_bytes = 0",
        "max_keys_per_tenant = 1\nmax_bytes_per_tenant = 1\nmax_value_bytes = 524_289",
        "max_keys_per_tenant = 1\nmax_bytes_per_tenant = 1\nmax_value_bytes = 1\nmore = 1",
        "max_keys_per_tenant = ",
    ],
)
def test_a_quota_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key_values.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StockadeError) as refused:
        load_key_value_quota(path)
    assert refused.value.code == "config.key_values_invalid"
